"""What earlier sweeps say about a new one's space: a beginning for its search, and never a result of it."""

from __future__ import annotations

import statistics
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import params_key
from zoo.store import Store

# As many of the best, and no more, so that reading and telling them stays a matter of seconds.
_MOST = 200
# Fields of a plan's record in which an earlier one may differ: how it searched, and the code and torch it ran with.
_FREE = {
    *(
        "kind",
        "space",
        "search",
        "objectives",
        "stopping",
        "trials",
        "finalists",
        "seeds",
        "seed",
        "split",
        "workers",
    ),
    *("code", "torch"),
}


def hints(store: Store, plan: SweepPlan, setting: str) -> list[tuple[dict[str, Any], tuple[float, ...]]]:
    """Points of the plan's space with their figures (one an objective, means over seeds), best first.

    They come from sweeps of this store on the same data with the same protocol, budget and fixed fields, whatever version
    of the code trained them: good enough to begin with, and not reported.
    """
    found: dict[str, list[TrialRecord]] = {}
    ours = _bound(plan.record(), plan)
    for name in Ledger.names(store):
        ledger = Ledger(store, name)
        record = ledger.plan_record()
        if name == plan.name or record is None or _bound(record, plan) != ours:
            continue
        if setting not in record["split"].split(","):
            continue
        epochs = record["epochs"]
        trials = ledger.read(lambda _setting, _params, epochs=epochs: epochs)[0].get(setting, {})
        for trial in trials.values():
            if trial.status == "finished" and trial.phase != "comparison" and _fits(plan, trial):
                found.setdefault(params_key(_point(plan, trial)), []).append(trial)
    points = [
        (
            _point(plan, trials[0]),
            tuple(statistics.fmean(t.metrics[o.metric] for t in trials) for o in plan.objectives),
        )
        for trials in found.values()
    ]
    return sorted(points, key=lambda point: point[1][0])[:_MOST]


def _bound(record: dict[str, Any], plan: SweepPlan) -> dict[str, Any]:
    """What an earlier plan must agree in; a field that is searched now may have been fixed then."""
    searched = {axis.field for axis in plan.axes}
    return {key: value for key, value in record.items() if key not in _FREE | searched}


def _fits(plan: SweepPlan, trial: TrialRecord) -> bool:
    """Whether the trial is a point of the space, and has a figure for every objective."""
    known = all(axis.field in trial.params and axis.contains(trial.params[axis.field]) for axis in plan.axes)
    others = trial.params.keys() - {axis.field for axis in plan.axes} - {"seed"}
    return known and not others and all(o.metric in trial.metrics for o in plan.objectives)


def _point(plan: SweepPlan, trial: TrialRecord) -> dict[str, Any]:
    return {axis.field: trial.params[axis.field] for axis in plan.axes}
