"""Errors summed per clip: what a bundle carries, and what intervals and paired tests are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables import intervals, metrics
from trainables.intervals import Interval

# Raised whenever a metric changes its meaning: figures of different versions are never compared.
METRIC_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ClipErrors:
    """Sums over the windows of each clip: enough for every figure, interval and paired test, and small enough to
    travel in a bundle. C clips, ordered as in the data set."""

    group: str  # the column whose values are held out
    groups: list[str]  # its value for each clip
    clip_ids: list[str]
    contact_threshold: float
    totals: dict[str, NDArray[np.float64]]  # metric -> (C,2) sum and number of known windows
    counts_C3: NDArray[np.float64]  # contact: true positives, false positives, false negatives

    def interval(self, metric: str) -> Interval:
        """Mean over windows of a metric, or pooled "contact_f1", with its 95% interval."""
        if metric == "contact_f1":
            return intervals.f1_interval(self.counts_C3, self.groups)
        return intervals.mean_interval(self.totals[metric], self.groups)

    def means(self) -> dict[str, float]:
        """All figures without intervals; NaN where nothing was known."""
        figures = {}
        for name, totals_C2 in self.totals.items():
            total, count = totals_C2.sum(axis=0)
            figures[name] = float(total / count) if count else math.nan
        scores = metrics.precision_recall_f1(*self.counts_C3.sum(axis=0).tolist())
        return figures | dict(zip(("contact_precision", "contact_recall", "contact_f1"), scores, strict=True))

    def summary(self) -> dict[str, Any]:
        """All figures with intervals, in plain values ready for JSON."""
        means = self.means()
        return {
            "group": self.group,
            "groups": len(set(self.groups)),
            "clips": len(self.clip_ids),
            "contact_threshold": self.contact_threshold,
            "metrics": {name: self.interval(name).to_json() for name in [*self.totals, "contact_f1"]},
            "contact_precision": _number(means["contact_precision"]),
            "contact_recall": _number(means["contact_recall"]),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` restores exactly.

        Raises:
            ValueError: an error is infinite, so the predictor gave numbers that are none.
        """
        for name, totals_C2 in self.totals.items():
            if not np.isfinite(totals_C2).all():
                raise ValueError(
                    f"{name} is not finite: the predictor diverged and its errors cannot be stored"
                )
        return {
            "metric_version": METRIC_VERSION,
            "group": self.group,
            "groups": self.groups,
            "clip_ids": self.clip_ids,
            "contact_threshold": self.contact_threshold,
            "totals": {name: totals_C2.tolist() for name, totals_C2 in self.totals.items()},
            "contact_counts": self.counts_C3.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ClipErrors:
        """Raises ValueError where the record was made by another version of the metrics."""
        if record.get("metric_version") != METRIC_VERSION:
            raise ValueError(
                f"errors of metric version {record.get('metric_version')} cannot be compared with version "
                f"{METRIC_VERSION}; evaluate the model again"
            )
        return cls(
            group=record["group"],
            groups=record["groups"],
            clip_ids=record["clip_ids"],
            contact_threshold=record["contact_threshold"],
            totals={name: np.asarray(rows, dtype=np.float64) for name, rows in record["totals"].items()},
            counts_C3=np.asarray(record["contact_counts"], dtype=np.float64),
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def paired_difference(a: ClipErrors, b: ClipErrors, metric: str) -> Interval:
    """95% interval of a - b in a metric (or "contact_f1") on the same windows: below 0, a is better in an error.

    Raises:
        ValueError: the two were not evaluated on the same windows.
    """
    if a.clip_ids != b.clip_ids or a.groups != b.groups:
        raise ValueError(
            "a paired difference needs both predictors on the same windows; evaluate both on one part"
        )
    if metric == "contact_f1":
        return intervals.paired_f1_interval(a.counts_C3, b.counts_C3, a.groups)
    return intervals.paired_mean_interval(a.totals[metric], b.totals[metric], a.groups)
