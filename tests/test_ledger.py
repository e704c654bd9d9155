"""The ledger: what its events mean, and that nobody can rewrite them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepError
from zoo.store import Store, open_store

PARAMS = {"codes": 256, "depth": 2, "seed": 0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}")


def start(ledger: Ledger, identity: str = "a", *, attempt: int = 1, setting: str = "objects") -> TrialRecord:
    ledger.started(identity, setting, "search", PARAMS, attempt)
    return TrialRecord(identity, setting, "search", PARAMS, attempts=attempt)


def end(ledger: Ledger, trial: TrialRecord, status: str, epochs: int = 10, mpjpe_cm: float = 5.0) -> None:
    trial.status = status  # type: ignore[assignment]
    trial.epochs, trial.metrics, trial.curve = epochs, {"mpjpe_cm": mpjpe_cm}, [(epochs, mpjpe_cm)]
    ledger.ended(trial)


def test_a_started_trial_is_unfinished_until_it_ends(store: Store) -> None:
    ledger = Ledger(store, "one")
    trial = start(ledger)
    assert ledger.read(lambda setting, params: 10)[0]["objects"]["a"].status == "unfinished"
    end(ledger, trial, "finished")
    record = ledger.read(lambda setting, params: 10)[0]["objects"]["a"]
    assert (record.status, record.mpjpe_cm, record.params, record.curve) == (
        "finished",
        5.0,
        PARAMS,
        [(10, 5.0)],
    )


def test_a_finished_trial_serves_every_sweep_and_a_stopped_one_its_own(store: Store) -> None:
    first, second = Ledger(store, "one"), Ledger(store, "two")
    end(first, start(first, "done"), "finished")
    end(first, start(first, "stopped"), "stopped", epochs=3)
    start(second, "done")
    start(second, "stopped")
    trials = second.read(lambda setting, params: 10)[0]["objects"]
    assert {name: trial.status for name, trial in trials.items()} == {
        "done": "finished",
        "stopped": "unfinished",
    }
    assert trials["done"].sweep == "one"


def test_a_longer_budget_continues_a_finished_trial(store: Store) -> None:
    ledger = Ledger(store, "one")
    end(ledger, start(ledger), "finished", epochs=10)
    assert ledger.read(lambda setting, params: 20)[0]["objects"]["a"].status == "unfinished"
    assert ledger.read(lambda setting, params: 5)[0]["objects"]["a"].status == "finished"


def test_a_failure_counts_until_the_trial_is_started_again(store: Store) -> None:
    ledger = Ledger(store, "one")
    trial = start(ledger)
    trial.reason = "out of memory"
    end(ledger, trial, "failed")
    record = ledger.read(lambda setting, params: 10)[0]["objects"]["a"]
    assert (record.status, record.reason) == ("failed", "out of memory")
    start(ledger, attempt=2)
    assert ledger.read(lambda setting, params: 10)[0]["objects"]["a"].status == "unfinished"


def test_events_are_added_and_never_rewritten(store: Store) -> None:
    ledger = Ledger(store, "one")
    trial = start(ledger)
    before = {key: store.get(key).read() for key in store.list("ledger/")}
    end(ledger, trial, "stopped")
    end(ledger, trial, "finished")
    after = {key: store.get(key).read() for key in store.list("ledger/")}
    assert len(after) == len(before) + 2
    assert before.items() <= after.items()


def test_a_name_stands_for_one_plan(store: Store) -> None:
    ledger = Ledger(store, "one")
    ledger.plan({"trials": 4, "epochs": 10})
    ledger.plan({"epochs": 10, "trials": 4})
    with pytest.raises(SweepError, match="trials was 4 and is now 8") as refusal:
        ledger.plan({"trials": 8, "epochs": 10})
    assert "epochs" not in str(refusal.value) and "--name" in str(refusal.value)


def test_settings_and_reports_are_kept_apart(store: Store) -> None:
    ledger = Ledger(store, "one")
    start(ledger, "a", setting="objects")
    start(ledger, "b", setting="actions")
    ledger.published("objects", {"model": "latentact-world-objects@1"})
    trials, reports = ledger.read(lambda setting, params: 10)
    assert {setting: list(found) for setting, found in trials.items()} == {"objects": ["a"], "actions": ["b"]}
    assert reports == {"objects": {"model": "latentact-world-objects@1"}}
