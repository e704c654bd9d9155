"""Evaluate a predictor on windows: every metric per window, and the sums per clip from which figures are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables import intervals, metrics
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.intervals import Interval
from trainables.windows import Batch, Windows

# Thresholds are multiples of 1/4096: exact in float32, so a probability falls on the same side everywhere.
THRESHOLD_STEPS = 4096


class Forecast(Protocol):
    """The least a predictor gives."""

    @property
    def joints_ref_BTJ3(self) -> Tensor: ...  # metres, the window's first camera
    @property
    def contact_logits_BTV(self) -> Tensor: ...


@runtime_checkable
class CameraForecast(Forecast, Protocol):
    """What the metrics in the frames' own cameras need besides."""

    @property
    def joints_BTJ3(self) -> Tensor: ...
    @property
    def transl_BT3(self) -> Tensor: ...
    @property
    def camera_rot_BT33(self) -> Tensor: ...
    @property
    def camera_transl_BT3(self) -> Tensor: ...


Predict = Callable[[Batch], Forecast]


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
    contact_threshold: float

    def __len__(self) -> int:
        return len(self.clip_W)

    def per_clip(self) -> ClipErrors:
        """The sums over each clip's windows."""
        clips, first, row_W = np.unique(self.clip_W, return_index=True, return_inverse=True)
        columns = [np.bincount(row_W, weights=c, minlength=len(clips)) for c in self.counts_W3.T]
        return ClipErrors(
            group=self.group,
            groups=self.group_W[first].tolist(),
            clip_ids=[self.clip_ids[c] for c in clips],
            contact_threshold=self.contact_threshold,
            totals={name: intervals.clip_totals(v, self.clip_W) for name, v in self.metrics.items()},
            counts_C3=np.stack(columns, axis=1),
        )

    def interval(self, metric: str) -> Interval:
        """Mean over windows of a metric, or pooled "contact_f1", with its 95% interval."""
        return self.per_clip().interval(metric)

    def difference(self, other: Evaluation, metric: str) -> Interval:
        """Paired interval of this minus the other, as `paired_difference`; both must be of the same windows."""
        return paired_difference(self.per_clip(), other.per_clip(), metric)

    def means(self) -> dict[str, float]:
        """All figures without intervals: mean over windows, contact pooled over frames and vertices."""
        return self.per_clip().means()

    def summary(self) -> dict[str, Any]:
        """All figures with intervals, in plain values ready for JSON."""
        return {"windows": len(self), **self.per_clip().summary()}

    def to_json(self) -> dict[str, Any]:
        """The per-clip sums as plain values; `ClipErrors.from_json` reads them back."""
        return self.per_clip().to_json()

    def where(self, mask_W: NDArray[np.bool_]) -> Evaluation:
        """The part of the windows for which `mask_W` holds."""
        return replace(
            self,
            clip_W=self.clip_W[mask_W],
            start_W=self.start_W[mask_W],
            group_W=self.group_W[mask_W],
            text_W=self.text_W[mask_W],
            metrics={name: value_W[mask_W] for name, value_W in self.metrics.items()},
            counts_W3=self.counts_W3[mask_W],
        )

    def by_phase(self) -> dict[str, Evaluation]:
        """One part for each first word of the texts: the verb of an action, or the phase of a recording."""
        phase_W = np.array([text.split(" ")[0] for text in self.text_W.tolist()], dtype=np.str_)
        return {str(phase): self.where(phase_W == phase) for phase in np.unique(phase_W)}


@torch.no_grad()
def evaluate(
    predict: Predict, windows: Windows, group: str, *, batch: int = 256, contact_threshold: float = 0.5
) -> Evaluation:
    """Predict all windows, `batch` at a time, and score them on the device they are on.

    Args:
        group: column of the clips (such as "object") whose values are resampled together.

    Raises:
        ValueError: the clips have no such column, or a clip no value in it.
    """
    if group not in windows.clips.groups:
        raise ValueError(
            f"clips have no group {group!r}; there are {', '.join(sorted(windows.clips.groups))}"
        )
    rows = [_score(predict(truth), truth, contact_threshold) for truth in batches(windows, batch)]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    clip_W, text_W = joined.pop("clip"), joined.pop("text")
    names = np.array(windows.clips.groups[group], dtype=object)[clip_W]
    missing_W = np.array([name is None for name in names])
    if missing_W.any():
        clip = windows.clips.clip_ids[clip_W[missing_W.argmax()]]
        raise ValueError(f"clip {clip!r} has no {group!r}; evaluate with a group that every clip names")
    return Evaluation(
        group=group,
        clip_ids=windows.clips.clip_ids,
        clip_W=clip_W,
        start_W=joined.pop("start"),
        group_W=names.astype(np.str_),
        text_W=np.array(windows.texts, dtype=np.str_)[text_W],
        counts_W3=joined.pop("counts").astype(np.float64),
        metrics=joined,
        contact_threshold=contact_threshold,
    )


def batches(windows: Windows, batch: int) -> Iterator[Batch]:
    """All windows in order, `batch` at a time."""
    for start in range(0, len(windows), batch):
        yield windows.gather(torch.arange(start, min(start + batch, len(windows))))


def _score(forecast: Forecast, truth: Batch, contact_threshold: float) -> dict[str, NDArray[Any]]:
    known_BT = truth.camera_known_BT
    scores = metrics.first_camera_metrics(forecast.joints_ref_BTJ3, truth.joints_ref_BTJ3, known_BT)
    some_known_B = {name: known_BT.any(dim=1) for name in scores}
    if isinstance(forecast, CameraForecast):
        all_BT = torch.ones_like(known_BT)  # truth in a frame's own camera needs no camera motion
        own = metrics.own_camera_metrics(forecast.joints_BTJ3, truth.joints_BTJ3, all_BT)
        transl_B = metrics.translation_error(forecast.transl_BT3, truth.transl_BT3, all_BT)
        own["transl_cm"] = metrics.CM_PER_M * transl_B
        camera = metrics.camera_metrics(
            forecast.camera_rot_BT33,
            forecast.camera_transl_BT3,
            truth.camera_rot_BT33,
            truth.camera_transl_BT3,
            known_BT,
        )
        some_known_B |= {name: all_BT.any(dim=1) for name in own}
        some_known_B |= {name: known_BT.any(dim=1) for name in camera}
        scores |= own | camera
    row: dict[str, NDArray[Any]] = {}
    for name, value_B in scores.items():
        # NaN means that nothing was known. A predictor that gives NaN must not leave the mean that way.
        diverged_B = value_B.isnan() & some_known_B[name]
        row[name] = torch.where(diverged_B, torch.inf, value_B).double().cpu().numpy()
    contact_BTV = torch.sigmoid(forecast.contact_logits_BTV) > contact_threshold
    row["counts"] = (
        metrics.contact_counts(contact_BTV, truth.contact_BTV, truth.contact_known_BT).cpu().numpy()
    )
    row["clip"], row["start"] = truth.clip_B.cpu().numpy(), truth.start_B.cpu().numpy()
    row["text"] = truth.text_B.cpu().numpy()
    return row


@torch.no_grad()
def best_contact_threshold(predict: Predict, windows: Windows, *, batch: int = 256) -> tuple[float, float]:
    """The threshold with the highest pooled F1 on these windows, and that F1; (0.5, NaN) without any contact known.

    One pass: a histogram of probabilities, of vertices in contact and of others, holds the counts of all thresholds.
    Choose on validation windows; on test windows it is an oracle.
    """
    histogram_N2 = torch.zeros(2 * (THRESHOLD_STEPS + 1), dtype=torch.int64)
    for truth in batches(windows, batch):
        known_BT = truth.contact_known_BT
        probability_NV = torch.sigmoid(predict(truth).contact_logits_BTV[known_BT]).nan_to_num(0.0)
        # p > k / steps exactly where ceil(p * steps) > k.
        level_NV = (probability_NV * THRESHOLD_STEPS).ceil().int()
        cell_NV = 2 * level_NV + truth.contact_BTV[known_BT].bool()
        histogram_N2 += torch.bincount(cell_NV.flatten(), minlength=len(histogram_N2)).cpu()
    negative_N, positive_N = histogram_N2.view(-1, 2).double().unbind(dim=1)
    tp_N = positive_N.flip(0).cumsum(0).flip(0)[1:]  # level above k, for k = 0 .. steps - 1
    fp_N = negative_N.flip(0).cumsum(0).flip(0)[1:]
    if positive_N.sum() == 0:
        return 0.5, math.nan
    f1_N = 2 * tp_N / (tp_N + fp_N + positive_N.sum())
    best = int(f1_N.argmax())
    return best / THRESHOLD_STEPS, float(f1_N[best])


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
    return replace(
        first,
        metrics={name: np.mean([e.metrics[name] for e in evaluations], axis=0) for name in first.metrics},
        counts_W3=np.mean([e.counts_W3 for e in evaluations], axis=0),
        contact_threshold=float(np.mean([e.contact_threshold for e in evaluations])),
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
    return replace(
        first,
        clip_W=np.concatenate([e.clip_W for e in evaluations]),
        start_W=np.concatenate([e.start_W for e in evaluations]),
        group_W=np.concatenate([e.group_W for e in evaluations]),
        text_W=np.concatenate([e.text_W for e in evaluations]),
        metrics={name: np.concatenate([e.metrics[name] for e in evaluations]) for name in first.metrics},
        counts_W3=np.concatenate([e.counts_W3 for e in evaluations]),
        contact_threshold=float(np.mean([e.contact_threshold for e in evaluations])),
    )
