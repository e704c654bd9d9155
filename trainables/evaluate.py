"""Evaluate a predictor on windows in one pass: every metric, on the device the windows are on.

Nothing is read back until all windows are done: a metric that asked the device for its value, window by window, would
let it run dry between batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from trainables import contact_curve, metrics
from trainables.clip_format import WINDOW_FPS
from trainables.evaluation import Evaluation
from trainables.hand import FINGERS
from trainables.windows import Batch, Windows


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


@dataclass
class _Scored:
    """Figures of one batch, on its device."""

    errors: dict[str, Tensor]  # (B,) float64
    counts_BF3: Tensor | None  # where the threshold was given
    levels_BFL2: Tensor
    labels_B3: Tensor  # clip, start, text


@torch.no_grad()
def evaluate(
    predict: Predict,
    windows: Windows,
    group: str,
    *,
    batch: int = 256,
    contact_threshold: float | None = 0.5,
    finger_V: Tensor | None = None,
) -> Evaluation:
    """Predict all windows once, `batch` at a time, and score them.

    Args:
        group: column of the clips (such as "object") whose values are resampled together.
        contact_threshold: None chooses among `contact_curve.THRESHOLDS` the one with the best F1 on these windows, 0.5
            where no contact is known. Choose on validation windows; on test windows that is an oracle. All figures are
            exactly those of a second pass with the chosen threshold.
        finger_V: `Hand.finger_V`, for contact figures by finger besides the whole hand's.

    Raises:
        ValueError: the clips have no such column, or a clip no value in it.
    """
    if group not in windows.clips.groups:
        raise ValueError(
            f"clips have no group {group!r}; there are {', '.join(sorted(windows.clips.groups))}"
        )
    level_table: Tensor | None = None
    rows: list[_Scored] = []
    for truth in batches(windows, batch):
        forecast = predict(truth)
        if level_table is None:
            device = forecast.contact_logits_BTV.device
            level_table = contact_curve.level_table(contact_curve.THRESHOLDS).to(device)
            finger_V = finger_V if finger_V is None else finger_V.to(device)
        rows.append(_score(forecast, truth, contact_threshold, level_table, finger_V))

    labels_W3 = torch.cat([row.labels_B3 for row in rows]).cpu().numpy()
    errors_MW = torch.cat([torch.stack(list(row.errors.values())) for row in rows], dim=1).cpu().numpy()
    levels_WFL2 = torch.cat([row.levels_BFL2 for row in rows]).cpu().numpy()
    given = [row.counts_BF3 for row in rows if row.counts_BF3 is not None]
    if contact_threshold is None:
        contact_threshold, _ = contact_curve.best_threshold(
            levels_WFL2.sum(axis=(0, 1)), contact_curve.THRESHOLDS
        )
        place = int(np.searchsorted(contact_curve.THRESHOLDS, contact_threshold))
        counts_WF3 = contact_curve.counts_above(levels_WFL2, place)
    else:
        counts_WF3 = torch.cat(given).cpu().numpy().astype(np.float64)

    clip_W, start_W, text_W = labels_W3.T
    names = np.array(windows.clips.groups[group], dtype=object)[clip_W]
    missing_W = np.array([name is None for name in names])
    if missing_W.any():
        clip = windows.clips.clip_ids[clip_W[missing_W.argmax()]]
        raise ValueError(f"clip {clip!r} has no {group!r}; evaluate with a group that every clip names")
    return Evaluation(
        group=group,
        clip_ids=windows.clips.clip_ids,
        clip_W=clip_W,
        start_W=start_W,
        group_W=names.astype(np.str_),
        text_W=np.array(windows.texts, dtype=np.str_)[text_W],
        metrics=dict(zip(rows[0].errors, errors_MW, strict=True)),
        counts_W3=counts_WF3.sum(axis=1),
        finger_counts_WF3=counts_WF3 if finger_V is not None else counts_WF3[:, :0],
        levels_WL2=levels_WFL2.sum(axis=1, dtype=np.int32),
        contact_threshold=contact_threshold,
    )


def batches(windows: Windows, batch: int) -> Iterator[Batch]:
    """All windows in order, `batch` at a time."""
    for start in range(0, len(windows), batch):
        yield windows.gather(torch.arange(start, min(start + batch, len(windows))))


def _score(
    forecast: Forecast,
    truth: Batch,
    contact_threshold: float | None,
    level_table: Tensor,
    finger_V: Tensor | None,
) -> _Scored:
    logits_BTV, known_BT, fingers = forecast.contact_logits_BTV, truth.contact_known_BT, len(FINGERS)
    if finger_V is None:
        finger_V, fingers = torch.zeros(logits_BTV.shape[-1], dtype=torch.int64, device=logits_BTV.device), 1
    levels_BFL2 = contact_curve.level_histogram(
        logits_BTV, truth.contact_BTV, known_BT, level_table, contact_curve.LEVELS, finger_V, fingers
    )
    counts_BF3 = None
    if contact_threshold is None:
        # Kept by finger until all windows are seen: 6 kB a window, where its vertices and frames would be 47 kB.
        small = logits_BTV.shape[1] * logits_BTV.shape[2] < 2**15
        levels_BFL2 = levels_BFL2.to(torch.int16) if small else levels_BFL2
    else:
        counts_BF3 = torch.cat(
            [
                metrics.finger_contact_counts(
                    torch.sigmoid(logits_BTV[part].float()) > contact_threshold,
                    truth.contact_BTV[part],
                    known_BT[part],
                    finger_V,
                    fingers,
                )
                for part in contact_curve.steps(len(logits_BTV))
            ]
        )
        levels_BFL2 = levels_BFL2.sum(dim=1, keepdim=True, dtype=torch.int32)
    return _Scored(
        errors=_errors(forecast, truth),
        counts_BF3=counts_BF3,
        levels_BFL2=levels_BFL2,
        labels_B3=torch.stack([truth.clip_B, truth.start_B, truth.text_B], dim=1),
    )


def _errors(forecast: Forecast, truth: Batch) -> dict[str, Tensor]:
    """Every metric (B,), float64: NaN where nothing is known, infinite where the predictor gave NaN."""
    known_BT = truth.camera_known_BT
    some_B, joints = known_BT.any(dim=1), (forecast.joints_ref_BTJ3, truth.joints_ref_BTJ3)
    first = metrics.first_camera_metrics(*joints, known_BT)
    jerk = metrics.jerk_metrics(*joints, known_BT, WINDOW_FPS)
    scored = [(first, some_B), (jerk, metrics.jerk_known(known_BT).any(dim=1))]
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
        scored += [(own, all_BT.any(dim=1)), (camera, some_B)]
    # NaN means that nothing was known. A predictor that gives NaN must not leave the mean that way.
    return {
        name: torch.where(value_B.isnan() & known_B, torch.inf, value_B).double()
        for values, known_B in scored
        for name, value_B in values.items()
    }


@torch.no_grad()
def best_contact_threshold(predict: Predict, windows: Windows, *, batch: int = 256) -> tuple[float, float]:
    """The threshold with the highest pooled F1 on these windows, and that F1; (0.5, NaN) without any contact known.

    One pass over all multiples of 1/4096; `evaluate(..., contact_threshold=None)` scores besides, and chooses among
    255 of them. Choose on validation windows; on test windows it is an oracle.
    """
    table: Tensor | None = None
    levels, total = len(contact_curve.EVERY_STEP) + 1, torch.zeros(())
    for truth in batches(windows, batch):
        logits_BTV = predict(truth).contact_logits_BTV
        if table is None:
            table = contact_curve.level_table(contact_curve.EVERY_STEP).to(logits_BTV.device)
            total = torch.zeros(levels, 2, dtype=torch.int64, device=logits_BTV.device)
        histogram = contact_curve.level_histogram(
            logits_BTV, truth.contact_BTV, truth.contact_known_BT, table, levels
        )
        total += histogram.sum(dim=(0, 1))
    return contact_curve.best_threshold(total.cpu().numpy(), contact_curve.EVERY_STEP)
