"""What the job's log says while a sweep runs: a line at each change, and one every 15 seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sweeps.ledger import TrialRecord

_EVERY_S = 15.0


def describe(params: dict[str, Any]) -> str:
    """`codes=256 depth=2 seed=1`."""
    return " ".join(f"{name}={value}" for name, value in params.items())


@dataclass
class _Running:
    params: dict[str, Any]
    begun: float
    stage: str = "starting"


class Progress:
    """Counts the trials of a whole sweep and prints what changed, how far it is and what is left.

    `show_best` is for trials of which the best is looked for, and which can be compared by their figure at all.
    """

    def __init__(self, total: int, done: int, slots: int, *, show_best: bool = True) -> None:
        self._show_best = show_best
        self._total = total
        self._done = done
        self._slots = slots
        self._setting = ""
        self._best: TrialRecord | None = None
        self._running: dict[str, _Running] = {}
        self._durations_s: list[float] = []
        self._printed = 0.0

    def enter(self, setting: str, done: list[TrialRecord]) -> None:
        """A setting's trials begin; `done` are those that ended before."""
        self._setting = setting
        self._best = None
        for trial in done:
            self._compare(trial)

    def started(self, identity: str, params: dict[str, Any]) -> None:
        self._running[identity] = _Running(params, time.monotonic())
        self._print(f"started {describe(params)}")

    def reported(self, identity: str, metrics: dict[str, object]) -> None:
        figure = f" {metrics['mpjpe_cm']:.2f} cm" if "mpjpe_cm" in metrics else ""
        running = self._running.get(identity)
        if running is not None:
            running.stage = f"{metrics['stage']} {metrics['epoch']}/{metrics['epochs']}{figure}"
        self.tick()

    def ended(self, trial: TrialRecord) -> None:
        running = self._running.pop(trial.identity, None)
        if running is not None:
            self._durations_s.append(time.monotonic() - running.begun)
        self._done += 1
        self._compare(trial)
        result = trial.reason if trial.status == "failed" else f"{trial.mpjpe_cm:.2f} cm"
        after = "" if running is not None else " before, by another sweep or run"
        self._print(f"{trial.status}{after} {describe(trial.params)}: {result}")

    def tick(self) -> None:
        """Print where things stand when nothing has been printed for a while."""
        if time.monotonic() - self._printed >= _EVERY_S:
            self._print("")

    def _compare(self, trial: TrialRecord) -> None:
        if trial.status == "finished" and (self._best is None or trial.mpjpe_cm < self._best.mpjpe_cm):
            self._best = trial

    def _print(self, change: str) -> None:
        parts = [f"{self._done}/{self._total} done"]
        stages = [f"{describe(run.params)}: {run.stage}" for run in self._running.values()]
        if not stages and not change:
            change = "waiting for a place on the cluster"
        parts.append(f"{len(stages)} running" + (f" ({'; '.join(stages)})" if stages and not change else ""))
        if self._best is not None and self._show_best:
            parts.append(f"best {self._best.mpjpe_cm:.2f} cm ({describe(self._best.params)})")
        if self._durations_s:
            mean_s = sum(self._durations_s) / len(self._durations_s)
            spent_s = sum(min(time.monotonic() - run.begun, mean_s) for run in self._running.values())
            left_s = max(0.0, (self._total - self._done) * mean_s - spent_s) / self._slots
            parts.append(f"about {int(left_s) // 60}:{int(left_s) % 60:02d} left")
        print(f"[{self._setting}] {change + ' | ' if change else ''}{', '.join(parts)}", flush=True)
        self._printed = time.monotonic()
