"""A trained model on the windows of another data set: figures with intervals, still hands beside it, and what is off.

The record (JSON):

    schema 1, metric_version
    model        reference, tensors (digest of the weights), parameters, data, data_digest, setting, hand, mode,
                 protocol, window
    data         name, digest, hand
    asked        split (null: all clips), part, protocol, stride, group
    counts       clips, windows, groups; too_short: clips without a single window
    inputs       what the model was told here (see sweeps/input_facts.py)
    warnings     sentences on where the comparison is off
    predictors   name -> {"is", "metrics": metric -> {estimate, low, high, groups, clips}}: "model" first, then still
                 hands (see sweeps/still_hands.py); what predicts no contact has no contact figures
    difference   still hand -> metric -> interval of the model minus it, paired over the same windows
    summary      of the model: every metric there is, and contact over thresholds
    errors       of the model: sums per clip, from which `ClipErrors.from_json` makes paired tests with other models
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sweeps.errors import SweepError
from sweeps.input_facts import input_facts, input_warnings, text_counts
from sweeps.opened_model import OpenedModel
from sweeps.seen_pictures import as_the_model_sees, check_features
from sweeps.still_hands import STILL_HANDS, still_hand
from sweeps.training_overlap import overlap_notes
from trainables.clip_errors import METRIC_VERSION, paired_difference
from trainables.clips import Clips, read_clips, read_manifest
from trainables.evaluate import Forecast, Predict, evaluate
from trainables.evaluation import Evaluation
from trainables.splits import PARTS, part_clips, setting_group
from trainables.trial import clips_windows
from trainables.windows import Batch, Windows

MODEL = "model"
METRICS = ("mpjpe_cm", "mpjpe_ra_cm", "mpjpe_pa_cm", "contact_precision", "contact_recall", "contact_f1")
_GROUPS = ("subject", "scene", "object")  # by what clips resemble each other most
_FEW_GROUPS = 5
_SAY_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which windows: `split` None is all clips, `group` None the first of subject, scene, object there is."""

    split: str | None = None
    part: str = "all"
    protocol: str = "first"
    stride: int = 4
    group: str | None = None


def cross_evaluate(
    opened: OpenedModel, data: str, asked: Asked, *, device: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """The record above; `say` is told how far it is.

    Raises:
        SweepError: the model was trained on clips that were asked for, the hands differ, or clips know no group.
        ClipsError: there is no such data set, setting or part.
        EncoderError: the frozen encoder that the model was trained with cannot be had, or has other weights here.
    """
    model, config = opened.model, opened.model.config
    manifest = read_manifest(data)
    if manifest["hand"] != config.hand:
        raise SweepError(
            f"data set {manifest['name']!r} was made with the hand '{manifest['hand']}' and {opened.reference} was "
            f"trained with '{config.hand}': prepare the data again with that hand"
            + (" (MANO_PATH)." if config.hand == "mano" else " (unset MANO_PATH).")
        )
    say(f"reading {manifest['name']} ({manifest['counts']['clips']} clips)")
    clips, adapted = as_the_model_sees(read_clips(data), opened.model)
    warnings = overlap_notes(opened, clips, asked.split, asked.part)
    chosen, too_short = long_enough(clips, asked_clips(clips, asked), config.window)
    trial = opened.trial(protocol=asked.protocol, stride=asked.stride)
    (windows,) = clips_windows(trial, clips.to(device), [chosen])
    group = asked_group(clips, chosen, asked)
    inputs, texts = input_facts(data, windows), text_counts(windows)
    conditions = config.predictor.conditions
    warnings += _protocol_warnings(opened, asked) + adapted + check_features(model, windows)
    warnings += input_warnings(opened.inputs, inputs, texts, conditions.text_encoder)
    if too_short:
        warnings.append(
            f"{too_short} of {too_short + len(chosen)} clips are shorter than the model's window of {config.window} "
            "frames (at 30 a second) and left out."
        )

    predictors: dict[str, Predict] = {MODEL: model.forecast}
    predictors |= {name: still_hand(name, model) for name in STILL_HANDS}
    scores: dict[str, Evaluation] = {}
    for place, (name, predict) in enumerate(predictors.items(), 1):
        what = f"{place} of {len(predictors)}, {name.replace('_', ' ')}"
        scores[name] = evaluate(
            _timed(predict, len(windows), what, say),
            windows,
            group,
            contact_threshold=float(model.contact_threshold),
            finger_V=model.hand.finger_V,
        )
    groups = len(set(scores[MODEL].group_W.tolist()))
    warnings += _group_warnings(groups, group)
    if config.hand != "mano":
        warnings.append(f"Made with the stand-in hand {config.hand}: figures do not carry over to MANO.")
    say("resampling groups and clips for the intervals")
    return _record(
        opened, clips, replace(asked, group=group), scores, windows, inputs, warnings, groups, too_short
    )


def asked_clips(clips: Clips, asked: Asked) -> Tensor:
    """Index (int64, ascending) of the clips that were asked for."""
    if asked.split is None:
        return torch.arange(len(clips))
    parts = PARTS if asked.part == "all" else (asked.part,)
    return torch.cat([part_clips(clips, asked.split, part) for part in parts]).sort().values


def long_enough(clips: Clips, chosen: Tensor, window: int) -> tuple[Tensor, int]:
    """Those with a window, and how many have none; where none has, `Windows` says so."""
    long = clips.offsets_C1.diff()[chosen] >= window
    return (chosen[long], int((~long).sum())) if long.any() else (chosen, 0)


def asked_group(clips: Clips, chosen: Tensor, asked: Asked) -> str:
    """The column whose values are resampled together."""
    values = {name: [column[i] for i in chosen.tolist()] for name, column in clips.groups.items()}
    whole = {name: len(set(column)) for name, column in values.items() if None not in column}
    there = ", ".join(f"{name} ({count})" for name, count in whole.items()) or "none"
    if asked.group is not None:
        if asked.group not in whole:
            raise SweepError(f"--group {asked.group}: not every clip has one; every clip has: {there}.")
        return asked.group
    if asked.split is not None:
        return setting_group(clips, asked.split)
    for name in _GROUPS:
        if whole.get(name, 0) >= 2:
            return name
    raise SweepError(
        f"{clips.name} has no subjects, scenes or objects (at least 2, known for every clip) for intervals to resample; "
        f"name another column with --group, of: {there}."
    )


def _protocol_warnings(opened: OpenedModel, asked: Asked) -> list[str]:
    found = []
    if asked.protocol != opened.model.config.protocol:
        found.append(
            f"The contact point is given by protocol {asked.protocol}; the model was trained with "
            f"{opened.model.config.protocol}."
        )
    if asked.protocol == "goal":
        found.append("Protocol goal gives the window's first contact: a declared look ahead.")
    return found


def _group_warnings(groups: int, group: str) -> list[str]:
    if groups < 2:
        return [f"All clips are of one {group}: there is no interval. Choose another --group."]
    if groups < _FEW_GROUPS:
        return [f"Intervals rest on {groups} groups ({group}) and are approximate."]
    return []


def _timed(predict: Predict, windows: int, what: str, say: Callable[[str], None]) -> Predict:
    """The same predictor, which says now and then how long all windows will take."""
    begun = said = time.monotonic()
    done = 0

    def timed(truth: Batch) -> Forecast:
        nonlocal done, said
        forecast = predict(truth)
        done, now = done + len(truth), time.monotonic()
        if now - said >= _SAY_EVERY_S and done < windows:
            left_s = (now - begun) / done * (windows - done)
            say(f"{what}: {done} of {windows} windows, {left_s:.0f} s left")
            said = now
        return forecast

    return timed


def _record(
    opened: OpenedModel,
    clips: Clips,
    asked: Asked,
    scores: dict[str, Evaluation],
    windows: Windows,
    inputs: dict[str, Any],
    warnings: list[str],
    groups: int,
    too_short: int,
) -> dict[str, Any]:
    per_clip = {name: evaluation.per_clip() for name, evaluation in scores.items()}
    ours = per_clip[MODEL]
    try:
        errors = ours.to_json()
    except ValueError as error:
        raise SweepError(
            f"{opened.reference} gives numbers that are none on these windows: {error}."
        ) from error
    described = {MODEL: opened.reference, **STILL_HANDS}
    return {
        "schema": 1,
        "metric_version": METRIC_VERSION,
        "model": opened.record(),
        "data": {"name": clips.name, "digest": clips.digest, "hand": clips.hand},
        "asked": asdict(asked),
        "counts": {
            "clips": len(ours.clip_ids),
            "windows": len(windows),
            "groups": groups,
            "too_short": too_short,
        },
        "inputs": inputs,
        "warnings": warnings,
        "predictors": {
            name: {"is": described[name], "metrics": {m: own.interval(m).to_json() for m in _metrics(name)}}
            for name, own in per_clip.items()
        },
        "difference": {
            name: {
                m: paired_difference(ours, per_clip[name], m).to_json()
                for m in _metrics(name)
                if m in ("mpjpe_cm", "contact_f1")
            }
            for name in STILL_HANDS
        },
        "summary": scores[MODEL].summary(),
        "errors": errors,
    }


def _metrics(predictor: str) -> list[str]:
    return [metric for metric in METRICS if predictor != "mean_pose" or metric.endswith("_cm")]
