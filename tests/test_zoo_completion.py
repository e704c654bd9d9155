"""Tab: what bash asks the `zoo` command, and what it is told; in real shells and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_zoo_catalogue import OBJECTS, OURS, TASKS, crown, fill

from zoo import completion
from zoo.cli import main
from zoo.store import open_store

REPOSITORY = Path(__file__).parents[1]
# What an interactive bash does at a tab, with the words cut as COMP_WORDBREAKS says.
TAB = """
eval "$(zoo completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_zoo_completion zoo
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A zoo of three names in a folder, and a `zoo` on the path."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "zoo"
    command.write_text(f"#!{sys.executable}\nfrom zoo.cli import main\nmain()\n")
    command.chmod(0o755)
    variables = {
        "LATENTACT_HOME": f"{tmp_path}/home",
        "LATENTACT_ZOO": f"file://{tmp_path}/zoo",
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    fill(open_store())
    yield {**os.environ, **variables}


def tab(environment: dict[str, str], words: str) -> list[str]:
    """What bash offers after these words, each of which is quoted where it needs to be."""
    result = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", TAB.format(words=words)],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not result.stderr, result.stderr
    return result.stdout.split()


def test_bash_completes_commands_and_models(environment: dict[str, str]) -> None:
    assert tab(environment, "zoo comp") == ["completion"]
    assert "--where" in tab(environment, "zoo ls --wh")
    assert tab(environment, "zoo diff latentact-w") == [OBJECTS, TASKS]
    assert tab(environment, "zoo show our") == [OURS]
    assert tab(environment, "zoo completion z") == ["zsh"]


@pytest.mark.parametrize(
    "command", ["show", "card", "pull", "promote", "predict", "rollback", "history", "ls", "verify", "export"]
)
def test_every_command_that_takes_a_model_completes_it(environment: dict[str, str], command: str) -> None:
    assert tab(environment, f"zoo {command} latentact-world-o") == [OBJECTS]


def test_bash_completes_what_comes_after_the_at_sign(environment: dict[str, str]) -> None:
    """bash cuts the word at @ and replaces the piece behind it alone."""
    assert tab(environment, f"zoo show {OBJECTS} @ ch") == ["champion"]
    assert tab(environment, f"zoo show {OBJECTS} @") == ["champion", "staging", "3", "2", "1"]
    assert tab(environment, f"zoo diff {OBJECTS} @ 1 {OBJECTS} @ 3") == ["3"]
    assert tab(environment, f"zoo diff {OBJECTS} @ 1 latentact-world-t") == [TASKS]
    # Where COMP_WORDBREAKS has no @ the word comes whole, and goes back whole.
    assert tab(environment, f"zoo show {OBJECTS}@st") == [f"{OBJECTS}@staging"]


def test_what_the_store_said_is_kept_for_a_while(environment: dict[str, str], tmp_path: Path) -> None:
    assert completion.references("latentact-world-") == [OBJECTS, TASKS]
    crown(open_store(), TASKS, 1)
    (tmp_path / "zoo").rename(tmp_path / "moved")
    assert completion.references("latentact-world-") == [OBJECTS, TASKS]  # not asked again
    (kept,) = (tmp_path / "home" / "completion").iterdir()
    old = time.time() - completion.FRESH_S - 1
    os.utime(kept, (old, old))
    assert completion.references("latentact-world-") == []  # asked again: it is gone
    kept.write_text("no JSON")
    (tmp_path / "moved").rename(tmp_path / "zoo")
    assert completion.references(f"{TASKS}@c") == [f"{TASKS}@champion"]
    assert completion.references("our") == [OURS]


def test_a_store_that_is_away_is_silent_and_old_answers_serve(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {
        **environment, "LATENTACT_ZOO": "s3://zoo", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
    }  # fmt: skip
    assert tab(away, "zoo show latentact") == []
    for key in ("LATENTACT_ZOO", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, away[key])
    kept = completion._path("names")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps([OBJECTS]))
    os.utime(kept, (0, 0))
    assert tab(away, "zoo show latentact") == [OBJECTS]
    assert tab({**environment, "LATENTACT_ZOO": "nonsense"}, "zoo show latentact") == []


def test_a_store_that_hangs_is_not_waited_for(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the connection and never answers: the shell is answered all the same."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        hanging = {
            **environment, "LATENTACT_ZOO": "s3://zoo", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
        }  # fmt: skip
        assert tab(hanging, "zoo show latentact") == []  # botocore alone would wait for 60 s, five times


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_one_that_click_gives(environment: dict[str, str], shell: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0 and "_ZOO_COMPLETE" in printed.output
    result = subprocess.run(
        ["zoo"],
        env={**environment, "_ZOO_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == printed.output.strip()
    asked = json.loads(CliRunner().invoke(main, ["completion", shell, "--json"]).output)
    assert asked == {"shell": shell, "script": printed.output.removesuffix("\n")}
