"""The Pareto front: exact, ties included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sweeps.ledger import TrialRecord
from sweeps.pareto import Losses, front, losses, non_dominated
from sweeps.space import OBJECTIVES


def by_definition(losses_NM: Losses) -> list[bool]:
    return [
        not np.isnan(row).any()
        and not any((other <= row).all() and (other < row).any() for other in losses_NM)
        for row in losses_NM
    ]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("values", [2, 4, 1000])
def test_the_front_is_what_its_definition_says(objectives: int, values: int) -> None:
    rng = np.random.default_rng(objectives * values)
    for count in (0, 1, 2, 7, 60):
        # Few different values make many ties and many equal rows.
        rows = rng.integers(values, size=(count, objectives)).astype(float)
        rows[rng.random(rows.shape) < 0.05] = np.nan
        rows[rng.random(rows.shape) < 0.02] = np.inf
        assert non_dominated(rows).tolist() == by_definition(rows)


def test_equal_trials_are_on_the_front_together() -> None:
    rows = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, 2.5]])
    assert non_dominated(rows).tolist() == [True, True, True, False, False]


def trial(identity: str, **metrics: float) -> TrialRecord:
    return TrialRecord(identity, "objects", "search", {}, status="finished", metrics=metrics)


def test_more_is_better_where_the_objective_says_so() -> None:
    trials = [
        trial("accurate", mpjpe_cm=5.0, contact_f1=0.6),
        trial("touching", mpjpe_cm=6.0, contact_f1=0.8),
        trial("neither", mpjpe_cm=6.0, contact_f1=0.7),
        trial("diverged", contact_f1=0.9),
    ]
    both: list[Any] = [OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"]]
    assert [t.identity for t in front(trials, both)] == ["accurate", "touching"]
    assert [t.identity for t in front(trials, both[:1])] == ["accurate"]
    assert front([], both) == []
    np.testing.assert_array_equal(losses(trials, both)[:2], [[5.0, -0.6], [6.0, -0.8]])
