"""Two drivers at once: of one name only one runs, and of two names they share what both need."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.ledger import TrialRecord
from tests.sweep_driver import EPOCHS, ROOT, SMALL, TRIALS, read_trials
from tests.tiny_clips import tiny_clips
from zoo.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
_ENDS_S = 400


@contextmanager
def started(
    sweeps: list[tuple[str, str]], folder: Path, environment: dict[str, str]
) -> Iterator[list[subprocess.Popen[str]]]:
    """A driver for each (kind, name), all at once on the same store."""
    tiny_clips(folder / "data", clips=16)
    place = [str(folder / "data"), f"file://{folder}/store", str(folder / "epochs")]
    drivers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.sweep_driver", kind, name, *place],
            env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for kind, name in sweeps
    ]  # fmt: skip
    try:
        yield drivers
    finally:
        for driver in drivers:
            driver.kill()
            driver.wait()


def epochs(folder: Path) -> Counter[str]:
    """How often each epoch of each stage of each trial has been trained."""
    return Counter((folder / "epochs").read_text().splitlines())


def test_of_one_name_one_runs_and_the_other_says_so(head: dict[str, str], tmp_path: Path) -> None:
    with started([("held", "same")] * 2, tmp_path, head) as drivers:
        deadline = time.monotonic() + _ENDS_S
        while all(driver.poll() is None for driver in drivers):
            assert time.monotonic() < deadline, "both run"
            time.sleep(0.2)
        loser, winner = sorted(drivers, key=lambda driver: driver.poll() is None)
        said = loser.communicate()[1]
        assert loser.returncode == 1, said
        assert "same is being run by" in said and "Traceback" not in said
        (tmp_path / "epochs.go").touch()
        said = winner.communicate(timeout=_ENDS_S)[1]
        assert winner.returncode == 0, said
    assert set(epochs(tmp_path).values()) == {1}


def test_of_two_names_each_codebook_is_trained_once(head: dict[str, str], tmp_path: Path) -> None:
    names = {"one": "grid", "other": "deeper"}
    with started([(kind, name) for name, kind in names.items()], tmp_path, head) as drivers:
        for driver in drivers:
            said = driver.communicate(timeout=_ENDS_S)[1]
            assert driver.returncode == 0, said
    trained = epochs(tmp_path)
    assert set(trained.values()) == {1}
    stages = Counter(line.split()[1] for line in trained)
    assert stages == {
        "codebook": SMALL["codebook_epochs"],
        "indexer": SMALL["indexer_epochs"],
        "predictor": len(names) * TRIALS * EPOCHS,
    }
    store = open_store(f"file://{tmp_path}/store")
    trials: dict[str, TrialRecord] = {}
    for name in names:
        trials |= read_trials(store, name)
    assert len(trials) == len(names) * TRIALS
    assert len({trial.codebook for trial in trials.values()}) == 1
    assert sum("codebook" in trial.stage_seconds for trial in trials.values()) == 1
