"""What is seen of a sweep while it runs: a live table on a terminal, lines in a job's log, an object for others.

A log gets a line at each change and one every 15 seconds. All settings of a sweep run at once.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live

from sweeps.ledger import TrialRecord
from sweeps.live import can_draw, describe, log_line, picture, screen
from sweeps.prices import describe_cost
from sweeps.time_left import Pace, TimeLeft

_LINE_EVERY_S = 15.0
_PICTURE_EVERY_S = 0.25
# Lines that a watcher finds who looks in only now and then.
_KEPT_LINES = 50


@dataclass
class _Running:
    record: TrialRecord
    pace: Pace
    began_s: float  # Unix
    stage: str = "starting"
    epoch: int = 0
    epochs: int = 0
    mpjpe_cm: float | None = None


class Progress:
    """Counts the trials of a sweep and shows what changed, how far it is, what is spent and what is left.

    `totals` are the trials wanted by setting, `slots` (which may be set again) how many run at once, each on
    `workers` workers of `device` at `usd_per_hour`. `show_best` is for trials of which the best is looked for.
    `sweep` and `session` name the sweep and this driver of it. To be called from one thread; `live` from any.
    """

    def __init__(
        self,
        totals: dict[str, int],
        slots: int,
        *,
        show_best: bool = True,
        sweep: str = "",
        session: str = "",
        device: str = "cpu",
        workers: float = 1,
        usd_per_hour: float | None = None,
        console: Console | None = None,
    ) -> None:
        self.slots = slots
        self._show_best = show_best
        self._sweep, self._session = sweep, session
        self._device, self._workers, self._usd_per_hour = device, workers, usd_per_hour
        self._totals = dict(totals)
        self._ended: dict[str, set[str]] = {setting: set() for setting in totals}
        self._best: dict[str, TrialRecord] = {}
        self._running: dict[str, _Running] = {}
        self._time_left = TimeLeft()
        self._held_s: dict[str, float] = {}  # by identity, of trials that ended or were parked
        self._waiting = self._explained = ""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._said = 0
        self._shown = time.monotonic()
        self._state = "running"
        self._console = console or screen()
        self._picture: Live | None = None
        if can_draw(self._console):
            self._picture = Live(console=self._console, auto_refresh=False, transient=True)
            self._picture.start()

    @property
    def worker_seconds(self) -> float:
        """What the sweep's own trials have held of workers, in this run and, as far as they ended, in earlier ones."""
        now = time.monotonic()
        running_s = math.fsum(now - run.pace.since for run in list(self._running.values()))
        return (sum(self._held_s.values()) + running_s) * self._workers

    def enter(self, setting: str, ended: list[TrialRecord]) -> None:
        """A setting's trials begin; `ended` are those that ended before."""
        for trial in ended:
            self._count(trial)
            if trial.sweep == self._sweep:
                self._held_s[trial.identity] = trial.seconds
            if trial.status != "failed" and trial.seconds:
                self._time_left.took(setting, trial.seconds)

    def grow(self, setting: str, trials: int) -> None:
        """So many more are planned, such as repeats of the best."""
        self._totals[setting] += trials

    def started(self, record: TrialRecord) -> None:
        """A trial got its place; the same one again where it was cut off."""
        before = self._running.get(record.identity)
        pace = Pace(before.pace.since if before else time.monotonic())
        self._running[record.identity] = _Running(record, pace, record.began_s or time.time())
        self._ended[record.setting].discard(record.identity)
        self._waiting = self._explained = ""
        self._say(record.setting, f"started {'again ' if before else ''}{_name(record)}")

    def reported(self, record: TrialRecord, figures: dict[str, Any]) -> None:
        """An epoch of a running trial: its entry of the history."""
        run = self._running.get(record.identity)
        if run is not None:
            run.stage, run.epoch, run.epochs = figures["stage"], figures["epoch"], figures["epochs"]
            run.pace.reported(run.stage, run.epoch, run.epochs, figures.get("seconds", 0.0))
            value = figures.get("mpjpe_cm", math.nan)
            run.mpjpe_cm = value if math.isfinite(value) else None  # JSON has no other
        self.tick()

    def ended(self, record: TrialRecord) -> None:
        """A trial finished, was stopped, failed, or (still unfinished) was parked; perhaps long before, elsewhere."""
        run = self._running.pop(record.identity, None)
        if run is not None:
            held_s = time.monotonic() - run.pace.since
            # Earlier attempts count too, those of other runs by what they trained.
            before_s = self._held_s.get(record.identity, 0.0)
            self._held_s[record.identity] = max(before_s + held_s, record.seconds)
            if record.status in ("finished", "stopped"):
                self._time_left.took(record.setting, held_s)
        if record.status == "unfinished":
            stage = f" after {run.stage} {run.epoch}/{run.epochs}" if run and run.epochs else ""
            self._say(record.setting, f"parked {_name(record)}{stage}; the next run goes on from there")
            return
        self._count(record)
        result = record.reason if record.status == "failed" else f"{record.mpjpe_cm:.2f} cm"
        if record.reason and record.status != "failed":
            result += f" ({record.reason})"
        after = "" if run is not None else " before, by another sweep or run"
        self._say(record.setting, f"{record.status}{after} {_name(record)}: {result}")

    def waiting(self, reason: str) -> None:
        """Why no further trial starts, until one does; empty: nothing stands in the way."""
        self._waiting = reason
        if reason and reason != self._explained and not self._running:
            self._explained = reason
            self._say("", "")
        else:
            self.tick()

    def tick(self) -> None:
        """Show where things stand when nothing has been shown for a while."""
        quiet_s = time.monotonic() - self._shown
        if self._picture is not None:
            if quiet_s >= _PICTURE_EVERY_S:
                self._draw(self._picture)
        elif quiet_s >= _LINE_EVERY_S:
            self._say("", "")

    def close(self) -> None:
        """The sweep trains no more: take the picture down; `live` says so from now on."""
        self._state = "ended"
        if self._picture is not None:
            self._picture.stop()
            self._picture = None

    def live(self) -> dict[str, Any]:
        """All of it as JSON, for `sweeps.live` to keep and to draw; `left_s` is None while nobody can know."""
        runs = list(self._running.values())
        totals = {setting: max(n, len(self._ended[setting])) for setting, n in self._totals.items()}
        waiting = {setting: total - len(self._ended[setting]) for setting, total in totals.items()}
        for run in runs:
            waiting[run.record.setting] -= 1
        paces = [(run.record.setting, run.pace) for run in runs]
        return {
            "at_s": time.time(),
            "session": self._session,
            "state": self._state,
            "lines": list(self._lines),
            "lines_before": self._said - len(self._lines),
            "settings": {
                setting: {"done": len(self._ended[setting]), "total": total, "best": self._best_of(setting)}
                for setting, total in totals.items()
            },
            "done": sum(map(len, self._ended.values())),
            "total": sum(totals.values()),
            "running": [_entry(run) for run in runs],
            "waiting": self._waiting,
            "left_s": self._time_left.left_s(paces, waiting, self.slots),
            "spent": describe_cost(self.worker_seconds, self._device, self._usd_per_hour),
        }

    def _count(self, trial: TrialRecord) -> None:
        self._ended[trial.setting].add(trial.identity)
        best = self._best.get(trial.setting)
        counts = trial.status == "finished" and math.isfinite(trial.mpjpe_cm)
        if counts and (best is None or trial.mpjpe_cm < best.mpjpe_cm):
            self._best[trial.setting] = trial

    def _best_of(self, setting: str) -> dict[str, Any] | None:
        best = self._best.get(setting)
        if best is None or not self._show_best:
            return None
        return {"mpjpe_cm": best.mpjpe_cm, "params": best.params, "phase": best.phase}

    def _say(self, setting: str, change: str) -> None:
        """One line: what changed (nothing: what is running), and where the sweep stands; no `setting` means all."""
        line = log_line(self.live(), setting, change)
        self._said += 1
        self._lines.append(line)
        if self._picture is None:
            print(line, flush=True)
            self._shown = time.monotonic()
            return
        if change and not change.startswith("started"):  # what runs is in the picture
            self._console.print(f"[{setting}] {change}", markup=False, soft_wrap=True)
        self._draw(self._picture)

    def _draw(self, shown: Live) -> None:
        live = self.live()
        shown.update(picture(live, height=self._console.height), refresh=True)
        self._shown = time.monotonic()


def _name(record: TrialRecord) -> str:
    return describe(record.params, record.phase)


def _entry(run: _Running) -> dict[str, Any]:
    return {
        "identity": run.record.identity,
        "setting": run.record.setting,
        "phase": run.record.phase,
        "params": run.record.params,
        "stage": run.stage,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "mpjpe_cm": run.mpjpe_cm,
        "slot": run.record.slot,
        "began_s": run.began_s,
    }
