"""What is seen of a sweep while it runs: in a log, on a terminal, and from another machine."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeps import progress as progress_module
from sweeps import time_left
from sweeps.ledger import TrialRecord
from sweeps.live import clock, describe, picture, read_live, write_live
from sweeps.progress import Progress
from zoo.store import open_store


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def passes(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress_module, "time", made)
    monkeypatch.setattr(time_left, "time", made)
    return made


def trial(codes: int, setting: str = "objects", seed: int = 0, **changes: Any) -> TrialRecord:
    params = {"codes": codes, "decoder_depth": 3, "seed": seed}
    record = TrialRecord(f"{setting}-{codes}-{seed}", setting, "search" if not seed else "repeat", params)
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def finished(record: TrialRecord, mpjpe_cm: float) -> TrialRecord:
    record.status, record.metrics, record.sweep = "finished", {"mpjpe_cm": mpjpe_cm}, "mine"
    return record


def epoch(stage: str, n: int, epochs: int, **figures: float) -> dict[str, Any]:
    return {"stage": stage, "epoch": n, "epochs": epochs, "loss": 1.0, "seconds": 10.0, **figures}


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_log_says_what_changed_and_where_the_sweep_stands(
    time: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress({"objects": 8}, slots=2, sweep="mine")
    progress.enter(
        "objects", [finished(trial(256, seconds=80.0), 6.0), finished(trial(128, seconds=80.0), 7.0)]
    )
    first, second = trial(308), trial(512)
    progress.started(first)
    progress.started(second)
    time.passes(80)
    progress.ended(finished(first, 5.34))
    before, after = (
        f"best {best} decoder_depth=3), about" for best in ("6.00 cm (codes=256", "5.34 cm (codes=308")
    )
    assert lines(capsys) == [
        f"[objects] started codes=308 decoder_depth=3 | 2/8 done, 1 running, {before} 4:00 left",
        f"[objects] started codes=512 decoder_depth=3 | 2/8 done, 2 running, {before} 4:00 left",
        f"[objects] finished codes=308 decoder_depth=3: 5.34 cm | 3/8 done, 1 running, {after} 2:40 left",
    ]


def test_every_fifteen_seconds_a_log_names_what_runs(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"objects": 2}, slots=1)
    record = trial(256)
    progress.started(record)
    capsys.readouterr()
    progress.reported(record, epoch("codebook", 1, 8))
    time.passes(14)
    progress.tick()
    assert lines(capsys) == []
    time.passes(1)
    progress.tick()
    progress.tick()
    (line,) = lines(capsys)
    assert "1 running (codes=256 decoder_depth=3: codebook 1/8)" in line


def test_nothing_is_said_of_the_time_left_before_something_is_known(
    time: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress({"objects": 3}, slots=1)
    record = trial(256)
    progress.started(record)
    assert "time left unknown until a first trial ends" in lines(capsys)[0]
    time.passes(20)
    progress.reported(record, epoch("codebook", 2, 2))
    assert progress.live()["left_s"] is None  # stages differ in what an epoch takes
    time.passes(10)
    progress.reported(record, epoch("predictor", 1, 4, mpjpe_cm=6.0))
    # It takes 20 + 4 * 10 s, of which 30 are left; so will the two after it.
    assert progress.live()["left_s"] == pytest.approx(30 + 2 * 60)
    time.passes(10)
    assert progress.live()["left_s"] == pytest.approx(20 + 2 * 60)


def test_a_resumed_trial_is_judged_by_the_epochs_of_this_run(time: Clock) -> None:
    progress = Progress({"objects": 1}, slots=1)
    record = trial(256)
    progress.started(record)
    time.passes(10)
    progress.reported(record, epoch("predictor", 6, 8, mpjpe_cm=6.0))
    assert progress.live()["left_s"] == pytest.approx(20)


@pytest.mark.parametrize(("slots", "left_s"), [(1, 300), (2, 200), (3, 100), (8, 100)])
def test_time_left_is_that_of_the_last_slot(time: Clock, slots: int, left_s: float) -> None:
    progress = Progress({"objects": 4}, slots)
    progress.enter("objects", [trial(128, status="stopped", seconds=100.0)])
    assert progress.live()["left_s"] == pytest.approx(left_s)


def test_settings_have_times_of_their_own(time: Clock) -> None:
    progress = Progress({"objects": 2, "actions": 2, "tasks": 1}, slots=1)
    progress.enter("objects", [trial(128, seconds=10.0, status="stopped")])
    progress.enter("actions", [trial(128, "actions", seconds=50.0, status="stopped")])
    assert progress.live()["left_s"] == pytest.approx(10 + 50 + 30)  # tasks: the mean of all


def test_many_settings_at_once(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"objects": 2, "actions": 2}, slots=2)
    one, other = trial(256), trial(256, "actions")
    progress.started(one)
    progress.started(other)
    time.passes(15)
    progress.tick()
    assert "2 running (objects codes=256 decoder_depth=3: starting; actions codes=256" in lines(capsys)[-1]
    time.passes(45)
    progress.ended(finished(one, 5.0))
    progress.ended(finished(other, 8.0))
    said = lines(capsys)
    assert "1/4 done (1/2 of objects), 1 running, best 5.00 cm" in said[0]
    assert said[1].startswith("[actions] finished") and "best 8.00 cm" in said[1]
    time.passes(15)
    progress.tick()
    (line,) = lines(capsys)
    assert line.startswith(
        "[objects,actions] waiting for a place on the cluster | 2/4 done, 0 running, best objects 5"
    )
    assert "best actions 8.00 cm" in line


def test_all_ways_in_which_a_trial_can_end(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"objects": 9}, slots=9, show_best=False)
    for codes in (1, 2, 3, 4):
        progress.started(trial(codes))
    progress.reported(trial(4), epoch("predictor", 3, 8, mpjpe_cm=float("nan")))
    capsys.readouterr()
    progress.ended(trial(1, status="stopped", metrics={"mpjpe_cm": 7.0}))
    progress.ended(trial(2, status="failed", reason="loss is not finite"))
    progress.ended(finished(trial(3, reason="out of memory once, finished alone"), 5.0))
    progress.ended(trial(4))
    progress.ended(finished(trial(5), 4.0))
    assert [line.partition(" | ")[0] for line in lines(capsys)] == [
        "[objects] stopped codes=1 decoder_depth=3: 7.00 cm",
        "[objects] failed codes=2 decoder_depth=3: loss is not finite",
        "[objects] finished codes=3 decoder_depth=3: 5.00 cm (out of memory once, finished alone)",
        "[objects] parked codes=4 decoder_depth=3 after predictor 3/8; the next run goes on from there",
        "[objects] finished before, by another sweep or run codes=5 decoder_depth=3: 4.00 cm",
    ]
    assert progress.live()["done"] == 4  # the parked one is not
    assert "best" not in progress.live()["lines"][-1]


def test_a_trial_counts_once_however_often_it_is_tried(
    time: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress({"objects": 2}, slots=1, sweep="mine")
    record = trial(256)
    progress.started(record)
    time.passes(30)
    record.status, record.reason = "failed", "the worker was lost"
    progress.ended(record)
    assert progress.live()["done"] == 1
    progress.started(record)
    assert progress.live()["done"] == 0
    progress.started(record)
    assert "started again codes=256" in lines(capsys)[-1]
    time.passes(30)
    record.reason, record.seconds = "", 55.0
    progress.ended(finished(record, 5.0))
    assert progress.live()["done"] == 1
    assert progress.worker_seconds == pytest.approx(60)


def test_spent_counts_the_sweeps_own_trials_on_all_their_workers(time: Clock) -> None:
    progress = Progress({"objects": 9}, slots=2, sweep="mine", device="cuda", workers=2, usd_per_hour=3.0)
    progress.enter(
        "objects", [trial(1, seconds=900.0, sweep="mine"), trial(2, seconds=900.0, sweep="theirs")]
    )
    progress.started(trial(3))
    time.passes(450)
    assert progress.worker_seconds == pytest.approx(2 * (900 + 450))
    assert progress.live()["spent"] == "0.75 GPU hours, 2.25 USD"
    # What an earlier run trained of it is known when it ends.
    record = trial(3, seconds=1350.0)
    progress.ended(finished(record, 5.0))
    assert progress.worker_seconds == pytest.approx(2 * (900 + 1350))


def test_why_nothing_starts_is_said_once(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"objects": 2}, slots=2)
    for _ in range(3):
        progress.waiting("codebook 12ab is being trained by another sweep")
        progress.waiting("")
    assert (
        len(said := lines(capsys)) == 1 and "codebook 12ab is being trained by another sweep | 0/2" in said[0]
    )
    progress.started(trial(1))
    assert progress.live()["waiting"] == ""


def test_more_trials_can_be_planned(time: Clock) -> None:
    progress = Progress({"objects": 1}, slots=1)
    progress.grow("objects", 2)
    assert progress.live()["total"] == 3
    for codes in range(5):
        progress.ended(finished(trial(codes), 5.0))
    assert progress.live()["total"] == 5  # never fewer than there are


def test_others_see_it_through_the_store(time: Clock, tmp_path: Path) -> None:
    progress = Progress({"objects": 2}, slots=1, session="host-1")
    progress.started(trial(1, slot="2", began_s=1_700_000_950.0))
    progress.reported(trial(1), epoch("predictor", 2, 8, mpjpe_cm=6.5))
    progress.reported(trial(1), epoch("predictor", 3, 8, mpjpe_cm=float("nan")))
    store = open_store(f"file://{tmp_path}")
    assert read_live(store, "mine") is None
    write_live(store, "mine", progress.live())
    live, tag = read_live(store, "mine") or pytest.fail("nothing there")
    assert json.loads(json.dumps(progress.live())) == live
    assert (live["session"], live["state"], live["running"][0]["epoch"]) == ("host-1", "running", 3)
    assert live["running"][0]["mpjpe_cm"] is None and live["running"][0]["began_s"] == 1_700_000_950.0
    progress.close()
    write_live(store, "mine", progress.live())
    ended, later = read_live(store, "mine") or pytest.fail("nothing there")
    assert ended["state"] == "ended" and later != tag


def test_a_watcher_can_tell_which_lines_are_new(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress({"objects": 100}, slots=1)
    for codes in range(70):
        progress.ended(finished(trial(codes), 5.0))
    live = progress.live()
    said = lines(capsys)
    assert live["lines_before"] + len(live["lines"]) == 70 and live["lines"] == said[live["lines_before"] :]


def test_a_terminal_shows_what_runs_and_keeps_what_ended(time: Clock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=110, height=30, color_system=None)
    progress = Progress({"objects": 4, "actions": 4}, slots=2, console=console, usd_per_hour=1.0)
    progress.started(trial(256))
    progress.started(trial(300, "actions"))
    progress.reported(trial(256), epoch("predictor", 2, 8, mpjpe_cm=6.25))
    time.passes(90)
    progress.tick()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    for text in ("codes=256 decoder_depth=3", "predictor 2/8 6.25 cm", "1:30", "0/8 done, 2 running"):
        assert text in shown, shown
    assert "spent 0.05 core hours, 0.05 USD" in shown
    progress.ended(finished(trial(256), 5.5))
    progress.close()
    progress.close()
    assert "[objects] finished codes=256 decoder_depth=3: 5.50 cm" in screen.getvalue()
    assert "started" not in screen.getvalue()
    # In a log the same change would have been a line; a watcher elsewhere still gets it.
    assert progress.live()["lines"][-1].startswith("[objects] finished")


def test_a_picture_fits_the_terminal(time: Clock) -> None:
    progress = Progress({"objects": 200}, slots=100)
    for codes in range(100):
        progress.started(trial(codes))
    screen = io.StringIO()
    Console(file=screen, width=100).print(picture(progress.live(), height=20))
    shown = screen.getvalue().splitlines()
    assert len(shown) <= 20 and "and 86 more" in screen.getvalue()


def test_words() -> None:
    assert [clock(seconds) for seconds in (0, 7.9, 750, 3600, 11100, -3)] == [
        "0:00", "0:07", "12:30", "1 h 00 min", "3 h 05 min", "0:00",
    ]  # fmt: skip
    params = {"learning_rate": 0.00123456, "norm": True, "seed": 1}
    assert describe(params) == "learning_rate=0.001235 norm=True seed=1"
    assert describe(params, "search") == "learning_rate=0.001235 norm=True"
