"""A digest of the code that a trial's result depends on: other code, other identity.

That is what training imports from this folder, and the predictors that it is compared with; an importer that is mended
changes the data, whose own digest says so, and no trial.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
ENTRIES = ("trial", "ray_train", "retrieval", "trivial")


@functools.cache
def code_digest() -> str:
    """sha256 (hex) over the sources that ENTRIES import from this folder, directly or not, inside functions too."""
    digest = hashlib.sha256()
    for name in imported_files(FOLDER, ENTRIES):
        digest.update(name.encode() + b"\0" + (FOLDER / f"{name}.py").read_bytes() + b"\0")
    return digest.hexdigest()


def imported_files(folder: Path, entries: tuple[str, ...]) -> list[str]:
    """Names of the modules of `folder` that `entries` import, themselves included, sorted."""
    found, left = set(), list(entries)
    while left:
        name = left.pop()
        if name in found or not (folder / f"{name}.py").is_file():
            continue
        found.add(name)
        left += _imports(ast.parse((folder / f"{name}.py").read_text()), folder.name)
    return sorted(found)


def _imports(tree: ast.AST, package: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name.split(".")[1] for name in names if name.startswith(f"{package}.")]
