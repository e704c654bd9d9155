"""What a model needs of a long history: the best points and the latest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeps.points import Params
from sweeps.space import Objective

Values = tuple[float, ...]  # one an objective
Ended = list[tuple[Params, Values]]


def most_useful(ended: Ended, objectives: Sequence[Objective], count: int) -> Ended:
    """`count` of the points, in their order: the latest half, and of the others the best.

    Best is what the fewest others dominate, which for one objective is the rank (Fonseca and Fleming 1993).
    """
    if len(ended) <= count:
        return ended
    earlier = len(ended) - count // 2
    signs = [1.0 if objective.mode == "min" else -1.0 for objective in objectives]
    losses_PO = np.array([values for _, values in ended[:earlier]]) * signs
    dominated_P = [_dominating(losses_PO, loss_O) for loss_O in losses_PO]
    best = np.argsort(dominated_P, kind="stable")[: count - count // 2]
    return [ended[place] for place in sorted(best)] + ended[earlier:]


def _dominating(losses_PO: np.ndarray, loss_O: np.ndarray) -> int:
    """How many of P points are nowhere worse than one and somewhere better (losses: less is better)."""
    return int(((losses_PO <= loss_O).all(1) & (losses_PO < loss_O).any(1)).sum())
