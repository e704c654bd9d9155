"""`python -m sweeps watch` and `stop`, and what the other commands say of sweeps that run: with real drivers."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweeps import drivers, watch
from sweeps.claims import Claims
from sweeps.ledger import Ledger
from tests.kept_sweeps import empty_store, half_done, sweeps
from zoo.store import Store, open_store

ROOT = Path(__file__).resolve().parents[1]
# A driver that trains nothing: it holds the sweep's name, shows its progress, and parks its trial when it is asked to.
DRIVER = """
import sys, time
from sweeps.claims import Claims
from sweeps.ledger import Ledger, TrialRecord
from sweeps.live import write_live
from sweeps.progress import Progress
from zoo.store import open_store

name, end = sys.argv[1:]
store = open_store()
progress = Progress({"objects": 3}, slots=1, session="driver-1", sweep=name)
with Claims(store, "driver-1", beat_s=0.2) as claims:
    assert claims.take("sweep", name) is None
    record = TrialRecord("first", "objects", "search", {"codes": 300, "seed": 0})
    progress.started(record)
    for epoch in range(1, 1000):
        figures = {"stage": "predictor", "epoch": epoch, "epochs": 1000, "mpjpe_cm": 9.0, "seconds": 0.1}
        progress.reported(record, figures)
        write_live(store, name, progress.live())
        if end == "killed" or (end == "finish" and epoch < 15):
            time.sleep(0.1)
        elif end == "finish":
            record.status, record.metrics = "finished", {"mpjpe_cm": 5.25}
            break
        elif Ledger(store, name).stop_asked():
            break
        time.sleep(0.1)
    progress.ended(record)
    progress.close()
    write_live(store, name, progress.live())
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return empty_store(tmp_path, monkeypatch)


@contextmanager
def driver(name: str, end: str) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own, once it can be seen; it ends by itself ("finish"), or when it is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, name, end], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        wait(lambda: drivers.driver_of(open_store(), name).state == "running")
        yield process
    finally:
        process.kill()
        process.wait()


def wait(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"nothing after {timeout_s:.0f} s"
        time.sleep(0.1)


def test_a_running_sweep_is_seen_and_followed_to_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.1)
    ledger = half_done(store)
    ledger.started("first", "objects", "search", {"codes": 300, "seed": 0}, 1)
    with driver("mine", "finish"):
        assert "running" in sweeps("ls").splitlines()[1]
        said = sweeps("status", "mine")
        assert "Driver:  running (driver-1): [objects]" in said and re.search(
            r"\| +predictor \d+/1000 +\|", said
        )
        assert "python -m sweeps watch mine" in said and "goes on where it was" not in said
        assert "mine is running (driver-1)" in sweeps("retry", "mine", code=1)
        followed = sweeps("watch", "mine")
    assert "[objects] started codes=300 | 0/3 done, 1 running" in followed
    last = followed.splitlines()[-1]
    assert last.startswith("[objects] finished codes=300: 5.25 cm | 1/3 done, 0 running, best 5.25 cm")
    assert followed.count("finished codes=300") == 1
    # It has ended well, and can be asked for again.
    assert "Nobody runs mine" in sweeps("watch", "mine")


def test_a_terminal_shows_a_table(store: Store) -> None:
    half_done(store)
    with driver("mine", "finish"):
        upper, lower = pty.openpty()
        watching = subprocess.Popen(
            [sys.executable, "-m", "sweeps", "watch", "mine"],
            cwd=ROOT, stdout=lower, stderr=lower, env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        )  # fmt: skip
        os.close(lower)
        shown = b""
        while watching.poll() is None or select.select([upper], [], [], 0)[0]:
            if select.select([upper], [], [], 0.2)[0]:
                try:
                    shown += os.read(upper, 65536)
                except OSError:  # the other end was closed
                    break
        os.close(upper)
    assert watching.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"codes=300 +━", text) and re.search(r"predictor \d+/1000 9.00 cm", text)
    assert "1/3 done, 0 running" in text and "best 5.25 cm (codes=300)" in text


def test_stop_waits_until_the_driver_has_parked_its_trials(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.1)
    half_done(store)
    with driver("mine", "asked") as process:
        said = sweeps("stop", "mine")
        assert process.wait(60) == 0
    assert said.startswith("Asked driver-1 to stop mine")
    assert "1 still running, 0/3 done" in said and said.splitlines()[-1].startswith("mine has stopped.")
    assert Ledger(store, "mine").stop_asked()  # the next driver takes it away when it begins


def test_nobody_is_asked_to_stop_where_nobody_runs(store: Store) -> None:
    half_done(store)
    assert "Nobody runs mine" in (said := sweeps("stop", "mine")) and "nothing to stop" in said
    assert not Ledger(store, "mine").stop_asked()
    assert "Nobody runs mine" in sweeps("watch", "mine", code=1)


def test_a_killed_driver_is_silent_and_neither_watched_nor_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.1)
    monkeypatch.setattr(watch, "_DEAD_S", 1.0)
    monkeypatch.setattr(watch, "_SILENT_S", 1.0)
    monkeypatch.setattr(watch, "_GIVEN_UP_S", 1.5)
    half_done(store)
    with driver("mine", "killed") as process:
        killer = threading.Timer(1.0, process.kill)
        killer.start()
        followed = sweeps("watch", "mine", code=1)
        killer.join()
        # By the clock, a driver that wrote a moment ago still runs.
        monkeypatch.setattr(drivers, "_FRESH_S", 0.0)
        assert "[objects] started codes=300" in followed
        assert "silent 0:" in sweeps("ls").splitlines()[1]
        assert "driver-1 has been silent for 0:" in sweeps("status", "mine")
        assert "driver-1, which runs mine, has been silent for 0:" in sweeps("watch", "mine", code=1)
        said = sweeps("stop", "mine")
        assert said.startswith("Listening for driver-1") and "There is nothing to stop" in said
        assert not Ledger(store, "mine").stop_asked()


def test_a_request_to_stop_is_taken_back_where_the_driver_dies_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_POLL_S", 0.1)
    monkeypatch.setattr(watch, "_SILENT_S", 1.0)
    half_done(store)
    with driver("mine", "killed") as process:

        def strike() -> None:
            wait(Ledger(store, "mine").stop_asked)
            process.kill()
            process.wait()
            monkeypatch.setattr(drivers, "_FRESH_S", 0.0)

        striking = threading.Thread(target=strike)
        striking.start()
        said = sweeps("stop", "mine", code=1)
        striking.join()
    assert "The request was taken back" in said
    assert not Ledger(store, "mine").stop_asked()


def test_a_driver_that_has_not_shown_anything_yet_is_known_by_its_heartbeat(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(store)
    with Claims(store, "driver-2", beat_s=0.2) as claims:
        assert claims.take("sweep", "mine") is None
        assert drivers.driver_of(store, "mine").state == "running"
        assert "running (driver-2): it is starting" in sweeps("status", "mine")
    assert drivers.driver_of(store, "mine").state == "none"


def test_another_machine_watches_and_stops_through_the_object_store(
    object_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**object_store.env, "LATENTACT_HOME": f"{tmp_path}/home"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(watch, "_POLL_S", 0.1)
    monkeypatch.setenv("LATENTACT_ZOO", "s3://zoo/command")
    half_done(open_store())
    with driver("mine", "asked"):
        assert "mine has stopped." in sweeps("stop", "mine")
    assert "Nobody runs mine" in sweeps("watch", "mine")
    assert "codes" in sweeps("status", "mine")
