"""Trials of a second on the tiny clips, and their checkpoint after every epoch, for tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from trainables.clips import Clips
from trainables.latentact import LatentAct
from trainables.trial import train_trial
from trainables.trial_config import TrialConfig

TINY = TrialConfig(
    setting="objects",
    window=8,
    stride=1,
    codes=16,
    width=16,
    quantizers=2,
    batch=16,
    condition_width=16,
    sampling_steps=3,
    samples=2,
    codebook_epochs=2,
    indexer_epochs=2,
    epochs=2,
)


def tiny(**changes: Any) -> TrialConfig:
    return TrialConfig.from_json({**TINY.to_json(), **changes})


class Stopped(Exception):
    """Raised by a report, as a machine is taken away: in the middle of a trial."""


class Recorder:
    """A report that keeps what it was told, leaves a checkpoint `<folder>/<n>` after epoch n, and may stop the trial."""

    def __init__(self, folder: Path | None = None, stop_after: int | None = None) -> None:
        self.folder, self.stop_after = folder, stop_after
        self.reports: list[dict[str, Any]] = []

    def __call__(self, metrics: dict[str, Any], save: Any) -> None:
        if self.folder is not None:
            save(self.folder / f"{len(self.reports)}")
        self.reports.append(
            {key: value for key, value in metrics.items() if key not in ("seconds", "latency_ms")}
        )
        if len(self.reports) == self.stop_after:
            raise Stopped

    @property
    def stages(self) -> list[tuple[str, int]]:
        return [(report["stage"], report["epoch"]) for report in self.reports]


def train(config: TrialConfig, clips: Clips, folder: Path | None = None) -> tuple[LatentAct, Recorder]:
    recorder = Recorder(folder)
    return train_trial(config, clips, report=recorder), recorder


def checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a checkpoint, and the rest of what it says."""
    return load_file(folder / "trial.safetensors"), json.loads((folder / "trial.json").read_text())
