"""Servers of a test that can be killed with all that they started, and started again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil


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


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, 30)
