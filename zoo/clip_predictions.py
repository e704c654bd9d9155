"""Predictions for the clips of one part of a data set, to look at: each clip's first window, as the model sees it.

They are no figures: nothing here is averaged. On `test` the truth is left out too, since what is read there is reported
once for each published candidate (`python -m sweeps.evaluate`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.batch_table import slug
from zoo.errors import InputError
from zoo.photo_camera import Photo
from zoo.prediction_batch import AT_ONCE, Predicted


def clip_predictions(
    model: Any, folder: Path, data: str, *, setting: str | None, part: str, limit: int | None
) -> tuple[int, Iterator[Predicted]]:
    """How many clips there are, and a prediction for each. folder: the model's bundle; data: a folder or s3:// address.

    Raises InputError, ClipsError of trainables where data, setting or part are not there, and its EncoderError.
    """
    try:
        from trainables.clips import read_clips
        from trainables.shown_window import model_windows
        from trainables.splits import part_clips
    except ImportError as error:
        raise InputError(
            f"Reading clips needs a library that is not here ({error}): pip install 'latentact-zoo[train]'."
        ) from error
    config = model.config
    if config.oracle_codes:
        raise InputError(
            "This model needs the true codes of the future: it is an ablation and cannot predict."
        )
    clips = read_clips(data)
    if clips.hand != model.hand.name:
        raise InputError(
            f"{data} was made with the hand '{clips.hand}' and the model with '{model.hand.name}': choose other clips, or "
            "prepare them again with the model's hand."
        )
    seen = json.loads((folder / "metrics.json").read_text()).get("inputs") or {}
    windows = model_windows(
        model,
        clips,
        part_clips(clips, setting or config.setting, part)[:limit],
        protocol=config.protocol,
        hand_free=seen.get("hand_free", False),
        hidden=seen.get("hidden", ""),
    )
    firsts_N = (windows.start_N == 0).nonzero()[:, 0]
    return len(firsts_N), _each(model, windows, firsts_N, with_truth=part != "test")


def _each(model: Any, windows: Any, rows_N: Any, *, with_truth: bool) -> Iterator[Predicted]:
    import torch

    from trainables.motion import to_first, vertices_first
    from trainables.shown_window import first_picture
    from trainables.trajectory import trajectories_of

    clips, device = windows.clips, model.contact_threshold.device
    for rows in rows_N.split(AT_ONCE):
        batch = _moved(windows.gather(rows), device)
        with torch.no_grad():
            trajectories = trajectories_of(model.forecast(batch), model.hand, float(model.contact_threshold))
            truth = vertices_first(model.hand, to_first(batch, model.hand)).cpu().numpy()
        for i, trajectory in enumerate(trajectories):
            clip = int(batch.clip_B[i])
            known = with_truth and bool(batch.camera_known_BT[i].all())
            point = batch.point_B3[i].tolist() if bool(batch.point_known_B[i]) else None
            yield Predicted(
                where=f"clip {clips.clip_ids[clip]}",
                name=f"{clip:05d}-{slug(clips.clip_ids[clip])}",
                text=clips.texts[int(batch.text_B[i])],
                trajectory=trajectory,
                photo=_photo(first_picture(windows, clip, 0)),
                contact_point_m=point,
                truth_vertices_m=truth[i] if known else None,
                truth_joints_m=batch.joints_ref_BTJ3[i].cpu().numpy() if known else None,
            )


def _moved(batch: Any, device: Any) -> Any:
    """The batch on the model's device."""
    import torch

    fields = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(batch, **{name: value.to(device) for name, value in fields.items()})


def _photo(pixels: np.ndarray | None) -> Photo | None:
    if pixels is None:
        return None
    return Photo(pixels=pixels, width=pixels.shape[1], height=pixels.shape[0], focal_35_mm=None)
