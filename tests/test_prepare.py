"""The command that makes data sets: its surface, its summary, and its errors."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trainables.clips import read_clips, read_manifest
from trainables.prepare import main, summary


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_world_is_made_once_and_never_overwritten(tmp_path: Path) -> None:
    status, said = run("world", tmp_path / "a", "--clips", 24, "--seed", 5)
    assert status == 0 and "24 clips" in said and "objects" in said
    assert said.splitlines()[-5:] == summary(str(tmp_path / "a"), read_manifest(tmp_path / "a"))
    stamp = (tmp_path / "a" / "manifest.json").stat().st_mtime_ns
    assert run("world", tmp_path / "a", "--clips", 24, "--seed", 5)[0] == 0
    assert (tmp_path / "a" / "manifest.json").stat().st_mtime_ns == stamp
    assert len(read_clips(tmp_path / "a")) == 24
    status, said = run("world", tmp_path / "a", "--clips", 24, "--seed", 6)
    assert status == 1 and "choose another DEST" in said


def test_a_missing_source_is_a_sentence_and_a_failure(tmp_path: Path) -> None:
    status, said = run("dexycb", tmp_path / "nowhere", tmp_path / "out")
    assert status == 1 and said.startswith("Error: ") and "nowhere" in said
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_store_is_a_sentence_and_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    status, said = run("world", "s3://bucket/world")
    assert status == 1 and "cannot be reached" in said


def test_the_command_line_is_frozen() -> None:
    assert isinstance(main, click.Group)
    surface = {name: [p.opts[0] for p in command.params] for name, command in main.commands.items()}
    foreign = ["source", "dest", "--workers"]
    assert surface == {
        "world": ["dest", "--clips", "--seed", "--hand-free"],
        **dict.fromkeys(("dexycb", "arctic", "ho3d", "fpha"), foreign),
        "latentact-release": [*foreign, "--part", "--settings", "--labels"],
        "holoassist": [
            *foreign, "--labels", "--hamer", "--sam2", "--inpainted", "--image-px", "--image-every",
        ],
    }  # fmt: skip
    status, said = run("--help")
    assert status == 0 and "python -m trainables.prepare world data/world" in said
