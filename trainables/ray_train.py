"""A group of Ray Train workers that stays warm: it trains one trial after another, and ends when none comes for a while.

Starting workers and importing torch costs a trial of seconds more than its training. So the workers of a group ask
a *desk* (a Ray actor, sweeps/warm_group.py) for the next trial, pass its figures back, and learn there whether to go on.
Checkpoints lie under the trial's identity: whoever is given a trial goes on where the last one was cut off.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from trainables.node_labels import place

if TYPE_CHECKING:
    from trainables.clips import Clips

# At most this much work is lost to a crash, beside the epoch under way.
CHECKPOINT_EVERY_S = 30.0
# How often a group's workers are started again before it gives up.
_RESTARTS = 3
_REPORT_FILE = "report.json"


class Ended(Exception):
    """Training ends here because the desk said so: "stop" (for good) or "park" (somebody goes on later)."""


class Diverged(ArithmeticError):
    """A figure of training is no number any more."""


def run_group(
    desk: Any,
    *,
    name: str,
    storage: str,
    workers: int | tuple[int, int],
    resources: dict[str, float],
    train: Callable[..., Any] | None = None,
) -> None:
    """Start the workers and serve until the desk has no trial for them; blocks so long.

    `desk` is the actor's handle; `storage` (a folder or s3:// address that all nodes reach) is Ray Train's own;
    `workers` a number, or (least, most), and `resources` what each of them holds; `train` stands in for
    trainables.trial.train_trial. Raises ray.train.TrainingFailedError when workers die again and again.
    """
    # With Ray's 2 s between looks at the workers, their end and their death would be noticed late.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    TorchTrainer(
        functools.partial(_serve, train),
        train_loop_config={"desk": desk},
        torch_config=_NodeNetworkConfig(),
        scaling_config=ScalingConfig(
            num_workers=workers,  # type: ignore[arg-type]  # a pair makes it elastic
            use_gpu=resources.get("GPU", 0) > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
            callbacks=[_Deaths(desk)],  # type: ignore[list-item]  # its stub is of the older API
            failure_config=FailureConfig(max_failures=_RESTARTS),
        ),
    ).fit()


class _NodeNetwork(TorchConfig().backend_cls):  # type: ignore[misc]
    """The workers of a group talk over the network that Ray's nodes talk over."""

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(_talk_over_own_address)
        super().on_start(worker_group, backend_config)


class _NodeNetworkConfig(TorchConfig):
    @property
    def backend_cls(self) -> type[_NodeNetwork]:
        return _NodeNetwork


def _talk_over_own_address() -> None:
    from trainables.collective import talk_over

    talk_over(ray.util.get_node_ip_address())


class _Deaths(UserCallback):
    """Tells the desk why workers died."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self._desk.died.remote(_reason(next(iter(worker_exceptions.values()))))


def _reason(error: BaseException) -> str:
    """An error's own words, on one line."""
    error = getattr(error, "_base_exc", None) or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    return f"{kind}: {lines[-1]}" if lines else kind


def _serve(train: Callable[..., Any] | None, settings: dict[str, Any]) -> None:
    """What each worker does."""
    desk = settings["desk"]
    context = ray.train.get_context()
    rank, ranks = context.get_world_rank(), context.get_world_size()
    me = ray.get_runtime_context().current_actor
    done = ""
    while (job := ray.get(desk.take.remote(me, done))) is not None:
        _check_agreed(job, ranks)
        failure = None
        try:
            _train(job, desk, train)
        except Ended:
            pass
        except Exception as error:
            failure = {"failure": _reason(error), "kind": _kind(error)}
            if ranks > 1:
                # The other ranks wait in a collective that this one will never join.
                ray.get(desk.finished.remote(job["identity"], failure))
                raise
        _tidy()
        done = job["job"]
        if rank == 0:
            ray.get(desk.finished.remote(job["identity"], failure))


def _check_agreed(job: dict[str, Any], ranks: int) -> None:
    """Every rank was given the same job."""
    if ranks > 1 and broadcast_from_rank_zero(job["job"]) != job["job"]:
        raise RuntimeError("workers were given different trials")


def _kind(error: BaseException) -> str:
    """ "memory" where less of it might do, "diverged", or "error"."""
    import torch

    words = str(error).lower()
    if (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "out of memory" in words
        or "can't allocate" in words
    ):
        return "memory"
    return "diverged" if isinstance(error, Diverged) else "error"


def _tidy() -> None:
    """Leave nothing of a trial to the next."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _train(job: dict[str, Any], desk: Any, train: Callable[..., Any] | None) -> None:
    """One trial, from its checkpoint where it has one."""
    from trainables.checkpoints import Checkpoints
    from trainables.trial import train_trial
    from trainables.trial_config import TrialConfig

    context = ray.train.get_context()
    rank, ranks = context.get_world_rank(), context.get_world_size()
    config = TrialConfig.from_json(job["config"])
    clips = _clips(job["data"])
    checkpoints = Checkpoints(job["checkpoints"])
    folder = checkpoints.latest()
    if ranks > 1:
        folder = broadcast_from_rank_zero(folder)
    with tempfile.TemporaryDirectory() as name, _fetched(job["start_from"]) as start_from:
        resume_from = Path(name) if folder and checkpoints.fetch(folder, Path(name)) else None
        report = _Report(job, desk, checkpoints, rank, ranks, resume_from, folder)
        (train or train_trial)(
            config,
            clips,
            report=report,
            resume_from=resume_from,
            shelves=job["shelves"],
            start_from=start_from,
            device=str(get_device()),
        )
        report.repeat_if_silent()


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
    from trainables.checkpoints import PATIENCE_S
    from trainables.clips import read_clips

    return read_clips(data, patience_s=PATIENCE_S)


class _Report:
    """Passes a trial's figures on to the desk, with a checkpoint at each stage's end and now and then.

    A report holds what the stage said (`figures`), the seconds over all attempts (`trial_seconds`), those of each
    stage's epochs as far as they are part of the result (`stage_seconds`), the figures of every epoch not yet told of
    (`history`, beginning at `history_from`), the `checkpoint` that counts, and once the predictor trains:
    `predictor_epoch`, all figures of the best epoch so far (`best`; its weights are the ones kept) and (epoch,
    mpjpe_cm) of every epoch (`curve`). `node_type` and `usd_per_hour` (of a worker, or None) say where it is trained.
    """

    def __init__(
        self,
        job: dict[str, Any],
        desk: Any,
        checkpoints: Any,
        rank: int,
        ranks: int,
        resume_from: Path | None,
        folder: str | None,
    ) -> None:
        self._identity, self._desk, self._checkpoints = job["identity"], desk, checkpoints
        self._rank, self._ranks = rank, ranks
        self._state: dict[str, Any] = {"trial_seconds": 0.0, "stage_seconds": {}, "curve": [], "history": []}
        if resume_from is not None:
            self._state |= json.loads((resume_from / _REPORT_FILE).read_text())
            self._state["checkpoint"] = folder
        self._before_s = self._state["trial_seconds"]
        self._place = _place(job.get("usd_per_hour"))
        self._begun = self._saved = time.monotonic()
        self._silent = True
        self._told_of = 0  # entries of the history

    def __call__(self, figures: dict[str, Any], save: Callable[[Path], None]) -> None:
        self._silent = False
        stage, epoch = figures["stage"], figures["epoch"]
        for name in ("loss", "mpjpe_cm"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise Diverged(
                    f"{name} is {figures[name]} after epoch {epoch} of the {stage}: a lower learning_rate may do"
                )
        now = time.monotonic()
        state = self._state
        entry = {**figures, "at_s": round(time.time(), 3), **_system()}
        state |= {"figures": entry, "trial_seconds": self._before_s + now - self._begun}
        state["history"].append(entry)
        spent = state["stage_seconds"]
        state["stage_seconds"] = spent | {stage: spent.get(stage, 0.0) + figures.get("seconds", 0.0)}
        if "mpjpe_cm" in figures:
            state["predictor_epoch"] = epoch
            state["curve"] = [*state["curve"], [epoch, figures["mpjpe_cm"]]]
            if not state.get("best") or figures["mpjpe_cm"] < state["best"]["mpjpe_cm"]:
                state["best"] = figures
        last = epoch == figures["epochs"]
        due = last or now - self._saved >= CHECKPOINT_EVERY_S or ray.train.get_preemption_info() is not None
        if due:
            self._save(save)
        answer = "go"
        if self._rank == 0:
            answer = ray.get(self._desk.report.remote(self._identity, self._told()))
        if self._ranks > 1:
            answer = broadcast_from_rank_zero(answer)
        if answer != "go" and not (last and stage == "predictor"):
            # What is stopped for good keeps the checkpoint that the desk knows of.
            if answer == "park" and not due:
                self._save(save)
            raise Ended(answer)

    def _save(self, save: Callable[[Path], None]) -> None:
        """All ranks hold the same state, so the first one saves it."""
        self._saved = time.monotonic()
        if self._rank != 0:
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save(folder)
            (folder / _REPORT_FILE).write_text(json.dumps(self._state))
            self._state["checkpoint"] = self._checkpoints.put(folder)

    def _told(self) -> dict[str, Any]:
        """The state, of its history what the desk has not been told: all of it first, since an attempt before this one
        may have told nobody."""
        first, self._told_of = self._told_of, len(self._state["history"])
        told = {"history_from": first, "history": self._state["history"][first:], **self._place}
        return self._state | told

    def repeat_if_silent(self) -> None:
        """A trial cut off between its last checkpoint and its end has nothing left to train: say again what it came to."""
        if self._silent and self._rank == 0:
            ray.get(self._desk.report.remote(self._identity, self._told()))


def _place(usd_per_hour: float | None) -> dict[str, Any]:
    context = ray.get_runtime_context()
    (node,) = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    return place(node, context.get_assigned_resources(), usd_per_hour)


def _system() -> dict[str, float]:
    """What the worker uses, under the names that MLflow shows as system metrics."""
    import psutil
    import torch

    process = psutil.Process()
    facts = {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": process.memory_info().rss / 1e6,
    }
    if torch.cuda.is_available():
        facts["system/gpu_0_memory_usage_megabytes"] = torch.cuda.max_memory_reserved() / 1e6
        facts["system/gpu_0_memory_total_megabytes"] = torch.cuda.get_device_properties(0).total_memory / 1e6
    return {name: round(value, 1) for name, value in facts.items()}
