"""Intervals: they cover the truth on hierarchical data, pairs help, and the resampling is the one promised."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from trainables import intervals


def hierarchical(rng: np.random.Generator, groups: int, clips: int = 6, windows: int = 10):
    """Window values around 0: groups, clips within them, and windows within those each add a deviation."""
    group_C = np.repeat(np.arange(groups), clips)
    clip_W = np.repeat(np.arange(groups * clips), windows)
    value_W = rng.normal(size=groups)[group_C][clip_W] + 0.7 * rng.normal(size=groups * clips)[clip_W]
    return value_W + 0.5 * rng.normal(size=len(clip_W)), clip_W, group_C


@pytest.mark.parametrize("groups", [4, 8, 20])
def test_interval_covers_the_truth(groups: int) -> None:
    rng = np.random.default_rng(groups)
    covered, naive = 0, 0
    for trial in range(200):
        value_W, clip_W, group_C = hierarchical(rng, groups)
        totals = intervals.clip_totals(value_W, clip_W)
        interval = intervals.mean_interval(totals, group_C, resamples=600, seed=trial)
        covered += interval.low < 0 < interval.high
        naive += abs(value_W.mean()) < 1.96 * value_W.std() / math.sqrt(len(value_W))
    assert 0.90 <= covered / 200  # 0.95 promised; three standard errors of 200 trials are 0.046
    assert naive / 200 < 0.6  # what windows taken as independent would have claimed


def test_two_groups_are_honestly_wide_and_one_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    value_W, clip_W, group_C = hierarchical(rng, 2)
    totals = intervals.clip_totals(value_W, clip_W)
    two = intervals.mean_interval(totals, group_C)
    replicates = intervals.resampling_weights(group_C) @ totals
    means = replicates[:, 0] / replicates[:, 1]
    assert two.groups == 2 and (two.low, two.high) == (pytest.approx(means.min()), pytest.approx(means.max()))
    one = intervals.mean_interval(totals[:6], group_C[:6])
    assert one.groups == 1 and math.isnan(one.low) and not one.excludes_zero
    assert one.to_json()["low"] is None and one.to_json()["estimate"] == pytest.approx(value_W[:60].mean())


def test_weights_draw_groups_then_clips() -> None:
    group_C = np.array(["a"] * 3 + ["b"] * 5 + ["c"])
    weight_RC = intervals.resampling_weights(group_C, resamples=4000, seed=1)
    per_group = np.stack([weight_RC[:, group_C == g].sum(1) / (group_C == g).sum() for g in "abc"], axis=1)
    assert (per_group == per_group.round()).all() and (
        per_group.sum(1) == 3
    ).all()  # whole groups, three draws
    assert weight_RC.mean(0) == pytest.approx(np.ones(9), abs=0.1)
    assert per_group.var(0) == pytest.approx(np.full(3, 3 * (1 / 3) * (2 / 3)), rel=0.1)
    once = weight_RC[per_group[:, 1] == 1][:, group_C == "b"]
    assert len(np.unique(once, axis=0)) > 50  # clips inside a drawn group vary


def test_seed_and_order_of_windows() -> None:
    value_W, clip_W, group_C = hierarchical(np.random.default_rng(2), 9)
    totals = intervals.clip_totals(value_W, clip_W)
    shuffled = np.random.default_rng(0).permutation(len(value_W))
    again = intervals.clip_totals(value_W[shuffled], clip_W[shuffled])
    first = intervals.mean_interval(totals, group_C, seed=3)
    second = intervals.mean_interval(again, group_C, seed=3)
    assert (second.low, second.high) == (pytest.approx(first.low), pytest.approx(first.high))
    assert intervals.mean_interval(totals, group_C, seed=4).low != first.low
    assert (first.groups, first.clips) == (9, 54)


def test_pairing_matters() -> None:
    rng = np.random.default_rng(5)
    value_W, clip_W, group_C = hierarchical(rng, 10)
    better_W = value_W - 0.1 + 0.05 * rng.normal(size=len(value_W))
    a, b = (intervals.clip_totals(v, clip_W) for v in (better_W, value_W))
    paired = intervals.paired_mean_interval(a, b, group_C)
    assert paired.excludes_zero and paired.high < 0
    alone = intervals.mean_interval(a, group_C)
    assert alone.high - alone.low > 5 * (paired.high - paired.low)
    assert paired.estimate == pytest.approx((better_W - value_W).mean())
    with pytest.raises(ValueError, match="same windows"):
        intervals.paired_mean_interval(a[:-1], b, group_C)


def test_unknown_windows_and_clips_are_left_out() -> None:
    value_W, clip_W, group_C = hierarchical(np.random.default_rng(6), 4)
    value_W[clip_W == 0] = np.nan
    value_W[group_C[clip_W] == 3] = np.nan
    interval = intervals.mean_interval(intervals.clip_totals(value_W, clip_W), group_C)
    assert (interval.groups, interval.clips) == (3, 17)
    assert interval.estimate == pytest.approx(np.nanmean(value_W))


def test_pooled_f1_and_its_pair() -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(50, 100, size=60)
    group_C = np.repeat(np.arange(10), 6)
    tp = (truth * rng.uniform(0.5, 0.9, size=60)).astype(int)
    a = np.stack([tp, rng.integers(0, 40, size=60), truth - tp], axis=1)
    b = a + np.array([-5, 5, 5])
    interval = intervals.f1_interval(a, group_C)
    t, fp, fn = a.sum(0)
    assert interval.estimate == pytest.approx(2 * t / (2 * t + fp + fn))
    assert interval.low < interval.estimate < interval.high
    pair = intervals.paired_f1_interval(a, b, group_C)
    assert pair.low > 0 and pair.high - pair.low < (interval.high - interval.low) / 2
    assert pair.estimate == pytest.approx(interval.estimate - intervals.f1_interval(b, group_C).estimate)
    with pytest.raises(ValueError, match="same windows"):
        intervals.paired_f1_interval(a, b + 1, group_C)


def test_sums_of_rows_and_the_parts_of_f1() -> None:
    rng = np.random.default_rng(9)
    clip_W = rng.permutation(np.repeat([7, 3, 11], [4, 1, 5]))
    rows = rng.integers(0, 9, size=(10, 6, 3)).astype(np.int16)
    sums = intervals.clip_sums(rows, clip_W)
    for c, clip in enumerate((3, 7, 11)):
        np.testing.assert_array_equal(sums[c], rows[clip_W == clip].sum(0))
    counts, group_C = rng.integers(1, 30, size=(40, 3)), np.arange(40) % 8
    tp, fp, fn = counts.sum(0)
    precision, recall = (
        intervals.precision_interval(counts, group_C),
        intervals.recall_interval(counts, group_C),
    )
    assert (precision.estimate, recall.estimate) == pytest.approx((tp / (tp + fp), tp / (tp + fn)))
    assert precision.low < precision.estimate < precision.high and recall.low < recall.estimate < recall.high


def test_a_large_evaluation_is_quick() -> None:
    rng = np.random.default_rng(8)
    clip_W = rng.integers(0, 1000, size=25_000)
    started = time.process_time()
    totals = intervals.clip_totals(rng.normal(size=25_000), clip_W)
    intervals.mean_interval(totals, np.arange(1000) % 20)
    assert time.process_time() - started < 5  # about 0.3 s on one core; a loop over windows takes minutes


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="per clip"):
        intervals.mean_interval(np.ones((3, 2)), np.arange(4))
