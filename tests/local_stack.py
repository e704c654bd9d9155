"""The one-machine stack, started by its own command for a test: a folder, ports, and the processes that are its."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cluster.environment import tool_environment
from cluster.ports import Ports, check_free
from cluster.state import StackError, StackFolder

ROOT = Path(__file__).resolve().parents[1]


def free_base() -> int:
    """A port base whose ports are all free now."""
    for base in range(22000, 22700, 40):
        ports = Ports(base)
        try:
            for server in ("object-store", "mlflow", "ray"):
                check_free(server, ports.of_server(server))
            return base
        except StackError:
            continue
    pytest.fail("no free ports")


def cluster_local(command: str, home: Path, base: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m cluster.local COMMAND` for the stack in `home`."""
    environment = bare_environment() | {"LATENTACT_HOME": str(home), "LATENTACT_PORT_BASE": str(base)}
    return subprocess.run(
        [sys.executable, "-m", "cluster.local", command],
        cwd=ROOT,
        env=environment | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )


def bare_environment() -> dict[str, str]:
    """This process's environment without what would lead to another store, cluster or MLflow."""
    others = ("RAY_", "AWS_", "MLFLOW_", "LATENTACT_")
    return {key: value for key, value in os.environ.items() if not key.startswith(others)}


@dataclass(frozen=True)
class LocalStack:
    """A running stack; `environment` is what its stack.env sets."""

    home: Path
    ports: Ports
    environment: dict[str, str]

    def members(self) -> dict[int, psutil.Process]:
        """Its processes by their pid."""
        return members(self.home)

    def run(self, *command: str | Path, cwd: Path = ROOT, timeout_s: float = 300) -> str:
        """Output of a command that is connected to the stack; fails the test where the command fails."""
        result = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=bare_environment() | self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-6000:]}{result.stderr[-3000:]}"
        return result.stdout


@contextmanager
def running_stack(home: Path, **variables: str) -> Iterator[LocalStack]:
    """Start one in `home` with more `variables` in its starter's environment; ended on leaving."""
    base = free_base()
    try:
        result = cluster_local("up", home, base, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        yield LocalStack(home, Ports(base), tool_environment(StackFolder(home), Ports(base)) | variables)
    finally:
        cluster_local("down", home, base)


def members(home: Path) -> dict[int, psutil.Process]:
    """The running processes of the stack in `home`, by pid: those that carry its mark, and all that they started.

    Ray's agents and workers take a title, which overwrites where the mark could be read.
    """
    stack_id = json.loads((home / "state.json").read_text())["stack_id"]
    found = {}
    for candidate in psutil.process_iter():
        try:
            if candidate.environ().get("LATENTACT_STACK_MEMBER", "").startswith(stack_id):
                found |= {
                    process.pid: process for process in (candidate, *candidate.children(recursive=True))
                }
        except (psutil.Error, OSError):  # another user's, or gone
            continue
    return found
