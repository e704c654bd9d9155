"""When the cluster worked for a sweep: its sessions, what ran on which place, and how long places stood idle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.report_view import SweepView
from sweeps.report_words import finite


@dataclass(frozen=True)
class Session:
    """One run of a sweep's driver: from when the cluster was joined until the last of its trials ended.

    slots: trials at once. trials: those whose last attempt ran in it, with a known place and time, as they began.
    usd_per_hour: of one worker; NaN where it is unknown. workers: of a trial, from fewest to most.
    """

    at_s: float
    slots: int
    device: str
    workers: tuple[float, float]
    usd_per_hour: float
    trials: tuple[TrialRecord, ...]

    @property
    def begins_s(self) -> float:
        return self.trials[0].began_s if self.trials else self.at_s

    @property
    def ends_s(self) -> float:
        return max((trial.ended_s for trial in self.trials), default=self.at_s)

    @property
    def span_s(self) -> float:
        """From the first trial's begin to the last one's end."""
        return self.ends_s - self.begins_s

    @property
    def held_s(self) -> float:
        """Seconds of all places together over the span."""
        return self.slots * self.span_s

    @property
    def busy_s(self) -> float:
        """Seconds of all places together in which a trial ran there; two on one place at once count once."""
        on_place: dict[str, list[tuple[float, float]]] = {}
        for trial in self.trials:
            on_place.setdefault(trial.slot, []).append((trial.began_s, trial.ended_s))
        return sum(map(_union, on_place.values()))

    @property
    def start_s(self) -> float:
        """From joining the cluster to the first trial's begin."""
        return max(self.begins_s - self.at_s, 0.0) if self.trials and self.at_s > 0 else 0.0


def sessions(view: SweepView) -> list[Session]:
    """The sweep's sessions, oldest first; a trial belongs to the last one that had begun when it began."""
    notes = [note for note in view.notes if note.get("kind") == "session"]
    timed = sorted((t for t in view.trials if is_timed(view, t)), key=lambda t: t.began_s)
    if not notes:
        return [_session({}, timed)] if timed else []
    begins = [float(note.get("at_s", 0.0)) for note in notes]
    members: list[list[TrialRecord]] = [[] for _ in notes]
    for trial in timed:
        # Clocks of the driver and of its trials may differ a little.
        members[max((i for i, at in enumerate(begins) if at <= trial.began_s + 1.0), default=0)].append(trial)
    return [_session(note, found) for note, found in zip(notes, members, strict=True)]


def _session(note: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Session:
    slots = finite(note.get("slots"))
    return Session(
        at_s=float(note.get("at_s", 0.0)),
        slots=max(int(slots) if math.isfinite(slots) else 0, len({trial.slot for trial in trials})),
        device=str(note.get("device") or ""),
        workers=worker_range(note.get("workers", 1)),
        usd_per_hour=finite(note.get("usd_per_hour")),
        trials=tuple(trials),
    )


def is_timed(view: SweepView, trial: TrialRecord) -> bool:
    """Whether this sweep ran the trial at a known place and time."""
    return is_own(view, trial) and bool(trial.slot) and 0.0 < trial.began_s < trial.ended_s


def is_own(view: SweepView, trial: TrialRecord) -> bool:
    """Whether this sweep trained it, rather than found it trained by another."""
    return trial.sweep in ("", view.name)


def worker_range(workers: Any) -> tuple[float, float]:
    """`2` or `1:4` as (fewest, most)."""
    try:
        parts = [float(part) for part in str(workers).split(":")]
    except ValueError:
        return 1.0, 1.0
    return parts[0], parts[-1]


def idle_share(found: Sequence[Session]) -> float:
    """Share of the places' time in which nothing ran, within sessions alone: what lies between them is no idleness."""
    held = sum(session.held_s for session in found)
    return max(0.0, 1 - sum(session.busy_s for session in found) / held) if held > 0 else math.nan


def _union(spans: Sequence[tuple[float, float]]) -> float:
    total, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
