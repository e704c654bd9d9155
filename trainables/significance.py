"""Is the difference between two predictors chance? A test that swaps them in whole held-out groups, and its correction.

Under the hypothesis that two predictors do not differ, which of them made which errors in a held-out group says
nothing: exchanging the two in any choice of groups gives a difference that was as likely. The p-value is the share of
all exchanges whose difference is at least as large as the one found: a randomisation test (Fisher, The Design of
Experiments, 1935; for pooled F1: Yeh, More accurate tests for the statistical significance of result differences,
COLING 2000). Groups and not windows are exchanged, for only groups are independent. It supposes no distribution. G
groups have 2^G exchanges, so that no p is below 2^(1-G): four groups can prove nothing at 5%, and that is the truth.

Several comparisons are corrected as Holm (A simple sequentially rejective multiple test procedure, Scandinavian Journal
of Statistics 6, 1979), which holds whatever their dependence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.clip_errors import ClipErrors
from trainables.intervals import pooled_f1

Floats = NDArray[np.float64]

_EXACT_UP_TO = 14  # groups: 16,384 exchanges are all tried
_DRAWS = 20_000  # where there are more groups
# Differences that are equal but for the rounding of their sums count as equal.
_ROUNDING = 1e-9


def paired_p(a: ClipErrors, b: ClipErrors, metric: str) -> float:
    """p-value (two-sided) of a difference between two predictors in a metric's mean or in "contact_f1".

    1 where there are fewer than two groups, or no evidence at all.

    Raises:
        ValueError: the two were not evaluated on the same windows.
    """
    if a.clip_ids != b.clip_ids or a.groups != b.groups:
        raise ValueError("a paired test needs both predictors on the same windows; evaluate both on one part")
    if metric == "contact_f1":
        return swap_test(a.counts_C3, b.counts_C3, a.groups, f1=True)
    ours_C2, theirs_C2 = a.totals[metric], b.totals[metric]
    if (ours_C2[:, 1] != theirs_C2[:, 1]).any():
        raise ValueError("a paired test needs both predictors on the same windows; evaluate both on one part")
    return swap_test(ours_C2, theirs_C2, a.groups)


def swap_test(
    a_CM: ArrayLike, b_CM: ArrayLike, group_C: ArrayLike, *, f1: bool = False, seed: int = 0
) -> float:
    """p-value of the difference between figures of summed totals, exchanging a and b in whole groups.

    Args:
        a_CM, b_CM: totals of each clip under both predictors: (sum, count) of a mean, or with `f1` (true positives,
            false positives, false negatives).
        group_C: the held-out group of each clip.

    All exchanges are tried for up to 14 groups; else 20,000 are drawn, and the one found counts among them, so that p
    is never 0 (Phipson & Smyth, Permutation p-values should never be zero, 2010).
    """
    a, b = np.asarray(a_CM, dtype=np.float64), np.asarray(b_CM, dtype=np.float64)
    groups, member_C = np.unique(np.asarray(group_C), return_inverse=True)
    G = len(groups)
    a_GM, b_GM = (np.stack([np.bincount(member_C, column, G) for column in t.T], axis=1) for t in (a, b))
    if G < 2:
        return 1.0
    exact = G <= _EXACT_UP_TO
    if exact:  # exchanging all groups but one's complement mirrors: the first group can stay
        bits_RG = (np.arange(2 ** (G - 1))[:, None] >> np.arange(G)) & 1
    else:
        bits_RG = np.random.default_rng(seed).integers(0, 2, size=(_DRAWS, G))
    swap_RG = bits_RG.astype(np.float64)
    ours_RM = (1 - swap_RG) @ a_GM + swap_RG @ b_GM
    theirs_RM = swap_RG @ a_GM + (1 - swap_RG) @ b_GM
    figure = pooled_f1 if f1 else _mean
    with np.errstate(invalid="ignore", divide="ignore"):
        found = abs(figure(a_GM.sum(0, keepdims=True)) - figure(b_GM.sum(0, keepdims=True)))[0]
        difference_R = abs(figure(ours_RM) - figure(theirs_RM))
    if not math.isfinite(found):
        return 1.0
    as_large = int((difference_R >= found - _ROUNDING * max(1.0, found)).sum())
    return as_large / len(difference_R) if exact else (1 + as_large) / (1 + len(difference_R))


def smallest_p(groups: int) -> float:
    """The least p-value that so many groups can give."""
    return 2.0 ** (1 - groups) if groups <= _EXACT_UP_TO else 1 / (1 + _DRAWS)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: each below a bound keeps the chance of any false finding below it."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def _mean(totals_R2: Floats) -> Floats:
    return totals_R2[:, 0] / totals_R2[:, 1]
