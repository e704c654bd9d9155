"""The statistics of a user study against published examples, by hand, and against studies that are simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.study_agreement import agreement, alpha
from sweeps.study_power import Variances, least_raters, least_share, power
from sweeps.study_statistics import Answers, preference, sign_test, variances

_ = math.nan
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): sections A (two observers, two values) and C (four
# observers, five values, with gaps).
TWO = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


def test_alpha_of_the_published_examples() -> None:
    assert alpha(TWO).estimate == pytest.approx(0.095, abs=5e-4)
    assert alpha(FOUR).estimate == pytest.approx(0.743, abs=5e-4)


def test_alpha_knows_full_agreement_chance_and_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 40)
    assert alpha(np.tile(truth, (5, 1))).estimate == 1 and agreement(np.tile(truth, (5, 1))) == 1
    by_chance = alpha(rng.integers(0, 2, (12, 300)).astype(float))
    assert abs(by_chance.estimate) < 0.02 and by_chance.low < 0 < by_chance.high
    assert math.isnan(alpha(np.ones((3, 4))).estimate)  # all the same: chance would agree as well
    alone = np.full((3, 3), _)
    np.fill_diagonal(alone, 1.0)
    assert math.isnan(alpha(alone).estimate) and math.isnan(agreement(alone))
    assert agreement(TWO) == pytest.approx(0.6)


def simulated(
    rng: np.random.Generator,
    raters: int,
    clips: int,
    share: float,
    rater_sd: float,
    clip_sd: float,
    group: int = 1,
) -> Answers:
    """Chances of A that differ by rater and clip (uniformly, so that they stay chances), and answers drawn by them."""
    root = 3**0.5
    by_rater = rng.uniform(-root, root, raters)[:, None] * rater_sd
    by_clip = np.repeat(rng.uniform(-root, root, clips // group), group) * clip_sd
    chance = share + by_rater + by_clip
    assert 0 <= chance.min() and chance.max() <= 1
    rater_N, clip_N = (table.ravel() for table in np.meshgrid(range(raters), range(clips), indexing="ij"))
    value_N = (rng.random((raters, clips)) < chance).astype(float).ravel()
    return Answers(value_N=value_N, rater_N=rater_N, clip_N=clip_N, group_C=np.arange(clips) // group)


@pytest.mark.parametrize(
    ("raters", "clips", "share", "rater_sd", "clip_sd", "group"),
    [
        (10, 24, 0.5, 0.09, 0.19, 1),
        (20, 12, 0.5, 0.09, 0.19, 1),
        (6, 40, 0.5, 0.2, 0.05, 1),
        (20, 24, 0.5, 0.0, 0.0, 1),
        (20, 24, 0.8, 0.03, 0.08, 1),
        (12, 36, 0.5, 0.05, 0.2, 3),
    ],
)
def test_intervals_cover_and_tests_keep_their_level(
    raters: int, clips: int, share: float, rater_sd: float, clip_sd: float, group: int
) -> None:
    rng, studies = np.random.default_rng(1), 250
    covered = found = 0
    for _study in range(studies):
        made = preference(simulated(rng, raters, clips, share, rater_sd, clip_sd, group))
        covered += made.low <= share <= made.high
        found += made.p < 0.05
        assert (made.p < 0.05) == (not made.low <= 0.5 <= made.high)
    assert 0.92 <= covered / studies <= 0.99
    assert (found / studies <= 0.08) if share == 0.5 else (found / studies > 0.9)


@pytest.mark.parametrize(
    ("raters", "clips", "share", "rater_sd", "clip_sd"),
    [
        (10, 24, 0.68, 0.07, 0.11),
        (20, 24, 0.62, 0.09, 0.12),
        (30, 40, 0.58, 0.09, 0.15),
        (8, 16, 0.72, 0.05, 0.1),
    ],
)
def test_the_power_that_is_promised_is_there(
    raters: int, clips: int, share: float, rater_sd: float, clip_sd: float
) -> None:
    rng, studies = np.random.default_rng(2), 250
    found = sum(
        preference(simulated(rng, raters, clips, share, rater_sd, clip_sd)).p < 0.05
        for _study in range(studies)
    )
    parts = Variances(
        raters=rater_sd**2, clips=clip_sd**2, answers=share * (1 - share) - rater_sd**2 - clip_sd**2
    )
    assert found / studies == pytest.approx(
        power(share, parts, raters=raters, clips=clips, per_rater=clips), abs=0.09
    )


def test_variances_are_found_again() -> None:
    rng = np.random.default_rng(3)
    found = [variances(simulated(rng, 20, 30, 0.5, 0.1, 0.18)) for _study in range(200)]
    assert np.mean([parts.raters for parts in found if parts]) == pytest.approx(0.1**2, rel=0.2)
    assert np.mean([parts.clips for parts in found if parts]) == pytest.approx(0.18**2, rel=0.2)
    assert variances(simulated(rng, 1, 30, 0.5, 0, 0)) is None


def test_plans_agree_with_each_other() -> None:
    parts = Variances.assumed()
    sizes = {"clips": 40, "per_rater": 40}
    least = least_share(parts, raters=20, **sizes)
    assert least is not None and power(least, parts, raters=20, **sizes) == pytest.approx(0.8, abs=1e-6)
    needed = least_raters(0.65, parts, **sizes)
    assert needed is not None
    assert power(0.65, parts, raters=needed, **sizes) >= 0.8 > power(0.65, parts, raters=needed - 1, **sizes)
    # Raters alone cannot make up for clips; a huge difference is certain; half is found as often as chance says.
    assert least_raters(0.55, parts, clips=8, per_rater=8) is None
    assert power(1.0, parts, raters=400, clips=400, per_rater=400) == pytest.approx(1)
    assert power(0.5, parts, raters=20, **sizes) == pytest.approx(0.05)
    assert power(0.9, parts, raters=1, **sizes) == 0


def test_by_hand() -> None:
    answers = Answers.of(
        [1, 1, 0, 1, 0.5, 0], list("xxxyyy"), list("pqrpqr"), list("ggghhh"[:3]) + ["g", "g", "g"]
    )
    assert (answers.raters, answers.clips, answers.groups) == (2, 3, 1)
    assert preference(answers).p == 1 and math.isnan(
        preference(answers).low
    )  # one group says nothing of others
    signs = sign_test(answers, answers.rater_N)
    assert (signs.prefer_a, signs.prefer_b, signs.even) == (1, 0, 1)
    assert answers.share == pytest.approx(3.5 / 6)


def test_raters_that_are_all_even_are_no_certainty() -> None:
    """Who always answers left is even, since sides are balanced: nothing varies between raters, nor between clips."""
    answers = Answers.of([1, 0, 0, 1] * 2, list("wwxxyyzz"), list("pqpqpqpq"), list("pqpqpqpq"))
    found = preference(answers)
    assert found.share == 0.5 and found.p == 1 and found.low < 0.3 and found.high > 0.7


def test_unanimous_answers_are_no_certainty() -> None:
    def all_say(value: float, raters: int, clips: int) -> Answers:
        names = [(f"r{r}", f"c{c}") for r in range(raters) for c in range(clips)]
        return Answers.of(
            [value] * len(names), [r for r, _c in names], [c for _r, c in names], [c for _r, c in names]
        )

    made = preference(all_say(1, 5, 8))
    assert made.share == made.high == 1 and made.p == pytest.approx(stats.binomtest(5, 5).pvalue)
    assert made.low == pytest.approx(stats.binomtest(5, 5).proportion_ci(method="exact").low)
    assert preference(all_say(0, 5, 8)).high == pytest.approx(1 - made.low)
    same = preference(all_say(0.5, 5, 8))
    assert same.p == 1 and same.low < 0.5 < same.high
    assert variances(all_say(1, 5, 8)) is None  # or it would promise to find any preference
