"""Fine-tuning from the zoo: the model's architecture is kept, and anything else is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from zoo_bundles import metrics

from sweeps.errors import SweepError
from sweeps.start_from import StartingPoint, architecture, starting_point
from tests.tiny_clips import tiny_clips
from trainables.clips import Clips, read_clips
from trainables.hand import load_hand
from trainables.latentact import LatentAct, LatentActConfig
from trainables.model_folder import fetch_model, load_model, save_model
from trainables.trial import tensors_digest, train_trial
from trainables.trial_config import TrialConfig
from zoo.errors import UnknownModel
from zoo.publishing import publish
from zoo.store import Store, open_store

SMALL = {"window": 8, "stride": 1, "codes": 16, "width": 16, "batch": 32, "heads": 2}
BUDGET = {"codebook_epochs": 1, "indexer_epochs": 1, "epochs": 1}
NAME = "latentact-tiny-objects"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny_clips(folder)
    return folder


@pytest.fixture(scope="module")
def clips(data: Path) -> Clips:
    return read_clips(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(f"file://{tmp_path_factory.mktemp('store')}")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def published(clips: Clips, store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """A tiny model in the zoo, version 1; its validation figures."""
    config = TrialConfig(setting="objects", decoder_depth=2, **SMALL, **BUDGET)
    reports: list[dict[str, float]] = []
    model = train_trial(config, clips, report=lambda figures, save: reports.append(figures))
    put(model, store, tmp_path_factory.mktemp("bundle"))
    return reports[-1]


def put(model: LatentAct, store: Store, folder: Path) -> None:
    save_model(model, folder)
    (folder / "card.md").write_text("# A tiny model\n")
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    publish(NAME, folder, store=store)


@pytest.mark.parametrize("method", ["latentact", "transformer", "diffusion", "diffusion-codebook"])
def test_a_trial_of_the_models_fields_has_the_models_tensors(method: str) -> None:
    changes = {
        "codes": 8, "quantizers": 3, "width": 24, "heads": 3, "norm": False, "decoder_depth": 2, "window": 6,
        "shared_codebook": True, "told": "frame", "encoder_depth": 2, "codebook_depth": 3, "codebook_heads": 4,
        "codebook_norm": True, "condition_width": 16,
        "mode": "interpolate", "sampling_steps": 3, "samples": 2,
    }  # fmt: skip
    hand, common = load_hand(), {"data": "d", "data_digest": "x", "hand": load_hand().name, "encoders": {}}
    theirs = TrialConfig(setting="objects", method=method, **changes).model(**common)
    fields = architecture(LatentActConfig.from_json(theirs.to_json()).to_json())
    ours = TrialConfig(setting="objects", **fields).model(**common)
    shapes = [{k: v.shape for k, v in LatentAct(c, hand).state_dict().items()} for c in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.diffusion == theirs.diffusion and ours.mode == theirs.mode


def test_step_zero_is_the_model_of_the_zoo(
    clips: Clips, store: Store, published: dict[str, float], tmp_path: Path
) -> None:
    """Without a step (learning rate 0, no epochs before the predictor's) the figures are those of the zoo's model."""
    point = starting_point(f"{NAME}@1", store)
    fetch_model(point.url, tmp_path)
    assert tensors_digest(tmp_path) == point.fields["start_from"]
    still = {"learning_rate": 0.0, "codebook_epochs": 0, "indexer_epochs": 0, "stride": 1, "batch": 32}
    config = TrialConfig(setting="objects", epochs=1, **still, **point.fields)
    reports: list[dict[str, float]] = []
    model = train_trial(
        config, clips, report=lambda figures, save: reports.append(figures), start_from=tmp_path
    )
    for name in ("mpjpe_cm", "mpjpe_ra_cm", "contact_f1", "contact_threshold"):
        assert reports[-1][name] == published[name], name
    zoo_model = load_model(tmp_path).state_dict()
    assert all(torch.equal(value, zoo_model[name]) for name, value in model.state_dict().items())


def test_a_step_of_fine_tuning_changes_the_model(
    clips: Clips, store: Store, published: dict[str, float], tmp_path: Path
) -> None:
    point = starting_point(f"{NAME}@1", store)
    fetch_model(point.url, tmp_path)
    config = TrialConfig(setting="objects", stride=1, batch=32, **BUDGET, **point.fields)
    model = train_trial(config, clips, report=lambda figures, save: None, start_from=tmp_path)
    zoo_model = load_model(tmp_path).state_dict()
    changed = {
        name.split(".")[0] for name, v in model.state_dict().items() if not torch.equal(v, zoo_model[name])
    }
    assert {"codebook", "indexer", "predictor"} <= changed and "motion" not in changed


def test_the_architecture_is_pinned_and_the_rest_is_free(store: Store, published: dict[str, float]) -> None:
    point = starting_point(f"{NAME}@1", store)
    assert point.reference == f"{NAME}@1" and point.url.startswith(f"{store.url}/models/{NAME}/versions/")
    assert point.pin_axis("--codes", None) == point.pin_axis("--codes", "16") == "16"
    assert point.pin_axis("--depth", None) == "2"
    fixed = dict(point.pin({"learning_rate": 1e-4, "width": 16}))
    assert fixed["learning_rate"] == 1e-4 and fixed["heads"] == 2 and fixed["start_from"]
    assert "codes" not in fixed and "decoder_depth" not in fixed
    with pytest.raises(SweepError, match=f"--set width=32: {NAME}@1 has width 16"):
        point.pin({"width": 32})
    with pytest.raises(SweepError, match=f"--codes 128:1024: {NAME}@1 has codes 16"):
        point.pin_axis("--codes", "128:1024")


def test_what_cannot_be_built_on_is_refused(store: Store, clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        starting_point(f"{NAME}@99", store)
    config = TrialConfig(setting="objects", without="indexer", **SMALL)
    hand = load_hand()
    shape = config.model(data="tiny", data_digest=clips.digest, hand=hand.name, encoders={})
    put(LatentAct(shape, hand), store, tmp_path / "bundle")
    with pytest.raises(SweepError, match="true codes"):
        starting_point(f"{NAME}@2", store)
    assert StartingPoint(reference="x@1", url="", fields={"codes": 1}).pin_axis("--codes", "1") == "1"
