"""Fine-tuning: a model of the zoo as the beginning of every training, and what its architecture leaves to choose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from sweeps.errors import SweepError
from trainables.model_folder import SCHEMA
from trainables.trial import tensors_digest
from zoo import layout
from zoo.names import Reference, parse_reference
from zoo.store import Store

# Options of their own decide these, and --set the others.
_OPTIONS = {"--codes": "codes", "--depth": "decoder_depth"}


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A model of the zoo: `reference` with its version, `url` of its folder, `fields` of TrialConfig that it fixes."""

    reference: str
    url: str
    fields: Mapping[str, Any]

    def pin(self, fixed: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """`--set` fields together with the model's. Raises SweepError where they differ."""
        for name, value in fixed.items():
            if name in self.fields and value != self.fields[name]:
                raise self._refusal(f"--set {name}={value}", name)
        pinned = {name: value for name, value in self.fields.items() if name not in _OPTIONS.values()}
        return tuple(sorted({**fixed, **pinned}.items()))

    def pin_axis(self, option: str, text: str | None) -> str:
        """The model's value of `--codes` or `--depth`. Raises SweepError where another one was asked for."""
        name = _OPTIONS[option]
        value = str(self.fields[name])
        if text not in (None, value):
            raise self._refusal(f"{option} {text}", name)
        return value

    def _refusal(self, asked: str, name: str) -> SweepError:
        return SweepError(
            f"{asked}: {self.reference} has {name} {self.fields[name]}, and fine-tuning keeps the architecture. "
            "Leave that option out, or start from another model."
        )


def starting_point(reference: str, store: Store) -> StartingPoint:
    """Resolve `NAME[@version|@alias]` and read its architecture, every byte verified.

    Raises:
        SweepError: this version of the project cannot build on the model.
        ZooError: there is no such model, or it is damaged.
    """
    wanted = parse_reference(reference)
    number, digest = layout.resolve(store, wanted)
    exact = str(Reference(wanted.name, version=number))
    folder = zoo.pull(exact, store=store)
    record = json.loads((folder / "config.json").read_text())
    if record.get("schema") != SCHEMA:
        raise SweepError(
            f"--start-from {exact}: its config.json has schema {record.get('schema')} and this version reads {SCHEMA}; "
            "fine-tune it with the version that trained it, or start from another model."
        )
    if record["model"]["oracle_codes"]:
        raise SweepError(
            f"--start-from {exact}: it predicts from true codes and is no forecast; choose another."
        )
    return StartingPoint(
        reference=exact,
        url=f"{store.url}/{layout.version_folder(wanted.name, digest)}",
        fields={**architecture(record["model"]), "start_from": tensors_digest(Path(folder))},
    )


def architecture(model: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of TrialConfig that decide the tensors of a model (LatentActConfig as JSON) and what they compute."""
    decoder, conditions = model["predictor"]["decoder"], model["predictor"]["conditions"]
    diffusion, codebook = model["diffusion"], model["codebook"]
    fields = {
        "method": _method(codebook, diffusion),
        "mode": model["mode"],
        "window": model["window"],
        "image_encoder": conditions["image_encoder"],
        "text_encoder": conditions["text_encoder"],
        "contact_encoder": conditions["contact_encoder"],
        "condition_width": conditions["width"],
        "width": decoder["width"],
        "decoder_depth": decoder["depth"],
        "heads": decoder["heads"],
        "norm": decoder["norm"],
    }
    if codebook:
        fields |= {
            "codes": codebook["quantizer"]["codes"],
            "quantizers": codebook["quantizer"]["quantizers"],
            "shared_codebook": codebook["quantizer"]["shared"],
            "told": codebook["told"],
            "encoder_depth": codebook["encoder_depth"],
            "codebook_depth": codebook["decoder_depth"],
            "codebook_heads": codebook["heads"],
            "codebook_norm": codebook["norm"],
        }
    if diffusion:
        fields |= {"sampling_steps": diffusion["sampling_steps"], "samples": diffusion["samples"]}
    return fields


def _method(codebook: Any, diffusion: Any) -> str:
    if diffusion:
        return "diffusion-codebook" if codebook else "diffusion"
    return "latentact" if codebook else "transformer"
