"""A real MLflow server on 127.0.0.1 for tests: SQLite in a folder; it can be killed, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class MlflowServer:
    """The server of one folder, at one address for good; its artefacts lie at `artifacts`, or in the folder."""

    def __init__(
        self, folder: Path, artifacts: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._artifacts, self._environment = artifacts or str(folder / "artifacts"), environment or {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                 "--artifacts-destination", self._artifacts, "--host", "127.0.0.1",
                 "--port", str(self.port), "--workers", "1"],
                env={**own, **self._environment, **QUIET}, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                words = (self.folder / "log").read_text()[-2000:]
                assert self._process.poll() is None and time.monotonic() < deadline, words
            time.sleep(0.1)

    def kill(self) -> None:
        """As a machine that is taken away: kill -9, workers and all."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def delete_database(self) -> None:
        for file in self.folder.glob("mlflow.db*"):
            file.unlink()


@contextmanager
def running_mlflow(
    folder: Path, artifacts: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[MlflowServer]:
    """Until the block ends; the server is given `environment` beside this process's own."""
    server = MlflowServer(folder, artifacts, environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()
