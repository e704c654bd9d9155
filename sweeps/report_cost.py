"""What a sweep cost, what it found trained already, and what the same trials had cost without sharing and stopping."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sweeps.ledger import TrialRecord
from sweeps.node_hours import noted, total_usd
from sweeps.report_sessions import Session, is_own, sessions, worker_range
from sweeps.report_view import STAGES, SweepView
from sweeps.report_words import figure


@dataclass(frozen=True)
class Cost:
    """Seconds are of training with its validation, of one trial however many workers it had.

    stage_s: setting -> stage -> seconds; "other" is what no stage's epochs took (loading, waiting, starting again).
    naive_s: every trial of the sweep from scratch for all its epochs; NaN where nothing was measured.
    saved_s: what the difference comes from; estimates. worker_hours, usd: (least, most) of the trials that ran here.
    held_usd: of the cluster's places over the sessions, idle time included. nodes_usd: of its nodes, by their labels.
    """

    stage_s: dict[str, dict[str, float]]
    spent_s: float
    repeats_s: float
    failed_s: float
    naive_s: float
    saved_s: dict[str, float]
    worker_hours: tuple[float, float]
    device: str
    usd: tuple[float, float] | None
    held_usd: tuple[float, float] | None
    nodes_usd: float | None
    others: int  # trials that other sweeps had trained
    codebooks: int
    codebooks_trained: int
    codebook_users: int

    @property
    def ratio(self) -> float:
        """Spent of naive; NaN where that is unknown."""
        return self.spent_s / self.naive_s if self.naive_s > 0 else math.nan

    def stage_total(self, stage: str) -> float:
        return sum(stages[stage] for stages in self.stage_s.values())


def cost(view: SweepView) -> Cost:
    """All of it, from the trials' records and the sessions' notes."""
    own = [trial for trial in view.trials if is_own(view, trial)]
    found = sessions(view)
    used = [trial for trial in view.trials if trial.codebook]
    naive = _naive(view)
    return Cost(
        stage_s={
            setting: _stages(t for t in trials if is_own(view, t))
            for setting, trials in view.settings.items()
        },
        spent_s=sum(trial.seconds for trial in own),
        repeats_s=sum(trial.seconds for trial in own if trial.phase == "repeat"),
        failed_s=sum(trial.seconds for trial in own if trial.status == "failed"),
        naive_s=sum(sum(stages.values()) for _, stages in naive) if naive else math.nan,
        saved_s=_saved(view, own, naive),
        worker_hours=_worker_hours(view, own),
        device=found[-1].device if found else "",
        usd=_usd(view, own, found),
        held_usd=_held_usd(found),
        nodes_usd=total_usd(noted(view.notes)),
        others=len(view.trials) - len(own),
        codebooks=len({trial.codebook for trial in used}),
        codebooks_trained=len(
            {t.codebook for t in used if is_own(view, t) and "codebook" in t.stage_seconds}
        ),
        codebook_users=len(used),
    )


def _stages(trials: Iterable[TrialRecord]) -> dict[str, float]:
    total = dict.fromkeys((*STAGES, "other"), 0.0)
    for trial in trials:
        for stage in STAGES:
            total[stage] += trial.stage_seconds.get(stage, 0.0)
        total["other"] += max(0.0, trial.seconds - sum(trial.stage_seconds.get(s, 0.0) for s in STAGES))
    return total


def _naive(view: SweepView) -> list[tuple[TrialRecord, dict[str, float]]]:
    """Seconds a stage of each trial, had it trained all itself and for all epochs; failed trials are left out.

    The predictor's are its own seconds an epoch times the budget. A stage that it did not train itself takes what it took
    the trial that did: the one with the same codebook, else (a codebook of another sweep) the middle one of the setting.
    Empty where no trial was timed.
    """
    timed = [
        t
        for t in view.trials
        if t.status in ("finished", "stopped") and t.stage_seconds.get("predictor", 0.0) > 0
    ]
    if not timed or not view.budget:
        return []
    epoch_s = _Known(timed, lambda t: t.stage_seconds["predictor"] / t.epochs if t.epochs else math.nan)
    before = {stage: _Known(timed, functools.partial(_stage_s, stage)) for stage in ("codebook", "indexer")}
    found = []
    for trial in view.trials:
        if trial.status not in ("finished", "stopped"):
            continue
        stages = {"predictor": epoch_s.of(trial) * max(view.budget, trial.epochs)}
        for stage, known in before.items():
            stages[stage] = known.of(trial) if trial.codebook else 0.0
        found.append((trial, stages))
    return found


def _stage_s(stage: str, trial: TrialRecord) -> float:
    return trial.stage_seconds.get(stage, math.nan)


class _Known:
    """A quantity of trials: its own where a trial has it, else of those on the same codebook, its setting or all."""

    def __init__(self, trials: Sequence[TrialRecord], value: Callable[[TrialRecord], float]) -> None:
        groups: dict[tuple[str, ...], list[float]] = {}
        for trial in trials:
            if not math.isfinite(own := value(trial)):
                continue
            for key in self._keys(trial):
                groups.setdefault(key, []).append(own)
        self._middle = {key: statistics.median(values) for key, values in groups.items()}

    def of(self, trial: TrialRecord) -> float:
        return next((self._middle[key] for key in self._keys(trial) if key in self._middle), 0.0)

    @staticmethod
    def _keys(trial: TrialRecord) -> list[tuple[str, ...]]:
        book = [("codebook", trial.codebook)] if trial.codebook else []
        return [("trial", trial.identity), *book, ("setting", trial.setting), ()]


def _saved(
    view: SweepView, own: Sequence[TrialRecord], naive: Sequence[tuple[TrialRecord, dict[str, float]]]
) -> dict[str, float]:
    """Why less was spent than naive training had: seconds by cause, below zero where it cost more."""
    saved = {
        "trials of other sweeps": 0.0,
        "codebooks shared": 0.0,
        "indexers shared": 0.0,
        "stopped early": 0.0,
    }
    for trial, stages in naive:
        if not is_own(view, trial):
            saved["trials of other sweeps"] += sum(stages.values())
            continue
        for stage in ("codebook", "indexer"):
            if stage not in trial.stage_seconds:
                saved[f"{stage}s shared"] += stages[stage]
        if trial.status == "stopped":
            saved["stopped early"] += stages["predictor"] - trial.stage_seconds.get("predictor", 0.0)
    ended = [trial for trial in own if trial.status in ("finished", "stopped")]
    saved["loading, waiting, starting again"] = -_stages(ended)["other"]
    saved["failed and unfinished trials"] = sum(t.seconds for t in ended) - sum(t.seconds for t in own)
    return saved


def _worker_hours(view: SweepView, own: Sequence[TrialRecord]) -> tuple[float, float]:
    low, high = worker_range(view.plan.get("workers", 1))
    hours = sum(trial.seconds for trial in own) / 3600
    return hours * low, hours * high


def _usd(view: SweepView, own: Sequence[TrialRecord], found: Sequence[Session]) -> tuple[float, float] | None:
    """Of the seconds trained, each trial at its own price, else at that of its session; None where a price is missing."""
    low, high = worker_range(view.plan.get("workers", 1))
    price = {id(trial): session.usd_per_hour for session in found for trial in session.trials}
    other = found[-1].usd_per_hour if found else math.nan
    total = sum(
        t.seconds / 3600 * (price.get(id(t), other) if t.usd_per_hour is None else t.usd_per_hour)
        for t in own
        if t.seconds
    )
    return (total * low, total * high) if math.isfinite(total) and own else None


def _held_usd(found: Sequence[Session]) -> tuple[float, float] | None:
    spans = [s for s in found if s.trials]
    ends = [
        sum(s.slots * (s.span_s + s.start_s) / 3600 * s.workers[end] * s.usd_per_hour for s in spans)
        for end in (0, 1)
    ]
    return (ends[0], ends[1]) if spans and all(map(math.isfinite, ends)) else None


def memory_mb(view: SweepView) -> float:
    """The most that a worker of any trial held; NaN where none reported it."""
    return max((m for t in view.trials if math.isfinite(m := figure(t, "peak_memory_mb"))), default=math.nan)
