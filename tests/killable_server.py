"""Servers that a test found running, to be killed with all that they started, and started again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

_HEAD_RUNS_S = 170.0


class Server:
    """A program found running, which can be killed with all that it started, and started again by the same command."""

    def __init__(self, name: str, folder: Path, *, environment: dict[str, str] | None = None) -> None:
        """The youngest child of this process whose program is `name`; `environment` is added when it starts again."""
        children = psutil.Process().children()
        found = [p for p in children if name in [Path(word).name for word in p.cmdline()[:2]]]
        self.process: Any = max(found, key=lambda p: p.create_time())
        self._command, self._cwd = self.process.cmdline(), self.process.cwd()
        self._environment = self.process.environ() | (environment or {})
        self._folder, self._starts = folder, 0

    @property
    def log(self) -> Path:
        return self._folder / f"{self._starts}.log"

    def kill(self) -> None:
        for _ in range(2):  # what was being started meanwhile
            kill_all([*self.process.children(recursive=True), self.process] if self.is_alive() else [])

    def start(self) -> None:
        self._starts += 1
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                self._command, env=self._environment, cwd=self._cwd, stdout=log, stderr=log
            )

    def is_alive(self) -> bool:
        return bool(self.process.is_running()) and self.process.status() != psutil.STATUS_ZOMBIE


class RayHead(Server):
    """The head of a Ray cluster, which says when it runs."""

    def start(self) -> None:
        """Until it runs: on a busy machine a head gives up when it has waited for itself too long."""
        super().start()
        deadline = time.monotonic() + _HEAD_RUNS_S
        while "Ray runtime started" not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            if not self.is_alive():
                self.process.wait()
                super().start()
            time.sleep(0.2)


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, 30)
