"""Searches of small spaces for tests, asked to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.point_search import PointSearch
from sweeps.points import Params
from sweeps.space import OBJECTIVES, Axis

CODES, DEPTH = Axis("codes", "int", 128, 1024, log=True), Axis("decoder_depth", "int", 1, 4)
DROPOUT = Axis("dropout", "float", 0.0, 0.5)
SMALL = (Axis("codes", "choice", choices=(128, 256, 512)), Axis("decoder_depth", "int", 1, 4))
ONE = (OBJECTIVES["mpjpe_cm"],)
TWO = (OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"])


def search(axes: tuple[Axis, ...] = (CODES, DEPTH), **changes: Any) -> PointSearch:
    settings: Params = {
        "method": "tpe",
        "objectives": ONE,
        "seed": 0,
        "trials": 6,
        "parallel": 1,
        "known": [],
        "unfinished": [],
    }
    return PointSearch(axes, **(settings | changes))


def run(searcher: PointSearch, figures: Callable[[Params], Params] | None = None) -> list[Params]:
    """Ask until there is no more, completing each trial at once; the points in their order."""
    points: list[Params] = []
    while (point := searcher.suggest(str(len(points)))) != Searcher.FINISHED:
        searcher.on_trial_complete(str(len(points)), figures(point) if figures else {"mpjpe_cm": 5.0})
        points.append(point)
        assert len(points) < 1000, "the search does not end"
    return points


def different(points: list[Params]) -> int:
    return len({tuple(point.values()) for point in points})


def told(searcher: PointSearch, state: TrialState) -> list[optuna.trial.FrozenTrial]:
    return searcher._study.get_trials(states=(state,))
