"""A trained model on another data set: its figures, the still hands beside it, what is refused and what is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from sweeps.assess import examine
from tests.cross_clips import all_windows, record, refusal, strange_clip, write
from tests.made_up_clips import random_clip
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny, train
from trainables.clips import Clips, encode_png, read_clips
from trainables.evaluate import evaluate
from trainables.frozen_encoders import feature_tables
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.model_folder import fetch_model, load_model, save_model
from trainables.trivial import TrivialForecast
from trainables.windows import Batch

NAME = "latentact-tiny-objects"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cross")


@pytest.fixture(scope="module")
def training_data(place: Path) -> Clips:
    return tiny_clips(place / "tiny")


@pytest.fixture(scope="module")
def checkpoint(place: Path, training_data: Clips) -> Path:
    """A model trained on the tiny clips, as its trial leaves it."""
    _, recorder = train(tiny(), training_data, place / "checkpoints")
    return place / "checkpoints" / str(len(recorder.reports) - 1)


@pytest.fixture(scope="module")
def store(place: Path, checkpoint: Path) -> str:
    """A zoo that holds it, published with the figures and facts that a sweep publishes."""
    bundle, url = place / "bundle", f"file://{place}/zoo"
    bundle.mkdir()
    fetch_model(str(checkpoint), bundle)
    (bundle / "metrics.json").write_text(
        json.dumps(examine(str(place / "tiny"), tiny().to_json(), str(checkpoint), "cpu"))
    )
    (bundle / "card.md").write_text("# A tiny model\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_HOME", str(place / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        zoo.publish(NAME, bundle, store=zoo.open_store(url))
    return url


@pytest.fixture(autouse=True)
def surroundings(place: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(place / "home"))
    monkeypatch.setenv("LATENTACT_ZOO", store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def other(place: Path) -> Path:
    return write(place / "other", [strange_clip(i) for i in range(12)])


def test_figures_are_those_of_a_direct_evaluation(checkpoint: Path, other: Path) -> None:
    found = record(f"{NAME}@1", "--data", other)
    model, windows = load_model(checkpoint), all_windows(read_clips(other))
    direct = evaluate(
        model.forecast,
        windows,
        "subject",
        contact_threshold=float(model.contact_threshold),
        finger_V=model.hand.finger_V,
    )
    assert found["summary"] == json.loads(json.dumps(direct.summary()))
    assert found["errors"] == direct.to_json()
    ours = found["predictors"]["model"]["metrics"]
    assert list(ours) == [
        "mpjpe_cm", "mpjpe_ra_cm", "mpjpe_pa_cm", "contact_precision", "contact_recall", "contact_f1",
    ]  # fmt: skip
    assert all(figure == direct.interval(metric).to_json() for metric, figure in ours.items())
    assert ours["mpjpe_cm"]["low"] < ours["mpjpe_cm"]["estimate"] < ours["mpjpe_cm"]["high"]
    assert found["counts"] == {"clips": 12, "windows": len(windows), "groups": 5, "too_short": 0}
    assert found["model"]["reference"] == f"{NAME}@1" and found["data"]["name"] == "strange"
    assert found["asked"] == {
        "split": None,
        "part": "all",
        "protocol": "first",
        "stride": 4,
        "group": "subject",
    }


def test_still_hands_keep_their_first_frame(checkpoint: Path, other: Path) -> None:
    """Each against one written here; the mean pose by where it puts the wrist."""
    found = record(f"{NAME}@1", "--data", other)
    model, windows = load_model(checkpoint), all_windows(read_clips(other))

    def still(joints_BTJ3: torch.Tensor, logits_BTV: torch.Tensor) -> TrivialForecast:
        frames = [torch.stack([x[:, 0]] * 8, dim=1) for x in (joints_BTJ3, logits_BTV)]
        return TrivialForecast(joints_ref_BTJ3=frames[0], contact_logits_BTV=frames[1])

    def own(truth: Batch) -> TrivialForecast:
        forecast = model.forecast(truth)
        return still(forecast.joints_ref_BTJ3, forecast.contact_logits_BTV)

    def true(truth: Batch) -> TrivialForecast:
        touched = truth.contact_BTV.bool() & truth.contact_known_BT[..., None]
        return still(truth.joints_BTJ3, torch.where(touched, 50.0, -50.0))

    for name, predict in (("own_first_frame", own), ("true_first_frame", true)):
        direct = evaluate(predict, windows, "subject", contact_threshold=float(model.contact_threshold))
        for metric in ("mpjpe_cm", "contact_f1"):
            expected = direct.interval(metric).estimate
            assert found["predictors"][name]["metrics"][metric]["estimate"] == pytest.approx(
                expected, abs=1e-4
            )
            minus = found["predictors"]["model"]["metrics"][metric]["estimate"] - expected
            assert found["difference"][name][metric]["estimate"] == pytest.approx(minus, abs=1e-4)
    from sweeps.still_hands import still_hand

    batch = windows.gather(torch.arange(6))
    forecast = still_hand("mean_pose", model)(batch)
    where_B3 = torch.where(batch.point_known_B[:, None], batch.point_B3, model.motion.anchor_3)
    wrist_B3 = where_B3 + model.motion.mean_C[61:64]
    assert batch.point_known_B.any() and not batch.point_known_B.all()
    torch.testing.assert_close(
        forecast.joints_ref_BTJ3[:, :, 0], wrist_B3[:, None].expand(-1, 8, -1), atol=1e-5, rtol=0
    )
    assert "contact_f1" not in found["predictors"]["mean_pose"]["metrics"]


def test_the_models_own_training_data_is_refused(place: Path, checkpoint: Path) -> None:
    for model in (f"{NAME}@1", checkpoint):
        said = refusal(model, "--data", place / "tiny")
        assert "was trained on these data" in said and "--split objects --part test" in said
        assert "flatter" in refusal(model, "--data", place / "tiny", "--split", "objects", "--part", "all")
    own = record(NAME + "@1", "--data", place / "tiny", "--split", "objects", "--part", "test")
    assert set(own["errors"]["groups"]) == {"object7"} and own["asked"]["group"] == "object"
    assert any("its own test part" in warning for warning in own["warnings"])
    val = record(NAME + "@1", "--data", place / "tiny", "--split", "objects", "--part", "val")
    assert any("Validation chose this model" in warning for warning in val["warnings"])


@pytest.mark.parametrize(
    ("turned", "says"), [(False, ""), (True, "the parts of setting objects are other ones")]
)
def test_the_same_recordings_under_another_digest_are_known(
    place: Path, tmp_path: Path, turned: bool, says: str
) -> None:
    """Imported again, with the same parts or other ones."""
    rewritten = tmp_path / "again"
    shutil.copytree(place / "tiny", rewritten)
    manifest = json.loads((rewritten / "manifest.json").read_text())
    manifest["source"] = {"seed": 0, "version": 2}
    if turned:
        parts = manifest["settings"]["objects"]["parts"]
        parts["gate"], parts["train"][0] = [parts["train"][0]], parts["gate"][0]
    (rewritten / "manifest.json").write_text(json.dumps(manifest))
    assert "imported again" in refusal(f"{NAME}@1", "--data", rewritten)
    asked = (f"{NAME}@1", "--data", rewritten, "--split", "objects", "--part", "test")
    if turned:
        assert says in refusal(*asked)
    else:
        assert record(*asked)["counts"]["clips"] == 4


def test_another_hand_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "mano", [strange_clip(i) for i in range(5)], hand="mano")
    said = refusal(f"{NAME}@1", "--data", folder)
    assert "made with the hand 'mano'" in said and "trained with 'standin-1'" in said and "prepare" in said


def test_what_is_off_is_said(tmp_path: Path) -> None:
    nothing = {"image_png": [], "image_frame": []}
    texts = (("push right", "push left"), ("shove the gizmo", "push right"))
    clips = [strange_clip(i, text=texts[i % 3 == 0], fps=60.0, **nothing) for i in range(8)]
    clips += [random_clip("short", 9, seed=3, fps=60.0, text=("push left",), text_start=(0,), **nothing)]
    folder = write(tmp_path / "off", clips, radius_m=0.01)
    found = record(f"{NAME}@1", "--data", folder, "--protocol", "goal")
    said = "\n".join(found["warnings"])
    batch = (windows := all_windows(read_clips(folder))).gather(torch.arange(len(windows)))
    share = np.mean(["gizmo" in batch.texts[i] for i in batch.text_B.tolist()])
    assert 0 < share < 1
    assert f"{share:.0%} of windows have a word in their text that the model never saw in training: " in said
    assert "gizmo" in said and "shove" in said and "the" in said and "push" not in said
    assert "A picture is given in 0% of windows, in training it was in 100%" in said
    assert "recorded at 60 frames per second" in said and "training's were at 30" in said
    assert "nearer than 10 mm, in training 5 mm" in said
    assert "1 of 9 clips are shorter" in said and found["counts"]["too_short"] == 1
    assert "protocol goal; the model was trained with first" in said and "look ahead" in said
    assert "stand-in hand" in said
    assert found["counts"]["windows"] == len(windows)


def test_nothing_else_is_said_where_nothing_is_off(other: Path) -> None:
    said = "\n".join(record(f"{NAME}@1", "--data", other)["warnings"])
    windows = all_windows(read_clips(other))
    unknown = 1 - windows.gather(torch.arange(len(windows))).point_known_B.float().mean()
    assert f"The contact point is unknown in {unknown:.0%} of windows (training: " in said
    for word in ("never saw", "picture", "recorded", "nearer", "shorter", "protocol", "trained on"):
        assert word not in said, said


def test_larger_pictures_are_brought_to_the_models_size(tmp_path: Path) -> None:
    small = write(tmp_path / "small", [strange_clip(i) for i in range(6)])
    large = encode_png(np.full((96, 96, 3), 90, np.uint8))
    large = write(tmp_path / "large", [strange_clip(i, image_png=[large, large]) for i in range(6)])
    found = [record(f"{NAME}@1", "--data", folder) for folder in (small, large)]
    assert any("from 96 to the model's 64 pixels" in warning for warning in found[1]["warnings"])
    assert found[0]["predictors"] == found[1]["predictors"]  # both of one colour


def test_a_checkpoint_tells_what_its_trial_hid(checkpoint: Path, other: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "blind")
    trial = json.loads((tmp_path / "blind/trial.json").read_text())
    trial["config"]["without"] = "text"
    (tmp_path / "blind/trial.json").write_text(json.dumps(trial))
    seeing, blind = (record(folder, "--data", other) for folder in (checkpoint, tmp_path / "blind"))
    model = load_model(checkpoint)
    windows = all_windows(read_clips(other), hidden="text")
    direct = evaluate(model.forecast, windows, "subject", contact_threshold=float(model.contact_threshold))
    assert blind["predictors"]["model"]["metrics"]["mpjpe_cm"] == direct.interval("mpjpe_cm").to_json()
    assert blind["predictors"]["model"] != seeing["predictors"]["model"]
    assert any("not written beside it" in warning for warning in seeing["warnings"])


def test_a_frozen_encoder_is_the_one_trained_with(other: Path, tmp_path: Path) -> None:
    """MiniLM's features of the other data's texts; with other weights of it the model is refused."""
    clips, hand = read_clips(other), load_hand()
    tables = feature_tables(clips, image=None, text="minilm")
    torch.manual_seed(0)
    for name, digests in (("same", tables.digests), ("different", {"minilm": "0" * 16})):
        shape = tiny(text_encoder="minilm").model(data="x", data_digest="y", hand=hand.name, encoders=digests)
        save_model(LatentAct(shape, hand), tmp_path / name)
    found = record(tmp_path / "same", "--data", other)
    model = load_model(tmp_path / "same")
    direct = evaluate(model.forecast, all_windows(clips, features=tables), "subject")
    assert found["predictors"]["model"]["metrics"]["mpjpe_cm"] == direct.interval("mpjpe_cm").to_json()
    assert "features of minilm with weights 0000" in refusal(tmp_path / "different", "--data", other)


def test_features_that_came_with_the_data_are_used_and_said(other: Path, tmp_path: Path) -> None:
    clips, hand = read_clips(other), load_hand()
    texts = feature_tables(clips, image=None, text="minilm").text_XF
    assert texts is not None
    of = dict(zip(clips.texts, texts.numpy(), strict=True))
    rows = [strange_clip(i) for i in range(12)]
    rows = [replace(clip, text_feature=np.stack([of[text] for text in clip.text])) for clip in rows]
    folder = write(tmp_path / "featured", rows, features={"text": {"encoder": "minilm"}})
    shape = tiny(text_encoder="minilm").model(
        data="x", data_digest="y", hand=hand.name, encoders={"minilm": "0" * 16}
    )
    torch.manual_seed(0)
    save_model(LatentAct(shape, hand), tmp_path / "model")
    found = record(tmp_path / "model", "--data", folder)
    assert any("Features by minilm came with these data" in warning for warning in found["warnings"])
    model = load_model(tmp_path / "model")
    direct = evaluate(
        model.forecast,
        all_windows(clips, features=feature_tables(clips, image=None, text="minilm")),
        "subject",
    )
    estimate = found["predictors"]["model"]["metrics"]["mpjpe_cm"]["estimate"]
    assert estimate == pytest.approx(direct.interval("mpjpe_cm").estimate, abs=1e-4)
