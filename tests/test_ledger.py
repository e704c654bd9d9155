"""The ledger: what its events mean, and that nobody can rewrite them."""

from __future__ import annotations

import time

import pytest
from ledger_events import HOME, PARAMS, end, events, forget, start, trials

from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from zoo.store import Store

# What events mean.


def test_a_started_trial_is_unfinished_until_it_ends(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    assert trials(ledger)["a"].status == "unfinished"
    trial.codebook, trial.slot, trial.began_s, trial.ended_s = "book", "node-1/0", 1.5, 1_790_000_000.1234
    trial.stage_seconds, trial.seconds, trial.reason = {"predictor": 2.5}, 3.5, "out of memory once"
    end(ledger, trial, "finished")
    record = trials(Ledger(store, "one"))["a"]
    assert (record.status, record.mpjpe_cm, record.params, record.curve) == (
        "finished",
        5.0,
        PARAMS,
        [(10, 5.0)],
    )
    assert (record.codebook, record.slot, record.began_s, record.ended_s, record.stage_seconds) == (
        "book",
        "node-1/0",
        1.5,
        1_790_000_000.123,
        {"predictor": 2.5},
    )
    assert (record.seconds, record.reason, record.sweep) == (3.5, "out of memory once", "one")


def test_a_finished_trial_serves_every_sweep_and_a_stopped_one_its_own(store: Store) -> None:
    first, second = Ledger(store, "one", "s"), Ledger(store, "two", "t")
    end(first, start(first, "done"), "finished")
    end(first, start(first, "stopped"), "stopped", epochs=3)
    start(second, "done")
    start(second, "stopped")
    found = trials(second)
    assert {name: trial.status for name, trial in found.items()} == {
        "done": "finished",
        "stopped": "unfinished",
    }
    assert found["done"].sweep == "one"
    assert trials(first)["stopped"].status == "stopped"


def test_a_longer_budget_continues_a_finished_trial(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    end(ledger, start(ledger), "finished", epochs=10)
    assert trials(ledger, 20)["a"].status == "unfinished"
    assert trials(ledger, 5)["a"].status == "finished"


def test_a_failure_counts_until_the_trial_is_started_again(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    trial.reason = "out of memory"
    end(ledger, trial, "failed")
    record = trials(ledger)["a"]
    assert (record.status, record.reason) == ("failed", "out of memory")
    other = Ledger(store, "two", "t")
    start(other)
    assert trials(other)["a"].status == "unfinished"
    start(ledger, attempt=2)
    record = trials(ledger)["a"]
    assert (record.status, record.attempts) == ("unfinished", 2)
    end(other, start(other, attempt=2), "finished")
    assert trials(ledger)["a"].status == "finished", "another sweep has finished what failed here"


def test_events_are_added_and_never_rewritten(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    before = {key: store.get(key).read() for key in store.list("ledger/")}
    end(ledger, trial, "stopped")
    end(ledger, trial, "finished")
    ledger.compact()
    after = {key: store.get(key).read() for key in store.list("ledger/")}
    # Two under the trial, two under the sweep, and a segment.
    assert len(after) == len(before) + 5
    assert before.items() <= after.items()


def test_a_name_stands_for_one_plan(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    assert ledger.plan_record() is None and Ledger.names(store) == []
    ledger.plan({"trials": 4, "epochs": 10})
    ledger.plan({"epochs": 10, "trials": 4})
    with pytest.raises(SweepError, match="trials was 4 and is now 8") as refusal:
        ledger.plan({"trials": 8, "epochs": 10})
    assert "epochs" not in str(refusal.value) and "--name" in str(refusal.value)
    Ledger(store, "two", "s").plan({})
    assert Ledger.names(store) == ["one", "two"]
    assert Ledger(store, "one").plan_record() == {"trials": 4, "epochs": 10}


def test_settings_and_reports_are_kept_apart(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    start(ledger, "a", setting="objects")
    start(ledger, "b", setting="actions")
    ledger.published("objects", {"model": "latentact-world-objects@1"})
    ledger.published("objects", {"model": "latentact-world-objects@2"})
    found, reports = ledger.read(lambda setting, params: 10)
    assert {setting: list(found) for setting, found in found.items()} == {"objects": ["a"], "actions": ["b"]}
    assert reports == {"objects": {"model": "latentact-world-objects@2"}}


def test_notes_come_back_in_their_order(store: Store) -> None:
    begun_s = time.time()
    Ledger(store, "one", "s").note("session", slots=4, usd_per_hour=1.25)
    Ledger(store, "one", "t").note("stop", reason="asked")
    start(Ledger(store, "one", "u"))
    notes = Ledger(store, "one").notes()
    assert [(n["kind"], n["session"]) for n in notes] == [("session", "s"), ("stop", "t")]
    assert (notes[0]["slots"], notes[0]["usd_per_hour"], notes[1]["reason"]) == (4, 1.25, "asked")
    assert begun_s <= notes[0]["at_s"] < notes[1]["at_s"] <= time.time()


def test_a_stop_is_asked_for_and_taken_back(store: Store) -> None:
    asking, driver = Ledger(store, "one"), Ledger(store, "one", "s")
    with pytest.raises(SweepError, match="no sweep named one"):
        asking.ask_stop()
    assert Ledger.names(store) == []
    driver.plan({})
    assert not driver.stop_asked()
    asking.ask_stop()
    asking.ask_stop()
    assert driver.stop_asked()
    driver.clear_stop()
    assert not driver.stop_asked()


def test_a_ledger_without_a_session_only_reads(store: Store) -> None:
    end(Ledger(store, "two", "s"), start(Ledger(store, "one", "s")), "finished")
    before = list(store.list(""))
    reader = Ledger(store, "one")
    assert trials(reader)["a"].status == "finished"
    reader.read_histories(trials(reader).values())
    with pytest.raises(ValueError, match="only be read"):
        start(reader)
    assert list(store.list("")) == before


# Two places for what a trial came to.


def test_killed_between_the_two_writes_of_an_ending(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    [started] = store.list(f"{HOME}/events/")
    end(ledger, trial, "stopped", epochs=3)
    for key in store.list(f"{HOME}/events/"):
        if key != started:
            store.delete(key)
    assert trials(Ledger(store, "one"))["a"].status == "stopped"
    assert list(store.list(f"{HOME}/events/")) == [started], "who only reads wrote something"
    # The next session writes down what it found, and need not look there again.
    assert trials(Ledger(store, "one", "t"))["a"].status == "stopped"
    assert trials(Ledger(store, "one", "t"))["a"].status == "stopped"
    assert sorted(e["event"] for e in events(store)) == ["started", "stopped"]
    assert forget(store, "ledger/trials/") == 1
    record = trials(Ledger(store, "one"))["a"]
    assert (record.status, record.epochs, record.curve) == ("stopped", 3, [(3, 5.0)])


def test_what_another_sweep_trained_is_noted_by_the_one_that_uses_it(store: Store) -> None:
    first, second = Ledger(store, "one", "s"), Ledger(store, "two", "t")
    end(first, start(first), "finished")
    trial = start(second)
    second.settle(trial, 10)
    assert (trial.status, trial.sweep) == ("finished", "one")
    forget(store, "ledger/trials/")
    record = trials(Ledger(store, "two"))["a"]
    assert (record.status, record.sweep, record.mpjpe_cm) == ("finished", "one", 5.0)
    assert trials(Ledger(store, "two"), budget=11)["a"].status == "unfinished"


def test_swept_checkpoints(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    end(ledger, start(ledger), "finished")
    ledger.swept("a", "resume")
    assert trials(ledger)["a"].checkpoint == f"{store.url}/trials/a/best"
    ledger.swept("a", "all")
    assert trials(ledger)["a"].checkpoint == ""
    # Another sweep reuses the figures, and is not told of a checkpoint that is gone.
    other = Ledger(store, "two", "t")
    start(other)
    assert [trials(other)["a"].checkpoint for _ in range(2)] == ["", ""]
    # Trained for longer, it has one again.
    end(ledger, start(ledger, attempt=2), "finished", epochs=20)
    assert trials(ledger, 20)["a"].checkpoint == f"{store.url}/trials/a/best"


def test_histories_lie_under_the_trial_alone(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    trial.history = [
        {"stage": "codebook", "epoch": 1, "epochs": 1, "loss": 0.123456789, "live_codes": 250, "at_s": 1790000000.5},
        {"stage": "predictor", "epoch": 1, "epochs": 2, "loss": float("nan"), "mpjpe_cm": 9.0},
    ]  # fmt: skip
    end(ledger, trial, "failed", epochs=1)
    assert not any("history" in event for event in events(store))
    # The second attempt took up the checkpoint of the first.
    trial = start(ledger, attempt=2)
    trial.history = [
        {"stage": "predictor", "epoch": 1, "epochs": 2, "mpjpe_cm": 8.0},
        {"stage": "predictor", "epoch": 2, "epochs": 2, "mpjpe_cm": 7.0},
    ]
    end(ledger, trial, "finished", epochs=2)
    # Trained for longer later on: not what this record tells of.
    longer = Ledger(store, "two", "t")
    trial = start(longer)
    trial.history = [{"stage": "predictor", "epoch": 3, "epochs": 4, "mpjpe_cm": 6.0}]
    end(longer, trial, "finished", epochs=4)

    record = trials(ledger, 2)["a"]
    assert record.history == []
    ledger.read_histories([record])
    assert record.history == [
        {"stage": "codebook", "epoch": 1, "epochs": 1, "loss": 0.123457, "live_codes": 250, "at_s": 1790000000.5},
        {"stage": "predictor", "epoch": 1, "epochs": 2, "mpjpe_cm": 8.0},
        {"stage": "predictor", "epoch": 2, "epochs": 2, "mpjpe_cm": 7.0},
    ]  # fmt: skip
