"""A real photo, a sentence and a point -> a trajectory, by the same call that a user makes.

The networks are drawn at random, so nothing is claimed of how good the trajectory is; that everything fits together, that
each input arrives, and that a photo is taken the right way up.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from random_encoders import deit_file

from trainables.frozen_encoders import EncoderError, load_image_encoder, load_text_encoder
from trainables.hand import load_hand
from trainables.latentact import LatentAct, Trajectory
from trainables.model_folder import load_model, save_model
from trainables.trial_config import TrialConfig

PHOTO = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "photos" / "0001.jpg"
TEXT = "pick up the tissue"
# Where the tissue is: pixel (833, 970) of the upright photo (1707 x 1280, field of view 67.7 degrees, so 1272 pixels of
# focal length), at the distance of the hand by the estimate that comes with the photo, 0.45 m. x right, y down.
POINT_M = (-0.007, 0.117, 0.45)

pytestmark = pytest.mark.skipif(not PHOTO.exists(), reason=f"no photo at {PHOTO}")


@pytest.fixture(scope="module", params=[("conv", "minilm"), ("deit", "minilm")], ids="+".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LatentAct]:
    image, text = request.param
    folder = tmp_path_factory.mktemp("photo")
    with pytest.MonkeyPatch.context() as patch:
        load_image_encoder.cache_clear()
        if image == "deit":
            patch.setenv("DEIT_WEIGHTS", str(deit_file(folder)))
        encoders = {text: load_text_encoder(text).digest}
        if image == "deit":
            encoders["deit"] = load_image_encoder("deit").digest
        torch.manual_seed(0)
        config = TrialConfig(setting="objects", image_encoder=image, text_encoder=text)
        hand = load_hand()
        shape = config.model(data="none", data_digest="d" * 64, hand=hand.name, encoders=encoders)
        save_model(LatentAct(shape, hand), folder / "model")
        yield load_model(folder / "model", hand=hand)
    load_image_encoder.cache_clear()
    for file in folder.glob("*.safetensors"):
        file.unlink()  # hundreds of megabytes, and pytest keeps the folders of three sessions


def upright() -> Image.Image:
    with Image.open(PHOTO) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def apart(one: Trajectory, other: Trajectory) -> float:
    """Greatest difference of a joint's coordinate, metres."""
    return float((one.joints_m - other.joints_m).abs().max())


def test_a_photo_a_sentence_and_a_point_give_a_trajectory(model: LatentAct) -> None:
    # A left hand is in the photo: it is shown as its mirror image, and the point with it.
    right = ImageOps.mirror(upright())
    found = model.predict(image=right, text=TEXT, contact_point=(-POINT_M[0], *POINT_M[1:]))
    assert found.joints_m.shape == (30, 21, 3) and found.vertices_m.shape == (30, 778, 3)
    assert found.contact_probability.shape == (30, 778)
    shapes = {name: tuple(value.shape) for name, value in found.parameters.items()}
    assert shapes == {
        "global_orient": (30, 3),
        "hand_pose": (30, 45),
        "betas": (30, 10),
        "transl_m": (30, 3),
        "camera_rotation": (30, 3, 3),
        "camera_translation_m": (30, 3),
    }
    for tensor in (found.joints_m, found.vertices_m, found.contact_probability, *found.parameters.values()):
        assert tensor.isfinite().all()
    assert ((found.contact_probability >= 0) & (found.contact_probability <= 1)).all()
    # Skin and joints are of one hand: no joint is farther from all skin than a hand is thick.
    nearest = torch.cdist(found.joints_m, found.vertices_m).amin(-1)
    assert nearest.max() < 0.03
    again = model.predict(image=right, text=TEXT, contact_point=(-POINT_M[0], *POINT_M[1:]))
    assert apart(found, again) == 0


def test_every_input_arrives(model: LatentAct) -> None:
    def predict(**changes: object) -> Trajectory:
        return model.predict(**{"image": upright(), "text": TEXT, "contact_point": POINT_M, **changes})  # type: ignore[arg-type]

    found = predict()
    darker = Image.fromarray(np.array(upright()) // 4)
    for changes in (
        {"image": darker},
        {"image": None},
        {"text": "open the drawer"},
        {"text": ""},
        {"contact_point": (0.1, 0.1, 0.5)},
        {"contact_point": None},
    ):
        assert apart(found, predict(**changes)) > 1e-6, changes


def test_a_photo_is_taken_the_right_way_up(model: LatentAct) -> None:
    """The camera was held upside down; the file says so in its EXIF data, and the point is of the upright photo."""
    with Image.open(PHOTO) as photo:
        assert photo.getexif()[274] == 3
        turned = np.array(photo.convert("RGB"))
    expected = model.predict(image=np.array(upright()), text=TEXT, contact_point=POINT_M)
    for image in (PHOTO, str(PHOTO), Image.open(PHOTO)):
        assert apart(expected, model.predict(image=image, text=TEXT, contact_point=POINT_M)) < 1e-6
    assert apart(expected, model.predict(image=turned, text=TEXT, contact_point=POINT_M)) > 1e-6


@pytest.mark.parametrize("model", [("deit", "minilm")], indirect=True, ids="+".join)
def test_other_weights_than_it_was_trained_on_are_refused(
    model: LatentAct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load_image_encoder("deit")
    monkeypatch.setenv("DEIT_WEIGHTS", str(deit_file(tmp_path, seed=1)))
    load_image_encoder.cache_clear()
    with pytest.raises(EncoderError, match=f"trained on features of deit with weights {kept.digest}"):
        model.predict(image=PHOTO, text=TEXT, contact_point=POINT_M)
    (tmp_path / "model.safetensors").unlink()
    load_image_encoder.cache_clear()
