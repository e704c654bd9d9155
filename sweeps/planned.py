"""The trials that a plan will want, as far as they can be told before its search has chosen them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from sweeps.comparison_plan import ComparisonPlan
from sweeps.ledger import TrialRecord
from sweeps.plan import Plan, SweepPlan
from sweeps.points import Params, Points
from sweeps.selection import next_seeds


def planned_trials(plan: Plan, trials: Iterable[TrialRecord]) -> list[tuple[str, Params]]:
    """Phase and params of every trial of one setting, those of its records `trials` among them.

    What a search will choose is not known, unless it tries the whole space: points spread evenly over the space stand
    for it, and the first of them for the finalists that are repeated.
    """
    if isinstance(plan, ComparisonPlan):
        return [("comparison", params) for params in plan.points()]
    assert isinstance(plan, SweepPlan)
    trials = list(trials)
    began = [trial for trial in trials if trial.phase == "search"]
    chosen = [trial.params for trial in began]
    fresh = (point for params in _points(plan) if (point := {**params, "seed": plan.seed}) not in chosen)
    chosen += itertools.islice(fresh, max(0, plan.trials_of() - len(chosen)))

    # Whatever has not ended is taken to end well, behind what has.
    records = [trial for trial in trials if trial.status in ("finished", "stopped", "failed")]
    ended = [trial.params for trial in records]
    records += [_made_up("search", params, n) for n, params in enumerate(chosen) if params not in ended]
    while repeats := next_seeds(records, seeds=plan.seeds, finalists=plan.finalists, first_seed=plan.seed):
        records += [_made_up("repeat", params, len(records)) for params in repeats]
    again = [trial.params for trial in records if trial.phase == "repeat"]
    return [*(("search", params) for params in chosen), *(("repeat", params) for params in again)]


def is_known(plan: Plan, trials: Iterable[TrialRecord]) -> bool:
    """Whether `planned_trials` gives the very points of the search, and none that stand for them."""
    if not isinstance(plan, SweepPlan) or sum(t.phase == "search" for t in trials) >= plan.trials_of():
        return True
    size = Points(plan.axes, plan.seed).size
    return size is not None and size <= plan.trials


def _points(plan: SweepPlan) -> Iterator[Params]:
    """Points of the space, each once, spread out first."""
    points = Points(plan.axes, plan.seed)
    spread = [] if plan.search == "grid" else points.spread(plan.trials_of())
    rest: Iterable[Params] = points.grid() if points.size is not None else ()
    seen = set()
    for params in itertools.chain(spread, rest):
        if (key := points.key(params)) not in seen:
            seen.add(key)
            yield params


def _made_up(phase: str, params: Params, place: int) -> TrialRecord:
    record = TrialRecord(f"planned-{phase}-{place}", "", phase, params)
    record.status, record.metrics = "finished", {"mpjpe_cm": 1e6 + place}
    return record
