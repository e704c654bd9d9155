"""What a study of R raters and C clips can see: the power of the test in sweeps/study_statistics.py, by formula.

The share of answers for A varies for three reasons: raters differ (variance `raters`), clips differ (`clips`), and one
rater's answers on one clip are a draw (`answers`). With n answers a rater the variance of the share is

    raters / R + clips / C + answers / (R n)

for C pairs of which each rater sees n, as in an analysis of variance with crossed random effects (Clark, The
language-as-fixed-effect fallacy, Journal of Verbal Learning and Verbal Behavior 12, 1973). Clips and not held-out
groups are counted: clips of one group that resemble each other lower the power further.

Before there are data, ICCS are assumed: of the variance of a single answer, the share that belongs to raters and to
clips. They are guesses, on the careful side of what forced-choice studies of motion find, and options of the command;
an analysis prints what its own data say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

ICCS = (0.03, 0.15)  # raters, clips


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Of the share of answers for A, 0 to 1, squared."""

    raters: float
    clips: float
    answers: float

    @classmethod
    def assumed(cls, share: float = 0.5, iccs: tuple[float, float] = ICCS) -> Variances:
        """Of a forced choice with this share."""
        total, (raters, clips) = share * (1 - share), iccs
        return cls(raters=raters * total, clips=clips * total, answers=(1 - raters - clips) * total)

    def of_share(self, raters: int, clips: int, per_rater: float) -> float:
        """The variance of the share."""
        return self.raters / raters + self.clips / clips + self.answers / (raters * per_rater)


def power(
    share: float, variances: Variances, *, raters: int, clips: int, per_rater: int, level: float = 0.05
) -> float:
    """The chance that a true share other than one half is found significant; 0 with fewer than two raters or clips."""
    if min(raters, clips) < 2:
        return 0.0
    shift = abs(share - 0.5) / math.sqrt(variances.of_share(raters, clips, per_rater))
    degrees = min(raters, clips) - 1
    bound = float(stats.t.ppf(1 - level / 2, degrees))
    # The lower tail by symmetry: far out, SciPy's own is not a number.
    return float(stats.nct.sf(bound, degrees, shift) + stats.nct.sf(bound, degrees, -shift))


def least_share(
    variances: Variances, *, raters: int, clips: int, per_rater: int, wanted: float = 0.8
) -> float | None:
    """The least share above one half that is found with the wanted power; None where not even 1 is."""
    sizes = {"raters": raters, "clips": clips, "per_rater": per_rater}
    if power(1.0, variances, **sizes) < wanted:
        return None
    low, high = 0.5, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, variances, **sizes) >= wanted else (middle, high)
    return high


def least_raters(
    share: float, variances: Variances, *, clips: int, per_rater: int, wanted: float = 0.8, most: int = 2000
) -> int | None:
    """The least number of raters that finds this share on so many clips; None where no number up to `most` does."""
    sizes = {"clips": clips, "per_rater": per_rater}
    if power(share, variances, raters=most, **sizes) < wanted:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if power(share, variances, raters=middle, **sizes) >= wanted else (middle, high)
        )
    return high
