"""What a trial is, and its identity: equal identity = equal result = never trained twice."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from trainables.codebook import CodebookConfig
from trainables.indexer import IndexerConfig
from trainables.latentact import LatentActConfig
from trainables.optimisation import OptimisationConfig
from trainables.predictor import PredictorConfig
from trainables.quantizer import QuantizerConfig


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial of a sweep, flat, with defaults for a laptop. The paper's size: codes 512, width 512, quantizers 6."""

    setting: str
    protocol: str = "first"  # which contact point is given: the first frame's, or the window's first ("goal")
    window: int = 30
    stride: int = 4  # between training windows; validation takes every window of the same stride
    codes: int = 256
    quantizers: int = 2
    width: int = 64
    decoder_depth: int = 1  # of the predictor; the codebook's own decoder keeps its depth
    heads: int = 4
    norm: bool = True
    dropout: float = 0.1
    joint_weight: float = 2.0
    true_codes: float = 0.25
    batch: int = 64
    learning_rate: float = 2e-3
    codebook_epochs: int = 4
    indexer_epochs: int = 4
    epochs: int = 6  # of the predictor: the budget, which a longer run continues
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TrialConfig:
        unknown = set(record) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"trial config has unknown fields {sorted(unknown)}: written by another version")
        return cls(**record)

    def model(self, *, data: str, data_digest: str, hand: str) -> LatentActConfig:
        quantizer = QuantizerConfig(codes=self.codes, width=self.width, quantizers=self.quantizers)
        return LatentActConfig(
            data=data,
            data_digest=data_digest,
            setting=self.setting,
            hand=hand,
            protocol=self.protocol,
            window=self.window,
            codebook=CodebookConfig(window=self.window, quantizer=quantizer),
            indexer=IndexerConfig(
                window=self.window, codes=self.codes, quantizers=self.quantizers, width=self.width
            ),
            predictor=PredictorConfig(
                window=self.window,
                width=self.width,
                depth=self.decoder_depth,
                heads=self.heads,
                norm=self.norm,
                dropout=self.dropout,
                joint_weight=self.joint_weight,
                true_codes=self.true_codes,
            ),
        )

    def optimisation(self, epochs: int, *, average: float = 0.99) -> OptimisationConfig:
        return OptimisationConfig(
            epochs=epochs, batch=self.batch, learning_rate=self.learning_rate, average=average
        )


# What the codebook does not see: trials that differ in these alone share one.
_NOT_OF_CODEBOOK = (
    "decoder_depth",
    "heads",
    "norm",
    "dropout",
    "joint_weight",
    "true_codes",
    "indexer_epochs",
    "epochs",
)


@functools.cache
def code_digest() -> str:
    """sha256 over the sources of this folder: other code, other identity."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _identity(kind: str, config: dict[str, Any], data_digest: str, workers: int, device: str) -> str:
    record = {
        "kind": kind,
        "config": config,
        "data": data_digest,
        "code": code_digest(),
        "torch": torch.__version__,
        "device": device,
        "precision": "float32",
        "workers": workers,
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def trial_identity(config: TrialConfig, data_digest: str, *, workers: int, device: str) -> str:
    """16 hex digits that name a trial; its budget (`epochs`) does not enter."""
    record = config.to_json()
    del record["epochs"]
    return _identity("trial", record, data_digest, workers, device)


def codebook_identity(config: TrialConfig, data_digest: str, *, workers: int, device: str) -> str:
    """16 hex digits that name the codebook a trial stands on."""
    record = {key: value for key, value in config.to_json().items() if key not in _NOT_OF_CODEBOOK}
    return _identity("codebook", record, data_digest, workers, device)
