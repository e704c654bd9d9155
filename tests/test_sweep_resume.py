"""kill -9 of the driver in the middle of a sweep, then the same command: no started trial lost, none trained twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray_head import wait
from sweep_driver import EPOCHS, ROOT, TRIALS, logged_name, read_trials
from tiny_clips import tiny_clips

from sweeps.ledger import TrialRecord
from zoo.store import open_store, read_json

ENDED = ("finished", "stopped")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@dataclass
class Sweep:
    """The same command, as often as it is needed, and what can be seen of it from outside."""

    data: Path
    store: Path
    log: Path
    environment: dict[str, str]

    def start(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "tests.sweep_driver", "held", "struck"]
        return subprocess.Popen(
            [*program, self.data, f"file://{self.store}", self.log], env=self.environment, cwd=ROOT
        )

    def epochs(self) -> Counter[tuple[str, int]]:
        """How often each epoch of each trial's predictor has been trained."""
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        words = [line.split() for line in lines]
        return Counter((name, int(epoch)) for name, stage, epoch in words if stage == "predictor")

    def trials(self) -> dict[str, TrialRecord]:
        return read_trials(open_store(f"file://{self.store}"), "struck")

    def ended(self) -> Counter[str]:
        """How many `finished` or `stopped` events each identity has; which of them ASHA stops depends on timing."""
        store = open_store(f"file://{self.store}")
        events = [read_json(store, key) for key in store.list("ledger/trials/")]
        return Counter(event["identity"] for event in events if event["event"] in ENDED)


def test_a_killed_sweep_goes_on_where_it_was(head: dict[str, str], tmp_path: Path) -> None:
    tiny_clips(tmp_path / "data", clips=16)
    sweep = Sweep(tmp_path / "data", tmp_path / "store", tmp_path / "epochs", head)

    driver = sweep.start()
    first = Path(f"{sweep.log}.first")

    def ripe() -> bool:
        """A trial has ended and the first one is in the middle."""
        return bool(sweep.ended()) and sweep.epochs()[first.read_text(), 2] > 0

    wait(ripe, 400, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before, trained_before = sweep.trials(), sweep.epochs()
    assert sum(trial.status in ENDED for trial in before.values()) < len(before), "nothing was under way"

    Path(f"{sweep.log}.go").touch()
    assert sweep.start().wait(400) == 0
    after, trained = sweep.trials(), sweep.epochs()
    assert before.keys() <= after.keys(), "a started trial was lost"
    assert len(after) == TRIALS
    assert {trial.status for trial in after.values()} <= set(ENDED)
    assert sweep.ended() == dict.fromkeys(after, 1)
    for identity, trial in after.items():
        name = logged_name(trial.params)
        last = EPOCHS if trial.status == "finished" else trial.epochs
        assert [epoch for epoch, _ in trial.curve] == list(range(1, last + 1))
        again = sum(trained[name, epoch] - 1 for epoch in range(1, last + 1))
        if identity in before and before[identity].status in ENDED:
            assert again == 0, "an ended trial was trained twice"
        # The epoch under way when the driver died, and one that its worker may have ended after it.
        assert 0 <= again <= 2
    assert trained[first.read_text(), 1] == 1, "the interrupted trial began anew instead of resuming"
    assert sum(trained.values()) > sum(trained_before.values())

    # Once more: everything is there already.
    begun = time.monotonic()
    assert sweep.start().wait(120) == 0
    assert sweep.epochs() == trained and len(sweep.trials()) == TRIALS
    print(f"third run: {time.monotonic() - begun:.1f} s")
