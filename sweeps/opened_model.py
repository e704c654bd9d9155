"""A model to be evaluated, by its name in the zoo or in a local folder, with what lies beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from sweeps.errors import SweepError
from sweeps.start_from import architecture
from trainables.latentact import LatentAct, ModelError
from trainables.mano_file import HandFileError
from trainables.model_folder import MODEL_FILES, load_model
from trainables.trial import tensors_digest
from trainables.trial_config import TrialConfig
from trainables.windows import HIDEABLE
from zoo import bundle, layout, settings
from zoo.names import Reference, parse_name, parse_reference


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """`reference` is its exact name, or its folder; `tensors` the digest of its weights."""

    reference: str
    tensors: str
    model: LatentAct
    metrics: Mapping[str, Any]  # a bundle's metrics.json; empty beside a checkpoint
    inputs: (
        Mapping[str, Any] | None
    )  # what training told it, see sweeps/input_facts.py; None where not written
    hand_free: bool
    hidden: str

    def trial(self, *, protocol: str, stride: int) -> TrialConfig:
        """The trial that sees windows as this model does."""
        config = self.model.config
        return TrialConfig(
            setting=config.setting,
            protocol=protocol,
            stride=stride,
            hand_free=self.hand_free,
            without=self.hidden,
            **architecture(config.to_json()),
        )

    def record(self) -> dict[str, Any]:
        """What it is, as plain values."""
        config = self.model.config
        names = ("data", "data_digest", "setting", "hand", "mode", "protocol", "window")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        own = {"reference": self.reference, "tensors": self.tensors, "parameters": parameters}
        return own | {name: getattr(config, name) for name in names}


def open_model(text: str, *, device: str, forecasts: bool = True) -> OpenedModel:
    """The model `NAME[@version|@alias]`, pulled where needed, or that of a local folder; every byte is verified.

    forecasts: False takes a codebook too, and a model that needs the true codes.

    Raises:
        SweepError: it is no model that forecasts, or cannot be loaded here.
        ZooError: there is no such model, or it is damaged.
    """
    folder = Path(text).expanduser()
    if folder.is_dir() or "/" in text or text.startswith("."):
        reference = str(folder.absolute())
        for file in MODEL_FILES:
            if not (folder / file).is_file():
                raise SweepError(
                    f"{text} holds no {file}: give a folder with {' and '.join(MODEL_FILES)}, or a name that `zoo ls` shows."
                )
    else:
        reference, folder = _pulled(text, forecasts=forecasts)
    if (folder / bundle.MANIFEST).is_file():
        bundle.verify(folder)
    try:
        model = load_model(folder, device=device)
    except (ModelError, HandFileError) as error:
        raise SweepError(f"{reference}: {error}") from error
    if forecasts and model.config.oracle_codes:
        raise SweepError(
            f"{reference} predicts from true codes of the future: it is no forecast; choose another."
        )
    metrics = _json(folder / "metrics.json")
    # What a checkpoint says of its own trial, where it is one.
    trial = _json(folder / "trial.json").get("config", {})
    inputs = metrics.get("inputs")
    taken_away = trial.get("without", "")
    seen = inputs or {
        "hand_free": trial.get("hand_free", False),
        "hidden": taken_away if taken_away in HIDEABLE else "",
    }
    return OpenedModel(
        reference=reference,
        tensors=tensors_digest(folder),
        model=model,
        metrics=metrics,
        inputs=inputs,
        hand_free=seen["hand_free"],
        hidden=seen["hidden"],
    )


def _pulled(text: str, *, forecasts: bool) -> tuple[str, Path]:
    """The exact reference of a name and its folder in the cache."""
    wanted = parse_reference(text)
    if forecasts and parse_name(wanted.name).codebook:
        raise SweepError(
            f"{wanted.name} is a codebook and forecasts nothing; name a model without -codebook."
        )
    if not settings.offline():  # an alias may move between two evaluations; figures name the version
        wanted = Reference(wanted.name, version=layout.resolve(zoo.open_store(), wanted)[0])
    return str(wanted), zoo.pull(str(wanted))


def _json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SweepError(f"{path} is not JSON ({error}): pull or save the model again.") from error
    return record if isinstance(record, dict) else {}
