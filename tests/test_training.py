"""Training resumes bit for bit, and two ranks give what one gives."""

import json
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from tests.tiny_clips import tiny_clips
from trainables.clips import read_clips
from trainables.hand import load_hand
from trainables.latentact import LatentAct, ModelError
from trainables.model_folder import load_model
from trainables.stages import codebook_stage, fit_statistics
from trainables.trial import part_windows, train_trial
from trainables.trial_config import TrialConfig, codebook_identity, trial_identity

CONFIG = TrialConfig(
    setting="objects",
    window=8,
    stride=1,
    codes=16,
    width=16,
    quantizers=2,
    batch=32,
    codebook_epochs=2,
    indexer_epochs=2,
    epochs=2,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """An uninterrupted trial: its model, what it reported, and its checkpoint after every epoch."""
    folder, reports = tmp_path_factory.mktemp("whole"), []

    def report(metrics, save):
        save(folder / f"{len(reports)}")
        reports.append(metrics)

    return train_trial(CONFIG, clips, report=report), reports, folder


def test_reports_every_epoch_and_figures_only_from_the_predictor(whole):
    _, reports, _ = whole
    assert [(r["stage"], r["epoch"]) for r in reports] == [
        (stage, epoch) for stage in ("codebook", "indexer", "predictor") for epoch in (1, 2)
    ]
    assert [("mpjpe_cm" in r) for r in reports] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("after", range(6))
def test_resume_is_bit_for_bit(clips, whole, after):
    model, reports, folder = whole
    rest = []
    again = train_trial(
        CONFIG, clips, report=lambda metrics, save: rest.append(metrics), resume_from=folder / f"{after}"
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in reports[after + 1 :]]
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in rest] == strip


def test_checkpoint_of_another_trial_is_refused(clips, whole):
    other = TrialConfig.from_json({**CONFIG.to_json(), "codes": 32})
    with pytest.raises(ModelError, match="codes differ"):
        train_trial(other, clips, report=lambda metrics, save: None, resume_from=whole[2] / "1")


def test_longer_budget_continues_the_shorter_one(clips, whole):
    longer = TrialConfig.from_json({**CONFIG.to_json(), "epochs": 3})
    rest = []
    train_trial(longer, clips, report=lambda m, save: rest.append(m), resume_from=whole[2] / "5")
    assert [(r["stage"], r["epoch"]) for r in rest] == [("predictor", 3)]
    identities = [trial_identity(c, "d", workers=1, device="cpu") for c in (CONFIG, longer)]
    assert identities[0] == identities[1]


def test_shelf_gives_the_codebook_to_the_next_trial(clips, tmp_path):
    shelf = f"{tmp_path}/shelf"
    first = train_trial(CONFIG, clips, report=lambda m, save: None, codebooks=shelf)
    stages = []
    deeper = TrialConfig.from_json({**CONFIG.to_json(), "decoder_depth": 2})
    second = train_trial(deeper, clips, report=lambda m, save: stages.append(m["stage"]), codebooks=shelf)
    assert "codebook" not in stages
    for name, value in first.codebook.state_dict().items():
        assert torch.equal(value, second.codebook.state_dict()[name]), name
    # A damaged codebook is not used, but trained again.
    identity = codebook_identity(CONFIG, clips.digest, workers=1, device="cpu")
    blob = Path(shelf, identity, "codebook.safetensors")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    stages.clear()
    train_trial(deeper, clips, report=lambda m, save: stages.append(m["stage"]), codebooks=shelf)
    assert stages.count("codebook") == 2


def test_codebook_identity_ignores_the_predictor_and_nothing_else():
    def identities(**changes):
        config = TrialConfig.from_json({**CONFIG.to_json(), **changes})
        return [f(config, "d", workers=1, device="cpu") for f in (codebook_identity, trial_identity)]

    codebook, trial = identities()
    for changes, same_codebook in (
        ({"decoder_depth": 3}, True),
        ({"dropout": 0.3}, True),
        ({"codes": 17}, False),
        ({"seed": 1}, False),
        ({"codebook_epochs": 3}, False),
        ({"protocol": "goal"}, False),
    ):
        other_codebook, other_trial = identities(**changes)
        assert (other_codebook == codebook) is same_codebook, changes
        assert other_trial != trial, changes


def test_saved_model_predicts_bit_equal(clips, whole, tmp_path):
    from trainables.model_folder import save_model

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


def test_bad_inputs_name_the_field(whole, tmp_path):
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


def _twenty_steps(rank: int, ranks: int, data: str, out: str) -> None:
    torch.set_num_threads(1)
    if ranks > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{out}/rendezvous", rank=rank, world_size=ranks
        )
    clips = read_clips(data)
    config = TrialConfig.from_json({**CONFIG.to_json(), "codebook_epochs": 20})
    train = part_windows(config, clips, "train")
    hand = load_hand()
    torch.manual_seed(0)
    model = LatentAct(config.model(data="tiny", data_digest="d", hand=hand.name), hand)
    fit_statistics(model, train)
    model = model.double()
    gather = train.gather

    def doubled(index):
        batch = gather(index)
        for name, value in vars(batch).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                object.__setattr__(batch, name, value.double())
        return batch

    train.gather = doubled
    run = codebook_stage(model, train, train, config)
    run.score = lambda module: (0.0, {})
    epochs = run.run()
    while run.step < 20:
        next(epochs)
    if rank == 0:
        torch.save({k: v for k, v in model.codebook.state_dict().items()}, f"{out}/{ranks}.pt")
    if ranks > 1:
        torch.distributed.destroy_process_group()


def test_two_ranks_give_the_codebook_of_one(clips, tmp_path):
    data = str(tmp_path / "data")
    tiny_clips(Path(data))
    _twenty_steps(0, 1, data, str(tmp_path))
    mp.spawn(_twenty_steps, (2, data, str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=1e-6, rtol=0, msg=name)
