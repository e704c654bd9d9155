"""The Pareto stopper: what it stops, what it must leave alone, and how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.tune")
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps.ledger import TrialRecord
from sweeps.pareto_stopper import ParetoStopper, end_bound
from sweeps.space import OBJECTIVES
from tests.benchmarks.stopping_savings import EPOCHS as SIMULATED_EPOCHS
from tests.benchmarks.stopping_savings import TRIALS, draw, play, true_front
from tests.tune_trials import NOBODY

EPOCHS = 8  # looks after epochs 1, 2 and 4
MPJPE, F1, SIZE, LATENCY = (
    OBJECTIVES[name] for name in ("mpjpe_cm", "contact_f1", "parameters", "latency_ms")
)
FALLS = (0.8, 1.2, 1.0, 0.9)
KNOWN = {"parameters": 1000, "latency_ms": 10.0}


def curve(end_cm: float, fall: float = 1.0) -> list[float]:
    """MPJPE after every epoch: twice its end at first, as far as `fall` is 1."""
    return [end_cm * (1 + fall * (EPOCHS - epoch) / (EPOCHS - 1)) for epoch in range(1, EPOCHS + 1)]


def run(stopper: TrialScheduler, identity: str, values_cm: Sequence[float], **figures: Any) -> int:
    """Report one epoch after the other; the epoch after which the trial ended."""
    trial = Trial("stub", config={"identity": identity}, stub=True)
    stopper.on_trial_add(NOBODY, trial)
    result: dict[str, Any] = {}
    for epoch in range(1, len(values_cm) + 1):
        past = values_cm[:epoch]
        result = (
            KNOWN
            | figures
            | {"predictor_epoch": epoch, "mpjpe_cm": min(past), "curve": list(enumerate(past, 1))}
        )
        if isinstance(figures.get("contact_f1"), list):
            result["contact_f1"] = figures["contact_f1"][int(np.argmin(past))]
        if stopper.on_trial_result(NOBODY, trial, result) == TrialScheduler.STOP:
            break
    stopper.on_trial_complete(NOBODY, trial, result)
    return result["predictor_epoch"]


def finish(stopper: TrialScheduler, count: int = 4, **figures: Any) -> None:
    """Trials that all end at 5 cm, from between 9 and 11 cm."""
    for n in range(count):
        assert run(stopper, f"finished {n}", curve(5.0, FALLS[n]), **figures) == EPOCHS


def test_what_is_far_behind_is_stopped_and_what_may_still_win_is_not() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    finish(stopper)
    assert run(stopper, "hopeless", curve(15.0)) == 1
    assert run(stopper, "good", curve(5.1)) == EPOCHS
    assert run(stopper, "learns no more", [10.0] * EPOCHS) == 4


def test_nothing_is_stopped_before_three_have_finished() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    finish(stopper, 2)
    assert run(stopper, "third", curve(50.0)) == EPOCHS
    assert run(stopper, "fourth", curve(5e6)) < EPOCHS


def test_a_trial_that_moves_further_than_expected_widens_the_bound() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    finish(stopper)
    assert run(stopper, "before", curve(9.0)) < EPOCHS
    assert run(stopper, "late", [20.0] * (EPOCHS - 1) + [4.9], parameters=2000) == EPOCHS
    assert run(stopper, "after", curve(9.0)) == EPOCHS


@pytest.mark.parametrize("figures", [{"latency_ms": 9.0}, {"parameters": 900}])
def test_a_trial_that_is_better_in_what_is_known_goes_on(figures: dict[str, Any]) -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE, SIZE, LATENCY])
    finish(stopper)
    assert run(stopper, "as large and as slow", curve(15.0)) < EPOCHS
    assert run(stopper, "better", curve(15.0), **figures) == EPOCHS
    # Where that is no objective, it saves nobody.
    alone = ParetoStopper(EPOCHS, [MPJPE])
    finish(alone)
    assert run(alone, "better", curve(15.0), **figures) < EPOCHS


def test_a_latency_within_the_error_of_its_clock_is_no_better() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE, LATENCY])
    finish(stopper)
    assert run(stopper, "two percent faster", curve(15.0), latency_ms=9.8) < EPOCHS


def test_a_trial_larger_than_every_finished_one_goes_on() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    finish(stopper)
    assert run(stopper, "large", curve(15.0), parameters=2000) == EPOCHS
    assert run(stopper, "as large", curve(30.0), parameters=2000) < EPOCHS


def test_one_has_to_be_worse_in_every_curve_and_than_one_and_the_same_trial() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE, F1])
    finish(stopper, contact_f1=[0.4 + 0.05 * n for n in range(EPOCHS)])
    assert run(stopper, "worse in both", curve(15.0), contact_f1=[0.1] * EPOCHS) < EPOCHS
    assert run(stopper, "touches better", curve(15.0), contact_f1=[0.8] * EPOCHS) == EPOCHS
    # The one just finished has a higher F1, the others a lower MPJPE: none has both.
    assert run(stopper, "between", curve(9.0), contact_f1=[0.5 + 0.03 * n for n in range(EPOCHS)]) == EPOCHS


def test_epochs_of_other_stages_and_diverged_ones_pass() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE, LATENCY])
    finish(stopper)
    trial = Trial("stub", config={"identity": "a"}, stub=True)
    stopper.on_trial_add(NOBODY, trial)
    for result in (
        {"trial_seconds": 1.0, "stage_seconds": {}},
        {"predictor_epoch": 1, "mpjpe_cm": math.nan, "curve": [(1, math.nan)], **KNOWN},
        {"predictor_epoch": 2, "curve": [], **KNOWN},
        {"failure": "out of memory"},
    ):
        assert stopper.on_trial_result(NOBODY, trial, result) == TrialScheduler.CONTINUE
    stopper.on_trial_error(NOBODY, trial)


def test_a_result_that_tune_repeats_counts_once() -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    finish(stopper, 1)
    second = Trial("stub", config={"identity": "second"}, stub=True)
    for epoch in [*range(1, EPOCHS + 1), EPOCHS]:
        told = KNOWN | {"predictor_epoch": epoch, "mpjpe_cm": curve(5.0)[epoch - 1], "curve": []}
        assert stopper.on_trial_result(NOBODY, second, told) == TrialScheduler.CONTINUE
    assert run(stopper, "third", curve(5e6)) == EPOCHS


@pytest.mark.parametrize("told", [True, False])
def test_a_trial_that_failed_after_its_last_epoch_dominates_nobody(told: bool) -> None:
    stopper = ParetoStopper(EPOCHS, [MPJPE])
    for n in range(3):
        run(stopper, f"finished {n}", curve(14.0 + n, 1 + n / 100))
    best = Trial("stub", config={"identity": "best"}, stub=True)
    stopper.on_trial_add(NOBODY, best)
    end = KNOWN | {"predictor_epoch": EPOCHS, "mpjpe_cm": 5.0, "curve": [(EPOCHS, 5.0)]}
    assert stopper.on_trial_result(NOBODY, best, end) == TrialScheduler.CONTINUE
    assert run(stopper, "while it counts", curve(9.0)) < EPOCHS
    if told:
        stopper.on_trial_result(NOBODY, best, {"failure": "its checkpoint could not be written"})
    else:
        stopper.on_trial_error(NOBODY, best)
    assert run(stopper, "when it does not", curve(9.0)) == EPOCHS


def record(identity: str, values_cm: Sequence[float], f1: Sequence[float], *, history: bool) -> TrialRecord:
    best = int(np.argmin(values_cm))
    told = [
        {"stage": "predictor", "epoch": n, "mpjpe_cm": value, "contact_f1": score}
        for n, (value, score) in enumerate(zip(values_cm, f1, strict=True), 1)
    ]
    told.insert(0, {"stage": "codebook", "epoch": 1, "loss": 1.0})
    return TrialRecord(
        identity,
        "objects",
        "search",
        {},
        status="finished",
        epochs=len(values_cm),
        metrics={"mpjpe_cm": values_cm[best], "contact_f1": f1[best], **KNOWN},
        curve=list(enumerate(values_cm, 1)),
        history=told if history else [],
    )


def test_a_resumed_sweep_judges_as_the_one_that_saw_everything() -> None:
    rng = np.random.default_rng(0)
    live = ParetoStopper(EPOCHS, [MPJPE, F1])
    ended, blind = [], []
    for n in range(8):
        # Not monotone, so that the best epoch is not always the last.
        values = (np.array(curve(5.0 + n / 10)) * np.exp(rng.normal(0, 0.2, EPOCHS))).tolist()
        f1 = rng.uniform(0.6, 0.7, EPOCHS).tolist()
        if run(live, str(n), values, contact_f1=f1) == EPOCHS:
            ended.append(record(str(n), values, f1, history=True))
            blind.append(record(str(n), values, f1, history=False))
    assert len(ended) >= 4
    resumed = ParetoStopper(EPOCHS, [MPJPE, F1], ended)
    # Without histories nothing is known of how F1 moves, so nobody is stopped on its account.
    unknowing = ParetoStopper(EPOCHS, [MPJPE, F1], blind)
    lengths = []
    for n in range(120):
        # Figures that end nothing are not taken over, so that the stoppers stay as they are.
        values, f1 = curve(5.0 * 1.03**n)[: EPOCHS - 1], [0.6 - 0.005 * n] * EPOCHS
        lengths.append(run(live, f"new {n}", values, contact_f1=f1))
        assert run(resumed, f"new {n}", values, contact_f1=f1) == lengths[-1]
        assert run(unknowing, f"new {n}", values, contact_f1=f1) == EPOCHS - 1
    assert {1, EPOCHS - 1} <= set(lengths)


def test_a_trial_of_a_longer_budget_teaches_what_it_had_by_then() -> None:
    longer = [
        record(str(n), [*curve(5.0, FALLS[n]), 0.1], [0.5] * (EPOCHS + 1), history=False) for n in range(4)
    ]
    stopper = ParetoStopper(EPOCHS, [MPJPE], longer)
    fresh = ParetoStopper(EPOCHS, [MPJPE])
    finish(fresh)
    for end_cm in (5.0, 5.5, 6.0, 7.0, 9.0):
        values = curve(end_cm)[: EPOCHS - 1]
        assert run(stopper, str(end_cm), values) == run(fresh, str(end_cm), values)


@pytest.mark.parametrize("count", [3, 5, 20])
def test_the_bound_holds_as_often_as_it_says(count: int) -> None:
    rng, tries, miss = np.random.default_rng(count), 40_000, 0.05
    below = 0
    for moves in rng.normal(0.7, 0.2, (tries, count + 1)):
        below += 2.0 - moves[-1] < end_bound(2.0, moves[:-1], miss)
    assert abs(below / tries - miss) < 4 * math.sqrt(miss * (1 - miss) / tries)


def test_two_moves_bound_nothing() -> None:
    assert end_bound(2.0, np.array([0.5, 0.5]), 0.05) == -math.inf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "ascending", "spent_at_most"),
    [
        (("mpjpe_cm",), False, 0.6),
        (("mpjpe_cm", "parameters", "latency_ms"), False, 0.8),
        (("mpjpe_cm", "contact_f1"), False, 0.7),
        (tuple(OBJECTIVES), False, 0.9),
        (("mpjpe_cm",), True, 0.96),
        (("mpjpe_cm", "parameters", "latency_ms"), True, 0.96),
    ],
)
def test_of_the_true_front_at_most_one_in_twenty_is_stopped(
    names: tuple[str, ...], ascending: bool, spent_at_most: float
) -> None:
    """200 simulated sweeps. The front is that of all trials trained to their end, with true latencies."""
    objectives = [OBJECTIVES[name] for name in names]
    on_front = stopped = spent = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        trainings = draw(rng, ascending=ascending)
        finished, epochs = play(ParetoStopper(SIMULATED_EPOCHS, objectives), trainings, rng)
        members = true_front(trainings, objectives)
        on_front += len(members)
        stopped += len(members - finished)
        spent += epochs
    assert stopped / on_front <= 0.05
    assert spent / (200 * TRIALS * SIMULATED_EPOCHS) <= spent_at_most
