"""One driver of a plan without its cluster: ledger, claims, recorder and search are real, a test trains by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sweeps import search as searches
from sweeps.claims import Claims
from sweeps.halt import Halt
from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.recorder import Recorder
from sweeps.search import Started, SweepSearch
from sweeps.tracking import Tracking
from sweeps.wishes import Candidate, ListWishes, SearchWishes, Wishes
from trainables.trial_config import stage_identities, trial_identity
from zoo.store import open_store

WHERE = {"workers": "1", "device": "cpu"}


class Places:
    """So many slots, without workers behind them."""

    def __init__(self, count: int) -> None:
        self.count, self.busy = count, set[str]()
        self.told: list[tuple[str, str, str]] = []  # slot, identity, stop or park
        self.learnt: list[tuple[float, float]] = []

    def take(self) -> str | None:
        free = [f"{n}" for n in range(self.count) if f"driver-{n}" not in self.busy]
        if not free:
            return None
        self.busy.add(f"driver-{free[0]}")
        return f"driver-{free[0]}"

    def give_back(self, slot: str) -> None:
        self.busy.remove(slot)

    def end(self, slot: str, identity: str, how: str) -> None:
        self.told.append((slot, identity, how))

    def learn(self, gpu_bytes: float, peak_bytes: float) -> None:
        self.learnt.append((gpu_bytes, peak_bytes))


class Driver:
    """Between `driving(...)` and its end; `shelf` are the stages (kind, identity) that somebody has trained."""

    def __init__(
        self, plan: Plan, folder: Path, claims: Claims, *, slots: int, shelf: set[tuple[str, str]]
    ) -> None:
        self.plan, self.claims, self.shelf = plan, claims, shelf
        self.store = open_store(f"file://{folder}")
        self.ledger = Ledger(self.store, plan.name, claims.holder)
        self.places = Places(slots)
        self.settings: dict[str, dict[str, TrialRecord]] = self.ledger.read(plan.budget)[0]
        self.stop_reason = ""
        self.halt = Halt(lambda: False, lambda: self.stop_reason or None)
        self.progress = Progress({setting: 9 for setting in plan.settings}, slots)
        self.recorder = Recorder(
            plan, self.ledger, self.progress, Tracking(None, plan, {}), self.settings, self.places, self.halt,  # type: ignore[arg-type]
            self.identity, self.stages,
        )  # fmt: skip
        self.waited: list[str] = []

    def identity(self, setting: str, params: dict[str, Any]) -> str:
        return trial_identity(self.plan.config(setting, **params), self.plan.data_digest, **WHERE)

    def stages(self, candidate: Candidate) -> dict[str, str]:
        config = self.plan.config(candidate.setting, **candidate.params)
        return stage_identities(config, self.plan.data_digest, **WHERE)

    def search(self, *wishes: Wishes) -> SweepSearch:
        self.recorder.search = SweepSearch(
            wishes,
            self.places,  # type: ignore[arg-type]
            self.claims,
            announce=self.recorder.announce,
            settle=self.recorder.settle,
            job=self._job,
            stages=self.stages,
            shelved=lambda stage, identity: (stage, identity) in self.shelf,
            halted=lambda: bool(self.halt.reason),
            waiting=self.waited.append,
        )
        return self.recorder.search

    def listed(self, setting: str, *params: dict[str, Any]) -> ListWishes:
        return ListWishes(setting, "search", params)

    def searched(self, setting: str) -> SearchWishes:
        trials = self.settings.setdefault(setting, {})
        return SearchWishes(
            self.plan, setting, trials, retry_failed=False, parallel=1, hints=[], grown=lambda more: None
        )

    def _job(self, started: Started) -> dict[str, Any]:
        record = started.record
        config = self.plan.config(record.setting, **record.params).to_json()
        return {
            "identity": record.identity,
            "setting": record.setting,
            "phase": record.phase,
            "config": config,
        }

    def start(self) -> Any:
        """The next trial as Tune has it, begun; None where none can start now, "finished" where none ever will."""
        assert self.recorder.search is not None
        config = self.recorder.search.suggest("of Tune")
        if not isinstance(config, dict):
            return "finished" if config == SweepSearch.FINISHED else None
        trial = SimpleNamespace(config=config, evaluated_params={}, last_result={}, error_file=None)
        self.recorder.on_trial_start(0, [], trial)  # type: ignore[arg-type]
        return trial

    def record(self, trial: Any) -> TrialRecord:
        return self.settings[trial.config["setting"]][trial.config["identity"]]

    def report(
        self, trial: Any, stage: str, epoch: int = 1, epochs: int = 1, checkpoint: str = "", **more: Any
    ) -> None:
        """An epoch, as the trial's desk passes it on to Tune; in between all stages before it end."""
        before = trial.last_result
        entry = {
            "stage": stage,
            "epoch": epoch,
            "epochs": epochs,
            "loss": 1.0,
            "seconds": 0.5,
            "at_s": 1.0,
            **more,
        }
        result: dict[str, Any] = {
            "figures": entry,
            "history": [entry],
            "history_from": len(self.record(trial).history),
            "trial_seconds": before.get("trial_seconds", 0.0) + 1.0,
            "stage_seconds": before.get("stage_seconds", {}) | {stage: 0.5 * epoch},
        }
        kept = {
            name: before[name] for name in ("best", "predictor_epoch", "curve", "mpjpe_cm") if name in before
        }
        if "mpjpe_cm" in more:
            best = min((entry, *([before["best"]] if "best" in before else [])), key=lambda e: e["mpjpe_cm"])
            curve = [*before.get("curve", []), [epoch, more["mpjpe_cm"]]]
            kept = {"best": best, "predictor_epoch": epoch, "curve": curve, **best}
        if checkpoint:
            result["checkpoint"] = checkpoint
        trial.last_result = {**kept, **result}
        self.recorder.on_trial_result(0, [], trial, dict(trial.last_result))  # which it empties

    def complete(self, trial: Any, **outcome: Any) -> None:
        """The trial ends by itself, or with `failure` and `kind`."""
        last = {k: v for k, v in trial.last_result.items() if k not in ("history", "history_from")}
        trial.last_result = {**last, **outcome, "ended": True, "done": True}
        self.recorder.on_trial_result(0, [], trial, dict(trial.last_result))  # which it empties
        self.recorder.on_trial_complete(0, [], trial)

    def stop(self, trial: Any) -> None:
        """Tune stops it, as a stopper or `halt` wants."""
        trial.last_result["done"] = True
        self.recorder.on_trial_complete(0, [], trial)

    def finish(self, trial: Any, mpjpe_cm: float = 5.0) -> TrialRecord:
        """Train it to its end, its codebook and indexer first where it has to."""
        record = self.record(trial)
        config = self.plan.config(record.setting, **record.params)
        for stage in config.stages[:-1]:
            self.report(trial, stage)
        self.shelf |= set(self.stages(Candidate(record.setting, record.phase, record.params)).items())
        for epoch in range(1, config.epochs + 1):
            self.report(trial, "predictor", epoch, config.epochs, mpjpe_cm=mpjpe_cm)
        self.complete(trial)
        return record

    def ledgers(self) -> dict[str, TrialRecord]:
        """All trials as a later run of the command finds them."""
        settings = Ledger(self.store, self.plan.name).read(self.plan.budget)[0]
        return {identity: trial for trials in settings.values() for identity, trial in trials.items()}


@contextmanager
def driving(
    plan: Plan,
    folder: Path,
    *,
    name: str = "driver",
    slots: int = 1,
    shelf: set[tuple[str, str]] | None = None,
) -> Iterator[Driver]:
    """A driver that looks at others' claims as often as it is asked, until the block ends."""
    before, searches._LOOK_EVERY_S = searches._LOOK_EVERY_S, 0.0
    try:
        with Claims(open_store(f"file://{folder}"), name, beat_s=0.1, dead_after_s=20.0) as claims:
            yield Driver(plan, folder, claims, slots=slots, shelf=set() if shelf is None else shelf)
    finally:
        searches._LOOK_EVERY_S = before
