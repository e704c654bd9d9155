"""Early stopping: what each method decides, and that a resume decides alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("ray.tune")
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from sweeps.errors import SweepError
from tests.tune_trials import NOBODY, random_curve, record, result, run, stopper, trial


def test_asha_stops_at_a_quarter_and_at_three_quarters() -> None:
    asha = stopper("asha", 12)
    assert run(asha, trial("first"), [5.0] * 12) == 12
    assert run(asha, trial("worse"), [6.0] * 12) == 3
    assert run(asha, trial("better at first"), [4.0] * 3 + [9.0] * 9) == 12  # the best so far stays
    assert run(asha, trial("best"), [3.9] * 3 + [2.5] * 9) == 12
    assert run(asha, trial("better still"), [3.0] * 3 + [2.0] * 9) == 12
    assert run(asha, trial("learns no more"), [2.95] * 12) == 9


@pytest.mark.parametrize("epochs", [2, 3, 4, 5, 8, 13, 40])
def test_asha_decides_as_rays_does(epochs: int) -> None:
    rays = AsyncHyperBandScheduler(
        time_attr="predictor_epoch",
        metric="mpjpe_cm",
        mode="min",
        grace_period=max(1, epochs // 4),
        max_t=epochs - 1,
        reduction_factor=3,
        stop_last_trials=False,
    )
    ours, rng = stopper("asha", epochs), np.random.default_rng(epochs)
    lengths = []
    for n in range(60):
        values = (rng.uniform(4, 12) + rng.normal(0, 1, epochs)).tolist()
        lengths.append(run(ours, trial(str(n)), values))
        assert run(rays, trial(str(n)), values) == lengths[-1]
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("epochs", [2, 3, 4, 5, 9, 40])
def test_no_method_stops_in_the_last_epoch(epochs: int) -> None:
    for method in ("asha", "hyperband", "pareto"):
        one = stopper(method, epochs)
        ends = {run(one, trial(str(n)), [5.0 * 2**n] * epochs) for n in range(12)}
        assert epochs in ends, method
        assert min(ends) < epochs or method == "pareto", method
        hopeless = trial("hopeless")
        one.on_trial_add(NOBODY, hopeless)
        assert one.on_trial_result(NOBODY, hopeless, result([1e9] * epochs)) == TrialScheduler.CONTINUE


@pytest.mark.parametrize(("method", "epochs"), [("none", 40), ("asha", 1), ("hyperband", 1), ("pareto", 1)])
def test_without_a_method_or_time_nothing_is_stopped(method: str, epochs: int) -> None:
    one = stopper(method, epochs)
    assert [run(one, trial(str(n)), [5.0 * 2**n] * epochs) for n in range(8)] == [epochs] * 8


def test_an_unknown_method_is_refused_in_a_sentence() -> None:
    with pytest.raises(SweepError, match="--stop-by median: there are asha, hyperband, pareto, none"):
        stopper("median", 10)


def test_hyperband_spreads_trials_over_brackets_by_their_identity() -> None:
    first, second = stopper("hyperband", 27), stopper("hyperband", 27)
    # Each is worse than all before it, so it is stopped at the first rung of its bracket that is not empty.
    ends = [run(first, trial(f"{n}"), [5.0 + n] * 27) for n in range(300)]
    assert ends == [run(second, trial(f"{n}"), [5.0 + n] * 27) for n in range(300)]
    shares = {epoch: ends.count(epoch) / 300 for epoch in (3, 9, 27)}
    # Two, one and no rung: 9/3, 3/2 and 1 parts. The first two bands are of four standard deviations.
    assert shares[3] == pytest.approx(3 / 5.5, abs=0.12)
    assert shares[9] == pytest.approx(1.5 / 5.5, abs=0.1)
    assert sum(shares.values()) == 1


@pytest.mark.parametrize("method", ["asha", "hyperband", "pareto"])
@pytest.mark.parametrize("epochs", [6, 24])
def test_a_resumed_sweep_decides_as_the_one_that_saw_everything(method: str, epochs: int) -> None:
    rng = np.random.default_rng(epochs)
    live, ended = stopper(method, epochs), []
    for n in range(30):
        values = random_curve(rng, epochs)
        length = run(live, trial(str(n)), values)
        if any(math.isfinite(value) for value in values[:length]):
            ended.append(record(str(n), values[:length], epochs))
    rng.shuffle(ended)  # type: ignore[arg-type]
    resumed, fresh = stopper(method, epochs, ended), stopper(method, epochs)
    lengths = []
    for n in range(30, 70):
        values = random_curve(rng, epochs)
        lengths.append((run(live, trial(str(n)), values), run(fresh, trial(str(n)), values)))
        assert run(resumed, trial(str(n)), values) == lengths[-1][0]
    assert any(saw != knew_nothing for saw, knew_nothing in lengths)


def test_a_trial_that_goes_on_from_a_checkpoint_is_on_the_rungs_it_passed() -> None:
    whole, resumed = stopper("asha", 12), stopper("asha", 12)
    values = [8.0, 8.0, 8.0, *[4.0] * 9]
    assert run(whole, trial("a"), values) == 12
    assert run(resumed, trial("a"), values, begun=5) == 12
    for asha in (whole, resumed):
        assert run(asha, trial("b"), [7.0] * 12) == 9
    # It is not judged again where it has passed, though by now it would fail there.
    asha = stopper("asha", 12, [record("better", [5.0] * 12, 12)])
    assert run(asha, trial("a"), [8.0, 8.0, 8.0, *[4.0] * 9], begun=4) == 12


def test_a_trial_may_be_tried_again_after_its_process_was_lost() -> None:
    for method in ("asha", "hyperband", "pareto"):
        one, again = stopper(method, 12), trial("again")
        assert run(one, trial("first"), [5.0] * 12) == 12
        one.on_trial_add(NOBODY, again)
        for epoch in (1, 2, 3, 4):
            one.on_trial_result(NOBODY, again, result([4.0] * epoch))
        one.on_trial_error(NOBODY, again)
        # It is not judged again where it has passed, by those that came since.
        assert run(one, trial("last"), [3.9] * 4) == 4
        assert run(one, again, [4.0] * 12) == 12, method
        one.on_trial_error(NOBODY, again)


@pytest.mark.parametrize("method", ["asha", "hyperband", "pareto", "none"])
def test_epochs_of_other_stages_pass(method: str) -> None:
    one = stopper(method, 2)
    for n in range(20):
        subject = trial(str(n))
        one.on_trial_add(NOBODY, subject)
        for told in (
            {"trial_seconds": 1.0, "stage_seconds": {"codebook": 1.0}, "figures/loss": 3.0},
            {"trial_seconds": 2.0, "curve": []},
            result([math.nan]),
            {"failure": "out of memory"},
        ):
            assert one.on_trial_result(NOBODY, subject, told) == TrialScheduler.CONTINUE
        one.on_trial_complete(NOBODY, subject, {"failure": "out of memory"})
    removed = trial("removed")
    one.on_trial_add(NOBODY, removed)
    one.on_trial_remove(NOBODY, removed)
