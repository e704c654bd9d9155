"""Earlier sweeps guide a search where their configurations fit, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_sweep_plan import plan

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.warm_start import hints
from zoo.store import Store, open_store


def sweep(store: Store, made: SweepPlan, *trials: tuple[dict[str, Any], float, str]) -> None:
    """A sweep that has run, with trials of (params, MPJPE in cm, status)."""
    ledger = Ledger(store, made.name, "driver-1")
    ledger.plan(made.record())
    for number, (params, value, status) in enumerate(trials):
        trial = TrialRecord(f"{made.name}-{number}", "objects", "search", params)
        trial.attempts, trial.status, trial.epochs = 1, status, made.epochs  # type: ignore[assignment]
        trial.metrics = {"mpjpe_cm": value}
        ledger.started(trial.identity, "objects", "search", params, 1)
        ledger.ended(trial)


def test_finished_points_of_fitting_sweeps_come_best_first_as_means_over_seeds(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    point = {"codes": 256, "decoder_depth": 2}
    sweep(
        store,
        plan(name="before", trials=3, environment=(("code", "of last week"),)),
        ({**point, "seed": 0}, 6.0, "finished"),
        ({**point, "seed": 1}, 5.0, "finished"),
        ({"codes": 128, "decoder_depth": 1, "seed": 0}, 5.2, "finished"),
        ({"codes": 512, "decoder_depth": 1, "seed": 0}, 1.0, "stopped"),
        ({"codes": 9999, "decoder_depth": 1, "seed": 0}, 1.0, "finished"),
        ({"codes": 128, "decoder_depth": 2, "batch": 16, "seed": 0}, 1.0, "finished"),
    )
    assert hints(store, plan(name="now"), "objects") == [
        ({"codes": 128, "decoder_depth": 1}, (5.2,)),
        (point, (5.5,)),
    ]
    assert hints(store, plan(name="now"), "actions") == []
    assert hints(store, plan(name="before", trials=3), "objects") == [], "a sweep is no hint for itself"


def test_other_data_protocols_budgets_and_fields_say_nothing(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    trial = ({"codes": 256, "decoder_depth": 2, "seed": 0}, 5.0, "finished")
    for number, other in enumerate(
        [{"data_digest": "other"}, {"protocol": "goal"}, {"epochs": 99}, {"fixed": (("width", 32),)}]
    ):
        sweep(store, plan(name=f"other-{number}", **other), trial)
    assert hints(store, plan(name="now"), "objects") == []
    sweep(store, plan(name="same"), trial)
    assert len(hints(store, plan(name="now"), "objects")) == 1
