"""One trial of a sweep, and how the ledger writes down what it came to."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

Status = Literal["unfinished", "finished", "stopped", "failed"]


@dataclass(slots=True)
class TrialRecord:
    """One trial of a sweep or of a comparison, as its events tell it.

    `params` holds what the plan's `config` needs besides the setting: the searched fields and "seed"; `phase` is
    "search", "repeat" or "comparison"; `epochs` the predictor epochs done.
    """

    identity: str
    setting: str
    phase: str
    params: dict[str, Any]
    attempts: int = 0
    status: Status = "unfinished"
    epochs: int = 0
    # Of the best validation epoch, and parameters (count), latency_ms (one prediction), peak_memory_mb (one worker).
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)  # predictor epoch, its validation MPJPE (cm)
    checkpoint: str = ""  # the folder's URL; "" where there is none, or none any more
    seconds: float = 0.0  # of training, all attempts together
    # Of the stages that this trial trained itself: "codebook", "indexer", "predictor".
    stage_seconds: dict[str, float] = field(default_factory=dict)
    codebook: str = ""  # the identity of the codebook it stands on
    slot: str = ""  # the place on the cluster, and the time (Unix, s), of the last attempt
    began_s: float = 0.0
    ended_s: float = 0.0
    node_type: str = ""  # of the last attempt, as the node's labels say
    usd_per_hour: float | None = None  # of one of its workers there; None: nobody knows
    reason: str = ""  # why it failed, or what else is to be known of it
    sweep: str = ""  # that trained it
    # Every epoch of every stage: stage, epoch, epochs, loss, seconds, at_s (Unix time), figures, "system/..." numbers.
    # Empty unless `Ledger.read_histories` was asked for it.
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def mpjpe_cm(self) -> float:
        return self.metrics.get("mpjpe_cm", float("nan"))

    def usd(self, workers: float) -> float | None:
        """What its training cost, at the price of the last attempt's place; None where nobody knows."""
        return None if self.usd_per_hour is None else self.seconds / 3600 * workers * self.usd_per_hour

    def has_ended(self, *, retry_failed: bool) -> bool:
        """Whether nothing is left to train; a failed trial is tried again where that is asked for."""
        return self.status in ("finished", "stopped") or (self.status == "failed" and not retry_failed)


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The entries that are finite numbers, which is what an event's metrics may hold."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def to_ending(trial: TrialRecord, sweep: str) -> dict[str, Any]:
    """The event that says what an attempt of this sweep came to, without its history (JSON).

    Numbers that are not finite are left out.
    """
    return {
        "event": trial.status,
        "sweep": sweep,
        "identity": trial.identity,
        "setting": trial.setting,
        "phase": trial.phase,
        "params": trial.params,
        "attempt": trial.attempts,
        "epochs": trial.epochs,
        "metrics": numbers(trial.metrics),
        "curve": [(epoch, value) for epoch, value in trial.curve if math.isfinite(value)],
        "checkpoint": trial.checkpoint,
        "seconds": round(trial.seconds, 3),
        "stage_seconds": trial.stage_seconds,
        "codebook": trial.codebook,
        "slot": trial.slot,
        "began_s": round(trial.began_s, 3),
        "ended_s": round(trial.ended_s, 3),
        "node_type": trial.node_type,
        "usd_per_hour": trial.usd_per_hour,
        "reason": trial.reason,
    }


def take_over(trial: TrialRecord, ending: dict[str, Any]) -> None:
    """Make the record say what such an event says; what thousands of trials have in common is kept once."""
    trial.status = ending["event"]
    trial.epochs = ending["epochs"]
    trial.metrics = {sys.intern(name): value for name, value in ending["metrics"].items()}
    trial.curve = [(int(epoch), float(value)) for epoch, value in ending["curve"]]
    trial.checkpoint = ending["checkpoint"]
    trial.seconds = ending["seconds"]
    trial.stage_seconds = {sys.intern(name): value for name, value in ending.get("stage_seconds", {}).items()}
    trial.codebook = sys.intern(ending.get("codebook", ""))
    trial.slot = sys.intern(ending.get("slot", ""))
    trial.began_s = ending.get("began_s", 0.0)
    trial.ended_s = ending.get("ended_s", 0.0)
    trial.node_type = sys.intern(ending.get("node_type", ""))
    trial.usd_per_hour = ending.get("usd_per_hour")
    trial.reason = ending["reason"]
    trial.sweep = sys.intern(ending["sweep"])


def rounded(entry: dict[str, Any]) -> dict[str, Any]:
    """An epoch's entry with its numbers at 6 significant digits (times to the millisecond), without those that are
    not finite.
    """
    kept: dict[str, Any] = {}
    for name, value in entry.items():
        if not isinstance(value, Real) or isinstance(value, int):
            kept[name] = value
        elif math.isfinite(value):
            kept[name] = round(float(value), 3) if name.endswith("at_s") else float(f"{float(value):.6g}")
    return kept
