"""One trial under Ray Train: the only file of this room that knows Ray.

The run's name is the trial's identity, so a run that was cut off anywhere (worker, node, driver)
continues from its last checkpoint as soon as anybody starts the same trial again.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device

if TYPE_CHECKING:
    from trainables.clips import Clips

# At most this much work is lost to a crash, beside the epoch under way.
CHECKPOINT_EVERY_S = 30.0
# Of a CPU core; the rest is for the drivers and controllers, which must never wait for a place.
CPUS_PER_WORKER = 0.9
_REPORT_FILE = "report.json"


def fit(
    config: dict[str, Any],
    *,
    identity: str,
    data: str,
    storage: str,
    codebooks: str | None,
    workers: int,
    use_gpu: bool,
    callbacks: list[Any],
    start_from: str | None = None,
    train: Callable[..., Any] | None = None,
) -> None:
    """Train one trial on `workers` Ray Train workers to its end, from its checkpoint where it has one.

    `config` is a TrialConfig as JSON; `storage` (a folder or s3:// address) receives
    `<identity>/checkpoint_...`; `data` is read by every worker; `callbacks` are Ray Train's; `start_from` is the folder
    (likewise) of the model that training begins with; `train` stands in for trainables.trial.train_trial. Raises
    ray.train.TrainingFailedError after a second failure.
    """
    # With Ray's 2 s between looks at the workers, every report of a short epoch would wait for it.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    resources = {"CPU": CPUS_PER_WORKER, **({"GPU": 1.0} if use_gpu else {})}
    TorchTrainer(
        functools.partial(_work, train),
        train_loop_config={"config": config, "data": data, "codebooks": codebooks, "start_from": start_from},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name=identity,
            storage_path=storage,
            callbacks=callbacks,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=1),
        ),
    ).fit()


def _work(train: Callable[..., Any] | None, settings: dict[str, Any]) -> None:
    """What each worker does."""
    # Two more processes of a trial import this file; only this one trains, and pays for what that needs.
    from trainables.trial import train_trial
    from trainables.trial_config import TrialConfig

    train = train or train_trial
    config = TrialConfig.from_json(settings["config"])
    clips = _clips(settings["data"])
    checkpoint = ray.train.get_checkpoint()
    with (
        checkpoint.as_directory() if checkpoint else nullcontext() as folder,
        _fetched(settings["start_from"]) as start_from,
    ):
        resume_from = Path(folder) if folder else None
        report = _Report(resume_from)
        train(
            config,
            clips,
            report=report,
            resume_from=resume_from,
            codebooks=settings["codebooks"],
            start_from=start_from,
            device=str(get_device()),
        )
        if resume_from is not None:
            report.repeat_if_silent(resume_from)


@contextmanager
def _fetched(url: str | None) -> Iterator[Path | None]:
    """A copy on this machine of the model's folder at `url`."""
    if url is None:
        yield None
        return
    from trainables.model_folder import fetch_model

    with tempfile.TemporaryDirectory() as name:
        fetch_model(url, Path(name))
        yield Path(name)


@functools.lru_cache(maxsize=1)
def _clips(data: str) -> Clips:
    from trainables.clips import read_clips

    return read_clips(data)


class _Report:
    """Passes a trial's figures on to Ray Train, with a checkpoint at each stage's end and now and then.

    A report holds what the stage said (`figures`), the seconds over all attempts (`trial_seconds`), those of each stage's
    epochs as far as they are part of the result (`stage_seconds`), and once the predictor trains: `predictor_epoch`, `mpjpe_cm` of the best epoch so far (its weights are the ones kept), all that
    epoch's figures (`best`) and (epoch, mpjpe_cm) of every epoch (`curve`).
    """

    def __init__(self, resume_from: Path | None) -> None:
        self._state: dict[str, Any] = {"trial_seconds": 0.0, "stage_seconds": {}, "curve": []}
        if resume_from is not None:
            self._state |= json.loads((resume_from / _REPORT_FILE).read_text())
        self._before_s = self._state["trial_seconds"]
        self._begun = self._saved = time.monotonic()
        self._silent = True

    def __call__(self, figures: dict[str, Any], save: Callable[[Path], None]) -> None:
        self._silent = False
        now = time.monotonic()
        state = self._state
        state |= {"figures": figures, "trial_seconds": self._before_s + now - self._begun}
        spent = state["stage_seconds"]
        state["stage_seconds"] = spent | {
            figures["stage"]: spent.get(figures["stage"], 0.0) + figures.get("seconds", 0.0)
        }
        if "mpjpe_cm" in figures:
            state["predictor_epoch"] = figures["epoch"]
            state["curve"] = [*state["curve"], [figures["epoch"], figures["mpjpe_cm"]]]
            # A first epoch that diverged is the best so far, and loses to any number.
            if not figures["mpjpe_cm"] >= state.get("mpjpe_cm", math.inf):
                state |= {"best": figures, "mpjpe_cm": figures["mpjpe_cm"]}
        due = figures["epoch"] == figures["epochs"] or now - self._saved >= CHECKPOINT_EVERY_S
        # Ray Train waits until every rank has reported; all hold the same state, so the first one saves it.
        if not due or ray.train.get_context().get_world_rank() != 0:
            ray.train.report(dict(state))
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save(folder)
            (folder / _REPORT_FILE).write_text(json.dumps(state))
            ray.train.report(dict(state), checkpoint=Checkpoint.from_directory(folder))
        self._saved = time.monotonic()

    def repeat_if_silent(self, folder: Path) -> None:
        """A run cut off between its last checkpoint and its end has nothing left to train: say again what it came to."""
        if self._silent:
            first = ray.train.get_context().get_world_rank() == 0
            ray.train.report(
                dict(self._state), checkpoint=Checkpoint.from_directory(folder) if first else None
            )
