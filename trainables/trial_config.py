"""What a trial is, and its identity: equal identity = equal result = never trained twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import torch

from trainables.code_digest import code_digest
from trainables.codebook import TOLD, CodebookConfig
from trainables.conditions import ConditionsConfig
from trainables.contact_encoder import CONTACT_ENCODERS
from trainables.decoder import DecoderConfig
from trainables.diffusion import DiffusionConfig
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS, weights_here
from trainables.image_encoder import IMAGE_ENCODERS
from trainables.indexer import IndexerConfig
from trainables.latentact import LatentActConfig
from trainables.optimisation import SCHEDULES, OptimisationConfig
from trainables.predictor import PredictorConfig
from trainables.quantizer import QuantizerConfig
from trainables.text_encoder import TEXT_ENCODERS
from trainables.transformer import PRECISIONS
from trainables.windows import HIDEABLE, Mode, Protocol

# Method -> the stages that train it, in order.
METHODS = {
    "latentact": ("codebook", "indexer", "predictor"),
    "transformer": ("predictor",),  # no codebook
    "diffusion": ("predictor",),  # no codebook
    "diffusion-codebook": ("codebook", "indexer", "predictor"),
}
# What an ablation takes away: an input, the residual stages of the quantizer, or the indexer (true codes instead).
ABLATIONS = (*HIDEABLE, "residual", "indexer")


class ConfigError(ValueError):
    """A trial's configuration cannot be; it names the field and the values there are."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial of a sweep, flat, with defaults for a laptop. The paper's size: codes 512, width 512, quantizers 6."""

    setting: str
    method: str = "latentact"  # of METHODS
    without: str = ""  # of ABLATIONS
    mode: str = "forecast"  # or "interpolate": the last frame's image and contact point are given too
    protocol: str = "first"  # which contact point is given: the first frame's, or the window's first ("goal")
    hand_free: bool = False  # images from which the hand was removed
    image_encoder: str = "conv"
    text_encoder: str = "words"
    contact_encoder: str = "volume"
    condition_width: int = 64  # of the features of encoders that are trained jointly
    window: int = 30
    stride: int = 4  # between training windows; validation takes every window of the same stride

    codes: int = 256  # K
    quantizers: int = 2  # Q
    width: int = 64  # D
    shared_codebook: bool = False
    commitment_weight: float = 0.02
    ema_decay: float = 0.99
    dead_below_per_row: float = 1 / 15360  # 0: dead codes are never reset
    temperature: float = 0.05  # of stochastic selection in training
    quantizer_dropout: float = 0.2
    told: str = "window"  # what the codebook's decoder is told: the "window", or every "frame"
    encoder_depth: int = 1
    codebook_depth: int = 1  # of the codebook's own decoder
    codebook_heads: int = 4
    codebook_norm: bool = True
    codebook_dropout: float = 0.1
    codebook_joint_weight: float = 2.0
    codebook_forecasts: float = 0.5  # share of windows whose codes its decoder is not shown: it forecasts

    decoder_depth: int = 1  # of the predictor; the codebook's own decoder keeps its depth
    heads: int = 4
    norm: bool = True
    dropout: float = 0.1
    contact_weight: float = 0.1
    joint_weight: float = 2.0
    vertex_weight: float = 0.0
    true_codes: float = 0.0  # share of windows whose true codes the predictor is shown in training
    indexer_dropout: float = 0.0
    decoder_from_codebook: bool = True  # the predictor's decoder begins as the codebook's, not from scratch
    code_weight: float = 0.3  # of the indexer's loss, as it learns on beside the predictor; 0: it does not
    sampling_steps: int = 10  # of diffusion
    samples: int = 4  # of diffusion, whose mean is the prediction

    batch: int = 32
    learning_rate: float = 2e-3
    schedule: str = "constant"  # or "cosine", to zero at the last epoch: the budget is part of the trial then
    warmup_steps: int = 20
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    weight_average: float = 0.99
    precision: str = "float32"
    start_from: str = ""  # digest of the model that training starts from (fine-tuning)
    codebook_epochs: int = 8
    indexer_epochs: int = 2
    epochs: int = 8  # of the predictor: the budget, which a longer run continues
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("method", tuple(METHODS)),
            ("without", ("", *ABLATIONS)),
            ("mode", get_args(Mode)),
            ("protocol", get_args(Protocol)),
            ("image_encoder", IMAGE_ENCODERS),
            ("text_encoder", TEXT_ENCODERS),
            ("contact_encoder", CONTACT_ENCODERS),
            ("told", TOLD),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                values = ", ".join(repr(value) for value in known)
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it is one of {values}")
        if self.without in ("residual", "indexer") and "codebook" not in self.stages:
            raise ConfigError(f"without={self.without!r}: method {self.method!r} has no codebook")
        if self.width % self.heads or self.width % self.codebook_heads:
            raise ConfigError(
                f"width {self.width} is not divisible by heads {self.heads} and codebook_heads {self.codebook_heads}"
            )

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this trial trains, in order."""
        stages = METHODS[self.method]
        return tuple(s for s in stages if s != "indexer") if self.without == "indexer" else stages

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TrialConfig:
        unknown = set(record) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(
                f"trial config has unknown fields {sorted(unknown)}: written by another version"
            )
        return cls(**record)

    def model(self, *, data: str, data_digest: str, hand: str, encoders: dict[str, str]) -> LatentActConfig:
        """The model that this trial trains; `encoders` are the digests of the frozen encoders' weights."""
        has_codebook = "codebook" in self.stages
        conditions = ConditionsConfig(
            given=2 if self.mode == "interpolate" else 1,
            width=self.condition_width,
            image_encoder=self.image_encoder,
            text_encoder=self.text_encoder,
            contact_encoder=self.contact_encoder,
        )
        quantizer = QuantizerConfig(
            codes=self.codes,
            width=self.width,
            quantizers=1 if self.without == "residual" else self.quantizers,
            decay=self.ema_decay,
            dead_below_per_row=self.dead_below_per_row,
            temperature=self.temperature,
            quantizer_dropout=self.quantizer_dropout,
            shared=self.shared_codebook,
        )
        codebook = CodebookConfig(
            window=self.window,
            quantizer=quantizer,
            conditions=conditions,
            told=self.told,
            encoder_depth=self.encoder_depth,
            decoder_depth=self.codebook_depth,
            heads=self.codebook_heads,
            norm=self.codebook_norm,
            dropout=self.codebook_dropout,
            precision=self.precision,
            commitment_weight=self.commitment_weight,
            contact_weight=self.contact_weight,
            joint_weight=self.codebook_joint_weight,
        )
        indexer = IndexerConfig(
            window=self.window,
            codes=self.codes,
            quantizers=quantizer.quantizers,
            width=self.width,
            dropout=self.indexer_dropout,
            precision=self.precision,
            conditions=conditions,
        )
        decoder = DecoderConfig(
            window=self.window,
            width=self.width,
            depth=self.decoder_depth,
            heads=self.heads,
            norm=self.norm,
            dropout=self.dropout,
            latent=self.width if has_codebook else None,
        )
        return LatentActConfig(
            data=data,
            data_digest=data_digest,
            setting=self.setting,
            hand=hand,
            mode=self.mode,
            protocol=self.protocol,
            window=self.window,
            encoders=encoders,
            codebook=codebook if has_codebook else None,
            indexer=indexer if "indexer" in self.stages else None,
            predictor=PredictorConfig(
                decoder=decoder,
                conditions=conditions,
                precision=self.precision,
                contact_weight=self.contact_weight,
                joint_weight=self.joint_weight,
                vertex_weight=self.vertex_weight,
                true_codes=1.0 if self.without == "indexer" else self.true_codes,
            ),
            diffusion=DiffusionConfig(sampling_steps=self.sampling_steps, samples=self.samples)
            if self.method.startswith("diffusion")
            else None,
            oracle_codes=self.without == "indexer",
        )

    def optimisation(self, epochs: int, *, average: float | None = None) -> OptimisationConfig:
        return OptimisationConfig(
            epochs=epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            average=self.weight_average if average is None else average,
        )


# What the codebook does not see: trials that differ in these alone share one.
_NOT_OF_CODEBOOK = (
    "method",
    "decoder_depth",
    "heads",
    "norm",
    "dropout",
    "joint_weight",
    "vertex_weight",
    "true_codes",
    "indexer_dropout",
    "code_weight",
    "decoder_from_codebook",
    "sampling_steps",
    "samples",
    "weight_average",
    "indexer_epochs",
    "epochs",
)


# What the indexer's own stage sees of these.
_OF_INDEXER = ("indexer_dropout", "weight_average", "indexer_epochs")


def _identity(kind: str, config: dict[str, Any], data_digest: str, workers: str, device: str) -> str:
    encoders = (config["image_encoder"], config["text_encoder"])
    record = {
        "kind": kind,
        "config": config,
        # Other weights of a frozen encoder make another trial.
        "encoders": [weights_here(name) for name in encoders if name in IMAGE_WIDTHS | TEXT_WIDTHS],
        "data": data_digest,
        "code": code_digest(),
        "torch": torch.__version__,
        "device": device,
        "workers": workers,
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def trial_identity(config: TrialConfig, data_digest: str, *, workers: str, device: str) -> str:
    """16 hex digits that name a trial; its budget (`epochs`) enters only where the schedule's length follows it.

    `workers` is their number, or "least:most" where it may change while the trial runs.
    """
    record = config.to_json()
    if config.schedule == "constant":
        del record["epochs"]
    return _identity("trial", record, data_digest, workers, device)


def stage_identities(config: TrialConfig, data_digest: str, *, workers: str, device: str) -> dict[str, str]:
    """16 hex digits that name the codebook and the indexer that a trial stands on, by stage, as far as it has them.

    Trials that agree in one of them train it once.
    """
    identities = {}
    for stage in config.stages:
        if stage == "predictor":
            continue
        unseen = set(_NOT_OF_CODEBOOK)
        if stage == "indexer":
            unseen -= set(_OF_INDEXER)
        record = {key: value for key, value in config.to_json().items() if key not in unseen}
        if config.without == "indexer":  # taken away after the codebook
            record["without"] = ""
        identities[stage] = _identity(stage, record, data_digest, workers, device)
    return identities
