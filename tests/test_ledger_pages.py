"""Pages and segments: no event is lost on its way into one, whoever closes it and whatever the store does."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ledger_events import HOME, end, events, forget, segments, start, trials

from sweeps import ledger_pages
from sweeps.ledger import Ledger
from zoo.errors import StoreError
from zoo.store import Store, open_store, read_json, to_json


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_pages, "PAGE_EVENTS", 10)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the ledger's clock forward."""

    def set_forward(seconds: float) -> None:
        monkeypatch.setattr(ledger_pages, "_now_s", lambda: time.time() + seconds)

    return set_forward


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


def test_a_page_that_was_closed_twice_is_read_once_and_whole(store: Store) -> None:
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
    [key] = segments(store)
    assert read_json(store, key)["events"]
    assert list(trials(ledger)) == ["a", "c", "d"]
