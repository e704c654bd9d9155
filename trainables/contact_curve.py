"""Contact over all thresholds: histograms of probability levels, from which every threshold's counts follow.

A level is a place between two neighbouring thresholds: `probability > thresholds[k]` holds exactly where the level
exceeds k, so sums of histograms give the pooled counts of any set of windows at each of the thresholds. Thresholds
are multiples of 1/4096: exact in float32, so a probability falls on the same side everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

THRESHOLD_STEPS = 4096

# Windows a step: the temporaries stay in a CPU's cache and below the size from which malloc maps fresh pages for
# each. 128 windows of 30 frames and 778 vertices take 8 ms so, 40 to 60 ms in a single step (2 threads).
_WINDOWS_A_STEP = 16


def steps(windows: int) -> Iterator[slice]:
    """Slices that take so many windows a few at a time, for work on maps of all vertices of all frames."""
    for first in range(0, windows, _WINDOWS_A_STEP):
        yield slice(first, first + _WINDOWS_A_STEP)


def _log_odds_thresholds() -> NDArray[np.float64]:
    """Multiples of 1/4096, as even in log-odds as those can be, from 1/4096 to 4095/4096.

    F1 hardly changes where the odds of the threshold change by few percent, while evenly spaced probabilities would
    leave rare contacts, whose probabilities are all near 0, a handful of levels.
    """
    log_odds = np.linspace(-1, 1, 339) * math.log(THRESHOLD_STEPS - 1)
    return np.unique(np.rint(THRESHOLD_STEPS / (1 + np.exp(-log_odds)))) / THRESHOLD_STEPS


# 255 of them, ascending, 0.5 in their middle; neighbours differ by 5% in odds, or by 1/4096.
THRESHOLDS = _log_odds_thresholds()
LEVELS = len(THRESHOLDS) + 1
EVERY_STEP = np.arange(THRESHOLD_STEPS) / THRESHOLD_STEPS


def level_table(thresholds: NDArray[np.float64]) -> Tensor:
    """The level (int64) of a probability that, rounded up, is k/4096: (4097,). `thresholds` are multiples of 1/4096.

    Below, p > k / 4096 is read as ceil(4096 p) > k, which is the same and needs no search for each vertex.
    """
    step = np.arange(THRESHOLD_STEPS + 1) / THRESHOLD_STEPS
    return torch.from_numpy(np.searchsorted(thresholds, step, side="left"))


def level_histogram(
    logits_BTV: Tensor,
    true_BTV: Tensor,
    known_BT: Tensor,
    level_table: Tensor,
    levels: int,
    finger_V: Tensor | None = None,
    fingers: int = 1,
) -> Tensor:
    """Vertices of each window's known frames by finger, level and truth: (B, fingers, L, 2) int32.

    Args:
        true_BTV: contact, boolean or 0 and 1; the last axis of the result is no contact, contact.
        level_table: of `levels` L = thresholds + 1 levels, on the device of the logits.
        finger_V: which of the `fingers` each vertex belongs to; without it all belong to the first.

    A logit that is NaN is no contact. Nothing waits for the device.
    """
    B = len(logits_BTV)
    twice_level = 2 * level_table
    offset_V: Tensor | int = 0 if finger_V is None else finger_V * (2 * levels)
    histogram = torch.zeros(B, fingers * levels * 2, dtype=torch.int32, device=logits_BTV.device)
    for part in steps(B):
        probability_BTV = torch.sigmoid(logits_BTV[part].float()).nan_to_num_(0.0)
        step_BTV = probability_BTV.mul_(THRESHOLD_STEPS).ceil_().long()
        cell_BTV = twice_level.index_select(0, step_BTV.view(-1)).view(step_BTV.shape)
        cell_BTV += true_BTV[part].bool()
        cell_BTV += offset_V
        weight_BTV = known_BT[part].int()[..., None].expand_as(cell_BTV)
        histogram[part].scatter_add_(1, cell_BTV.flatten(1), weight_BTV.flatten(1))
    return histogram.view(B, fingers, levels, 2)


def counts_over_thresholds(levels_L2: ArrayLike) -> NDArray[np.float64]:
    """True positives, false positives, false negatives (..., L-1, 3) at each threshold, from histograms (..., L, 2)."""
    levels = np.asarray(levels_L2, dtype=np.float64)
    above = np.flip(np.flip(levels, axis=-2).cumsum(axis=-2), axis=-2)  # of this level and higher ones
    negative, positive = above[..., 1:, 0], above[..., 1:, 1]
    return np.stack([positive, negative, above[..., :1, 1] - positive], axis=-1)


def counts_above(levels_L2: NDArray[Any], place: int) -> NDArray[np.float64]:
    """True positives, false positives, false negatives (..., 3) at the threshold of that place alone."""
    above, below = levels_L2[..., place + 1 :, :], levels_L2[..., : place + 1, 1]
    fp, tp = np.moveaxis(above.sum(axis=-2, dtype=np.float64), -1, 0)
    return np.stack([tp, fp, below.sum(axis=-1, dtype=np.float64)], axis=-1)


def best_threshold(levels_L2: ArrayLike, thresholds: NDArray[np.float64]) -> tuple[float, float]:
    """The threshold with the highest F1, and that F1; (0.5, NaN) where nothing is in contact."""
    tp, fp, fn = np.moveaxis(counts_over_thresholds(levels_L2), -1, 0)
    if tp[0] + fn[0] == 0:
        return 0.5, math.nan
    f1 = 2 * tp / (2 * tp + fp + fn)
    best = int(f1.argmax())
    return float(thresholds[best]), float(f1[best])


def average_precision(levels_L2: ArrayLike) -> NDArray[np.float64]:
    """Average precision (...) of histograms (..., L, 2): sum over descending thresholds of precision x rise of recall.

    Free of any threshold: 1 is a perfect ranking of vertices, chance gives the share of vertices in contact. Without
    interpolation, as scikit-learn's `average_precision_score` on the levels; NaN where nothing is in contact.
    """
    levels = np.flip(np.asarray(levels_L2, dtype=np.float64), axis=-2)
    positive = levels[..., 1]
    predicted = levels.sum(axis=-1).cumsum(axis=-1)
    precision = positive.cumsum(axis=-1) / np.maximum(predicted, 1e-300)  # averages of seeds are below 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return (positive * precision).sum(axis=-1) / positive.sum(axis=-1)


def shown_curve(levels_L2: ArrayLike, every: int = 8) -> dict[str, list[float | None]]:
    """Precision, recall and F1 at every eighth threshold, for a table or a plot; None where there is no figure."""
    keep = slice(every - 1, None, every)  # 0.5 is the 128th
    tp, fp, fn = np.moveaxis(counts_over_thresholds(levels_L2)[keep], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        curve: dict[str, Any] = {
            "threshold": THRESHOLDS[keep],
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }
    return {name: [float(v) if math.isfinite(v) else None for v in values] for name, values in curve.items()}
