"""Where a published model comes from, as its card tells it: code, seeds, hardware, cost, lineage.

All of it follows from the plan, the ledger and the candidate's one evaluation, so that it is the same however often it
is asked for: a bundle keeps its digest.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import Plan
from sweeps.report_sessions import worker_range
from trainables.code_digest import code_digest
from zoo.store import Store


def origin(
    plan: Plan,
    ledger: Ledger,
    store: Store,
    best: TrialRecord,
    trials: Sequence[TrialRecord],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """Fields of `zoo.model_card.FIELDS` about the making of `best`, one of the `trials` of its setting (JSON).

    `metrics` is what `sweeps.assess.examine` found.
    """
    trained_by = best.sweep or plan.name
    note = _session(ledger if trained_by == plan.name else Ledger(store, trained_by), best)
    alike = [t for t in trials if _same_but_seed(t, best) and t.status == "finished"]
    return {
        "seeds": {"model": best.params["seed"], "compared": sorted(t.params["seed"] for t in alike)},
        "code": {
            "package": _package(),
            "trainables": code_digest(),
            **{library: version for library, version in plan.environment if library != "code"},
        },
        "hardware": _hardware(plan, best, note, metrics),
        "training_cost": _cost(plan, best, trials, note),
        "test_reads": metrics.get("test_reads", 1),
        "sweep": plan.name,
        "trial": best.identity,
        **({"trained_by": trained_by} if trained_by != plan.name else {}),
        "codebook": best.codebook or "none",
    }


def _package() -> str:
    try:
        return importlib.metadata.version("latentact-zoo")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # run from a folder, as in a Ray job


def _session(ledger: Ledger, best: TrialRecord) -> Mapping[str, Any]:
    """The note of the session that trained it: the last one begun when it began."""
    notes = [note for note in ledger.notes() if note["kind"] == "session"]
    before = [note for note in notes if note["at_s"] <= best.began_s + 1.0]
    return next(iter((*before[-1:], *notes[:1])), {})


def _same_but_seed(trial: TrialRecord, best: TrialRecord) -> bool:
    return {**trial.params, "seed": None} == {**best.params, "seed": None}


def _hardware(
    plan: Plan, best: TrialRecord, note: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Trained on which device, with how many workers, in a cluster of how many nodes; named is the machine that
    evaluated it, which has the same kind of device.
    """
    found = {"device": note.get("device", "unknown"), "workers": plan.workers, "nodes": note.get("nodes")}
    memory_mb = [entry.get("system/gpu_0_memory_total_megabytes") for entry in best.history]
    if known := [value for value in memory_mb if value]:
        found["gpu_memory_gb"] = round(max(known) / 1000, 1)
    found["evaluated_on"] = metrics.get("hardware")
    return {name: value for name, value in found.items() if value is not None}


def _cost(
    plan: Plan, best: TrialRecord, trials: Sequence[TrialRecord], note: Mapping[str, Any]
) -> dict[str, Any]:
    """Seconds of each stage, hours of workers of this model and of all trials it was chosen among, and USD where a
    price was given. A codebook or an indexer that another trial trained counts as that trial's.
    """
    stages = {}
    for stage in ("codebook", "indexer", "predictor"):
        makers = [best, *(t for t in trials if stage == "codebook" and t.codebook == best.codebook)]
        known = [t.stage_seconds[stage] for t in makers if t.stage_seconds.get(stage)]
        if known:
            stages[stage] = _seconds(known[0])
    unit = "gpu_hours" if note.get("device") == "cuda" else "core_hours"
    searched = [t.seconds for t in trials if t.status in ("finished", "stopped", "failed")]
    hours = sum(stages.values()) / 3600
    found: dict[str, Any] = {
        "seconds": stages,
        unit: _of_workers(plan, hours),
        f"{unit}_of_search": _of_workers(plan, sum(map(_seconds, searched)) / 3600),
    }
    if note.get("usd_per_hour") is not None:
        found["usd"] = _of_workers(plan, hours * float(note["usd_per_hour"]), decimals=2)
    return found


def _seconds(value: float) -> float:
    """Rounded as the ledger rounds first, so that a trial that has just ended says what it says when it is read."""
    return round(round(value, 3), 1)


def _of_workers(plan: Plan, value: float, *, decimals: int = 4) -> float | list[float]:
    """What one worker takes, times their number; from least to most where Ray Train may grow and shrink a trial."""
    low, high = (round(value * workers, decimals) for workers in worker_range(plan.workers))
    return low if low == high else [low, high]
