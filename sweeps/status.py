"""Where sweeps stand, read from the ledger: what `ls`, `status` and their `--json` tell."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from sweeps.capacity import Workers
from sweeps.drivers import Driver, driver_of
from sweeps.errors import SweepError
from sweeps.ledger import Ledger, TrialRecord
from sweeps.prices import usd_per_hour
from zoo.store import Store

STATUSES = ("finished", "stopped", "failed", "unfinished")
# Sweeps that are read at once; each reads its pages in parallel too.
_SWEEPS = 4


@dataclass(frozen=True)
class SweepState:
    """One sweep or comparison: `record` is its plan as the ledger keeps it, `trials` its records by setting."""

    name: str
    record: dict[str, Any]
    trials: dict[str, list[TrialRecord]]
    reports: dict[str, dict[str, Any]]
    notes: list[dict[str, Any]]
    driver: Driver

    @property
    def kind(self) -> str:
        """Such as "codebook-size"; empty where neither the plan says so nor a name that was made from it."""
        made, found, _ = self.name.partition(f"-{self.record['data']}-")
        return str(self.record.get("kind") or (made if found else ""))

    @property
    def every(self) -> list[TrialRecord]:
        return [trial for trials in self.trials.values() for trial in trials]

    def counts(self) -> dict[str, int]:
        """Trials by status."""
        found: Counter[str] = Counter(trial.status for trial in self.every)
        return {status: found[status] for status in STATUSES}

    def best(self) -> dict[str, TrialRecord]:
        """The best finished trial of each setting that has one."""
        finished = {setting: filter(_is_result, trials) for setting, trials in self.trials.items()}
        best = {
            setting: min(trials, key=lambda t: t.mpjpe_cm, default=None)
            for setting, trials in finished.items()
        }
        return {setting: trial for setting, trial in best.items() if trial is not None}

    def last_s(self) -> float:
        """Unix time of the last that was heard of it; 0 where nothing was."""
        own = [trial.ended_s for trial in self.every if trial.sweep == self.name]
        live = [self.driver.live["at_s"]] if self.driver.live else []
        return max([*own, *(note["at_s"] for note in self.notes), *live], default=0.0)

    def session(self) -> dict[str, Any]:
        """What the last driver noted of its cluster; empty where none did."""
        return next((note for note in reversed(self.notes) if note["kind"] == "session"), {})

    def price(self) -> float | None:
        """USD an hour of a worker: the last driver's, else this shell's."""
        noted = self.session().get("usd_per_hour")
        return usd_per_hour(None) if noted is None else float(noted)

    def worker_seconds(self, *, own: bool) -> float:
        """What the ended trials took: those that this sweep trained, or those that it had from others."""
        seconds = [trial.seconds for trial in self.every if (trial.sweep == self.name) == own]
        return Workers.parse(str(self.record["workers"])).least * math.fsum(seconds)

    def stop_reason(self) -> str:
        """Why its last driver stopped before the end; empty where it did not, or somebody has gone on since."""
        last: dict[str, Any] = next(
            (note for note in reversed(self.notes) if note["kind"] in ("session", "stop")), {}
        )
        return str(last.get("reason", "")) if last.get("kind") == "stop" else ""


def rank(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Finished ones best first, then the others by how far they came."""
    return sorted(
        trials,
        key=lambda t: (STATUSES.index(t.status), t.mpjpe_cm if _is_result(t) else math.inf, -t.epochs),
    )


def _is_result(trial: TrialRecord) -> bool:
    return trial.status == "finished" and math.isfinite(trial.mpjpe_cm)


def read_sweep(store: Store, name: str) -> SweepState:
    """One sweep in depth. Raises SweepError for a name that the store does not know, with those that look like it."""
    return _read(store, name, require(store, name))


def _read(store: Store, name: str, record: dict[str, Any]) -> SweepState:
    ledger = Ledger(store, name)
    # A comparison gives some contenders more epochs than that, but to know how many takes all that training imports.
    settings, reports = ledger.read(lambda setting, params: int(record["epochs"]))
    trials = {setting: list(settings.get(setting, {}).values()) for setting in record["split"].split(",")}
    return SweepState(name, record, trials, reports, ledger.notes(), driver_of(store, name))


def require(store: Store, name: str) -> dict[str, Any]:
    """The plan's record of a sweep that there is; raises SweepError as `read_sweep` does."""
    record = Ledger(store, name).plan_record()
    if record is None:
        raise SweepError(_unknown(store, name))
    return record


def read_sweeps(store: Store, pattern: str) -> list[SweepState]:
    """Every sweep whose name matches the wildcard, the one last heard of first."""
    names = [name for name in Ledger.names(store) if fnmatch.fnmatchcase(name, pattern)]
    with ThreadPoolExecutor(_SWEEPS) as pool:
        states = list(pool.map(lambda name: _read_if_planned(store, name), names))
    return sorted((s for s in states if s is not None), key=lambda s: (-s.last_s(), s.name))


def _read_if_planned(store: Store, name: str) -> SweepState | None:
    record = Ledger(store, name).plan_record()
    return None if record is None else _read(store, name, record)


def _unknown(store: Store, name: str) -> str:
    names = Ledger.names(store)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or [n for n in names if name in n][:3]
    if near:
        return f"There is no sweep {name} in {store.url}. Did you mean {', '.join(near)}?"
    if not names:
        return f"There is no sweep {name} in {store.url}, nor any other: is that the store you mean ($LATENTACT_ZOO)?"
    return f"There is no sweep {name} in {store.url}; `python -m sweeps ls` shows the {len(names)} there are."


def _iso(unix_s: float) -> str | None:
    """`2026-11-24T16:10:00+00:00`; None for a time that is not known."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds") if unix_s else None


def facts(state: SweepState, *, trials: bool) -> dict[str, Any]:
    """A sweep as JSON; with `trials` every one of them too."""
    told: dict[str, Any] = {
        "name": state.name,
        "kind": state.kind,
        "data": state.record["data"],
        "data_digest": state.record["data_digest"],
        "settings": list(state.trials),
        "trials": state.counts(),
        "best": {
            setting: {"mpjpe_cm": trial.mpjpe_cm, "params": trial.params, "identity": trial.identity}
            for setting, trial in state.best().items()
        },
        "last_event": _iso(state.last_s()),
        "driver": state.driver.state,
        "holder": state.driver.holder,
    }
    if not trials:
        return told
    return told | {
        "plan": state.record,
        "stop_reason": state.stop_reason(),
        "worker_seconds": state.worker_seconds(own=True),
        "usd_per_hour": state.price(),
        "live": state.driver.live if state.driver.state != "none" else None,
        "reports": state.reports,
        "by_setting": {
            setting: [_trial_facts(trial) for trial in rank(records)]
            for setting, records in state.trials.items()
        },
    }


def _trial_facts(trial: TrialRecord) -> dict[str, Any]:
    names = ("identity", "phase", "params", "status", "attempts", "epochs", "metrics", "checkpoint", "seconds",
             "stage_seconds", "codebook", "slot", "reason", "sweep")  # fmt: skip
    told = {name: getattr(trial, name) for name in names}
    return told | {"began": _iso(trial.began_s), "ended": _iso(trial.ended_s)}
