"""Figures of trained trials, made on the cluster: validation errors of all, and gate and test of the winner."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeps.gallery import gallery
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

_OF_WINDOWS = (
    "setting", "protocol", "mode", "hand_free", "without", "image_encoder", "text_encoder", "window", "stride",
)  # fmt: skip
# Which windows are shown, as a share of those with a known error, from the best on: fixed, so that none is chosen.
_SAMPLES = {
    0.1: "better than 90% of the windows",
    0.5: "the middle one",
    0.9: "worse than 90% of the windows",
}
_WRIST_AND_TIPS = [0, 4, 8, 12, 16, 20]


def validation_errors(
    data: str, configs: dict[str, dict[str, Any]], checkpoints: dict[str, str], device: str
) -> dict[str, dict[str, Any]]:
    """What each checkpoint errs on validation: all that selection knows of it.

    `configs` (TrialConfig as JSON) and `checkpoints` (folders) are by identity, and so is the answer, in plain values:
    "interval" of the validation MPJPE (cm), "errors" per clip (`ClipErrors.from_json` reads them) and the model's
    number of "parameters".
    """
    clips = read_clips(data).to(device)
    found: dict[str, dict[str, Any]] = {}
    windows: dict[tuple[Any, ...], Windows] = {}
    trials = {identity: TrialConfig.from_json(configs[identity]) for identity in checkpoints}
    for identity, trial in sorted(trials.items(), key=lambda item: _seen(item[1])):
        if _seen(trial) not in windows:
            # The ones before are not needed any more, and may fill a GPU.
            windows = {_seen(trial): part_windows(trial, clips, "val")}
        model = load_checkpoint(checkpoints[identity], device)
        scores = _score(model, windows[_seen(trial)], setting_group(clips, trial.setting))
        found[identity] = {
            "interval": scores.interval("mpjpe_cm").to_json(),
            "errors": scores.to_json(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
    return found


def _seen(trial: TrialConfig) -> tuple[Any, ...]:
    """Equal for trials that see the same windows in the same way."""
    return tuple(getattr(trial, field) for field in _OF_WINDOWS)


def examine(data: str, config: dict[str, Any], checkpoint: str, device: str) -> dict[str, Any]:
    """What a bundle's metrics.json holds: summaries of `val` and `test`, per-clip errors of `gate`.

    `trivial` compares the model with the mean trajectory of the training clips on test, pair by pair;
    `inputs` is what training told it (see sweeps/input_facts.py), for its evaluation on other data;
    `example` is a validation window's inputs, for a first try of the model; `hardware` the machine this ran on.

    Beside these, "samples" of predictions on validation windows, which are drawn and not kept in metrics.json, and the
    "gallery" of test clips, which a bundle keeps in a file of its own.
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
        "hardware": _machine(),
        "samples": _samples(model, windows["val"], scores["val"]),
        "gallery": gallery(model, windows["test"], scores["test"], setting=trial.setting),
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


def _machine() -> dict[str, Any]:
    """What this process runs on: processor, threads, and the GPU that it uses."""
    found: dict[str, Any] = {"processor": _processor(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    """As Linux names it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@torch.no_grad()
def _samples(model: LatentAct, windows: Windows, scores: Evaluation) -> list[dict[str, Any]]:
    """What `sweeps.bundle_figures` draws: windows of which the error has a given rank, with the true and the predicted
    way (6, T, 3) of wrist and fingertips, thumb first, in cm, in the window's first camera.
    """
    errors_W = scores.metrics["mpjpe_cm"]
    order = np.argsort(errors_W, kind="stable")
    known = int(np.isfinite(errors_W).sum())
    rows = {share: int(order[round(share * (known - 1))]) for share in _SAMPLES} if known else {}
    samples = []
    for share, row in rows.items():
        batch = windows.gather(torch.tensor([row]))
        point = _cm(batch.point_B3[0]) if batch.point_known_B[0] else None
        samples.append(
            {
                "text": batch.texts[int(batch.text_B[0])],
                "rank": _SAMPLES[share],
                "mpjpe_cm": float(errors_W[row]),
                "contact_point_cm": point,
                "true_cm": _cm(batch.joints_ref_BTJ3[0, :, _WRIST_AND_TIPS].transpose(0, 1)),
                "predicted_cm": _cm(
                    model.forecast(batch).joints_ref_BTJ3[0, :, _WRIST_AND_TIPS].transpose(0, 1)
                ),
            }
        )
    return samples


def _cm(metres: Tensor) -> Any:
    """As nested lists, to a tenth of a millimetre."""
    return (100 * metres.double()).round(decimals=2).tolist()
