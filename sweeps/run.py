"""Runs the trials of one setting on the cluster: Ray Tune outside, Ray Train within each trial."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.capacity import Capacity
from sweeps.drive import drive
from sweeps.recorder import Recorder
from sweeps.search import METRIC

# Of a CPU core: a trial's driver only waits for its workers, but Tune gives nothing away for nothing.
_DRIVER_CPUS = 0.01
# How often a trial goes on after the loss of its driver, as of the node it ran on.
_DRIVER_LOSSES = 2


def run_trials(
    *,
    searcher: Searcher | None,
    trials: list[dict[str, Any]],
    stop_early: bool,
    epochs: int,
    capacity: Capacity,
    recorder: Recorder,
    data: str,
    store_url: str,
    start_from: str | None,
    train: Callable[..., Any] | None,
) -> None:
    """Train what `searcher` suggests, or, without one, the given `trials`; returns when all have ended.

    A suggestion is {"identity": ..., "config": TrialConfig.to_json()}; `start_from` is the url of the model's folder that
    every training begins with. `stop_early` lets ASHA stop trials whose
    validation MPJPE is worse than that of two thirds of the trials which came as far.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # The older reporter, which can be silenced.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    # Codebook and indexer epochs have no validation MPJPE to report.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    # Failed trials are reported by the recorder, in a sentence each.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    trial = functools.partial(
        drive,
        data=data,
        storage=f"{store_url}/trials",
        codebooks=f"{store_url}/codebooks",
        start_from=start_from,
        workers=capacity.workers,
        use_gpu=capacity.use_gpu,
        train=train,
    )
    with tempfile.TemporaryDirectory(prefix="latentact-sweep-") as scratch:
        tune.Tuner(
            tune.with_resources(trial, {"cpu": _DRIVER_CPUS}),
            param_space={} if searcher else {"trial": tune.grid_search(trials)},
            tune_config=tune.TuneConfig(
                metric=METRIC,
                mode="min",
                search_alg=searcher,
                scheduler=_scheduler(epochs) if stop_early else FIFOScheduler(),
                num_samples=-1 if searcher else 1,
                max_concurrent_trials=capacity.slots,
            ),
            # What Tune keeps for its own resume is not needed: the ledger says what to do next.
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[recorder],
                failure_config=tune.FailureConfig(max_failures=_DRIVER_LOSSES),
            ),
        ).fit()


def _scheduler(epochs: int) -> TrialScheduler:
    """ASHA on predictor epochs. Its last rung lies before the last epoch, which ends by itself."""
    if epochs < 2:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="predictor_epoch",
        grace_period=max(1, epochs // 4),
        max_t=epochs - 1,
        reduction_factor=3,
        stop_last_trials=False,
    )
