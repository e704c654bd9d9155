"""Which trials no other beats in everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from sweeps.ledger import TrialRecord
from sweeps.space import Objective

Losses = npt.NDArray[np.float64]


def losses(trials: Iterable[TrialRecord], objectives: Sequence[Objective]) -> Losses:
    """(N, M): the trials' figures, negated where more is better; nan where a trial has none."""
    rows = [
        [trial.metrics.get(o.metric, np.nan) * (-1 if o.mode == "max" else 1) for o in objectives]
        for trial in trials
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives))


def non_dominated(losses_NM: Losses) -> npt.NDArray[np.bool_]:
    """(N,): whether no other row is at least as good everywhere and better somewhere.

    Equal rows do not dominate each other, so all of them are on the front or none is. A row with nan is never on it and
    dominates nothing.
    """
    on_front_N = np.zeros(len(losses_NM), dtype=bool)
    complete_C = np.flatnonzero(~np.isnan(losses_NM).any(axis=1))
    rows, row_of_C = np.unique(losses_NM[complete_C], axis=0, return_inverse=True)
    on_front = np.zeros(len(rows), dtype=bool)
    left = np.arange(len(rows))
    while left.size:
        # In lexicographic order no later row can dominate an earlier one.
        first = left[0]
        on_front[first] = True
        left = left[(rows[left] < rows[first]).any(axis=1)]
    on_front_N[complete_C] = on_front[row_of_C]
    return on_front_N


def front(trials: Iterable[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """The trials on the Pareto front, in the order given; one without all figures is left out."""
    trials = list(trials)
    return [
        trial for trial, kept in zip(trials, non_dominated(losses(trials, objectives)), strict=True) if kept
    ]
