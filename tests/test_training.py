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
from trainables.trial import train_trial
from trainables.trial_config import METHODS, codebook_identity, trial_identity


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
    identities = {trial_identity(c, "d", workers=1, device="cpu") for c in (TINY, longer)}
    assert len(identities) == 1


def test_a_cosine_schedule_makes_the_budget_part_of_the_trial(clips: Clips, tmp_path: Path) -> None:
    config = tiny(method="transformer", schedule="cosine", epochs=1)
    train(config, clips, tmp_path)
    longer = tiny(method="transformer", schedule="cosine", epochs=2)
    with pytest.raises(ModelError, match="of another trial: epochs differ"):
        train_trial(longer, clips, report=Recorder(), resume_from=tmp_path / "0")
    train_trial(config, clips, report=Recorder(), resume_from=tmp_path / "0")
    identities = {trial_identity(c, "d", workers=1, device="cpu") for c in (config, longer)}
    assert len(identities) == 2


def test_shelf_gives_the_codebook_to_the_next_trial(clips: Clips, tmp_path: Path) -> None:
    shelf = f"{tmp_path}/shelf"
    config, deeper = (tiny(indexer_epochs=1, epochs=1, decoder_depth=depth) for depth in (1, 2))
    first = train_trial(config, clips, report=Recorder(), codebooks=shelf)
    recorder = Recorder()
    second = train_trial(deeper, clips, report=recorder, codebooks=shelf)
    assert recorder.stages == [("indexer", 1), ("predictor", 1)]
    for name, value in first.codebook.state_dict().items():
        assert torch.equal(value, second.codebook.state_dict()[name]), name
    # A damaged codebook is not used, but trained again.
    identity = codebook_identity(config, clips.digest, workers=1, device="cpu")
    blob = Path(shelf, identity, "codebook.safetensors")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    recorder = Recorder(stop_after=2)
    with pytest.raises(Stopped):
        train_trial(deeper, clips, report=recorder, codebooks=shelf)
    assert recorder.stages == [("codebook", 1), ("codebook", 2)]


def test_what_a_codebook_is_named_without_does_not_change_it(clips: Clips, tmp_path: Path) -> None:
    """Two trials share a codebook by its identity: then it must come out the same in both."""
    others = {
        "method": "diffusion-codebook", "decoder_depth": 2, "heads": 2, "norm": False, "dropout": 0.3,
        "joint_weight": 1.0, "vertex_weight": 1.0, "true_codes": 0.5, "indexer_dropout": 0.1, "code_weight": 0.0,
        "decoder_from_codebook": False, "sampling_steps": 2, "samples": 1, "weight_average": 0.5,
        "indexer_epochs": 1, "epochs": 1,
    }  # fmt: skip
    found = []
    for name, config in {"one": tiny(codebook_epochs=1), "other": tiny(codebook_epochs=1, **others)}.items():
        recorder = Recorder(tmp_path / name, stop_after=1)
        with pytest.raises(Stopped):
            train_trial(config, clips, report=recorder)
        found.append(checkpoint(tmp_path / name / "0")[0])
        assert codebook_identity(config, "d", workers=1, device="cpu") == codebook_identity(
            tiny(codebook_epochs=1), "d", workers=1, device="cpu"
        )
    names = [name for name in found[0] if name.startswith(("model.codebook.", "codebook."))]
    assert len(names) > 50
    for name in names:
        assert torch.equal(found[0][name], found[1][name]), name


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
