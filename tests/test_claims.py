"""Claims between real processes: one living holder each, and the dead give theirs up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from object_server import ObjectStore

from sweeps.claims import Claims
from zoo.errors import Conflict
from zoo.store import Store, open_store, read_json, to_json

ROOT = Path(__file__).resolve().parents[1]
# Answers each line of commands, [method, arguments...] in JSON, with a line: one process that holds claims.
DRIVER = """
import json, sys
from sweeps.claims import Claims
from zoo.store import open_store
url, holder, beat_s, dead_after_s = sys.argv[1:]
with Claims(open_store(url), holder, float(beat_s), float(dead_after_s)) as claims:
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        answers = [
            claims.lost if name == "lost" else getattr(claims, name)(*arguments)
            for name, *arguments in json.loads(line)
        ]
        print(json.dumps(answers), flush=True)
"""


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/zoo")


class Driver:
    """A process that holds claims."""

    def __init__(self, url: str, holder: str, beat_s: float, dead_after_s: float) -> None:
        self.holder = holder
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, url, holder, str(beat_s), str(dead_after_s)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def tell(self, *commands: list[str]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(commands) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, name: str, *arguments: str) -> Any:
        self.tell([name, *arguments])
        return self.answer()[0]


@contextmanager
def drivers(
    url: str, *holders: str, beat_s: float = 1.0, dead_after_s: float = 60.0
) -> Iterator[list[Driver]]:
    """Processes that hold claims, by default patient with each other: nobody is taken for dead."""
    started = [Driver(url, holder, beat_s, dead_after_s) for holder in holders]
    try:
        for driver in started:
            assert driver.answer() == "ready"
        yield started
    finally:
        for driver in started:
            driver.process.send_signal(signal.SIGCONT)
            driver.process.kill()
            driver.process.communicate()


def holder_of(store: Store, identity: str) -> str:
    return read_json(store, f"ledger/claims/trial/{identity}.json")["holder"]


def wait_until_taken(claims: Claims, identity: str) -> None:
    while claims.take("trial", identity) is not None:
        time.sleep(0.1)


def test_one_winner_among_processes_that_race(store: Store) -> None:
    names = [f"trial-{i}" for i in range(20)]
    with drivers(store.url, "a", "b", "c", "d") as racing:
        for driver in racing:
            driver.tell(*(["take", "trial", name] for name in names))
        answers = [driver.answer() for driver in racing]
        for place, name in enumerate(names):
            got = [answer[place] for answer in answers]
            [winner] = [driver.holder for driver, holder in zip(racing, got, strict=True) if holder is None]
            assert sorted(got, key=str) == sorted([None] + [winner] * 3, key=str)
            assert holder_of(store, name) == winner


def test_a_claim_is_released_and_taken_again(store: Store) -> None:
    with Claims(store, "a") as first, Claims(store, "b") as second:
        assert first.take("trial", "t") is None
        assert first.take("trial", "t") is None, "ours already"
        assert first.take("codebook", "t") is None, "of another kind"
        assert second.take("trial", "t") == "a"
        second.release("trial", "t")
        assert second.take("trial", "t") == "a", "released by one that did not hold it"
        first.release("trial", "t")
        first.release("trial", "t")
        first.release("trial", "never taken")
        assert second.take("trial", "t") is None
        assert first.take("trial", "t") == "b"
        assert not first.lost and not second.lost


def test_who_leaves_frees_what_it_holds_at_once(store: Store) -> None:
    with Claims(store, "b", dead_after_s=3600.0) as second:
        with Claims(store, "a", dead_after_s=3600.0) as first:
            assert first.take("trial", "t") is None
            assert second.take("trial", "t") == "a"
        assert second.take("trial", "t") is None
    with Claims(store, "c", dead_after_s=3600.0) as third:
        assert third.take("trial", "t") is None


def test_the_claim_of_a_killed_holder_goes_to_one_other(store: Store) -> None:
    with drivers(store.url, "victim", "b", "c", beat_s=0.2, dead_after_s=3.0) as (victim, *others):
        assert victim.ask("take", "trial", "t") is None
        assert [other.ask("take", "trial", "t") for other in others] == ["victim", "victim"]
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait()
        heirs: list[str | None] = ["victim", "victim"]
        while None not in heirs:
            for other in others:
                other.tell(["take", "trial", "t"])
            heirs = [other.answer()[0] for other in others]
        [heir] = [other for other, holder in zip(others, heirs, strict=True) if holder is None]
        [loser] = [other for other in others if other is not heir]
        assert holder_of(store, "t") == heir.holder
        assert loser.ask("take", "trial", "t") == heir.holder
        assert heir.ask("take", "trial", "t") is None


def test_a_slow_holder_keeps_its_claim(local: Store) -> None:
    with (
        drivers(local.url, "slow", beat_s=2.0, dead_after_s=5.0) as [slow],
        # Itself quick to judge, but bound by what the holder promised.
        Claims(local, "quick", beat_s=0.1, dead_after_s=0.5) as quick,
    ):
        assert slow.ask("take", "trial", "t") is None
        beats: set[str] = set()
        while len(beats) < 5:
            beats.add(local.get("ledger/holders/slow.json").tag)
            if quick.take("trial", "t") is None:
                # On a machine so busy that it was late indeed, it must know.
                assert slow.ask("lost") is True
                return
        assert slow.ask("take", "trial", "t") is None


def test_a_holder_that_stood_still_finds_what_it_lost(local: Store) -> None:
    with (
        drivers(local.url, "sleeper", beat_s=0.2, dead_after_s=2.0) as [sleeper],
        Claims(local, "other", beat_s=0.2, dead_after_s=600.0) as other,
    ):
        for name in ("t", "u"):
            assert sleeper.ask("take", "trial", name) is None
        sleeper.process.send_signal(signal.SIGSTOP)
        wait_until_taken(other, "t")
        before = local.get("ledger/claims/trial/u.json").tag
        beat = local.get("ledger/holders/sleeper.json").tag
        sleeper.process.send_signal(signal.SIGCONT)
        while local.get("ledger/holders/sleeper.json").tag == beat:
            time.sleep(0.05)  # its heart beats again, and still it knows:
        assert sleeper.ask("lost") is True
        assert sleeper.ask("retake") == [["trial", "t"]]
        assert sleeper.ask("lost") is False
        assert [sleeper.ask("take", "trial", name) for name in ("t", "u")] == ["other", None]
        # One that judged it dead, and is slow to act on it, comes too late.
        with pytest.raises(Conflict):
            local.put_if("ledger/claims/trial/u.json", to_json({"holder": "third"}), before)


def test_a_suspended_machine_kills_nobody(local: Store) -> None:
    with drivers(local.url, "holder", "other", beat_s=0.3, dead_after_s=4.0) as (holder, other):
        assert holder.ask("take", "trial", "t") is None
        assert other.ask("take", "trial", "t") == "holder"
        holder.process.send_signal(signal.SIGSTOP)
        # Has seen the last beat, which is still the last one when it wakes up, long after.
        assert other.ask("take", "trial", "t") == "holder"
        other.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        other.process.send_signal(signal.SIGCONT)
        assert other.ask("take", "trial", "t") == "holder"
        holder.process.send_signal(signal.SIGCONT)
        assert holder.ask("take", "trial", "t") is None


def test_an_outage_of_the_store_kills_nobody(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in object_store.env.items():
        monkeypatch.setenv(key, value)
    [server] = [child for child in psutil.Process().children() if "weed" in child.name()]
    url = f"s3://zoo/{uuid.uuid4().hex}"
    with (
        drivers(url, "holder", beat_s=0.3, dead_after_s=4.0) as [holder],
        Claims(open_store(url), "other", beat_s=0.3, dead_after_s=4.0) as other,
    ):
        assert holder.ask("take", "trial", "t") is None
        assert other.take("trial", "t") == "holder"
        server.suspend()
        try:
            time.sleep(8.0)
        finally:
            server.resume()
        # Twice as long as a holder may be silent; and yet:
        looked = [other.take("trial", "t") for _ in range(20)]
        assert set(looked) == {"holder"}
        assert holder.ask("lost") is True, "it cannot know that nobody could see it"
        assert holder.ask("retake") == []
        assert holder.ask("lost") is False
