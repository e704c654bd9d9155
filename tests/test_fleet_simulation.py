"""The simulated fleet runs a whole sweep through the real engine, and its clock charges the driver for what it does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from sweeps.ledger import Ledger, TrialRecord
from sweeps.sweep import _search
from tests.benchmarks.fleet_simulation import fleet_plan
from tests.virtual_clock import CountedStore, VirtualClock
from tests.virtual_fleet import Fleet, VirtualSession
from zoo.store import open_store

WORKERS, LATENCY_S = 6, 0.05


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small sweep on a virtual fleet: the fleet, the counted store, and the ledger as it is read afterwards."""
    inner = open_store(f"file://{tmp_path_factory.mktemp('fleet')}")
    clock = VirtualClock(cpu=True)
    store, fleet = CountedStore(inner, clock, LATENCY_S), Fleet(clock, inner)
    plan = fleet_plan(24, codebooks=2, seed=0, search="random")
    with fleet.in_place(), VirtualSession(plan, store, WORKERS) as driver:
        settings: dict[str, dict[str, TrialRecord]] = {}
        assert _search(driver, plan, settings, warm_start=False) == ""
    trials = Ledger(inner, plan.name).read(plan.budget)[0]
    return fleet, store, [trial for setting in trials.values() for trial in setting.values()]


def test_every_trial_of_the_plan_ends_in_the_ledger(swept: Any) -> None:
    _, _, trials = swept
    ends = Counter(trial.status for trial in trials if trial.phase == "search")
    assert ends.keys() == {"finished", "stopped"} and sum(ends.values()) == 24
    # Of 16 epochs, as the stopper has it.
    assert {trial.epochs for trial in trials if trial.status == "stopped"} <= {4, 12}


def test_each_codebook_is_trained_by_one_trial(swept: Any) -> None:
    _, _, trials = swept
    trained = Counter(trial.codebook for trial in trials if "codebook" in trial.stage_seconds)
    assert trained.keys() == {trial.codebook for trial in trials} and set(trained.values()) == {1}


def test_no_more_trials_run_than_there_are_workers(swept: Any) -> None:
    _, _, trials = swept
    # Both ends are the driver's own times, by the virtual clock.
    changes = sorted([(t.began_s, 1) for t in trials] + [(t.ended_s, -1) for t in trials])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == WORKERS


def test_the_stores_latency_is_time_that_the_driver_spends(swept: Any) -> None:
    fleet, store, trials = swept
    assert fleet.clock.busy_s > store.requests * LATENCY_S > len(trials) * LATENCY_S
    # Virtual minutes, not the seconds that the test took.
    assert fleet.clock.monotonic() > 600 > fleet.clock.monotonic() - fleet.clock.idle_s


def test_tune_keeps_little_of_a_trial_that_has_ended(swept: Any) -> None:
    fleet, _, trials = swept
    kept = fleet.controller.get_trials()
    assert len(kept) == len(trials)
    for trial in kept:
        assert not trial.evaluated_params and "config" not in trial.config
        assert trial.run_metadata.metric_analysis.keys() <= {"ended"}


def test_the_clock_stands_still_for_what_the_fleet_does_and_jumps_while_it_waits() -> None:
    clock = VirtualClock(cpu=False)
    with clock.aside():
        before_s = clock.monotonic()
        sum(range(10_000))
        assert clock.monotonic() == before_s
        clock.skip_to(before_s + 60)
    clock.spend(5)
    assert clock.monotonic() >= before_s + 65
    assert clock.idle_s == 60 and 5 <= clock.busy_s <= clock.monotonic() - 60
