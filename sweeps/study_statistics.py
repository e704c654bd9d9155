"""Which of two motions is preferred, and how sure that is for other raters and for other clips alike.

An answer is 1 for A, 0 for B, and one half where a study offers "no difference" and that was chosen. The *share* is the
mean of all answers; one half says that neither is preferred.

Neither the answers of one rater nor those on one clip are independent, and clips of one held-out group are not either.
Both are random: the study asks about other people and other clips. The variance of the share is that between raters
plus that between groups less that between their crossings, each estimated from its clusters' sums (Cameron, Gelbach &
Miller, Robust inference with multiway clustering, JBES 29, 2011). It is never taken to be less than either of the first
two, nor than that of independent answers (sides are balanced, which can make every rater even). Interval and test are
those of Student's t with as many degrees of freedom as the lesser of the numbers of raters and groups has, less one, on
the scale of log odds, so that bounds stay within 0 and 1 and the interval leaves out one half exactly where p < 0.05.

In simulation (500 studies of each kind; fewer in the tests) it covers the truth in 94 to 98 of 100 studies of 6 to 30
raters, and in all of 4 raters and 6 clips. A bootstrap over raters and clips (Owen, The pigeonhole bootstrap, Annals of
Applied Statistics 1, 2007) was tried: it counts the variance of single answers three times and covered 92 to 100 of 100.

Two exact sign tests stand beside it, one over raters and one over groups: how many prefer A, how many B. Each speaks of
one kind of chance alone, so that neither decides.

Where all answers are equal nothing varies; then bounds and p are those of n equal independent units, n the lesser of
the numbers of raters and groups (Clopper & Pearson, 1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sweeps.study_power import Variances

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """N answers: 1, 0 or one half, by whom, on which clip of which group."""

    value_N: Floats
    rater_N: NDArray[np.int64]  # 0 to R-1, each at least once
    clip_N: NDArray[np.int64]  # 0 to C-1, likewise
    group_C: NDArray[np.int64]

    @classmethod
    def of(
        cls, values: ArrayLike, raters: Sequence[str], clips: Sequence[str], groups: Sequence[str]
    ) -> Answers:
        """From names, one of each an answer."""
        _, rater_N = np.unique(np.asarray(raters), return_inverse=True)
        _, first, clip_N = np.unique(np.asarray(clips), return_index=True, return_inverse=True)
        _, group_C = np.unique(np.asarray(groups)[first], return_inverse=True)
        return cls(
            value_N=np.asarray(values, dtype=np.float64), rater_N=rater_N, clip_N=clip_N, group_C=group_C
        )

    @property
    def raters(self) -> int:
        return int(self.rater_N.max(initial=-1)) + 1

    @property
    def clips(self) -> int:
        return len(self.group_C)

    @property
    def groups(self) -> int:
        return int(self.group_C.max(initial=-1)) + 1

    @property
    def share(self) -> float:
        return float(self.value_N.mean())

    def unanimous(self) -> bool:
        return bool((self.value_N == self.value_N[0]).all())


@dataclass(frozen=True, kw_only=True)
class Preference:
    """The share of answers for A with its 95% interval, and the two-sided p-value against one half.

    Without bounds and with p 1 where there is one rater or one group.
    """

    share: float
    low: float
    high: float
    p: float
    degrees: int


@dataclass(frozen=True, kw_only=True)
class SignTest:
    """How many units prefer A and how many B; the others are even. The p-value is exact."""

    prefer_a: int
    prefer_b: int
    even: int
    p: float


def preference(answers: Answers) -> Preference:
    """The share, for other raters and other groups of clips."""
    share, degrees = answers.share, min(answers.raters, answers.groups) - 1
    if degrees < 1:
        return Preference(share=share, low=math.nan, high=math.nan, p=1.0, degrees=0)
    if answers.unanimous():
        return _unanimous(share, degrees + 1)
    odds = math.log(share / (1 - share))
    error = math.sqrt(_variance(answers)) / (share * (1 - share))  # the delta method
    p = 2 * float(stats.t.sf(abs(odds) / error, degrees))
    reach = float(stats.t.ppf(0.975, degrees)) * error
    low, high = (1 / (1 + math.exp(-bound)) for bound in (odds - reach, odds + reach))
    return Preference(share=share, low=low, high=high, p=p, degrees=degrees)


def _variance(answers: Answers) -> float:
    """Of the share, by two-way clusters."""
    group_N = answers.group_C[answers.clip_N]
    by_raters = _cluster_variance(answers.value_N, answers.rater_N)
    by_groups = _cluster_variance(answers.value_N, group_N)
    crossings = _cluster_variance(answers.value_N, answers.rater_N * answers.groups + group_N)
    single = _cluster_variance(answers.value_N, np.arange(len(answers.value_N)))
    return max(by_raters + by_groups - crossings, by_raters, by_groups, single)


def sign_test(answers: Answers, unit_N: NDArray[np.int64]) -> SignTest:
    """Units (raters, or groups) by what most of their answers say, and the exact binomial test of the counts."""
    balance = np.bincount(unit_N, answers.value_N - 0.5)
    a, b = int((balance > 1e-9).sum()), int((balance < -1e-9).sum())
    p = float(stats.binomtest(a, a + b).pvalue) if a + b else 1.0
    return SignTest(prefer_a=a, prefer_b=b, even=len(balance) - a - b, p=p)


def variances(answers: Answers) -> Variances | None:
    """The parts of an answer's variance that belong to raters, to clips and to single answers; None where unknown,
    as where all answers are equal: nobody knows then how much others would vary.

    By the method of moments: of the products of two answers' deviations, those within one rater (on two clips) have
    the raters' variance as their mean, those within one clip (of two raters) the clips', less the variance of the
    share from which they deviate. Never negative. Groups are not told apart from clips here.
    """
    if min(answers.raters, answers.clips) < 2 or answers.unanimous():
        return None
    deviation_N = answers.value_N - answers.share
    within = []
    for unit_N in (answers.rater_N, answers.clip_N):
        count_U = np.bincount(unit_N)
        pairs = float((count_U * (count_U - 1)).sum())
        if pairs == 0:
            return None
        products = np.bincount(unit_N, deviation_N) ** 2 - np.bincount(unit_N, deviation_N**2)
        within.append(float(products.sum()) / pairs)
    total, of_share = float((deviation_N**2).mean()), 0.0
    for _ in range(20):  # each depends on the other, the less the more raters and clips there are
        by_raters, by_clips = (max(0.0, part + of_share) for part in within)
        found = Variances(
            raters=by_raters, clips=by_clips, answers=max(0.0, total + of_share - by_raters - by_clips)
        )
        of_share = found.of_share(answers.raters, answers.clips, len(deviation_N) / answers.raters)
    return found


def _cluster_variance(value_N: Floats, unit_N: NDArray[np.int64]) -> float:
    """Variance of the mean of all values, whose units are independent."""
    _, unit_N = np.unique(unit_N, return_inverse=True)
    sums = np.bincount(unit_N, value_N - value_N.mean())
    return float((sums**2).sum()) * len(sums) / (len(sums) - 1) / len(value_N) ** 2


def _unanimous(share: float, units: int) -> Preference:
    """What `units` independent draws say that are all the same."""
    edge, p = 0.025 ** (1 / units), 2 * 0.5**units
    if share == 0.5:  # nobody saw a difference anywhere
        low, high, p = edge / 2, 1 - edge / 2, 1.0
    else:
        low, high = (edge, 1.0) if share == 1 else (0.0, 1 - edge)
    return Preference(share=share, low=low, high=high, p=p, degrees=units - 1)
