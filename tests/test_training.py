"""What a trial reports, refuses and shares, and that a model is the same after it was saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import TINY, Recorder, Stopped, checkpoint, tiny, train
from trainables.clips import Clips
from trainables.latentact import LatentAct, ModelError
from trainables.model_folder import load_model, save_model
from trainables.shelf import Shelf
from trainables.trial import train_trial
from trainables.trial_config import METHODS, TrialConfig, stage_identities, trial_identity


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=16)


@pytest.fixture(scope="module")
def whole(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> tuple[LatentAct, Recorder, Path]:
    """An uninterrupted trial: its model, what it reported, and its checkpoint after every epoch."""
    folder = tmp_path_factory.mktemp("whole")
    return *train(TINY, clips, folder), folder


def test_reports_every_epoch_and_figures_only_from_the_predictor(whole) -> None:
    _, recorder, _ = whole
    assert recorder.stages == [(stage, n) for stage in ("codebook", "indexer", "predictor") for n in (1, 2)]
    assert [("mpjpe_cm" in report) for report in recorder.reports] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"latentact"}))
def test_every_method_trains_its_stages_and_no_other(clips: Clips, method: str) -> None:
    once = {"codebook_epochs": 1, "indexer_epochs": 1, "epochs": 1}
    model, recorder = train(tiny(method=method, **once), clips)
    assert recorder.stages == [(stage, 1) for stage in METHODS[method]]
    assert (model.codebook is None) == (model.indexer is None) == ("codebook" not in METHODS[method])
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_without_the_indexer_true_codes_are_used_and_nothing_can_be_predicted(clips: Clips) -> None:
    config = tiny(without="indexer", codebook_epochs=1, epochs=1)
    model, recorder = train(config, clips)
    assert recorder.stages == [("codebook", 1), ("predictor", 1)] and model.indexer is None
    with pytest.raises(ModelError, match="true codes of the future"):
        model.predict(text="push left")


def test_the_indexer_learns_beside_the_predictor_only_with_a_code_weight(
    clips: Clips, tmp_path: Path
) -> None:
    moved = {}
    for weight in (0.0, 0.3):
        folder = tmp_path / str(weight)
        train(tiny(code_weight=weight, codebook_epochs=1, indexer_epochs=1, epochs=2), clips, folder)
        first, second = (checkpoint(folder / f"{n}")[0] for n in (2, 3))
        names = [name for name in first if name.startswith("model.indexer.")]
        moved[weight] = sum(not torch.equal(first[name], second[name]) for name in names)
        codebook = [name for name in first if name.startswith("model.codebook.")]
        assert names and codebook and all(torch.equal(first[name], second[name]) for name in codebook)
    assert moved[0.0] == 0 and moved[0.3] > 10


def test_checkpoint_of_another_trial_is_refused(clips: Clips, whole) -> None:
    with pytest.raises(ModelError, match="codes differ"):
        train_trial(tiny(codes=32), clips, report=Recorder(), resume_from=whole[2] / "1")


def test_longer_budget_continues_the_shorter_one(clips: Clips, whole) -> None:
    longer, recorder = tiny(epochs=3), Recorder()
    train_trial(longer, clips, report=recorder, resume_from=whole[2] / "5")
    assert recorder.stages == [("predictor", 3)]
    identities = {trial_identity(c, "d", workers="1", device="cpu") for c in (TINY, longer)}
    assert len(identities) == 1


def test_a_cosine_schedule_makes_the_budget_part_of_the_trial(clips: Clips, tmp_path: Path) -> None:
    config = tiny(method="transformer", schedule="cosine", epochs=1)
    train(config, clips, tmp_path)
    longer = tiny(method="transformer", schedule="cosine", epochs=2)
    with pytest.raises(ModelError, match="of another trial: epochs differ"):
        train_trial(longer, clips, report=Recorder(), resume_from=tmp_path / "0")
    train_trial(config, clips, report=Recorder(), resume_from=tmp_path / "0")
    identities = {trial_identity(c, "d", workers="1", device="cpu") for c in (config, longer)}
    assert len(identities) == 2


def shelves(folder: Path, config: TrialConfig, clips: Clips) -> dict[str, str]:
    """Where a sweep has each stage of a trial that others can share."""
    identities = stage_identities(config, clips.digest, workers="1", device="cpu")
    return {stage: f"{folder}/{stage}s/{identity}" for stage, identity in identities.items()}


def test_codebook_and_indexer_lie_on_their_shelves_for_the_next_trial(clips: Clips, tmp_path: Path) -> None:
    config, deeper = (tiny(indexer_epochs=1, epochs=1, decoder_depth=depth) for depth in (1, 2))
    first, recorder = Recorder(), Recorder()
    model = train_trial(config, clips, report=first, shelves=shelves(tmp_path, config, clips))
    second = train_trial(deeper, clips, report=recorder, shelves=shelves(tmp_path, deeper, clips))
    assert recorder.stages == [("predictor", 1)]
    for name, value in model.codebook.state_dict().items():
        assert torch.equal(value, second.codebook.state_dict()[name]), name
    # The second is what it would have been had it trained its own.
    alone, own = train(deeper, clips)
    assert own.reports[-1]["mpjpe_cm"] == recorder.reports[-1]["mpjpe_cm"]
    for name, value in alone.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not any(parameter.requires_grad for parameter in second.parameters())


def test_another_indexer_is_trained_on_the_codebook_of_the_shelf(clips: Clips, tmp_path: Path) -> None:
    config, other = (tiny(codebook_epochs=1, indexer_epochs=n, epochs=1) for n in (1, 2))
    train_trial(config, clips, report=Recorder(), shelves=shelves(tmp_path, config, clips))
    recorder = Recorder()
    train_trial(other, clips, report=recorder, shelves=shelves(tmp_path, other, clips))
    assert recorder.stages == [("indexer", 1), ("indexer", 2), ("predictor", 1)]


@pytest.mark.parametrize("stage", ["codebook", "indexer"])
def test_what_is_damaged_on_a_shelf_is_trained_again(clips: Clips, tmp_path: Path, stage: str) -> None:
    config = tiny(codebook_epochs=1, indexer_epochs=1, epochs=1)
    places = shelves(tmp_path, config, clips)
    train_trial(config, clips, report=Recorder(), shelves=places)
    blob = Path(places[stage], "weights.safetensors")
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert Shelf(places[stage]).get() is None
    recorder = Recorder()
    train_trial(config, clips, report=recorder, shelves=places)
    assert recorder.stages == [(stage, 1), ("predictor", 1)]
    assert blob.read_bytes() == whole


def test_a_shelf_gives_what_was_put_there_and_nothing_that_is_not_whole(tmp_path: Path) -> None:
    shelf = Shelf(f"{tmp_path}/codebooks/a/")
    assert shelf.get() is None
    state = {"weight": torch.randn(3, 2).T, "count": torch.tensor(7)}
    shelf.put(state)
    found = shelf.get()
    assert found is not None and found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    Path(shelf.url, "weights.json").unlink()  # its writer was killed before the last file
    assert shelf.get() is None
    shelf.put(state)
    Path(shelf.url, "weights.safetensors").unlink()
    assert shelf.get() is None


# What neither the codebook nor the indexer is named after, another value each, and what the codebook alone is not.
UNSEEN = {
    "method": "diffusion-codebook", "decoder_depth": 2, "heads": 2, "norm": False, "dropout": 0.3,
    "joint_weight": 1.0, "vertex_weight": 1.0, "true_codes": 0.5, "code_weight": 0.0,
    "decoder_from_codebook": False, "sampling_steps": 2, "samples": 1, "epochs": 1,
}  # fmt: skip
UNSEEN_BY_CODEBOOK = UNSEEN | {"indexer_dropout": 0.1, "weight_average": 0.5, "indexer_epochs": 1}


@pytest.mark.parametrize(
    ("stage", "unseen", "reports"), [("codebook", UNSEEN_BY_CODEBOOK, 1), ("indexer", UNSEEN, 2)]
)
def test_what_a_stage_is_named_without_does_not_change_it(
    clips: Clips, tmp_path: Path, stage: str, unseen: dict[str, object], reports: int
) -> None:
    """Two trials share a codebook or an indexer by its identity: then it must come out the same in both."""
    found, names = [], []
    for name, config in {"one": tiny(codebook_epochs=1), "other": tiny(codebook_epochs=1, **unseen)}.items():
        recorder = Recorder(tmp_path / name, stop_after=reports)
        with pytest.raises(Stopped):
            train_trial(config, clips, report=recorder)
        assert recorder.stages[-1][0] == stage
        found.append(checkpoint(tmp_path / name / f"{reports - 1}")[0])
        names.append(stage_identities(config, "d", workers="1", device="cpu")[stage])
    assert names[0] == names[1]
    compared = [name for name in found[0] if name.startswith((f"model.{stage}.", f"{stage}."))]
    assert len(compared) > 50
    for name in compared:
        assert torch.equal(found[0][name], found[1][name]), name


@pytest.mark.parametrize("changes", [{"indexer_dropout": 0.5}, {"weight_average": 0.05}, {"batch": 8}])
def test_what_an_indexer_is_named_after_changes_it(
    clips: Clips, tmp_path: Path, changes: dict[str, object]
) -> None:
    found = []
    for name, config in {"one": tiny(codebook_epochs=1), "other": tiny(codebook_epochs=1, **changes)}.items():
        with pytest.raises(Stopped):
            train_trial(config, clips, report=Recorder(tmp_path / name, stop_after=2))
        found.append(checkpoint(tmp_path / name / "1")[0])
    parts = [name for name in found[0] if name.startswith(("model.indexer.", "indexer."))]
    assert any(not torch.equal(found[0][name], found[1][name]) for name in parts)


def test_saved_model_predicts_bit_equal(whole, tmp_path: Path) -> None:
    model = whole[0]
    save_model(model, tmp_path / "bundle")
    again = load_model(tmp_path / "bundle")
    told = {"text": "push left", "contact_point": (0.0, 0.0, 0.5)}
    first, second = model.predict(**told), again.predict(**told)
    assert torch.equal(first.vertices_m, second.vertices_m)
    assert torch.equal(first.contact_probability, second.contact_probability)
    assert first.vertices_m.shape == (8, 778, 3) and first.joints_m.shape == (8, 21, 3)
    fast = model.hand.joints(
        *(first.parameters[k] for k in ("global_orient", "hand_pose", "betas", "transl_m"))
    )
    rotation, translation = first.parameters["camera_rotation"], first.parameters["camera_translation_m"]
    moved = fast @ rotation.transpose(-1, -2) + translation[:, None]
    torch.testing.assert_close(moved, first.joints_m, atol=1e-5, rtol=0)


def test_bad_inputs_name_the_field(whole, tmp_path: Path) -> None:
    model = whole[0]
    with pytest.raises(ModelError, match="contact_point"):
        model.predict(text="push left", contact_point=(0, 1))
    with pytest.raises(ModelError, match="uint8"):
        model.predict(text="push left", image=torch.zeros(3, 4, 3).numpy())
    with pytest.raises(ModelError, match="cannot be read"):
        model.predict(text="push left", image=tmp_path / "absent.png")
    record = {"schema": 99, "model": {}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="schema 99"):
        load_model(tmp_path)
