"""The paired test: it is what a slow reading says, false alarms are as rare as promised, and true differences found."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainables.intervals import pooled_f1
from trainables.significance import holm, smallest_p, swap_test


def pairs(
    rng: np.random.Generator, groups: int, difference: float, clips: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Totals of two predictors whose errors share what a group and a clip are like, and differ in each group by chance."""
    group_C = np.repeat(np.arange(groups), clips)
    count_C = rng.integers(5, 15, size=len(group_C))
    base_C = 10 + rng.normal(size=groups)[group_C] + rng.normal(size=len(group_C))
    own_C = difference + 0.5 * rng.normal(size=groups)[group_C] + 0.2 * rng.normal(size=len(group_C))
    b = np.stack([base_C * count_C, count_C], axis=1)
    a = np.stack([(base_C + own_C) * count_C, count_C], axis=1)
    return a, b, group_C


def slow_p(a: np.ndarray, b: np.ndarray, group_C: np.ndarray, f1: bool) -> float:
    """Every exchange, clip by clip."""

    def difference(swapped: tuple[bool, ...]) -> float:
        ours, theirs = np.zeros(a.shape[1]), np.zeros(a.shape[1])
        for clip, group in enumerate(group_C):
            ours += b[clip] if swapped[group] else a[clip]
            theirs += a[clip] if swapped[group] else b[clip]
        if f1:
            return abs(pooled_f1(ours[None])[0] - pooled_f1(theirs[None])[0])
        return abs(ours[0] / ours[1] - theirs[0] / theirs[1])

    groups = group_C.max() + 1
    found = difference((False,) * groups)
    every = [difference(swapped) for swapped in itertools.product([False, True], repeat=groups)]
    return float(np.mean([value >= found - 1e-9 for value in every]))


@pytest.mark.parametrize("f1", [False, True])
@pytest.mark.parametrize("groups", [2, 3, 7])
def test_all_exchanges_are_counted(groups: int, f1: bool) -> None:
    rng = np.random.default_rng(groups)
    a, b, group_C = pairs(rng, groups, 0.3)
    if f1:
        a, b = (rng.integers(1, 50, size=(len(group_C), 3)).astype(float) for _ in range(2))
    assert swap_test(a, b, group_C, f1=f1) == pytest.approx(slow_p(a, b, group_C, f1))


def test_drawn_exchanges_are_near_all_of_them() -> None:
    a, b, group_C = pairs(np.random.default_rng(1), 15, 0.25)
    exact = slow_p(*pairs(np.random.default_rng(1), 15, 0.25, clips=4), f1=False)
    assert swap_test(a, b, group_C) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("groups", [6, 8, 18])
def test_false_alarms_are_as_rare_as_promised(groups: int) -> None:
    """400 comparisons without any difference: at most 5% of p below 0.05, but for three standard errors."""
    rng = np.random.default_rng(groups)
    p = np.array([swap_test(*pairs(rng, groups, 0.0)) for _ in range(400)])
    for level in (0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 400)
    assert (p <= 0.2).mean() > 0.1  # and it is no test that never speaks


def test_windows_taken_as_independent_would_raise_false_alarms() -> None:
    """What the test is for: with every clip a group of its own, groups' common luck passes for a difference."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        a, b, group_C = pairs(rng, 6, 0.0)
        p.append(swap_test(a, b, np.arange(len(group_C))))
    assert (np.array(p) < 0.05).mean() > 0.2


def test_a_true_difference_is_found_and_few_groups_prove_nothing() -> None:
    rng = np.random.default_rng(3)
    a, b, group_C = pairs(rng, 12, 2.0)
    assert swap_test(a, b, group_C) == smallest_p(12) == 2 / 2**12
    a, b, group_C = pairs(rng, 4, 5.0)
    assert swap_test(a, b, group_C) == smallest_p(4) == 0.125
    assert swap_test(a[:4], b[:4], group_C[:4]) == 1.0
    assert swap_test(a, a, group_C) == 1.0
    a, b, group_C = pairs(rng, 30, 5.0)
    assert 0 < swap_test(a, b, group_C) == smallest_p(30) < 1e-4


def test_no_evidence_is_no_difference() -> None:
    nothing = np.zeros((6, 3))
    assert swap_test(nothing, nothing, np.repeat([0, 1, 2], 2), f1=True) == 1.0


def test_holm_is_the_published_procedure() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_any_false_finding_rare() -> None:
    rng = np.random.default_rng(5)
    families = rng.uniform(size=(2000, 6))
    wrong = [min(holm(family.tolist())) < 0.05 for family in families]
    assert np.mean(wrong) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(families.min(axis=1) < 0.05) > 0.2  # what uncorrected ones would have found
