"""What an evaluation is: every metric per window, from which sums per clip, means, intervals and curves are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables import contact_curve, intervals
from trainables.clip_errors import AVERAGE_PRECISION, ClipErrors, paired_difference
from trainables.intervals import Interval

# Fields with one row a window; `metrics` is the other.
_ROWS = ("clip_W", "start_W", "group_W", "text_W", "counts_W3", "finger_counts_WF3", "levels_WL2")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every figure of W windows. Metrics that the predictor cannot have are absent; NaN = nothing known there."""

    group: str
    clip_ids: list[str]  # of the whole data set
    clip_W: NDArray[np.int64]  # index into clip_ids
    start_W: NDArray[np.int64]
    group_W: NDArray[np.str_]
    text_W: NDArray[np.str_]  # the text of the window's first frame
    metrics: dict[str, NDArray[np.float64]]  # name with unit -> (W,)
    counts_W3: NDArray[np.float64]  # contact: true positives, false positives, false negatives
    finger_counts_WF3: NDArray[np.float64]  # by finger as in hand.FINGERS; F = 0 where none were told apart
    levels_WL2: NDArray[Any]  # vertices by level of probability and truth, see contact_curve.py
    contact_threshold: float

    def __len__(self) -> int:
        return len(self.clip_W)

    def per_clip(self) -> ClipErrors:
        """The sums over each clip's windows."""
        clips, first = np.unique(self.clip_W, return_index=True)
        return ClipErrors(
            group=self.group,
            groups=self.group_W[first].tolist(),
            clip_ids=[self.clip_ids[c] for c in clips],
            contact_threshold=self.contact_threshold,
            totals={name: intervals.clip_totals(v, self.clip_W) for name, v in self.metrics.items()},
            counts_C3=intervals.clip_sums(self.counts_W3, self.clip_W),
            finger_counts_CF3=intervals.clip_sums(self.finger_counts_WF3, self.clip_W),
        )

    def average_precision(self) -> float:
        """Average precision of contact, pooled over frames and vertices; NaN without any contact."""
        return float(contact_curve.average_precision(self.levels_WL2.sum(axis=0)))

    def contact_curve(self) -> dict[str, list[float | None]]:
        """Pooled contact precision, recall and F1 over a grid of thresholds, as plain values."""
        return contact_curve.shown_curve(self.levels_WL2.sum(axis=0))

    def interval(self, metric: str) -> Interval:
        """Mean over windows of a metric, or a pooled contact figure, with its 95% interval.

        Names are those of `means`: metrics, "contact_f1", "contact_recall_thumb" and so on, "contact_ap".
        """
        if metric != AVERAGE_PRECISION:
            return self.per_clip().interval(metric)
        levels_CL2 = intervals.clip_sums(self.levels_WL2, self.clip_W)
        _, first = np.unique(self.clip_W, return_index=True)
        return intervals.bootstrap(
            lambda totals: contact_curve.average_precision(totals.reshape(len(totals), -1, 2)),
            levels_CL2.reshape(len(levels_CL2), -1),
            self.group_W[first],
        )

    def difference(self, other: Evaluation, metric: str) -> Interval:
        """Paired interval of this minus the other, as `paired_difference`; both must be of the same windows."""
        return paired_difference(self.per_clip(), other.per_clip(), metric)

    def means(self) -> dict[str, float]:
        """All figures without intervals: mean over windows, contact pooled over frames and vertices."""
        return self.per_clip().means() | {AVERAGE_PRECISION: self.average_precision()}

    def summary(self) -> dict[str, Any]:
        """All figures with intervals, and the curve of contact over thresholds, in plain values ready for JSON."""
        summary = {"windows": len(self), **self.per_clip().summary()}
        summary["metrics"][AVERAGE_PRECISION] = self.interval(AVERAGE_PRECISION).to_json()
        return summary | {"contact_curve": self.contact_curve()}

    def to_json(self) -> dict[str, Any]:
        """The per-clip sums as plain values; `ClipErrors.from_json` reads them back.

        Levels stay out: their 500 numbers a clip would be ten times all the rest, and pairs are tested on F1.
        """
        return self.per_clip().to_json()

    def where(self, mask_W: NDArray[np.bool_]) -> Evaluation:
        """The part of the windows for which `mask_W` holds."""
        return replace(
            self,
            metrics={name: value_W[mask_W] for name, value_W in self.metrics.items()},
            **{name: getattr(self, name)[mask_W] for name in _ROWS},
        )

    def by_phase(self) -> dict[str, Evaluation]:
        """One part for each first word of the texts: the verb of an action, or the phase of a recording."""
        phase_W = np.array([text.split(" ")[0] for text in self.text_W.tolist()], dtype=np.str_)
        return {str(phase): self.where(phase_W == phase) for phase in np.unique(phase_W)}


def average_seeds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several seeds of a configuration: every window's figures and counts averaged over the seeds.

    Seeds repeat the training, not the data, so they narrow no interval as if they were more windows. The contact
    threshold is the seeds' mean, for display: counts were made with each seed's own.

    Raises:
        ValueError: the windows differ.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        same = len(other) == len(first) and other.metrics.keys() == first.metrics.keys()
        if not (same and (other.clip_W == first.clip_W).all() and (other.start_W == first.start_W).all()):
            raise ValueError(
                "seeds can be averaged only over the same windows and metrics; evaluate them on one part"
            )
    counted: dict[str, Any] = {
        name: np.mean([getattr(e, name) for e in evaluations], axis=0)
        for name in ("counts_W3", "finger_counts_WF3", "levels_WL2")
    }
    return replace(
        first,
        metrics={name: np.mean([e.metrics[name] for e in evaluations], axis=0) for name in first.metrics},
        contact_threshold=float(np.mean([e.contact_threshold for e in evaluations])),
        **counted,
    )


def join_folds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several folds, each group held out once, by another model of the same configuration.

    Raises:
        ValueError: a held-out group occurs in two folds, or the folds are not of one data set and group.
    """
    first = evaluations[0]
    seen: set[str] = set()
    for fold in evaluations:
        if fold.group != first.group or fold.clip_ids != first.clip_ids:
            raise ValueError("folds of different data sets or groups cannot be joined")
        twice = seen & set(fold.group_W.tolist())
        if twice:
            raise ValueError(f"{first.group} {min(twice)!r} is tested in two folds; each is held out once")
        seen |= set(fold.group_W.tolist())
    joined: dict[str, Any] = {name: np.concatenate([getattr(e, name) for e in evaluations]) for name in _ROWS}
    return replace(
        first,
        metrics={name: np.concatenate([e.metrics[name] for e in evaluations]) for name in first.metrics},
        contact_threshold=float(np.mean([e.contact_threshold for e in evaluations])),
        **joined,
    )
