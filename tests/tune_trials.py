"""Trials as a stopper meets them in Tune: what they report, and when it ends them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps.ledger import TrialRecord
from sweeps.space import OBJECTIVES
from sweeps.stopping import make_stopper

MPJPE = [OBJECTIVES["mpjpe_cm"]]
NOBODY: Any = None  # where Tune's controller stands; no stopper asks it anything


def stopper(method: str, epochs: int, ended: Sequence[TrialRecord] = ()) -> TrialScheduler:
    return make_stopper(method, epochs=epochs, objectives=MPJPE, ended=ended)


def trial(identity: str, setting: str = "objects", phase: str = "search") -> Trial:
    config = {"identity": identity, "config": {}, "setting": setting, "phase": phase, "slot": "0"}
    return Trial("stub", config=config, stub=True)


def result(values_cm: Sequence[float]) -> dict[str, Any]:
    """What a trial reports after its last epoch so far."""
    finite = [value for value in values_cm if math.isfinite(value)]
    best = min(finite) if finite else math.nan
    curve = [[epoch, value] for epoch, value in enumerate(values_cm, 1)]
    return {
        "predictor_epoch": len(values_cm),
        "mpjpe_cm": best,
        "curve": curve,
        "parameters": 1,
        "latency_ms": 1.0,
    }


def run(stopper: TrialScheduler, one: Trial, values_cm: Sequence[float], begun: int = 0) -> int:
    """Report the epochs after `begun`; the epoch after which the trial ended."""
    stopper.on_trial_add(NOBODY, one)
    epoch = begun
    for epoch in range(begun + 1, len(values_cm) + 1):
        if stopper.on_trial_result(NOBODY, one, result(values_cm[:epoch])) == TrialScheduler.STOP:
            break
    stopper.on_trial_complete(NOBODY, one, result(values_cm[:epoch]))
    return epoch


def record(identity: str, values_cm: Sequence[float], budget: int) -> TrialRecord:
    curve = [(epoch, value) for epoch, value in enumerate(values_cm, 1) if math.isfinite(value)]
    status: Any = "finished" if len(values_cm) == budget else "stopped"
    metrics = {"mpjpe_cm": min(value for _, value in curve), "parameters": 1.0, "latency_ms": 1.0}
    return TrialRecord(
        identity, "objects", "search", {}, status=status, epochs=len(values_cm), metrics=metrics, curve=curve
    )


def random_curve(rng: np.random.Generator, epochs: int) -> list[float]:
    values = rng.uniform(4, 12) + 3 / np.arange(1, epochs + 1) + rng.normal(0, 0.2, epochs)
    # Every few epochs one diverges.
    return np.where(rng.random(epochs) < 0.05, math.nan, values).tolist()
