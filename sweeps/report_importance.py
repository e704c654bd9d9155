"""Which searched fields matter: fANOVA over the finished configurations of a setting.

Hutter, Hoos, Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014: a random forest is
fitted to the figures, and a field's importance is the share of the forest's variance that it explains alone, averaged over
all others. Optuna's evaluator needs scikit-learn, which MLflow brings.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from sweeps.report_view import Point, SweepView
from sweeps.report_words import metric_name
from sweeps.space import Axis

# With fewer a forest has nothing to learn from; with more it learns no better and takes minutes.
LEAST, MOST = 8, 300
_TREES = 32


def importance(view: SweepView, setting: str, metric: str = "mpjpe_cm") -> dict[str, float]:
    """Field -> share of the explained variance, largest first; empty where there is too little to judge by."""
    points = _comparable(view, setting, metric)
    points = points[:: max(1, math.ceil(len(points) / MOST))]
    axes = [a for a in view.axes if len({p.params.get(a.field) for p in points}) > 1]
    if len(points) < LEAST or len(axes) < 2 or len({p.mean(metric) for p in points}) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    codes = {axis.field: _code(axis, [p.params[axis.field] for p in points]) for axis in axes}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(min(code.values()), max(code.values()))
        for name, code in codes.items()
    }
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: code[point.params[name]] for name, code in codes.items()},
                distributions=distributions,
                value=point.mean(metric),
            )
            for point in points
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    shares = {name: float(value) for name, value in found.items()}
    return shares if all(map(math.isfinite, shares.values())) else {}


def why_not(view: SweepView, setting: str, metric: str = "mpjpe_cm") -> str:
    """Why there is no importance, in a sentence."""
    points = _comparable(view, setting, metric)
    if len(view.axes) < 2:
        return "One field alone was searched: it is all that can matter."
    if len(points) < LEAST:
        return f"{len(points)} finished configurations are too few: importance needs {LEAST} with {metric_name(metric)}."
    return f"No importance: the finished configurations do not differ in two fields and in {metric_name(metric)}."


def _comparable(view: SweepView, setting: str, metric: str) -> list[Point]:
    return [point for point in view.points[setting] if math.isfinite(point.mean(metric))]


def _code(axis: Axis, values: list[Any]) -> dict[Any, float]:
    """Values as the search sees them: fANOVA averages over equal steps of what it is given, so a choice becomes its place
    and a range searched by magnitude its logarithm."""
    if axis.kind == "choice":
        places = [*axis.choices, *(v for v in dict.fromkeys(values) if v not in axis.choices)]
        return {value: float(places.index(value)) for value in values}
    return {value: math.log(value) if axis.log and value > 0 else float(value) for value in values}
