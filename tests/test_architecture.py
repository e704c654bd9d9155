"""The rooms and the directions between them, held by reading every import of every file."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("trainables", "zoo", "sweeps", "cluster")
TOP_LEVEL = {*ROOMS, "tests", "docs"}
LONGEST_FILE = 350

FORBIDDEN = {
    "trainables": {"mlflow", "optuna", "boto3", "botocore", "zoo", "sweeps", "cluster", "tests", "ray"},
    "zoo": {"ray", "optuna", "sweeps", "cluster", "tests"},
    "sweeps": {"cluster", "tests"},
    "cluster": {"trainables", "zoo", "sweeps", "tests"},
}
# The two adapters: training, and the parallel executor of the importers, which must not load Ray Train.
ALLOWED = {("trainables/ray_train.py", "ray"), ("trainables/ray_map.py", "ray")}
# Only inside functions: what lists and pulls models must not wait for torch.
LAZY = {"zoo": {"trainables", "torch"}}
UNPICKLING_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNPICKLING_NAMES = {"load", "loads", "Unpickler"}


@dataclass(frozen=True)
class Import:
    module: str  # dotted; the first part is a room or a package
    names: tuple[str, ...]  # of `from module import names`
    line: int
    lazy: bool  # inside a function, or for type checkers alone


def imports(tree: ast.AST, room: str, *, lazy: bool = False) -> Iterator[Import]:
    """Every import below `tree`: statements, and `import_module` or `__import__` of a literal name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [room if node.level else None, node.module]))
            yield Import(module, tuple(alias.name for alias in node.names), node.lineno, lazy)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).split(".")[-1]
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield Import(node.args[0].value, (), node.lineno, lazy)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        yield from imports(node, room, lazy=lazy or inner or typing_only)


def unpicklings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every call that may run code hidden in data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in UNPICKLING_MODULES:
            taken = UNPICKLING_NAMES & {alias.name for alias in node.names}
            yield from ((node.lineno, f"from {node.module} import {name}") for name in sorted(taken))
        if not isinstance(node, ast.Call):
            continue
        *owner, name = ast.unparse(node.func).split(".")
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if owner and owner[-1] in UNPICKLING_MODULES and name in UNPICKLING_NAMES:
            yield node.lineno, f"{owner[-1]}.{name}"
        if owner == ["torch"] and name == "load" and keywords.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        if keywords.get("allow_pickle", "False") != "False":
            yield node.lineno, "allow_pickle"
        if name == "read_pickle":
            yield node.lineno, "read_pickle"


def violations(root: Path) -> list[str]:
    """What breaks the architecture below `root`, one line each; rooms that do not exist break nothing."""
    found: list[str] = []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            name, text = path.relative_to(root).as_posix(), path.read_text()
            tree = ast.parse(text, filename=name)
            if (lines := len(text.splitlines())) > LONGEST_FILE:
                found.append(f"{name}: {lines} lines; split it, {LONGEST_FILE} is the limit")
            for statement in imports(tree, room):
                package = statement.module.split(".")[0]
                if package in FORBIDDEN[room] and (name, package) not in ALLOWED:
                    found.append(f"{name}:{statement.line}: {room} must not import {package}")
                if package in LAZY.get(room, ()) and not statement.lazy:
                    found.append(
                        f"{name}:{statement.line}: {room} may import {package} only inside a function"
                    )
            found += [f"{name}:{line}: {what}: data must not run code" for line, what in unpicklings(tree)]
    return found


def test_rooms_keep_their_directions() -> None:
    assert violations(ROOT) == []


def test_test_files_are_not_overlong() -> None:
    for path in sorted((ROOT / "tests").glob("*.py")):
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, f"split {path.name}"


def test_top_level_folders_are_the_rooms() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which folders belong to the project is not known")
    folders = {name.split("/")[0] for name in listed.stdout.split("\0") if "/" in name}
    assert {folder for folder in folders if not folder.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("trainables/a.py", "import mlflow.pytorch", "trainables must not import mlflow"),
        ("trainables/a.py", "def f():\n    from ray import train", "trainables must not import ray"),
        ("trainables/deep/a.py", "from zoo.store import Store", "trainables must not import zoo"),
        ("trainables/a.py", "import importlib\nimportlib.import_module('optuna')", "must not import optuna"),
        ("trainables/ray_train.py", "import ray\nimport boto3", "trainables must not import boto3"),
        ("zoo/a.py", "if True:\n    import optuna", "zoo must not import optuna"),
        ("zoo/a.py", "import torch", "zoo may import torch only inside a function"),
        (
            "zoo/a.py",
            "class A:\n    from trainables import latentact",
            "zoo may import trainables only inside",
        ),
        ("sweeps/a.py", "from cluster.local import up", "sweeps must not import cluster"),
        (
            "cluster/a.py",
            "try:\n    import zoo\nexcept ImportError:\n    pass",
            "cluster must not import zoo",
        ),
        ("zoo/a.py", "import pickle\npickle.load(open('x', 'rb'))", "pickle.load: data must not run code"),
        ("zoo/a.py", "from pickle import loads", "from pickle import"),
        ("trainables/a.py", "import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("trainables/a.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle"),
        ("trainables/a.py", "x = 1\n" * 351, "351 lines"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(source)
    found = violations(tmp_path)
    assert len(found) == 1 and complaint in found[0], found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("trainables/ray_train.py", "import ray"),
        ("trainables/a.py", "from . import windows\nfrom .clips import Clips\nimport torch, numpy, pyarrow"),
        (
            "zoo/a.py",
            "import mlflow, boto3\ndef load():\n    import torch\n    from trainables import latentact",
        ),
        ("zoo/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("sweeps/a.py", "import ray, optuna, mlflow, trainables, zoo"),
        ("trainables/a.py", "import torch\ntorch.load('x', weights_only=True)"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, source: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(source)
    assert violations(tmp_path) == []
