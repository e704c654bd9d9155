"""Test figures of a comparison: read once for each trained trial, and kept in the store with the errors per clip.

evaluations/test/<identity>-<epochs>.json     of a trained trial
evaluations/untrained/<digest>.json           of predictors that are made from the training windows
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.clips import read_clips
from trainables.code_digest import code_digest
from trainables.evaluate import evaluate
from trainables.evaluation import Evaluation
from trainables.hand import load_hand
from trainables.model_folder import fetch_model, load_model
from trainables.retrieval import evaluate_retrieval
from trainables.splits import setting_group
from trainables.trial import part_windows, parts_windows
from trainables.trial_config import TrialConfig
from trainables.trivial import evaluate_mean_trajectory
from zoo.errors import Conflict, ObjectMissing
from zoo.store import Store, read_json, to_json

if TYPE_CHECKING:
    from trainables.clip_set import Clips
    from trainables.windows import Windows

# What an untrained predictor depends on, besides the data and the code.
_SEEN = ("setting", "protocol", "mode", "hand_free", "image_encoder", "text_encoder", "window", "stride")


def trial_key(identity: str, epochs: int) -> str:
    """Where the test figures of a trained trial are kept."""
    return f"evaluations/test/{identity}-{epochs}.json"


def untrained_key(name: str, config: TrialConfig, data_digest: str) -> str:
    """Where those of an untrained predictor on the windows of such a trial are kept."""
    record = config.to_json()
    seen = {field: record[field] for field in _SEEN}
    named = {"predictor": name, "data": data_digest, "code": code_digest(), **seen}
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
    return f"evaluations/untrained/{digest}.json"


def kept(store: Store, key: str) -> dict[str, Any] | None:
    """A reading that has been made before."""
    try:
        return read_json(store, key)
    except ObjectMissing:
        return None


def keep(store: Store, key: str, reading: dict[str, Any]) -> dict[str, Any]:
    """Keep a reading; where another process was first, its reading stands and is returned."""
    try:
        store.put_if(key, to_json(reading), None)
    except Conflict:
        return read_json(store, key)
    return reading


def read_trial(data: str, config: dict[str, Any], checkpoint: str, device: str) -> list[dict[str, Any]]:
    """One reading (JSON): test figures of the model in a checkpoint, with the contact threshold it has from validation."""
    trial = TrialConfig.from_json(config)
    clips = _clips(data).to(device)
    with tempfile.TemporaryDirectory() as name:
        fetch_model(checkpoint, Path(name))
        model = load_model(name, device=device)
    test, group = part_windows(trial, clips, "test"), setting_group(clips, trial.setting)
    threshold, finger_V = float(model.contact_threshold), model.hand.finger_V
    scores = evaluate(model.forecast, test, group, contact_threshold=threshold, finger_V=finger_V)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return [_reading(scores, clips, parameters=parameters)]


def read_untrained(
    data: str, config: dict[str, Any], names: Sequence[str], device: str
) -> list[dict[str, Any]]:
    """A reading of each of the named predictors, made from the training windows and chosen on validation windows."""
    trial = TrialConfig.from_json(config)
    clips = _clips(data).to(device)
    train, val, test = parts_windows(trial, clips, ("train", "val", "test"))
    group = setting_group(clips, trial.setting)
    return [UNTRAINED[name](clips, train, val, test, group) for name in names]


def _retrieval(clips: Clips, train: Windows, val: Windows, test: Windows, group: str) -> dict[str, Any]:
    scores, weights = evaluate_retrieval(train, val, test, group, finger_V=load_hand().finger_V)
    chosen = ", ".join(f"{name} {value:g}" for name, value in asdict(weights).items())
    return _reading(scores, clips, chosen=f"contact point 1, {chosen}")


def _mean_trajectory(clips: Clips, train: Windows, val: Windows, test: Windows, group: str) -> dict[str, Any]:
    return _reading(evaluate_mean_trajectory(train, val, test, group, finger_V=load_hand().finger_V), clips)


UNTRAINED = {"retrieval": _retrieval, "mean trajectory": _mean_trajectory}


def _reading(scores: Evaluation, clips: Clips, *, parameters: int = 0, chosen: str = "") -> dict[str, Any]:
    return {
        "schema": 1,
        "data_digest": clips.digest,
        "hand": clips.hand,
        "windows": len(scores),
        "parameters": parameters,
        "chosen": chosen,
        "errors": scores.to_json(),
    }


@functools.lru_cache(maxsize=1)
def _clips(data: str) -> Clips:
    return read_clips(data)
