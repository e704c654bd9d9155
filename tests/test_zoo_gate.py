"""The gate: who may replace a champion."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import stats
from zoo_bundles import DIGEST, metrics

from zoo.errors import BundleError
from zoo.gate import ALPHA, alpha, decide, paired_interval, percent, refusal
from zoo.student_t import quantile, tail


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
BETTER = model([2.5, 2.8, 2.6, 2.6, 3.0, 2.4])


def test_the_first_champion_only_has_to_be_complete() -> None:
    assert decide(CHAMPION, None).passed
    config, figures = copy.deepcopy(CHAMPION)
    del figures["gate"]
    assert "gate.clips" in decide((config, figures), None).sentence
    config, figures = copy.deepcopy(CHAMPION)
    del config["model"]["data_digest"]
    verdict = decide((config, figures), None)
    assert not verdict.passed and "data_digest" in verdict.sentence
    verdict = decide(CHAMPION, None, lacking=["license", "hardware"])
    assert not verdict.passed and "license, hardware" in verdict.sentence and "card.md" in verdict.sentence


def test_better_worse_and_equal() -> None:
    better = decide(BETTER, CHAMPION)
    assert better.passed and better.high_cm is not None and better.high_cm < 0 and better.groups == 6
    assert (better.look, better.confidence) == (1, 0.95)
    assert not decide(model([3.5, 3.8, 3.6, 3.6, 4.0, 3.4]), CHAMPION).passed
    assert not decide(CHAMPION, CHAMPION).passed
    mixed = decide(model([1.0, 3.4, 2.9, 3.2, 3.6, 3.1]), CHAMPION)  # one group carries all of it
    assert mixed.difference_cm is not None and mixed.difference_cm < 0 and not mixed.passed


def test_what_is_certain_and_tiny_is_not_worth_a_change() -> None:
    config, figures = copy.deepcopy(CHAMPION)
    for clip in figures["gate"]["clips"]:
        clip["mpjpe_cm"] -= 0.02  # on every clip alike: nothing is more certain
    verdict = decide((config, figures), CHAMPION)
    assert verdict.high_cm is not None and verdict.high_cm < 0 and not verdict.passed
    assert "by less than the 0.032 cm" in verdict.sentence
    assert verdict.champion_cm == pytest.approx(3.15, abs=0.01)  # 1 % of it, by default
    assert verdict.min_effect_cm == pytest.approx(0.01 * verdict.champion_cm)
    assert decide((config, figures), CHAMPION, min_effect_cm=0.015).passed
    assert not decide(BETTER, CHAMPION, min_effect_cm=0.6).passed


def test_each_look_is_stricter_and_all_together_err_as_one_test() -> None:
    assert sum(alpha(look) for look in range(1, 100_000)) == pytest.approx(ALPHA, rel=1e-4)
    widths = []
    for look in (1, 2, 30):
        verdict = decide(BETTER, CHAMPION, look=look)
        assert verdict.low_cm is not None and verdict.high_cm is not None
        assert verdict.look == look and verdict.confidence == pytest.approx(1 - 2 * alpha(look))
        assert f"look {look} at this champion" in verdict.sentence
        widths.append(verdict.high_cm - verdict.low_cm)
    assert widths == sorted(widths)
    assert [percent(1 - 2 * alpha(look)) for look in (1, 2, 30)] == ["95%", "98.3%", "99.989%"]


def test_the_same_data_gives_the_same_verdict() -> None:
    candidate = model([2.5, 3.1, 2.6, 3.0, 3.0, 2.4])
    assert decide(candidate, CHAMPION) == decide(candidate, CHAMPION)


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_digest", "e" * 64), ("mode", "interpolate"), ("window", 15), ("protocol", "goal"), ("setting", "objects:1/3"),
     ("hand", "mano")],
)  # fmt: skip
def test_nothing_is_compared_across_conditions(field: str, value: object) -> None:
    verdict = decide(model([1.0] * 6, **{field: value}), CHAMPION)
    assert not verdict.passed and field in verdict.sentence and verdict.difference_cm is None
    assert verdict.look is None


def test_nothing_is_compared_across_metric_versions_or_clips() -> None:
    config, figures = model([1.0] * 6)
    assert "metric_version" in decide((config, figures | {"metric_version": 2}), CHAMPION).sentence
    assert "same gate clips" in decide(model([1.0] * 5), CHAMPION).sentence


def test_a_champion_that_was_never_scored_is_no_measure() -> None:
    """A forced champion may lack its figures: the gate says so, and a reason can overrule it again."""
    config, figures = copy.deepcopy(CHAMPION)
    del figures["gate"]
    verdict = refusal(BETTER, (config, figures))
    assert verdict is not None and "champion's bundle lacks gate.clips" in verdict.sentence


def test_few_groups_are_not_enough() -> None:
    assert "1 held-out group" in decide(model([1.0]), model([3.0])).sentence
    assert not decide(model([1.0, 2.0]), model([3.0, 3.1])).passed


def test_the_interval_is_that_of_a_two_stage_bootstrap() -> None:
    """Clips of unequal weight in groups of unequal size, resampled 20,000 times."""
    rng = np.random.default_rng(0)
    sizes = [6, 7, 8, 9, 10, 8, 7, 9]
    group = np.repeat(np.arange(8), sizes)
    change = rng.normal(size=8)[group] + rng.normal(size=len(group))
    weight = rng.integers(10, 30, len(group)).astype(float)
    members = [np.flatnonzero(group == g) for g in range(8)]
    means = []
    for _ in range(20_000):
        drawn = np.concatenate([rng.choice(members[g], len(members[g])) for g in rng.integers(0, 8, 8)])
        means.append(np.average(change[drawn], weights=weight[drawn]))
    _, low, high = paired_interval(list(change), list(weight), [str(g) for g in group])
    reach = stats.t.ppf(0.975, 7) * np.std(means) * np.sqrt(8 / 7)
    assert (high - low) / 2 == pytest.approx(reach, rel=0.05)


def test_the_interval_covers_the_truth_where_groups_are_few() -> None:
    """Under no difference, 6 groups: the upper end is below zero in about 2.5 % of trials, not in 10 %."""
    rng = np.random.default_rng(0)
    group = [str(i // 4) for i in range(24)]
    wrong = 0
    for _ in range(2000):
        change = np.repeat(rng.normal(size=6), 4) + 0.5 * rng.normal(size=24)
        wrong += paired_interval(list(change), [1.0] * 24, group)[2] < 0
    assert 20 <= wrong <= 70


def test_weights_are_windows() -> None:
    mean, _, _ = paired_interval([1.0, 0.0], [3.0, 1.0], ["a", "b"])
    assert mean == pytest.approx(0.75)


@pytest.mark.parametrize("dof", [1, 2, 3, 5, 11, 12, 200, 3001])
def test_student_t(dof: int) -> None:
    for upper in (0.5, 0.3, 0.025, 1 / 120, 5.4e-5, 1e-8):
        assert quantile(upper, dof) == pytest.approx(stats.t.isf(upper, dof), rel=1e-5, abs=1e-9)
    assert tail(2.0, dof) == pytest.approx(stats.t.sf(2.0, dof), rel=1e-9)
    with pytest.raises(ValueError, match="no quantile"):
        quantile(0.0, dof)


@pytest.mark.parametrize(
    "clips",
    [[], [{"clip": "a"}], [{"clip": "a", "group": "g", "mpjpe_cm": float("nan"), "windows": 1}], None, "x",
     [{"clip": "a", "group": "g", "mpjpe_cm": 1.0, "windows": 1}] * 2],
)  # fmt: skip
def test_malformed_clips(clips: object) -> None:
    config, figures = model([1.0] * 6)
    with pytest.raises(BundleError, match="gate.clips"):
        decide((config, figures | {"gate": {"clips": clips}}), None)
