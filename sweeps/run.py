"""Runs the trials of a plan on the cluster with Ray Tune, which asks the search, the stoppers and the recorder."""

from __future__ import annotations

import logging
import os
import tempfile

from ray import tune
from ray.tune.execution import class_cache
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler

from sweeps.halt import Halt
from sweeps.recorder import Recorder
from sweeps.search import SweepSearch
from sweeps.tune_trial import GroupTrial

# How often a trial goes on after the loss of its Tune actor, as of the node it ran on.
_ACTOR_LOSSES = 3
TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The older reporter, which can be silenced.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Codebook and indexer epochs have no validation MPJPE to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune asks the search for so many trials ahead, each of which holds a slot from then on. More than any cluster has:
    # the search itself gives no more trials than there are slots.
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    # What Tune writes for its own resume is never read, and takes longer than all else of a large sweep.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
}


class _Silent(TrialProgressCallback):
    """In place of Tune's own, which announces the end of some trials whatever `verbose` says."""

    def _print(self, msg: str) -> None:
        pass


def run_trials(
    search: SweepSearch, scheduler: TrialScheduler, recorder: Recorder, halt: Halt, *, desk: dict[str, float]
) -> None:
    """Train what the search gives; returns when all have ended, or have been parked because of `halt`.

    `desk` are the resources of what waits with a trial for its workers.
    """
    os.environ.update(TUNE_SETTINGS)
    # As it comes, Tune hands the driver's keys to its actors in their runtime environment, which Ray writes into its logs
    # and shows in its dashboard. Every node has keys of its own.
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }
    # Failed trials are reported by the recorder, in a sentence each.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="latentact-sweep-") as scratch, halt.on_signals():
        tune.Tuner(
            tune.with_resources(GroupTrial, desk),
            tune_config=tune.TuneConfig(
                search_alg=search, scheduler=scheduler, num_samples=-1, reuse_actors=True
            ),
            # What Tune keeps for its own resume is not needed: the ledger says what to do next.
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                stop=halt,
                # A trial's state lies under its identity in the store; Tune has none of its own to keep.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[recorder, _Silent()],
                failure_config=tune.FailureConfig(max_failures=_ACTOR_LOSSES),
            ),
        ).fit()
