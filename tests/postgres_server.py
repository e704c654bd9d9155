"""A real PostgreSQL server on 127.0.0.1 for tests and benchmarks, asking for passwords (SCRAM); it can be killed, and
started again. Not run as root, which PostgreSQL refuses: as the user `postgres` then.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START_S = 120.0


def programs() -> Path | None:
    """The folder of `initdb`: Debian keeps the server's programs off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


needs_postgres = pytest.mark.skipif(
    programs() is None and not os.environ.get("CI"),
    reason="PostgreSQL is not installed: apt install postgresql",
)


class PostgresServer:
    """The server of one folder, at one port for good. The role `mlflow` may make databases; each has a password."""

    superuser, user = "owner", "mlflow"
    password = "of-this-run-alone:\\'%40"  # with every character that some file or URL gives a meaning

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None, "PostgreSQL is not installed: apt install postgresql"
        self.programs, self.folder = found, folder
        self._as_user: dict[str, int | str] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self._as_user = {"user": entry.pw_uid, "group": entry.pw_gid}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Without the password."""
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        password = self.folder / "superuser_password"
        password.write_text(self.password)
        password.chmod(0o644)
        self._run("initdb", "--pgdata", str(self.folder / "data"), "--username", self.superuser,
                  "--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8",
                  "--locale", "C.UTF-8")  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it takes a password."""
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", "",
                 "-c", "listen_addresses=127.0.0.1", "-c", "log_statement=all"],
                stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as_user,  # type: ignore[arg-type]
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self._answers():
            words = (self.folder / "log").read_text()[-2000:]
            assert self._process.poll() is None and time.monotonic() < deadline, words
            time.sleep(0.1)

    def execute(self, statement: str, database: str = "postgres") -> str:
        """What psql prints, as the superuser."""
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.superuser, "-d", database,
                         "-v", "ON_ERROR_STOP=1", "-Atc", statement)  # fmt: skip

    def create(self, database: str) -> str:
        """An empty database of the role `mlflow`; its URL."""
        self.execute(f"create database {database} owner {self.user}")
        return self.url(database)

    def kill(self) -> None:
        """As a machine that is taken away: kill -9, all of it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # ends connections, writes down what is left
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def _answers(self) -> bool:
        try:
            self.execute("select 1")
        except AssertionError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self.programs / program, *arguments], capture_output=True, text=True, cwd="/", timeout=120,
            env={"PGPASSWORD": self.password, "PATH": os.environ["PATH"]}, check=False, **self._as_user,  # type: ignore[arg-type]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Until the block ends; its data lies in a folder of the system's temporary one, which the user `postgres` may enter."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.initialise()
        try:
            server.start()
            quoted = server.password.replace("'", "''")
            server.execute(f"create role {server.user} login createdb password '{quoted}'")
            yield server
        finally:
            server.stop()
