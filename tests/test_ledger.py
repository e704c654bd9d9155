"""The ledger: what its events mean, that nobody can rewrite them, and that none is lost on the way into a segment."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sweeps import ledger_pages
from sweeps.errors import SweepError
from sweeps.ledger import Ledger, TrialRecord
from zoo.errors import StoreError
from zoo.store import Store, open_store, read_json, to_json

PARAMS = {"codes": 256, "decoder_depth": 2, "seed": 0}
HOME = "ledger/sweeps/one"


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "file":
        return open_store(f"file://{tmp_path}/zoo")
    for key, value in request.getfixturevalue("object_store").env.items():
        monkeypatch.setenv(key, value)
    return open_store(f"s3://zoo/{uuid.uuid4().hex}")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_pages, "PAGE_EVENTS", 10)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the ledger's clock forward."""

    def set_forward(seconds: float) -> None:
        monkeypatch.setattr(ledger_pages, "_now_s", lambda: time.time() + seconds)

    return set_forward


def start(ledger: Ledger, identity: str = "a", *, attempt: int = 1, setting: str = "objects") -> TrialRecord:
    ledger.started(identity, setting, "search", PARAMS, attempt)
    return TrialRecord(identity, setting, "search", PARAMS, attempts=attempt)


def end(ledger: Ledger, trial: TrialRecord, status: str, epochs: int = 10, mpjpe_cm: float = 5.0) -> None:
    trial.status = status  # type: ignore[assignment]
    trial.epochs, trial.metrics, trial.curve = epochs, {"mpjpe_cm": mpjpe_cm}, [(epochs, mpjpe_cm)]
    trial.checkpoint = f"{ledger.store.url}/trials/{trial.identity}/best"
    ledger.ended(trial)


def trials(ledger: Ledger, budget: int = 10, setting: str = "objects") -> dict[str, TrialRecord]:
    return ledger.read(lambda setting, params: budget)[0][setting]


def forget(store: Store, prefix: str) -> int:
    keys = list(store.list(prefix))
    for key in keys:
        store.delete(key)
    return len(keys)


def events(store: Store, home: str = HOME) -> list[dict[str, Any]]:
    return [read_json(store, key) for key in store.list(f"{home}/events/")]


def segments(store: Store) -> list[str]:
    return list(store.list(f"{HOME}/segments/"))


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


# Pages and segments.


@pytest.mark.usefixtures("small_pages")
def test_full_pages_are_closed_and_read_from_their_segments(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    for i in range(25):
        start(ledger, f"t{i}")
    assert sorted(key.rpartition("/")[2][:6] for key in segments(store)) == ["s-0000", "s-0001"]
    assert len(events(store)) == 25, "events remain"
    assert list(trials(ledger)) == [f"t{i}" for i in range(25)]
    # A closed page is not listed again: whatever became of its events.
    for page in ("s-0000", "s-0001"):
        assert forget(store, f"{HOME}/events/{page}/") == 10
    assert list(trials(Ledger(store, "one"))) == [f"t{i}" for i in range(25)]
    ledger.compact()
    assert len(segments(store)) == 3
    assert forget(store, f"{HOME}/events/") == 5
    assert list(trials(Ledger(store, "one"))) == [f"t{i}" for i in range(25)]
    start(ledger, "next")
    assert len(trials(ledger)) == 26, "a page takes events after it was closed"


@pytest.mark.usefixtures("small_pages")
def test_many_threads_lose_no_event_in_a_segment(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda i: start(ledger, f"t{i}").identity, range(203)))
    ledger.compact()
    assert len(segments(store)) == 21
    assert len(events(store)) == 203
    forget(store, f"{HOME}/events/")
    assert sorted(trials(ledger)) == sorted(written)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("damage", ["changed", "cut", "empty"])
def test_behind_a_damaged_segment_are_its_events(
    store: Store, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(store, "one", "s")
    for i in range(20):
        start(ledger, f"t{i}")
    key = segments(store)[0]
    whole = store.get(key).read()
    store.put(key, {"changed": whole.replace(b"t3", b"t4"), "cut": whole[:-40], "empty": b""}[damage])
    assert list(trials(ledger)) == [f"t{i}" for i in range(20)]
    said = capsys.readouterr().err
    assert "is damaged" in said and key in said


def test_a_damaged_event_is_refused(store: Store) -> None:
    ledger = Ledger(store, "one", "s")
    start(ledger)
    [key] = store.list(f"{HOME}/events/")
    store.put(key, store.get(key).read().replace(b'"attempt":1', b'"attempt":7'))
    with pytest.raises(StoreError, match=f"{key} is damaged"):
        trials(ledger)


def test_pages_of_dead_sessions_are_closed_by_another(store: Store, later: Callable[[float], None]) -> None:
    start(Ledger(store, "one", "dead"), "a")
    other = Ledger(store, "one", "other-1")
    other.compact()
    assert segments(store) == [], "a page that was written to just now was closed"
    later(ledger_pages.DEAD_AFTER_S + 1)
    other.compact()
    other.compact()
    [key] = segments(store)
    assert key.startswith(f"{HOME}/segments/dead-0000.")
    forget(store, f"{HOME}/events/dead-0000/")
    assert list(trials(Ledger(store, "one"))) == ["a"]


def test_a_session_that_was_silent_for_long_turns_the_page(
    store: Store, later: Callable[[float], None]
) -> None:
    ledger, other = Ledger(store, "one", "slow"), Ledger(store, "one", "other")
    start(ledger, "a")
    later(ledger_pages.TURN_AFTER_S + 1)
    start(ledger, "b")
    later(ledger_pages.TURN_AFTER_S + ledger_pages.DEAD_AFTER_S + 2)
    # Taken for dead, although it is not: what it writes from now on must not be missed.
    other.compact()
    start(ledger, "c")
    assert [key.rpartition("/")[2][:9] for key in segments(store)] == ["slow-0000", "slow-0001"]
    assert list(trials(Ledger(store, "one"))) == ["a", "b", "c"]


def test_a_page_that_was_closed_twice_is_read_once_and_whole(
    store: Store, later: Callable[[float], None]
) -> None:
    ledger = Ledger(store, "one", "slow")
    ledger.note("session", slots=1)
    other = Ledger(store, "one", "other")
    other._pages._write_segment("slow-0000", [to_json(event) for event in events(store)])
    ledger.note("stop", reason="asked")
    ledger.compact()
    assert len(segments(store)) == 2
    assert [note["kind"] for note in Ledger(store, "one").notes()] == ["session", "stop"]


def test_a_clock_that_is_set_back_changes_no_order(store: Store, later: Callable[[float], None]) -> None:
    ledger = Ledger(store, "one", "s")
    for i in range(5):
        later(-100.0 * i)
        start(ledger, f"t{i}")
    assert list(trials(ledger)) == [f"t{i}" for i in range(5)]


def test_sweeps_from_before_there_were_pages(store: Store) -> None:
    """What the first version wrote, to the letter."""
    digest = ledger_pages._digest

    def write(folder: str, **event: Any) -> None:
        body = to_json(event)
        store.put_if(f"{folder}/{digest(body)}.json", body, None)

    for i in range(3):
        write(
            f"{HOME}/events", event="started", identity=f"t{i}", setting="objects", phase="search", attempt=1,
            params={"codes": 256, "depth": 2, "seed": 0}, at=f"2026-11-24T08:00:0{i}+00:00",
        )  # fmt: skip
    write(
        "ledger/trials/t1", event="finished", sweep="one", identity="t1", setting="objects", params={}, attempt=1,
        epochs=10, metrics={"mpjpe_cm": 4.0}, curve=[[10, 4.0]], checkpoint="s3://zoo/trials/t1/c", seconds=1.0,
        reason="", at="2026-11-24T08:01:00.5+00:00",
    )  # fmt: skip
    write(
        f"{HOME}/events",
        event="published",
        setting="objects",
        report={"lines": []},
        at="2026-11-24T09:00:00+00:00",
    )
    ledger = Ledger(store, "one", "s")
    start(ledger, "t3")
    found, reports = ledger.read(lambda setting, params: 10)
    assert [t.status for t in found["objects"].values()] == [
        "unfinished",
        "finished",
        "unfinished",
        "unfinished",
    ]
    assert found["objects"]["t1"].mpjpe_cm == 4.0 and reports == {"objects": {"lines": []}}
    ledger.read_histories(found["objects"].values())
    assert found["objects"]["t1"].history == []


# Size and patience.


def test_a_record_in_memory_is_small(tmp_path: Path) -> None:
    ledger = Ledger(open_store(f"file://{tmp_path}"), "one", "s")
    names = ["mpjpe_cm", "contact_f1", "contact_precision", "contact_recall", "parameters", "latency_ms"]
    names += [f"figure_{i}" for i in range(14)]

    def run(i: int) -> None:
        trial = start(ledger, f"{i:064x}")
        trial.status, trial.epochs = "finished", 8
        trial.metrics = {name: i + 0.5 + k for k, name in enumerate(names)}
        trial.curve = [(epoch, 5.0 + i + 1 / epoch) for epoch in range(1, 9)]
        trial.checkpoint = f"s3://zoo/trials/{trial.identity}/checkpoint_000008"
        trial.stage_seconds = {"codebook": 1.5 + i, "indexer": 2.5 + i, "predictor": 3.5 + i}
        trial.codebook, trial.slot, trial.began_s, trial.ended_s = (
            f"{i // 50:064x}",
            "10.0.0.7/3",
            1e9 + i,
            2e9 + i,
        )
        trial.history = [{"stage": "predictor", "epoch": epoch, "loss": 1.0 / epoch} for epoch in range(1, 9)]
        ledger.ended(trial)

    count = 400
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(count)))
    ledger.compact()
    reader = Ledger(ledger.store, "one")
    trials(reader)  # imports and caches
    gc.collect()
    tracemalloc.start()
    found = trials(reader)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(found) == count
    assert held / count < 6000, f"{held / count:.0f} bytes a trial"


def test_no_event_is_lost_to_a_store_that_is_down_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, away = tmp_path / "zoo", tmp_path / "away"
    store = open_store(f"file://{root}")
    ledger = Ledger(store, "one", "s")
    trial = start(ledger)
    root.rename(away)
    root.write_text("a disk that is not mounted")
    writing = [
        threading.Thread(target=end, args=(ledger, trial, "finished")),
        threading.Thread(target=start, args=(ledger, "b")),
    ]
    for thread in writing:
        thread.start()
    while not (said := capsys.readouterr().err):
        time.sleep(0.05)
    time.sleep(0.5)  # the second one waits too by now, and says nothing more
    root.unlink()
    away.rename(root)
    for thread in writing:
        thread.join()
    said += capsys.readouterr().err
    assert said.count("Waiting for the store") == 1 and "cannot be written" in said
    assert {name: t.status for name, t in trials(ledger).items()} == {"a": "finished", "b": "unfinished"}


def test_patience_ends(tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    store = open_store(f"file://{root}")
    ledger = Ledger(store, "one", "s", patience_s=0.2)
    start(ledger, "a")
    shutil.move(root, tmp_path / "away")
    root.write_text("a disk that is not mounted")
    with pytest.raises(StoreError, match="cannot be written"):
        start(ledger, "b")
    root.unlink()
    shutil.move(tmp_path / "away", root)
    # The page with the failed write is left to its loose events.
    start(ledger, "c")
    ledger.compact()
    assert segments(store) == []
    start(ledger, "d")
    ledger.compact()
    assert len(segments(store)) == 1 and json.loads(store.get(segments(store)[0]).read())["events"]
    assert list(trials(ledger)) == ["a", "c", "d"]
