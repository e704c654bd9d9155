"""The `zoo` command as a user meets it: in processes of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

from zoo import settings
from zoo.cli import main

OBJECTS = "latentact-world-objects"
REPOSITORY = Path(__file__).parents[1]


def command(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m zoo` in a fresh process, with nothing in its environment but what is given."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "LATENTACT_", "MLFLOW_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "zoo", *args],
        env={**clean, **env},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty zoo in a folder, set in this process's environment."""
    for key, value in {
        "LATENTACT_HOME": f"{tmp_path}/home",
        "LATENTACT_ZOO": f"file://{tmp_path}/zoo",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def zoo(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == code, result.output
    return result.output


def test_from_publish_to_pull(files: Path) -> None:
    folder = str(write_bundle(files / "bundle"))
    assert f"{OBJECTS}@1" in zoo("publish", folder, OBJECTS, "--tag", "trial=7")
    assert "is 'champion'" in zoo("promote", f"{OBJECTS}@1")
    assert "champion=1" in zoo("ls") and OBJECTS in zoo("ls", "latentact-world-*")
    (entry,) = json.loads(zoo("ls", "--json"))
    assert entry["aliases"] == {"champion": 1}
    assert (Path(zoo("pull", OBJECTS).strip()) / "model.safetensors").is_file()
    assert Path(json.loads(zoo("pull", OBJECTS, "--json"))["folder"]).is_dir()
    assert f"# {OBJECTS}" in zoo("card", OBJECTS)
    assert "trial = 7" in zoo("show", OBJECTS)
    assert json.loads(zoo("show", OBJECTS, "--json"))["config"]["model"]["window"] == 30


def test_errors_are_one_sentence_and_exit_code_1(files: Path) -> None:
    folder = write_bundle(files / "bundle")
    zoo("publish", str(folder), OBJECTS)
    assert f"Did you mean {OBJECTS}" in zoo("pull", "latentact-word-objects", code=1)
    assert "is not a model name" in zoo("pull", "resnet50", code=1)
    assert "There is no folder" in zoo("publish", str(files / "nowhere"), OBJECTS, code=1)
    (folder / "optimizer.pt").write_bytes(pickle.dumps({}))
    assert "stores no pickles" in zoo("publish", str(folder), OBJECTS, code=1)
    assert "No MLflow is configured" in zoo("registry", "rebuild", code=1)
    assert "say which version" in zoo("promote", OBJECTS, code=2)
    assert "not KEY=VALUE" in zoo("publish", str(folder), OBJECTS, "--tag", "x", code=2)
    for option in ("--contact-point", "--last-contact-point"):  # found out before a model is pulled
        said = zoo("predict", OBJECTS, "--text", "lift", option, "1,2", code=2)
        assert "not X,Y,Z" in said and f"'{option}'" in said


def test_wrong_s3_key(object_store, tmp_path: Path) -> None:
    wrong = {**object_store.env, "AWS_SECRET_ACCESS_KEY": "wrong", "LATENTACT_HOME": str(tmp_path)}
    result = command("ls", **wrong)
    assert result.returncode == 1 and "refuses the credentials" in result.stderr
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


def test_the_local_stack_is_found_without_any_variable(object_store, tmp_path: Path) -> None:
    lines = [f"{key}={value!r}\n" for key, value in object_store.env.items()]
    (tmp_path / "stack.env").write_text("# written by the stack\n" + "".join(lines))
    result = command("ls", "latentact-none-*", LATENTACT_HOME=str(tmp_path))
    assert result.returncode == 0 and "No model matches" in result.stderr
    stopped = command(
        "ls", LATENTACT_HOME=str(tmp_path), AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="x"
    )
    assert stopped.returncode == 1 and "python -m cluster.local up" in stopped.stderr


def test_the_stack_file_gives_way_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "LATENTACT_ZOO"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path))
    (tmp_path / "stack.env").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:1\nAWS_ACCESS_KEY_ID='a b'\n")
    assert settings.environment()["AWS_ACCESS_KEY_ID"] == "a b" and settings.zoo_url() == "s3://zoo"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    assert settings.environment()["AWS_ACCESS_KEY_ID"] == "mine"
    monkeypatch.setenv("LATENTACT_ZOO", "s3://elsewhere")
    assert "AWS_ENDPOINT_URL" not in settings.environment()


def test_listing_with_conditions(files: Path) -> None:
    said = zoo("ls")
    assert f"The zoo at file://{files}/zoo is empty: publish a model with `zoo publish FOLDER NAME`" in said
    for setting, team in (("objects", "ours"), ("tasks", "theirs")):
        folder = write_bundle(files / setting, setting=setting)
        zoo("publish", str(folder), f"latentact-world-{setting}", "--tag", f"team={team}")
    assert [line.split()[0] for line in zoo("ls").splitlines()] == ["NAME", OBJECTS, "latentact-world-tasks"]
    assert [e["name"] for e in json.loads(zoo("ls", "--where", "tag.team=ours", "--json"))] == [OBJECTS]
    chosen = zoo("ls", "--where", "val_mpjpe_cm<9", "--sort=-name", "--limit", "1")
    assert [line.split()[0] for line in chosen.splitlines()] == ["NAME", "latentact-world-tasks"]
    assert "No model matches '*' and the conditions" in zoo("ls", "--where", "tag.team=nobody")
    assert "Did you mean val_mpjpe_cm" in zoo("ls", "--where", "val_mpjpe<9", code=1)
    listed = json.loads(zoo("ls", OBJECTS, "--versions", "--json"))
    assert [(version["version"], version["tags"]) for version in listed] == [(1, {"team": "ours"})]
    assert f"{OBJECTS}@1" in zoo("ls", "--versions")


def test_a_card_has_its_metadata_apart(files: Path) -> None:
    zoo("publish", str(write_bundle(files / "bundle")), OBJECTS)
    printed = json.loads(zoo("card", f"{OBJECTS}@1", "--json"))
    assert printed["metadata"]["setting"] == "objects" and printed["text"].startswith(f"# {OBJECTS}")


def test_a_table_fits_a_terminal_and_is_whole_in_a_pipe(files: Path) -> None:
    long = "somebody_else/latentact-codebook-a_data_set_with_a_long_name-objects"
    zoo("publish", str(write_bundle(files / "bundle", data="a_data_set_with_a_long_name")), long)
    environment = {key: os.environ[key] for key in ("LATENTACT_HOME", "LATENTACT_ZOO")}
    piped = command("ls", **environment).stdout
    assert long in piped and "\x1b" not in piped
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shell = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.run(
        [sys.executable, "-m", "zoo", "ls"], stdout=theirs, cwd=REPOSITORY, env=shell | {"TERM": "xterm"}, check=True
    )  # fmt: skip
    assert process.returncode == 0
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "\x1b[" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert len(lines) >= 3 and max(map(len, lines)) <= 80, lines
    assert "".join(line[:40].split(" ")[0] for line in lines[1:]) == long  # folded, not cut
