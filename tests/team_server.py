"""A team's MLflow as its administrator runs it, `python -m cluster.team_server`, on real PostgreSQL and S3 servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.object_server import ObjectStore
from tests.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_HOST = "mlflow.lab.org"


class TeamServer:
    """The server of one folder and one database, at one port for good."""

    def __init__(self, folder: Path, postgres: PostgresServer, database: str, store: ObjectStore) -> None:
        self.folder, self.postgres, self.database = folder / "team", postgres, postgres.create(database)
        self.password_file = folder / "postgres_password"
        self.password_file.write_text(postgres.password + "\n")
        self.password_file.chmod(0o600)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PG"))}
        self._environment |= {**store.env, "HOME": str(folder), "PYTHONPATH": str(ROOT)}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str, fails: bool = False) -> str:
        """What the command prints, on either stream."""
        done = subprocess.run(
            [sys.executable, "-m", "cluster.team_server", "--folder", str(self.folder), *arguments],
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout

    def up(self, *more: str, fails: bool = False) -> str:
        return self.run(
            "up", "--database", self.database, "--password-file", str(self.password_file), "--artifacts", "s3://mlflow",
            "--port", str(self.port), "--allowed-host", ALLOWED_HOST, *more,
            fails=fails,
        )  # fmt: skip

    def again(self) -> str:
        """Start it with the options that it remembers."""
        return self.run("up")

    def user(self, name: str) -> dict[str, str]:
        """A new account; the environment of its clients."""
        lines = dict(line.split(" = ") for line in self.run("add-user", name).splitlines()[1:])
        return {variable.upper(): value for variable, value in lines.items()}

    @property
    def admin(self) -> tuple[str, str]:
        return "admin", (self.folder / "admin_password").read_text()

    @property
    def log(self) -> str:
        return "".join(file.read_text() for file in (self.folder / "logs").iterdir())

    def processes(self) -> list[psutil.Process]:
        state = json.loads((self.folder / "state.json").read_text())
        record = state["processes"].get("team-mlflow")
        if record is None or not psutil.pid_exists(record["pid"]):
            return []
        root = psutil.Process(record["pid"])
        return [root, *root.children(recursive=True)]

    def kill(self) -> None:
        """As a machine that is taken away: kill -9, workers and all."""
        processes = self.processes()
        os.killpg(processes[0].pid, signal.SIGKILL)
        psutil.wait_procs(processes, 30)


@contextmanager
def running_team(
    folder: Path, postgres: PostgresServer, database: str, store: ObjectStore, *options: str
) -> Iterator[TeamServer]:
    """Until the block ends; `options` are more ones of `up`."""
    team = TeamServer(folder, postgres, database, store)
    try:
        team.up(*options)
        yield team
    finally:
        with suppress(AssertionError):
            team.run("down")


@contextmanager
def environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """This process as a client with these variables, until the block ends."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
