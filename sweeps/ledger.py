"""The append-only truth about trials: one object an event, named by its content, never rewritten.

    ledger/sweeps/<name>/plan.json                what the name stands for, written once
    ledger/sweeps/<name>/events/<sha256>.json     started (one an attempt), published
    ledger/trials/<identity>/<sha256>.json        finished, stopped, failed

What a trial came to lies under its identity, so that any sweep finds it; which trials belong to a
sweep lies under the sweep. MLflow and Optuna's study are views of this.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sweeps.plan import SweepError, describe_difference
from zoo.errors import Conflict
from zoo.store import Store, read_json, to_json

Status = Literal["unfinished", "finished", "stopped", "failed"]
# Enough to hide a store's latency, few enough not to crowd it.
_READERS = 16


@dataclass
class TrialRecord:
    """One trial of a sweep or of a comparison, as its events tell it.

    `params` holds what the plan's `config` needs besides the setting (codes, depth and seed in a sweep); `phase` is
    "search", "repeat" or "comparison"; `metrics` the last figures, `curve` the validation MPJPE (cm) after each
    predictor epoch, `checkpoint` the folder's URL, `stage_seconds` what the epochs of each stage took that this trial
    trained itself.
    """

    identity: str
    setting: str
    phase: str
    params: dict[str, Any]
    attempts: int = 0
    status: Status = "unfinished"
    epochs: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    checkpoint: str = ""
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    sweep: str = ""

    @property
    def mpjpe_cm(self) -> float:
        return self.metrics.get("mpjpe_cm", float("nan"))

    def has_ended(self, *, retry_failed: bool) -> bool:
        """Whether nothing is left to train; a failed trial is tried again where that is asked for."""
        return self.status in ("finished", "stopped") or (self.status == "failed" and not retry_failed)


class Ledger:
    """The events of one sweep, and of every trial that it shares with others."""

    def __init__(self, store: Store, sweep: str) -> None:
        self.store = store
        self.sweep = sweep
        self._home = f"ledger/sweeps/{sweep}"

    def plan(self, record: dict[str, Any]) -> None:
        """Claim the sweep's name for these settings, or find it claimed for the same.

        Raises SweepError when the name stands for others, and says in what they differ.
        """
        key = f"{self._home}/plan.json"
        try:
            self.store.put_if(key, to_json(record), None)
        except Conflict:
            differences = describe_difference(read_json(self.store, key), record)
            raise SweepError(
                f"A sweep named {self.sweep} exists with other settings: {'; '.join(differences)}. "
                "Give this one another --name, or repeat the command it was planned with."
            ) from None

    def started(self, identity: str, setting: str, phase: str, params: dict[str, Any], attempt: int) -> None:
        """From now on this trial belongs to the sweep; written before its training can begin."""
        self._add(
            f"{self._home}/events",
            event="started",
            identity=identity,
            setting=setting,
            phase=phase,
            params=params,
            attempt=attempt,
        )

    def ended(self, trial: TrialRecord) -> None:
        """What an attempt came to: `trial.status` is finished, stopped or failed."""
        self._add(
            f"ledger/trials/{trial.identity}",
            event=trial.status,
            sweep=self.sweep,
            identity=trial.identity,
            setting=trial.setting,
            params=trial.params,
            attempt=trial.attempts,
            epochs=trial.epochs,
            metrics=trial.metrics,
            curve=trial.curve,
            checkpoint=trial.checkpoint,
            seconds=round(trial.seconds, 3),
            stage_seconds=trial.stage_seconds,
            reason=trial.reason,
        )

    def published(self, setting: str, report: dict[str, Any]) -> None:
        """The setting's trials were assessed, and a sweep's best offered to the zoo; `report` says with what result."""
        self._add(f"{self._home}/events", event="published", setting=setting, report=report)

    def read(
        self, budget: Callable[[str, dict[str, Any]], int]
    ) -> tuple[dict[str, dict[str, TrialRecord]], dict[str, dict[str, Any]]]:
        """Fold the events: trials by setting and identity in order of their start, and reports by setting.

        A trial counts as finished when any sweep trained it for `budget(setting, params)` epochs or longer; a stop or
        a failure counts for the sweep that made it alone, and a failure only until the trial is started again.
        """
        settings: dict[str, dict[str, TrialRecord]] = {}
        reports: dict[str, dict[str, Any]] = {}
        for event in self._events(f"{self._home}/events/"):
            if event["event"] == "published":
                reports[event["setting"]] = event["report"]
                continue
            trials = settings.setdefault(event["setting"], {})
            trial = trials.setdefault(
                event["identity"],
                TrialRecord(event["identity"], event["setting"], event["phase"], event["params"]),
            )
            trial.attempts = max(trial.attempts, event["attempt"])
        every = [trial for trials in settings.values() for trial in trials.values()]
        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(lambda trial: self.settle(trial, budget(trial.setting, trial.params)), every))
        return settings, reports

    def settle(self, trial: TrialRecord, epochs: int) -> None:
        """Bring one record up to date with the events under its identity."""
        endings = self._events(f"ledger/trials/{trial.identity}/")
        finished = [e for e in endings if e["event"] == "finished" and e["epochs"] >= epochs]
        own = [e for e in endings if e["sweep"] == self.sweep]
        stopped = [e for e in own if e["event"] == "stopped"]
        failed = [e for e in own if e["event"] == "failed" and e["attempt"] >= trial.attempts]
        for ending in finished[:1] or stopped[:1] or failed[-1:]:
            trial.status = ending["event"]
            trial.epochs = ending["epochs"]
            trial.metrics = ending["metrics"]
            trial.curve = [(int(epoch), float(value)) for epoch, value in ending["curve"]]
            trial.checkpoint = ending["checkpoint"]
            trial.seconds = ending["seconds"]
            trial.stage_seconds = ending.get("stage_seconds", {})
            trial.reason = ending["reason"]
            trial.sweep = ending["sweep"]

    def _add(self, folder: str, **event: Any) -> None:
        body = to_json({**event, "at": datetime.now(UTC).isoformat()})
        self.store.put_if(f"{folder}/{hashlib.sha256(body).hexdigest()}.json", body, None)

    def _events(self, prefix: str) -> list[dict[str, Any]]:
        """Every event under a prefix, oldest first."""
        events = [read_json(self.store, key) for key in self.store.list(prefix)]
        return sorted(events, key=lambda event: event["at"])


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The entries that are finite numbers, which is what an event's metrics may hold."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
