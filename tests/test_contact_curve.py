"""Levels and thresholds of contact against comparisons one threshold at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import metric_oracle
from trainables import contact_curve, metrics
from trainables.contact_curve import EVERY_STEP, LEVELS, THRESHOLDS

B, T, V, F = 20, 4, 30, 6


def made_up(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    true = torch.rand(B, T, V, generator=g) < 0.3
    logits = true * 2.0 - 2 + 2 * torch.randn(B, T, V, generator=g)
    logits[0, 0, :6] = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, 200.0, -200.0])
    logits[1] = torch.logit(torch.tensor(THRESHOLDS[::9][:T], dtype=torch.float32))[
        :, None
    ]  # upon thresholds
    known = torch.rand(B, T, generator=g) < 0.7
    known[2] = False
    return logits, true, known, torch.randint(0, F, (V,), generator=g)


def histogram(
    logits: Tensor, true: Tensor, known: Tensor, finger: Tensor, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    table = contact_curve.level_table(thresholds)
    return contact_curve.level_histogram(
        logits, true.float(), known, table, len(thresholds) + 1, finger, F
    ).numpy()


def test_thresholds_are_float32_and_even_in_odds() -> None:
    assert len(THRESHOLDS) == 255 and THRESHOLDS[127] == 0.5
    assert (THRESHOLDS.astype(np.float32) == THRESHOLDS).all() and (np.diff(THRESHOLDS) > 0).all()
    np.testing.assert_allclose(THRESHOLDS + THRESHOLDS[::-1], 1.0)
    odds = THRESHOLDS / (1 - THRESHOLDS)
    step = 1 / 4096
    assert (np.diff(THRESHOLDS[:128]) < np.maximum(0.05 * THRESHOLDS[:127] + step, 1.5 * step)).all()
    assert (odds[108:148] / odds[107:147] < 1.06).all()
    assert np.isin(THRESHOLDS, EVERY_STEP).all()


@pytest.mark.parametrize("thresholds", [THRESHOLDS, EVERY_STEP[::64]])
def test_counts_of_every_threshold_equal_a_comparison(thresholds: np.ndarray) -> None:
    logits, true, known, finger = made_up()
    levels = histogram(logits, true, known, finger, thresholds)
    assert levels.sum() == known.sum() * V and (levels[2] == 0).all()
    counts = contact_curve.counts_over_thresholds(levels)
    probability = torch.sigmoid(logits)
    for k, threshold in enumerate(thresholds):
        got = metrics.finger_contact_counts(probability > threshold, true, known, finger, F).numpy()
        np.testing.assert_array_equal(counts[:, :, k], got)
        np.testing.assert_array_equal(contact_curve.counts_above(levels, k), got)


def test_best_threshold_is_the_best() -> None:
    logits, true, known, finger = made_up()
    pooled = histogram(logits, true, known, finger).sum((0, 1))
    threshold, f1 = contact_curve.best_threshold(pooled, THRESHOLDS)
    curve = [metric_oracle.precision_recall_f1(c)[2] for c in contact_curve.counts_over_thresholds(pooled)]
    assert f1 == pytest.approx(max(curve)) and threshold == THRESHOLDS[int(np.argmax(curve))]
    all_steps = histogram(logits, true, known, finger, EVERY_STEP).sum((0, 1))
    assert f1 <= contact_curve.best_threshold(all_steps, EVERY_STEP)[1] <= f1 + 0.005
    pooled[:, 1] = 0
    assert contact_curve.best_threshold(pooled, THRESHOLDS)[0] == 0.5


def test_average_precision_equals_the_steps_of_the_curve() -> None:
    logits, true, known, finger = made_up(1)
    levels = histogram(logits, true, known, finger).sum((0, 1))
    probability = torch.sigmoid(logits).nan_to_num(0.0)[known].flatten().numpy()
    expected = metric_oracle.average_precision(probability, true[known].flatten().numpy(), THRESHOLDS)
    assert float(contact_curve.average_precision(levels)) == pytest.approx(expected, abs=1e-12)
    # Averages of seeds are fractions, and the figure knows no scale.
    assert float(contact_curve.average_precision(levels / 1e6)) == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_perfect_of_blind_and_of_nothing() -> None:
    levels = np.zeros((3, LEVELS, 2))
    levels[0, 200, 1], levels[0, 100, 0] = 30, 70
    levels[1, 50] = 70, 30
    levels[2, 50] = 70, 0
    perfect, blind, nothing = contact_curve.average_precision(levels)
    assert (perfect, blind) == (1.0, pytest.approx(0.3)) and math.isnan(nothing)


def test_shown_curve_is_short_and_plain() -> None:
    logits, true, known, finger = made_up()
    levels = histogram(logits, true, known, finger).sum((0, 1))
    curve = contact_curve.shown_curve(levels)
    assert {len(values) for values in curve.values()} == {31} and 0.5 in curve["threshold"]
    at = curve["threshold"].index(0.5)
    counts = metrics.contact_counts(torch.sigmoid(logits) > 0.5, true, known).sum(0).tolist()
    precision, recall, f1 = metric_oracle.precision_recall_f1(counts)
    assert (curve["precision"][at], curve["recall"][at], curve["f1"][at]) == pytest.approx(
        (precision, recall, f1)
    )
    assert contact_curve.shown_curve(np.zeros((LEVELS, 2)))["f1"] == [None] * 31
