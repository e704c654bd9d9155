"""What earlier sweeps found where a search would look: its model begins with that instead of points at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np

from sweeps.ledger import Ledger, TrialRecord
from sweeps.ledger_pages import READERS
from sweeps.plan import SweepPlan
from sweeps.points import Params, Points
from sweeps.useful_points import Ended, Values, most_useful
from trainables.trial_config import TrialConfig
from zoo.store import Store

# As many as a model gains from; more make it slower.
HINTS = 200

_DEFAULTS = {field.name: field.default for field in fields(TrialConfig)}


def hints(store: Store, plan: SweepPlan, setting: str) -> Ended:
    """Points of the plan's space and their values, one an objective and a mean over seeds; at most HINTS, the latest last.

    They are those of finished trials of all other sweeps that had the same data, setting, budget and every field that
    the plan does not search. The code may have been another: that is good enough for a model to begin with, and none
    of it is a result of this sweep.
    """
    points = Points(plan.axes, plan.seed)
    found: dict[Any, tuple[Params, list[Values]]] = {}
    trials = _finished(store, plan, setting)
    for _, params, values in sorted(trials, key=lambda trial: trial[0]):
        # Last in the order of the latest.
        key = points.key(params)
        found[key] = (params, [*found.pop(key, (params, []))[1], values])
    means = [(params, tuple(map(float, np.mean(values, axis=0)))) for params, values in found.values()]
    return most_useful(means, plan.objectives, HINTS)


def _finished(store: Store, plan: SweepPlan, setting: str) -> Iterator[tuple[float, Params, Values]]:
    """When each fitting trial ended (Unix time, s), its point and its values; a trial that sweeps share comes once."""
    names = [name for name in Ledger.names(store) if name != plan.name]
    with ThreadPoolExecutor(READERS) as pool:
        records = list(pool.map(lambda name: Ledger(store, name).plan_record(), names))
    seen = set()
    for name, record in zip(names, records, strict=True):
        if record is None or not _is_alike(plan, record, setting):
            continue
        settings, _ = Ledger(store, name).read(lambda *_: plan.epochs)
        for trial in settings.get(setting, {}).values():
            if trial.status != "finished" or trial.identity in seen:
                continue
            seen.add(trial.identity)
            params = _point(plan, record, trial)
            values = tuple(trial.metrics.get(o.metric, np.nan) for o in plan.objectives)
            if params is not None and np.isfinite(values).all():
                yield trial.ended_s, params, values


def _is_alike(plan: SweepPlan, record: Mapping[str, Any], setting: str) -> bool:
    """Whether another sweep asked about the same setting of the same data; comparisons have no space."""
    return (
        "space" in record
        and record["data_digest"] == plan.data_digest
        and setting in record["split"].split(",")
        and record["epochs"] == plan.epochs
    )


def _point(plan: SweepPlan, record: Mapping[str, Any], trial: TrialRecord) -> Params | None:
    """Where in the plan's space a trial of another sweep lies; None where it lies outside, or differs in another field."""
    theirs = {field: {**record, **trial.params}.get(field, default) for field, default in _DEFAULTS.items()}
    ours = {**_DEFAULTS, **dict(plan.fixed), "protocol": plan.protocol, "epochs": plan.epochs}
    params = {axis.field: theirs.pop(axis.field) for axis in plan.axes}
    if any(theirs[field] != ours[field] for field in theirs if field not in ("setting", "seed")):
        return None
    return params if all(axis.contains(params[axis.field]) for axis in plan.axes) else None
