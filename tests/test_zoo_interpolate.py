"""The last frame's image and contact point: taken by a model that interpolates, refused by one that forecasts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_bundles import metrics

import zoo
from trainables.hand import load_hand
from trainables.latentact import LatentAct, ModelError
from trainables.model_folder import save_model
from trainables.trial_config import TrialConfig
from zoo.cli import main
from zoo.flavor import Predictor
from zoo.loading import trajectory_arrays

OBJECTS = "latentact-world-objects"
TEXT, POINT_M, LAST_POINT_M = "grasp the mug", [0.02, -0.05, 0.6], [0.1, -0.1, 0.5]


def two_photos(folder: Path, image: np.ndarray) -> tuple[str, str]:
    """Files of a first and of a last frame."""
    for name, pixels in {"first": image, "last": 255 - image}.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return f"{folder}/first.png", f"{folder}/last.png"


def small_model(mode: str, folder: Path) -> LatentAct:
    """A small model with random weights; its bundle is left in `folder`."""
    torch.manual_seed(0)
    trial = TrialConfig(setting="objects", mode=mode, method="transformer", width=16, condition_width=16)
    config = trial.model(data="world", data_digest="d" * 64, hand=load_hand().name, encoders={})
    model = LatentAct(config, load_hand()).eval()
    save_model(model, folder)
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (folder / "card.md").write_text("# A small model\n")
    return model


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty zoo in a folder."""
    monkeypatch.setenv("LATENTACT_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def command(name: str, *args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["predict", f"{name}@1", "--text", TEXT, *args])
    return result.exit_code, result.output


def test_an_interpolating_model_takes_the_last_frame(image: np.ndarray, tmp_path: Path) -> None:
    model, name = small_model("interpolate", tmp_path / "bundle"), f"{OBJECTS}-interpolate"
    zoo.publish(name, tmp_path / "bundle")
    first, last = two_photos(tmp_path, image)
    points = [",".join(map(str, point)) for point in (POINT_M, LAST_POINT_M)]
    given = [
        "--image",
        first,
        "--contact-point",
        points[0],
        "--last-image",
        last,
        "--last-contact-point",
        points[1],
    ]
    code, output = command(name, *given, "--out", f"{tmp_path}/out.npz")
    assert code == 0, output
    told = {
        "text": TEXT, "image": image, "contact_point": POINT_M,
        "last_image": 255 - image, "last_contact_point": LAST_POINT_M,
    }  # fmt: skip
    expected = trajectory_arrays(model.predict(**told))
    with np.load(tmp_path / "out.npz", allow_pickle=False) as actual:
        assert set(actual) == set(expected)
        for key, value in expected.items():
            np.testing.assert_array_equal(actual[key], value, err_msg=key)
    loaded = zoo.load(f"{name}@1")
    for missing in ("last_image", "last_contact_point"):  # each arrives, and each may be unknown
        without = trajectory_arrays(loaded.predict(**{**told, missing: None}))
        assert np.abs(without["joints_m"] - expected["joints_m"]).max() > 1e-6, missing
    asked = Predictor(loaded).predict(
        {**told, "image": first, "last_image": last}
    )  # as MLflow's own client asks
    np.testing.assert_array_equal(asked[0]["joints_m"], expected["joints_m"])
    swapped = {**told, "image": told["last_image"], "last_image": told["image"]}
    assert (
        np.abs(trajectory_arrays(loaded.predict(**swapped))["joints_m"] - expected["joints_m"]).max() > 1e-6
    )


def test_a_forecasting_model_refuses_the_last_frame_in_a_sentence(image: np.ndarray, tmp_path: Path) -> None:
    small_model("forecast", tmp_path / "bundle")
    zoo.publish(OBJECTS, tmp_path / "bundle")
    _, last = two_photos(tmp_path, image)
    says = "are for models whose name ends in -interpolate; this one forecasts"
    for option in (["--last-image", last], ["--last-contact-point", "0.1,-0.1,0.5"]):
        code, output = command(OBJECTS, *option)
        assert code == 1 and says in output and output.count("\n") == 1, output
    loaded = zoo.load(f"{OBJECTS}@1")
    for told in ({"last_image": image}, {"last_contact_point": LAST_POINT_M}):
        with pytest.raises(ModelError, match=says):
            loaded.predict(text=TEXT, **told)
    # MLflow's own client asks in the same way.
    with pytest.raises(ModelError, match=says):
        Predictor(loaded).predict({"text": TEXT, "last_contact_point": LAST_POINT_M})
