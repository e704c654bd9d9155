"""What MLflow is to show of a sweep, as the sweep puts it down and the writing thread takes it up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sweeps.mlflow_runs import SweepRuns
from sweeps.trial_record import TrialRecord


@dataclass
class ShownSetting:
    """A parent run; its files named in `unwritten` are not there yet."""

    summary: tuple[dict[str, float], dict[str, str]] | None = None
    is_summarised: bool = False
    files: dict[str, str] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)


@dataclass
class ShownTrial:
    """A trial that runs, or has ended and is not closed in MLflow; of its epochs `told`, so many are `written`."""

    record: TrialRecord
    config: dict[str, Any]
    told: list[dict[str, Any]] = field(default_factory=list)
    written: int = 0
    ended: TrialRecord | None = None


@dataclass
class Question:
    """Something to be looked up in MLflow."""

    ask: Callable[[SweepRuns], str | None]
    answer: str | None = None
    is_answered: bool = False


class Shown:
    """What MLflow is to show of a sweep; to be changed within `change` alone, and read under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.settings: dict[str, ShownSetting] = {}
        self.trials: dict[str, ShownTrial] = {}
        # By identity; the records belong to the driver. All that ended since this sweep went on, and those of them and
        # of before whose runs may lack something.
        self.ended: dict[str, TrialRecord] = {}
        self.owed: dict[str, TrialRecord] = {}
        self.questions: list[Question] = []
        self.changes = self.written = 0
        self.is_closing = False
        self.failures = 0  # in a row
        self.refused = 0

    @property
    def is_lost(self) -> bool:
        return self.failures > 1

    @contextmanager
    def change(self) -> Iterator[Shown]:
        with self.lock:
            yield self
            self.changes += 1
            self.lock.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        with self.lock:
            self.lock.wait_for(condition, timeout_s)
