"""Optuna's studies made again from the ledger, for those who look at a search with Optuna's own tools.

python -m sweeps.ledger rebuild NAME --optuna sqlite:///study.db
optuna-dashboard sqlite:///study.db
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from sweeps.plan import Plan, SweepPlan
from sweeps.recorded_plan import plan_of
from sweeps.redacted import redacted
from sweeps.space import OBJECTIVES, Objective
from sweeps.trial_record import TrialRecord
from zoo.store import Store

_STATES = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unfinished": TrialState.RUNNING,
}
_OURS = "latentact.sweep"


def rebuild_study(store: Store, name: str, setting: str, storage_url: str) -> optuna.Study:
    """The study `<name> <setting>` in `storage_url` (sqlite:///study.db): every trial of one setting, as it is now.

    One that was made before is replaced. The seed, what a trial cost and where it ran are user attributes; validation
    MPJPE after each epoch is the intermediate value. Raises SweepError where there is no such sweep or setting, and where
    the storage has a study of this name that was not made here.
    """
    plan, settings = _read(store, name)
    if setting not in settings:
        raise SweepError(f"{name} has no trial of setting {setting}; it has some of {', '.join(settings)}.")
    trials = list(settings[setting].values())
    objectives = plan.objectives if isinstance(plan, SweepPlan) else (OBJECTIVES["mpjpe_cm"],)
    distributions = _distributions(plan.axes if isinstance(plan, SweepPlan) else (), trials)

    study_name = f"{name} {setting}"
    storage = optuna.storages.get_storage(storage_url)
    if study_name in optuna.get_all_study_names(storage):
        found = optuna.load_study(study_name=study_name, storage=storage)
        if found.user_attrs.get(_OURS) != name:
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
    for key, value in {_OURS: name, "setting": setting, "data_digest": plan.data_digest}.items():
        study.set_user_attr(key, value)
    study.add_trials([_trial(trial, objectives, distributions) for trial in trials])
    return study


def rebuild_studies(
    store: Store, names: Sequence[str], storage_url: str, *, log: Callable[[str], None] = print
) -> int:
    """The studies of all settings of the named sweeps, of all there are where none is named; returns how many failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    failed = 0
    for name in names or Ledger.names(store):
        try:
            for setting in _read(store, name)[1]:
                study = rebuild_study(store, name, setting, storage_url)
                log(f"study {study.study_name!r}: {len(study.get_trials(deepcopy=False))} trials")
        except SweepError as error:
            log(f"{name}: not made again: {error}")
            failed += 1
    return failed


def _read(store: Store, name: str) -> tuple[Plan, dict[str, dict[str, TrialRecord]]]:
    ledger = Ledger(store, name)
    record = ledger.plan_record()
    if record is None:
        raise SweepError(f"There is no sweep named {name} in {redacted(store.url)}.")
    plan = plan_of(name, record)
    return plan, ledger.read(plan.budget)[0]


def _distributions(axes: Sequence[Any], trials: Sequence[TrialRecord]) -> dict[str, BaseDistribution]:
    """The plan's axes, and every other field of the trials' params but the seed as a choice of what there was."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for field, value in trial.params.items():
            if field != "seed" and value not in seen.setdefault(field, []):
                seen[field].append(value)
    distributions: dict[str, BaseDistribution] = {}
    for axis in axes:
        # A range is written down in six digits: its ends may lie beyond them.
        values = [v for v in seen.pop(axis.field, []) if axis.kind != "choice"] + [axis.low, axis.high]
        low, high = min(values), max(values)
        if axis.kind == "choice":
            distributions[axis.field] = axis.distribution()
        elif axis.kind == "int":
            distributions[axis.field] = IntDistribution(int(low), int(high), log=axis.log)
        else:
            distributions[axis.field] = FloatDistribution(low, high, log=axis.log)
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
