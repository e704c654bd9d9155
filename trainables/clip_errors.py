"""Errors summed per clip: what a bundle carries, and what intervals and paired tests are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables import intervals, metrics
from trainables.hand import FINGERS
from trainables.intervals import Interval

# Raised whenever a metric changes its meaning: figures of different versions are never compared.
METRIC_VERSION = 1

AVERAGE_PRECISION = "contact_ap"  # made from levels, which only an Evaluation has
_CONTACT = {
    "contact_precision": intervals.precision_interval,
    "contact_recall": intervals.recall_interval,
    "contact_f1": intervals.f1_interval,
}


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
    finger_counts_CF3: NDArray[np.float64]  # by finger as in hand.FINGERS; F = 0 where none were told apart

    def contact_counts(self, suffix: str = "") -> NDArray[np.float64]:
        """Counts (C,3) of the whole hand, or of a finger by name.

        Raises:
            KeyError: no such finger, or contact was not counted by finger.
        """
        if not suffix:
            return self.counts_C3
        if suffix not in self.fingers:
            raise KeyError(
                f"contact of {suffix!r} was not counted; there are {', '.join(self.fingers) or 'no fingers'}"
            )
        return self.finger_counts_CF3[:, FINGERS.index(suffix)]

    @property
    def fingers(self) -> tuple[str, ...]:
        """The fingers that contact was counted by, the palm among them; none, or all."""
        return FINGERS[: self.finger_counts_CF3.shape[1]]

    def interval(self, metric: str) -> Interval:
        """Mean over windows of a metric, or a pooled contact figure, with its 95% interval.

        Contact figures are "contact_precision", "contact_recall", "contact_f1", and the same of a finger
        ("contact_f1_thumb"). Raises KeyError where there is no such metric.
        """
        figure, finger = _contact_figure(metric)
        if figure in _CONTACT:
            return _CONTACT[figure](self.contact_counts(finger), self.groups)
        return intervals.mean_interval(self.totals[metric], self.groups)

    def means(self) -> dict[str, float]:
        """All figures without intervals; NaN where nothing was known."""
        figures = {}
        for name, totals_C2 in self.totals.items():
            total, count = totals_C2.sum(axis=0)
            figures[name] = float(total / count) if count else math.nan
        for finger in ("", *self.fingers):
            scores = metrics.precision_recall_f1(*self.contact_counts(finger).sum(axis=0).tolist())
            names = [f"{figure}_{finger}" if finger else figure for figure in _CONTACT]
            figures |= dict(zip(names, scores, strict=True))
        return figures

    def summary(self) -> dict[str, Any]:
        """All figures with intervals (precision and recall without), in plain values ready for JSON."""
        means = self.means()
        f1 = ["contact_f1", *(f"contact_f1_{finger}" for finger in self.fingers)]
        bare = [name for name in means if _contact_figure(name)[0] in ("contact_precision", "contact_recall")]
        return {
            "group": self.group,
            "groups": len(set(self.groups)),
            "clips": len(self.clip_ids),
            "contact_threshold": self.contact_threshold,
            "metrics": {name: self.interval(name).to_json() for name in [*self.totals, *f1]},
            **{name: _number(means[name]) for name in bare},
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
            "finger_contact_counts": self.finger_counts_CF3.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ClipErrors:
        """Raises ValueError where the record was made by another version of the metrics."""
        if record.get("metric_version") != METRIC_VERSION:
            raise ValueError(
                f"errors of metric version {record.get('metric_version')} cannot be compared with version "
                f"{METRIC_VERSION}; evaluate the model again"
            )
        counts_C3 = np.asarray(record["contact_counts"], dtype=np.float64)
        # Records older than the counts by finger have none.
        by_finger = record.get("finger_contact_counts", [[]] * len(counts_C3))
        return cls(
            group=record["group"],
            groups=record["groups"],
            clip_ids=record["clip_ids"],
            contact_threshold=record["contact_threshold"],
            totals={name: np.asarray(rows, dtype=np.float64) for name, rows in record["totals"].items()},
            counts_C3=counts_C3,
            finger_counts_CF3=np.asarray(by_finger, dtype=np.float64).reshape(len(counts_C3), -1, 3),
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _contact_figure(metric: str) -> tuple[str, str]:
    """("contact_f1", "thumb") of "contact_f1_thumb", ("contact_f1", "") of "contact_f1"; else the name as it is."""
    parts = metric.split("_")
    figure = "_".join(parts[:2])
    return (figure, "_".join(parts[2:])) if figure in _CONTACT else (metric, "")


def paired_difference(a: ClipErrors, b: ClipErrors, metric: str) -> Interval:
    """95% interval of a - b on the same windows in a metric, or in "contact_f1" and that of a finger.

    Below 0, a is better in an error.

    Raises:
        ValueError: the two were not evaluated on the same windows.
    """
    if a.clip_ids != b.clip_ids or a.groups != b.groups:
        raise ValueError(
            "a paired difference needs both predictors on the same windows; evaluate both on one part"
        )
    figure, finger = _contact_figure(metric)
    if figure == "contact_f1":
        return intervals.paired_f1_interval(a.contact_counts(finger), b.contact_counts(finger), a.groups)
    return intervals.paired_mean_interval(a.totals[metric], b.totals[metric], a.groups)
