"""Optuna's studies made again from the ledger, for those who look at a search with Optuna's own tools.

python -m sweeps.ledger rebuild NAME --optuna sqlite:///study.db
optuna-dashboard sqlite:///study.db
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from sweeps.plan import Plan, SweepPlan
from sweeps.recorded_plan import plan_of
from sweeps.redacted import redacted
from sweeps.space import OBJECTIVES, Axis, Objective
from sweeps.status import require
from sweeps.trial_record import TrialRecord
from zoo.store import Store

_STATES = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unfinished": TrialState.RUNNING,
}
_OURS = "latentact.sweep"


def rebuild(store: Store, name: str, storage_url: str) -> list[optuna.Study]:
    """The study `<name> <setting>` of each setting in `storage_url` (sqlite:///study.db): its trials, as they are now.

    One that was made before is replaced. The seed, what a trial cost and where it ran are user attributes; validation
    MPJPE after each epoch is the intermediate value. Raises SweepError where there is no such sweep, and where the
    storage has a study of such a name that was not made here.
    """
    plan = plan_of(name, require(store, name))
    settings, _ = Ledger(store, name).read(plan.budget)
    return [_make(plan, setting, list(trials.values()), storage_url) for setting, trials in settings.items()]


def _make(plan: Plan, setting: str, trials: Sequence[TrialRecord], storage_url: str) -> optuna.Study:
    objectives = plan.objectives if isinstance(plan, SweepPlan) else (OBJECTIVES["mpjpe_cm"],)
    distributions = _distributions(plan.axes if isinstance(plan, SweepPlan) else (), trials)

    study_name = f"{plan.name} {setting}"
    storage = optuna.storages.get_storage(storage_url)
    if study_name in optuna.get_all_study_names(storage):
        found = optuna.load_study(study_name=study_name, storage=storage)
        if found.user_attrs.get(_OURS) != plan.name:
            raise SweepError(f"The storage has another study named {study_name!r}; give another one.")
        optuna.delete_study(study_name=study_name, storage=storage)
    directions = [
        StudyDirection.MAXIMIZE if objective.mode == "max" else StudyDirection.MINIMIZE
        for objective in objectives
    ]
    study = optuna.create_study(study_name=study_name, storage=storage, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in objectives])
    for key, value in {_OURS: plan.name, "setting": setting, "data_digest": plan.data_digest}.items():
        study.set_user_attr(key, value)
    study.add_trials([_trial(trial, objectives, distributions) for trial in trials])
    return study


def rebuild_all(
    store: Store, names: Sequence[str], storage_url: str, *, log: Callable[[str], None] = print
) -> int:
    """`rebuild` of the named sweeps, of all there are where none is named; returns how many could not be made."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    failed = 0
    for name in names or Ledger.names(store):
        try:
            for study in rebuild(store, name, storage_url):
                log(f"study {study.study_name!r}: {len(study.get_trials(deepcopy=False))} trials")
        except SweepError as error:
            log(f"{name}: not made again: {redacted(str(error))}")
            failed += 1
    return failed


def _distributions(axes: Sequence[Axis], trials: Sequence[TrialRecord]) -> dict[str, BaseDistribution]:
    """The plan's axes, and every other field of the trials' params but the seed as a choice of what there was."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for field, value in trial.params.items():
            if field != "seed" and value not in seen.setdefault(field, []):
                seen[field].append(value)
    distributions: dict[str, BaseDistribution] = {}
    for axis in axes:
        values = seen.pop(axis.field, [])
        if axis.kind != "choice":
            # A range is written down in six digits: its ends may lie beyond them.
            values += [axis.low, axis.high]
            axis = replace(axis, low=min(values), high=max(values))
        distributions[axis.field] = axis.distribution()
    return distributions | {field: CategoricalDistribution(values) for field, values in seen.items()}


def _trial(
    trial: TrialRecord, objectives: Sequence[Objective], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    params = {field: value for field, value in trial.params.items() if field in distributions}
    values = [trial.metrics.get(objective.metric, math.nan) for objective in objectives]
    state = _STATES[trial.status]
    if state == TrialState.COMPLETE and not all(map(math.isfinite, values)):
        state = TrialState.FAIL
    facts = {
        "identity": trial.identity,
        "phase": trial.phase,
        "seed": trial.params.get("seed"),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "slot": trial.slot,
        "codebook": trial.codebook,
        "reason": redacted(trial.reason),
        **{f"best_{name}": value for name, value in trial.metrics.items()},
    }
    made = create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE else None,
        params=params,
        distributions={field: distributions[field] for field in params},
        intermediate_values={epoch: value for epoch, value in trial.curve if math.isfinite(value)},
        user_attrs={key: value for key, value in facts.items() if value not in (None, "")},
    )
    if trial.began_s:
        made.datetime_start = datetime.fromtimestamp(trial.began_s)
    if made.datetime_complete is not None and trial.ended_s:
        made.datetime_complete = datetime.fromtimestamp(trial.ended_s)
    return made
