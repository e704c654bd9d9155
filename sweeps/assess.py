"""Figures of trained trials, made on the cluster: validation intervals, and gate and test of the winner."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from sweeps.input_facts import input_facts
from trainables.clip_errors import METRIC_VERSION, ClipErrors
from trainables.clips import read_clips
from trainables.evaluate import evaluate
from trainables.evaluation import Evaluation
from trainables.intervals import paired_mean_interval
from trainables.latentact import LatentAct
from trainables.model_folder import fetch_model, load_model
from trainables.splits import setting_group
from trainables.trial import part_windows, parts_windows
from trainables.trial_config import TrialConfig
from trainables.trivial import evaluate_mean_trajectory
from trainables.windows import Windows


def validation_intervals(
    data: str, config: dict[str, Any], checkpoints: dict[str, str], device: str
) -> dict[str, dict[str, Any]]:
    """Interval of the validation MPJPE (cm) of each checkpoint (identity -> folder), as plain values."""
    trial = TrialConfig.from_json(config)
    clips = read_clips(data).to(device)
    val = part_windows(trial, clips, "val")
    group = setting_group(clips, trial.setting)
    return {
        identity: _score(load_checkpoint(url, device), val, group).interval("mpjpe_cm").to_json()
        for identity, url in checkpoints.items()
    }


def examine(data: str, config: dict[str, Any], checkpoint: str, device: str) -> dict[str, Any]:
    """What a bundle's metrics.json holds: summaries of `val` and `test`, per-clip errors of `gate`.

    `trivial` compares the model with the mean trajectory of the training clips on test, pair by pair;
    `inputs` is what training told it (see sweeps/input_facts.py), for its evaluation on other data;
    `example` is a validation window's inputs, for a first try of the model.
    """
    trial = TrialConfig.from_json(config)
    clips = read_clips(data).to(device)
    group = setting_group(clips, trial.setting)
    parts = ("train", "val", "gate", "test")
    windows = dict(zip(parts, parts_windows(trial, clips, parts), strict=True))
    model = load_checkpoint(checkpoint, device)
    scores = {part: _score(model, windows[part], group) for part in ("val", "gate", "test")}
    mean = evaluate_mean_trajectory(windows["train"], windows["val"], windows["test"], group)
    ours, theirs = scores["test"].per_clip(), mean.per_clip()
    difference = paired_mean_interval(ours.totals["mpjpe_cm"], theirs.totals["mpjpe_cm"], ours.groups)
    return {
        "schema": 1,
        "metric_version": METRIC_VERSION,
        "hand": clips.hand,
        "val": scores["val"].summary(),
        "gate": {"clips": _gate_clips(scores["gate"].per_clip())},
        "test": scores["test"].summary(),
        "trivial": {
            "predictor": "mean trajectory",
            "test": mean.interval("mpjpe_cm").to_json(),
            "difference": difference.to_json(),
        },
        "inputs": input_facts(data, windows["train"]),
        "example": _example(windows["val"]),
    }


def load_checkpoint(url: str, device: str) -> LatentAct:
    """The model in a trial's checkpoint folder, local or s3://. Raises FileNotFoundError where a file is missing."""
    with tempfile.TemporaryDirectory() as name:
        fetch_model(url, Path(name))
        return load_model(name, device=device)


def _score(model: LatentAct, windows: Windows, group: str) -> Evaluation:
    return evaluate(
        model.forecast,
        windows,
        group,
        contact_threshold=float(model.contact_threshold),
        finger_V=model.hand.finger_V,
    )


def _gate_clips(errors: ClipErrors) -> list[dict[str, Any]]:
    """The gate's pairs: every clip with a known error, its mean and its number of windows."""
    return [
        {"clip": clip, "group": group, "mpjpe_cm": total / count, "windows": int(count)}
        for clip, group, (total, count) in zip(
            errors.clip_ids, errors.groups, errors.totals["mpjpe_cm"].tolist(), strict=True
        )
        if count
    ]


def _example(windows: Windows) -> dict[str, Any]:
    batch = windows.gather(torch.arange(min(256, len(windows))))
    row = int(batch.point_known_B.int().argmax())
    point = [round(value, 3) for value in batch.point_B3[row].tolist()] if batch.point_known_B[row] else None
    return {"text": batch.texts[int(batch.text_B[row])], "contact_point": point}
