"""What a forecast may depend on: the inputs of its own window, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny
from trainables.clips import Clips
from trainables.hand import load_hand
from trainables.latentact import LatentAct, Prediction
from trainables.stages import fit_statistics
from trainables.trial import part_windows
from trainables.trial_config import METHODS, TrialConfig
from trainables.windows import Batch, Inputs

TARGETS = [field.name for field in fields(Batch) if field.name not in {f.name for f in fields(Inputs)}]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=16)


def model_of(config: TrialConfig, clips: Clips) -> LatentAct:
    """Random weights, but codes and statistics as training leaves them."""
    hand = load_hand()
    torch.manual_seed(0)
    model = LatentAct(config.model(data="tiny", data_digest="d", hand=hand.name, encoders={}), hand).eval()
    fit_statistics(model, part_windows(config, clips, "train"))
    if model.codebook is not None:
        torch.nn.init.normal_(model.codebook.quantizer.codes_QKD)
    return model


def garbage(batch: Batch) -> Batch:
    """The batch with everything but its inputs replaced: numbers by NaN, which nothing survives."""
    generator = torch.Generator().manual_seed(0)

    def spoilt(value: Tensor) -> Tensor:
        if value.is_floating_point():
            return torch.full_like(value, torch.nan)
        if value.dtype == torch.bool:
            return ~value
        return torch.randint(0, 10**6, value.shape, generator=generator)

    return replace(batch, **{name: spoilt(getattr(batch, name)) for name in TARGETS})


def parts(prediction: Prediction) -> dict[str, Tensor]:
    pose = {f"pose.{name}": value for name, value in vars(prediction.pose).items()}
    return {name: value for name, value in vars(prediction).items() if name != "pose"} | pose


def some(batch: Batch, rows: Any) -> Batch:
    return Batch(**{k: v[rows] if isinstance(v, Tensor) else v for k, v in vars(batch).items()})


def some_windows(config: TrialConfig, clips: Clips, count: int) -> Batch:
    windows = part_windows(config, clips, "train")
    return windows.gather(torch.arange(0, len(windows), len(windows) // count)[:count])


@torch.no_grad()
@pytest.mark.parametrize("mode", ["forecast", "interpolate"])
@pytest.mark.parametrize("method", METHODS)
def test_no_network_sees_the_future(clips: Clips, method: str, mode: str) -> None:
    config = tiny(method=method, mode=mode, told="frame")
    model, batch = model_of(config, clips), some_windows(config, clips, 8)
    assert len(TARGETS) >= 14
    before, after = parts(model.forecast(batch)), parts(model.forecast(garbage(batch)))
    for name, value in before.items():
        assert value.isfinite().all() and torch.equal(value, after[name]), name
    # And it takes the inputs alone.
    alone = Inputs(**{field.name: getattr(batch, field.name) for field in fields(Inputs)})
    for name, value in parts(model.forecast(alone)).items():
        assert torch.equal(value, before[name]), name


@torch.no_grad()
def test_true_codes_are_of_the_future(clips: Clips) -> None:
    """The test above can fail: the ablation that is shown true codes does not survive what it does to the batch."""
    config = tiny(without="indexer")
    model, batch = model_of(config, clips), some_windows(config, clips, 8)
    assert model.forecast(batch).joints_ref_BTJ3.isfinite().all()
    other = replace(batch, contact_BTV=1 - batch.contact_BTV, hand_pose_BT45=batch.hand_pose_BT45 + 1)
    assert not torch.equal(model.forecast(batch).joints_ref_BTJ3, model.forecast(other).joints_ref_BTJ3)
    told_alone = Inputs(**{field.name: getattr(batch, field.name) for field in fields(Inputs)})
    with pytest.raises(TypeError):
        model.predictor(None, told_alone)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["forecast", "interpolate"])
@pytest.mark.parametrize("method", METHODS)
def test_a_forecast_does_not_depend_on_its_neighbours_in_the_batch(
    clips: Clips, method: str, mode: str
) -> None:
    config = tiny(method=method, mode=mode)
    model, batch = model_of(config, clips), some_windows(config, clips, 8)
    whole = parts(model.forecast(batch))
    order = torch.tensor([6, 1, 3])
    for name, value in parts(model.forecast(some(batch, order))).items():
        torch.testing.assert_close(value, whole[name][order], atol=1e-5, rtol=1e-5, msg=name)
    assert (whole["joints_ref_BTJ3"][0] - whole["joints_ref_BTJ3"][1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_every_given_input_reaches_the_forecast(clips: Clips, method: str) -> None:
    """Each input of an interpolating model, exchanged by itself, changes what is predicted."""
    config = tiny(method=method, mode="interpolate")
    model, batch = model_of(config, clips), some_windows(config, clips, 8)
    before = model.forecast(batch).pose.hand_pose_BT45
    image, point = batch.image_BSX.clone(), batch.point_BS3.clone()
    image[:, 1] = 255 - image[:, 1]
    point[:, 1] += 0.1
    for changes in (
        {"text_B": batch.text_B.flip(0)},
        {"image_BSX": 255 - batch.image_BSX},
        {"image_BSX": image},
        {"point_BS3": point, "point_known_BS": torch.ones_like(batch.point_known_BS)},
    ):
        after = model.forecast(replace(batch, **changes)).pose.hand_pose_BT45
        assert (after - before).abs().max() > 1e-6, changes.keys()
