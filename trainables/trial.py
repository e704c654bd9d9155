"""One trial: codebook, then indexer, then predictor, reported epoch by epoch and resumable after each.

model = train_trial(TrialConfig(setting="objects"), read_clips("~/data/world"), report=lambda metrics, save: None)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from trainables.clips import Clips
from trainables.code_table import CodeTables
from trainables.collective import global_sum, world
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS, feature_tables
from trainables.hand import load_hand
from trainables.latentact import LatentAct, ModelError
from trainables.model_folder import load_model, save_model
from trainables.noise import mix
from trainables.optimisation import StageRun
from trainables.shelf import Shelf
from trainables.splits import part_clips
from trainables.stages import codebook_stage, fit_statistics, indexer_stage, predictor_stage
from trainables.text_encoder import words_of
from trainables.trial_config import TrialConfig
from trainables.windows import HIDEABLE, Windows

Report = Callable[[dict[str, Any], Callable[[Path], None]], None]
STAGE_RUNS = {"codebook": codebook_stage, "indexer": indexer_stage, "predictor": predictor_stage}


def part_windows(config: TrialConfig, clips: Clips, part: str) -> Windows:
    """The windows of one part, as this trial sees them."""
    return parts_windows(config, clips, [part])[0]


def parts_windows(config: TrialConfig, clips: Clips, parts: Sequence[str]) -> list[Windows]:
    """The windows of several parts, which share one copy of what frozen encoders make of the data set."""
    return clips_windows(config, clips, [part_clips(clips, config.setting, part) for part in parts])


def clips_windows(config: TrialConfig, clips: Clips, chosen: Sequence[torch.Tensor]) -> list[Windows]:
    """The same of any clips, by their index."""
    image = config.image_encoder if config.image_encoder in IMAGE_WIDTHS else None
    text = config.text_encoder if config.text_encoder in TEXT_WIDTHS else None
    features = None
    if image or text:
        features = feature_tables(clips, image=image, text=text, hand_free=config.hand_free).to(clips.device)
    return [
        Windows(
            clips,
            clip_index,
            length=config.window,
            stride=config.stride,
            protocol=config.protocol,  # type: ignore[arg-type]
            mode=config.mode,  # type: ignore[arg-type]
            hand_free=config.hand_free,
            features=features,
            hidden=config.without if config.without in HIDEABLE else "",
        )
        for clip_index in chosen
    ]


def train_trial(
    config: TrialConfig,
    clips: Clips,
    *,
    report: Report,
    resume_from: Path | None = None,
    shelves: Mapping[str, str] | None = None,
    start_from: Path | None = None,
    device: str = "cpu",
) -> LatentAct:
    """Train the stages of the trial's method.

    Args:
        report: called after every epoch of every stage with its metrics and a function that writes a checkpoint
            into a folder. Only predictor epochs carry `mpjpe_cm` and its kin (validation, end to end).
        resume_from: a folder such a function wrote; training goes on from it bit for bit.
        shelves: stage ("codebook", "indexer") -> url of the shelf where it is found trained, or left for others.
        start_from: folder of the model whose weights and statistics training begins with, in place of random ones;
            `config.start_from` is the digest of its tensors.

    Raises:
        ClipsError: the data do not have this setting, or no clip of a part is long enough.
        ModelError: the checkpoint belongs to another trial, or the data were made with another hand.
    """
    clips = clips.to(device)
    hand = load_hand().to(device)
    if clips.hand != hand.name:
        raise ModelError(
            f"data set {clips.name!r} was made with the hand '{clips.hand}' but '{hand.name}' is loaded: "
            "set or unset MANO_PATH, or prepare the data again"
        )
    train, val = parts_windows(config, clips, ("train", "val"))
    with torch.random.fork_rng():
        torch.manual_seed(mix(config.seed))  # initial weights; no other draw uses the global generator
        encoders = train.features.digests if train.features else {}
        shape = config.model(data=clips.name, data_digest=clips.digest, hand=hand.name, encoders=encoders)
        shape = replace(shape, words=_words(config, train))
        model = LatentAct(shape, hand).to(device).requires_grad_(False)  # a stage thaws what it trains
    if config.start_from:
        _start_from(model, start_from, config.start_from)
    else:
        fit_statistics(model, train)
    tensors, numbers = _read_checkpoint(resume_from, config) if resume_from else ({}, {})
    if tensors:
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
    stages, codes = config.stages, CodeTables(model)
    for stage in stages[stages.index(numbers.get("stage", stages[0])) :]:
        run = STAGE_RUNS[stage](model, train, val, config, codes)
        shelf = Shelf(shelves[stage]) if shelves and stage in shelves else None
        if shelf is not None and (state := _agreed(shelf.get(), device)) is not None:
            run.module.load_state_dict(state)
            continue
        if numbers.get("stage") == stage:
            run.load_state(tensors, numbers)
        _train_stage(stage, run, model, config, report)
        if shelf is not None and world()[0] == 0:
            shelf.put(run.module.state_dict())
    return model.eval()


def _agreed(state: dict[str, torch.Tensor] | None, device: str) -> dict[str, torch.Tensor] | None:
    """What this rank found on a shelf, if every rank found it: one may have looked just before it was put there."""
    found = global_sum(torch.tensor(float(state is not None), device=device))
    return state if int(found) == world()[1] else None


def _words(config: TrialConfig, train: Windows) -> tuple[str, ...]:
    """The words of the training windows' texts, most used first. A model that is fine-tuned has met others too."""
    if config.start_from or config.without == "text":
        return ()
    clips = train.clips
    text_N = clips.text_F[clips.offsets_C1[train.clip_N] + train.start_N]
    count = Counter[str]()
    for text, windows in zip(*(x.tolist() for x in text_N.unique(return_counts=True)), strict=True):
        count.update(dict.fromkeys(words_of(train.texts[text]), windows))
    return tuple(sorted(count, key=lambda word: (-count[word], word)))


def _start_from(model: LatentAct, folder: Path | None, digest: str) -> None:
    """Take over all tensors of the model in `folder`.

    Raises:
        ModelError: no folder is given, it holds another model than `digest`, or one of another architecture.
    """
    if folder is None:
        raise ModelError(f"start_from {digest}: give the folder of the model that training begins with")
    found = tensors_digest(folder)
    if found != digest:
        raise ModelError(f"{folder}: its tensors have digest {found}, the trial was to start from {digest}")
    theirs, ours = load_model(folder, hand=model.hand).state_dict(), model.state_dict()
    differ = sorted(
        name
        for name in theirs.keys() | ours.keys()
        if name not in theirs or name not in ours or theirs[name].shape != ours[name].shape
    )
    if differ:
        raise ModelError(
            f"{folder}: {len(differ)} tensors differ in name or shape, such as {differ[0]}; fine-tuning keeps the "
            "architecture: set method, codes, width, quantizers, depths and encoders as that model has them"
        )
    model.load_state_dict(theirs)


def tensors_digest(folder: Path) -> str:
    """16 hex digits of a model's tensors: what `TrialConfig.start_from` takes."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]


def _train_stage(stage: str, run: StageRun, model: LatentAct, config: TrialConfig, report: Report) -> None:
    run.module.requires_grad_(True)
    size: dict[str, float] = {}
    for metrics in run.run():
        epochs = run.config.epochs
        if stage == "predictor":
            size = size or model_size(model, run.windows)

        def save(folder: Path) -> None:
            _take_threshold(model, run)
            _write_checkpoint(folder, stage, run, model, config)
            if stage == "predictor":
                current = {k: v.clone() for k, v in run.module.state_dict().items()}
                run.module.load_state_dict(run.best)
                save_model(model, folder)
                run.module.load_state_dict(current)

        report({"stage": stage, "epochs": epochs, **metrics, **size}, save)
    run.module.requires_grad_(False)
    _take_threshold(model, run)


def model_size(model: LatentAct, windows: Windows) -> dict[str, float]:
    """`parameters` of the model, and `latency_ms` of one prediction: the least of 5, since other work only adds to it."""
    batch, training = windows.gather(torch.zeros(1, dtype=torch.long)), model.training
    model.eval()
    seconds = []
    with torch.no_grad():
        for _ in range(5):
            started = time.perf_counter()
            model.forecast(batch).contact_logits_BTV.cpu()  # the copy waits for the device
            seconds.append(time.perf_counter() - started)
    model.train(training)
    return {"parameters": sum(p.numel() for p in model.parameters()), "latency_ms": 1000 * min(seconds)}


def _take_threshold(model: LatentAct, run: StageRun) -> None:
    """The best epoch's, where the stage chooses one and some epoch did not diverge."""
    if (threshold := run.best_metrics.get("contact_threshold")) is not None:
        model.contact_threshold.fill_(threshold)


def _write_checkpoint(folder: Path, stage: str, run: StageRun, model: LatentAct, config: TrialConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors, numbers = run.state()
    tensors |= {f"model.{key}": value for key, value in model.state_dict().items()}
    save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, folder / "trial.safetensors")
    record = {"stage": stage, "numbers": numbers, "config": config.to_json()}
    (folder / "trial.json").write_text(json.dumps(record, indent=1))


def _read_checkpoint(folder: Path, config: TrialConfig) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    record = json.loads((folder / "trial.json").read_text())
    budget = {"epochs": 0} if config.schedule == "constant" else {}
    ours, theirs = config.to_json() | budget, record["config"] | budget
    if ours != theirs:
        differ = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        raise ModelError(f"{folder}/trial.json is of another trial: {', '.join(differ)} differ")
    return load_file(folder / "trial.safetensors"), {"stage": record["stage"], **record["numbers"]}
