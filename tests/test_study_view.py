"""Optuna's study from the ledger: every trial with its values, states and times, once."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.errors import SweepError
from sweeps.study_view import rebuild
from tests.shown_sweep import BEGAN_S, Driver


def test_a_study_has_every_trial_as_it_ended(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "store", None)
    finished = driver.run(256)
    driver.run(512, status="stopped")
    driver.run(300, status="failed")
    driver.start(400)
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):  # the second time replaces the first
        rebuild(driver.store, "mine", storage)
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert name == "mine objects" and study.metric_names == ["mpjpe_cm", "contact_f1"]
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    first = study.trials[0]
    assert first.params == {"codes": 256, "decoder_depth": 2}
    assert first.values == [finished.mpjpe_cm, finished.metrics["contact_f1"]]
    assert first.intermediate_values == dict(finished.curve)
    assert first.datetime_start is not None and first.datetime_start.timestamp() == BEGAN_S
    assert first.duration is not None and first.duration.total_seconds() == 7.0
    assert first.user_attrs["seed"] == 0 and first.user_attrs["identity"] == finished.identity
    assert first.distributions["codes"].log  # type: ignore[attr-defined]
    assert study.best_trials == [first]


def test_another_study_of_that_name_is_left_alone(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "store", None)
    driver.run(256)
    storage = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="mine objects", storage=storage)
    with pytest.raises(SweepError, match="another study named"):
        rebuild(driver.store, "mine", storage)
    assert optuna.load_study(study_name="mine objects", storage=storage).trials == []


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "store", None)
    driver.run(256)
    with pytest.raises(SweepError, match="no sweep other"):
        rebuild(driver.store, "other", "sqlite://")
