"""Other people's linters, where they are installed: hadolint for Dockerfiles, compose-spec for Compose files and
kubernetes-validate for what Kubernetes itself defines (`make install` brings these), shellcheck for shell scripts (which
has no wheel for every platform here: `apt install shellcheck`, `brew install shellcheck`).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.check_finding import Finding, Sheet

_PROGRAMS = ("hadolint", "shellcheck")


def missing(name: str) -> bool:
    """Whether a linter is not installed."""
    if name in _PROGRAMS:
        return _program(name) is None
    return importlib.util.find_spec(name.replace("-", "_")) is None


def hadolint(path: Path, sheet: Sheet) -> Iterator[Finding]:
    for found in _run("hadolint", "--no-fail", "--format", "json", str(path)):
        yield _line(sheet, found["line"], found["code"], found["message"], found["level"])


def shellcheck(path: Path, sheet: Sheet) -> Iterator[Finding]:
    for found in _run("shellcheck", "--format", "json", str(path)):
        yield _line(sheet, found["line"], f"SC{found['code']}", found["message"], found["level"])


def compose_spec(tree: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    """The first thing that is not as the Compose specification wants it."""
    if missing("compose-spec"):
        return
    from compose_spec import PyCompose

    try:
        # Written out once more, for it knows no merge keys.
        PyCompose.from_yaml(yaml.safe_dump(tree)).validate()
    except ValueError as error:
        field, _, problem = str(error).rpartition(": ")
        yield sheet.error(
            field or "top level", problem.split(" at line ")[0], "see the Compose specification"
        )


def kubernetes(resource: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    """What Kubernetes' own schema says of one resource, unknown fields included."""
    if missing("kubernetes-validate"):
        return
    import kubernetes_validate

    try:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join([field, *(str(part) for part in error.absolute_path)])
        yield sheet.error(where, str(error.message)[:200], "see Kubernetes' API reference")
    except kubernetes_validate.SchemaNotFoundError:
        problem = f"Kubernetes knows no {resource.get('kind')} of {resource.get('apiVersion')}"
        yield sheet.error(field, problem, "a kind and an apiVersion that go together")


def _line(sheet: Sheet, line: int, code: str, message: str, level: str) -> Finding:
    report = sheet.error if level in ("error", "warning") else sheet.warning
    return report(f"line {line}", message, f"see {code}")


def _program(name: str) -> str | None:
    """Beside this Python, where wheels put programs, or on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def _run(name: str, *arguments: str) -> list[dict[str, Any]]:
    program = _program(name)
    if program is None:
        return []
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    if not result.stdout.strip():
        raise RuntimeError(f"{name} failed: {result.stderr.strip()[-500:]}")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
