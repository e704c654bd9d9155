"""A tiny model, trained in a second, and bundles of it as a sweep writes them: with and without the gallery's motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sweeps.assess import examine
from sweeps.card import Chosen
from sweeps.gallery import gallery
from sweeps.ledger import TrialRecord
from sweeps.publish import write_bundle
from tests.test_card import MADE
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny, train
from trainables.clips import Clips
from trainables.evaluate import evaluate
from trainables.evaluation import Evaluation
from trainables.latentact import LatentAct
from trainables.model_folder import fetch_model, save_model
from trainables.trial import part_windows
from trainables.windows import Windows

NAME = "latentact-tiny-objects"
TRIAL = tiny(codebook_epochs=1, indexer_epochs=1, epochs=1)


@dataclass(frozen=True)
class Made:
    """A data set and a model of it, and what the one reading of its test part gave."""

    data: Path
    checkpoint: Path
    clips: Clips
    model: LatentAct
    metrics: dict[str, Any]

    @property
    def as_ours(self) -> Clips:
        """The same clips, as if the procedural world had made them."""
        return replace(
            self.clips, manifest={**self.clips.manifest, "source": {"importer": "world", "focal_px": 62.0}}
        )

    def test_part(self, clips: Clips) -> tuple[Windows, Evaluation]:
        windows = part_windows(TRIAL, clips, "test")
        threshold = float(self.model.contact_threshold)
        return windows, evaluate(self.model.forecast, windows, "object", contact_threshold=threshold)

    def gallery(self, clips: Clips) -> dict[str, Any]:
        return gallery(self.model, *self.test_part(clips), setting="objects")

    def bundle(self, folder: Path, *, ours: bool) -> Path:
        """A bundle's folder; `ours` puts the gallery's motion in."""
        folder.mkdir(parents=True)
        fetch_model(str(self.checkpoint), folder)
        metrics = self.metrics | ({"gallery": self.gallery(self.as_ours)} if ours else {})
        plan: Any = SimpleNamespace(
            data_name="tiny",
            data_digest=self.clips.digest,
            protocol="first",
            config=lambda setting, **params: TRIAL,
        )
        best = TrialRecord(
            "abc", "objects", "search", {"codes": 16, "seed": 0}, epochs=2, curve=[(1, 5.0), (2, 4.0)]
        )
        write_bundle(
            folder, Chosen(name=NAME, plan=plan, setting="objects", best=best, metrics=metrics, made=MADE)
        )
        return folder


def make(folder: Path) -> Made:
    """Eight groups of eight clips; the last group is test."""
    clips = tiny_clips(folder / "clips", clips=64)
    model, _ = train(TRIAL, clips)
    save_model(model, folder / "checkpoint")
    metrics = examine(str(folder / "clips"), TRIAL.to_json(), str(folder / "checkpoint"), "cpu")
    return Made(folder / "clips", folder / "checkpoint", clips, model, metrics)
