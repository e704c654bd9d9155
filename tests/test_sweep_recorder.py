"""What becomes of a trial's reports: the ledger's endings, and reasons instead of tracebacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.tune")

from ray import train, tune
from test_sweep_plan import plan

from sweeps import drive
from sweeps.ledger import Ledger, TrialRecord
from sweeps.progress import Progress
from sweeps.recorder import Recorder
from sweeps.tracking import Tracking
from trainables import ray_train
from zoo.store import open_store

PARAMS = {"codes": 256, "depth": 2, "seed": 0}


class Follow:
    """A recorder with a ledger, and one trial as Tune would show it."""

    def __init__(self, folder: Path, *, listed: bool = False) -> None:
        self.plan = plan(epochs=2)
        self.ledger = Ledger(open_store(f"file://{folder}"), self.plan.name)
        self.trials: dict[str, TrialRecord] = {}
        tracking = Tracking(None, self.plan, {})
        self.recorder = Recorder(self.plan, self.ledger, Progress(1, 0, 1), tracking, self.trials)
        self.recorder.begin("objects", "search", PARAMS, "a")
        config = {"identity": "a", "config": self.plan.config("objects", **PARAMS).to_json()}
        self.trial: Any = SimpleNamespace(config={"trial": config} if listed else config, error_file=None)
        self.recorder.on_trial_start(0, [], self.trial)

    def report(self, **result: Any) -> None:
        self.recorder.on_trial_result(0, [], self.trial, result)

    def predictor(self, epoch: int, mpjpe_cm: float, best: float, **more: Any) -> None:
        figures = {"stage": "predictor", "epoch": epoch, "epochs": 2, "mpjpe_cm": mpjpe_cm}
        self.report(
            figures=figures,
            best=figures | {"mpjpe_cm": best},
            mpjpe_cm=best,
            predictor_epoch=epoch,
            curve=[[i, mpjpe_cm] for i in range(1, epoch + 1)],
            trial_seconds=3.0,
            **more,
        )

    def ending(self) -> TrialRecord:
        """The trial as a later run of the command finds it."""
        return self.ledger.read(self.plan.budget)[0]["objects"]["a"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_trial_that_reaches_its_budget_is_finished(tmp_path: Path, listed: bool) -> None:
    follow = Follow(tmp_path, listed=listed)
    follow.report(figures={"stage": "codebook", "epoch": 1, "epochs": 1}, curve=[], trial_seconds=1.0)
    follow.predictor(1, 5.0, 5.0)
    follow.predictor(2, 6.0, 5.0, checkpoint_path="zoo/trials/a/checkpoint_7")
    follow.recorder.on_trial_complete(0, [], follow.trial)
    ending = follow.ending()
    assert (ending.status, ending.epochs, ending.mpjpe_cm, ending.seconds) == ("finished", 2, 5.0, 3.0)
    assert ending.checkpoint == f"file://{tmp_path}/trials/a/checkpoint_7"


def test_a_trial_that_ends_before_is_stopped(tmp_path: Path) -> None:
    follow = Follow(tmp_path)
    follow.predictor(1, 5.0, 5.0)
    follow.recorder.on_trial_complete(0, [], follow.trial)
    assert (follow.ending().status, follow.ending().epochs) == ("stopped", 1)


def test_a_trial_that_diverges_or_fails_has_a_reason(tmp_path: Path) -> None:
    diverged = Follow(tmp_path / "one")
    diverged.predictor(1, float("nan"), float("nan"))
    diverged.predictor(2, float("nan"), float("nan"))
    diverged.recorder.on_trial_complete(0, [], diverged.trial)
    assert diverged.ending().status == "failed" and "MPJPE" in diverged.ending().reason

    failed = Follow(tmp_path / "two")
    failed.predictor(1, 5.0, 5.0)
    failed.report(failure="ClipsError: shard-00000.parquet: damaged")
    failed.recorder.on_trial_complete(0, [], failed.trial)
    assert (failed.ending().status, failed.ending().reason) == (
        "failed",
        "ClipsError: shard-00000.parquet: damaged",
    )

    lost = Follow(tmp_path / "three")
    lost.trial.error_file = tmp_path / "error.txt"
    lost.trial.error_file.write_text("Traceback\nActorDiedError: the node is gone. Some causes: ...\n")
    lost.recorder.on_trial_error(0, [], lost.trial)
    assert lost.ending().reason == "ActorDiedError: the node is gone"


def test_what_another_sweep_trained_is_not_begun(tmp_path: Path) -> None:
    follow = Follow(tmp_path)
    follow.predictor(2, 5.0, 5.0)
    follow.recorder.on_trial_complete(0, [], follow.trial)
    other = Recorder(
        follow.plan,
        Ledger(follow.ledger.store, "other"),
        Progress(1, 0, 1),
        Tracking(None, follow.plan, {}),
        {},
    )
    record = other.begin("objects", "search", PARAMS, "a")
    assert (record.status, record.mpjpe_cm, record.sweep) == ("finished", 5.0, follow.plan.name)


def test_a_failed_training_is_told_in_the_workers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        error = train.TrainingFailedError("workers failed")
        error.worker_failures = {0: ValueError("a long story\nshard-00000.parquet: damaged")}  # type: ignore[attr-defined]
        raise error

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_train, "fit", fit)
    monkeypatch.setattr(drive, "TuneReportCallback", lambda: None)
    monkeypatch.setattr(tune, "report", told.append)
    drive.drive({"identity": "a", "config": {}})
    assert told == [{"failure": "shard-00000.parquet: damaged"}]
