"""Do raters agree? Krippendorff's alpha for nominal answers, with raters who saw only some of the pairs.

alpha = 1 - observed / expected disagreement: 1 is full agreement, 0 what answers drawn by chance from all answers would
give. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011; its worked examples are in the tests. Forced
choices between two motions that are equally good give 0 and are no fault of the raters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.intervals import Interval, bootstrap

Floats = NDArray[np.float64]


def coincidences(answer_RU: ArrayLike) -> Floats:
    """One row a unit of answers (R,U), NaN where a rater did not see the unit: the K x K coincidences, flattened.

    A unit of n answers adds, for each ordered pair of different raters, 1/(n-1) to the cell of their two answers; one
    with fewer than two answers knows nothing of agreement and is a row of zeros.
    """
    answers = np.asarray(answer_RU, dtype=np.float64)
    values = np.unique(answers[~np.isnan(answers)])
    counts_UK = (answers[:, :, None] == values).sum(axis=0).astype(np.float64)
    total_U = counts_UK.sum(axis=1)
    cells_UKK = counts_UK[:, :, None] * counts_UK[:, None, :]
    places = np.arange(len(values))
    cells_UKK[:, places, places] -= counts_UK
    cells_UKK /= np.maximum(total_U - 1, 1)[:, None, None]
    return cells_UKK.reshape(len(cells_UKK), -1)


def alpha_of(coincidences_RX: Floats) -> Floats:
    """Alpha of each row of summed coincidences; NaN where all answers are the same, for there chance is perfect too."""
    values = math.isqrt(coincidences_RX.shape[1])
    cells_RKK = coincidences_RX.reshape(-1, values, values)
    count_RK = cells_RKK.sum(axis=2)
    total_R = count_RK.sum(axis=1)
    observed_R = total_R - np.trace(cells_RKK, axis1=1, axis2=2)
    expected_R = (total_R**2 - (count_RK**2).sum(axis=1)) / (total_R - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected_R > 0, 1 - observed_R / expected_R, math.nan)


def alpha(answer_RU: ArrayLike, group_U: Sequence[str] | None = None) -> Interval:
    """Krippendorff's alpha of answers (R,U), NaN where there is none; its interval resamples the units' groups.

    The groups are the units themselves where none are given.
    """
    rows_UX = coincidences(answer_RU)
    if not rows_UX.size:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, groups=0, clips=0)
    groups = np.arange(len(rows_UX)) if group_U is None else np.asarray(group_U)
    return bootstrap(alpha_of, rows_UX, groups)


def agreement(answer_RU: ArrayLike) -> float:
    """The share of pairs of raters on one unit that gave the same answer, every answer weighing alike; NaN if none."""
    cells_X = coincidences(answer_RU).sum(axis=0)
    values = math.isqrt(len(cells_X))
    total = float(cells_X.sum())
    return float(np.trace(cells_X.reshape(values, values))) / total if total else math.nan
