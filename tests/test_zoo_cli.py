"""The `zoo` command as a user meets it: in processes of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
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
    assert zoo("card", OBJECTS).startswith("# latentact")
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
    assert "No MLflow is configured" in zoo("register", OBJECTS, code=1)
    assert "say which version" in zoo("promote", OBJECTS, code=2)
    assert "not KEY=VALUE" in zoo("publish", str(folder), OBJECTS, "--tag", "x", code=2)
    for option in ("--contact-point", "--last-contact-point"):  # found out before a model is pulled
        said = zoo("predict", OBJECTS, "--text", "lift", option, "1,2", code=2)
        assert "not X,Y,Z" in said and f"value for {option}" in said


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


@pytest.mark.parametrize(
    "code", ["import zoo", "import zoo; zoo.ls()", "import zoo.cli; zoo.cli.main(['ls'])", "help"]
)
def test_looking_around_is_cheap(files: Path, code: str) -> None:
    """None of these may pay for torch or mlflow."""
    if code == "help":
        code = "import zoo.cli; zoo.cli.main(['--help'])"
    script = f"""
import sys
try:
    {code}
except SystemExit as exit:
    assert not exit.code
assert not {{"torch", "mlflow", "ray", "trainables", "scipy", "pandas"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=120, capture_output=True
    )
