"""The gate: who may replace a champion."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from zoo_bundles import DIGEST, metrics

from zoo.errors import BundleError
from zoo.gate import decide, paired_interval


def model(errors_cm: list[float], **conditions: object) -> tuple[dict, dict]:
    base = {
        "data": "world",
        "data_digest": DIGEST,
        "setting": "objects",
        "mode": "forecast",
        "protocol": "first",
        "window": 30,
    }
    return {"schema": 1, "model": {**base, **conditions}}, metrics(errors_cm)  # fmt: skip


CHAMPION = model([3.0, 3.2, 2.9, 3.1, 3.4, 3.0])


def test_the_first_champion_only_has_to_be_complete() -> None:
    assert decide(CHAMPION, None).passed
    config, figures = copy.deepcopy(CHAMPION)
    del figures["gate"]
    assert "gate.clips" in decide((config, figures), None).sentence
    config, figures = copy.deepcopy(CHAMPION)
    del config["model"]["data_digest"]
    verdict = decide((config, figures), None)
    assert not verdict.passed and "data_digest" in verdict.sentence


def test_better_worse_and_equal() -> None:
    better = decide(model([2.5, 2.8, 2.6, 2.6, 3.0, 2.4]), CHAMPION)
    assert better.passed and better.high_cm is not None and better.high_cm < 0 and better.groups == 6
    assert not decide(model([3.5, 3.8, 3.6, 3.6, 4.0, 3.4]), CHAMPION).passed
    assert not decide(CHAMPION, CHAMPION).passed
    mixed = decide(model([1.0, 3.4, 2.9, 3.2, 3.6, 3.1]), CHAMPION)  # one group carries all of it
    assert mixed.difference_cm is not None and mixed.difference_cm < 0 and not mixed.passed


def test_the_same_data_gives_the_same_verdict() -> None:
    candidate = model([2.5, 3.1, 2.6, 3.0, 3.0, 2.4])
    assert decide(candidate, CHAMPION) == decide(candidate, CHAMPION)


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_digest", "e" * 64), ("mode", "interpolate"), ("window", 15), ("protocol", "goal"), ("setting", "objects:1/3")],
)  # fmt: skip
def test_nothing_is_compared_across_conditions(field: str, value: object) -> None:
    verdict = decide(model([1.0] * 6, **{field: value}), CHAMPION)
    assert not verdict.passed and field in verdict.sentence and verdict.difference_cm is None


def test_nothing_is_compared_across_metric_versions_or_clips() -> None:
    config, figures = model([1.0] * 6)
    assert "metric_version" in decide((config, figures | {"metric_version": 2}), CHAMPION).sentence
    assert "same gate clips" in decide(model([1.0] * 5), CHAMPION).sentence


def test_few_groups_are_not_enough() -> None:
    assert "1 held-out group" in decide(model([1.0]), model([3.0])).sentence
    assert not decide(model([1.0, 2.0]), model([3.0, 3.1])).passed


def test_the_interval_covers_the_truth_where_groups_are_few() -> None:
    """Under no difference, 6 groups: the upper end is below zero in about 2.5 % of trials, not in 10 %."""
    rng = np.random.default_rng(0)
    group = [str(i // 4) for i in range(24)]
    wrong = 0
    for trial in range(200):
        change = np.repeat(rng.normal(size=6), 4) + 0.5 * rng.normal(size=24)
        wrong += paired_interval(change, np.ones(24), group, seed=trial, resamples=200)[2] < 0
    assert wrong <= 10


def test_weights_are_windows() -> None:
    mean, _, _ = paired_interval(np.array([1.0, 0.0]), np.array([3.0, 1.0]), ["a", "b"], resamples=10)
    assert mean == pytest.approx(0.75)


@pytest.mark.parametrize(
    "clips",
    [[], [{"clip": "a"}], [{"clip": "a", "group": "g", "mpjpe_cm": float("nan"), "windows": 1}], None, "x",
     [{"clip": "a", "group": "g", "mpjpe_cm": 1.0, "windows": 1}] * 2],
)  # fmt: skip
def test_malformed_clips(clips: object) -> None:
    config, figures = model([1.0] * 6)
    with pytest.raises(BundleError, match="gate.clips"):
        decide((config, figures | {"gate": {"clips": clips}}), None)
