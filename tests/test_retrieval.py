"""Retrieval: what a slow reading finds, from training windows alone, moved onto the given contact point."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.tiny_clips import tiny_clips
from trainables import retrieval
from trainables.clips import Clips
from trainables.evaluate import evaluate
from trainables.retrieval import NEIGHBOURS, Retrieval, Weights, best_weights, evaluate_retrieval
from trainables.trial import part_windows
from trainables.trial_config import TrialConfig
from trainables.windows import Windows

CONFIG = TrialConfig(setting="objects", window=8, stride=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=48)


def part(clips: Clips, name: str, **changes: object) -> Windows:
    return part_windows(TrialConfig.from_json({**CONFIG.to_json(), **changes}), clips, name)


def everything(windows: Windows):
    return windows.gather(torch.arange(len(windows)))


def slow_nearest(train: Windows, query: Windows, row: int, weights: Weights) -> list[int]:
    """Window by window, part by part."""
    seen, asked = everything(train), query.gather(torch.tensor([row]))

    def image(batch, i: int) -> torch.Tensor:
        pixels = batch.image_BSX[i, 0].permute(2, 0, 1).float() / 255
        return F.avg_pool2d(pixels[None], 8).flatten()

    def scale(values: torch.Tensor) -> float:
        return float(2 * values.double().var(dim=0, correction=0).sum()) or 1.0

    known = seen.point_known_B
    image_scale = scale(
        torch.stack([image(seen, i) for i in range(len(seen.text_B))])[seen.image_known_BS[:, 0]]
    )
    point_scale = scale(seen.point_B3[known])
    text = asked.texts[int(asked.text_B[0])]
    found = []
    for i in range(len(seen.text_B)):
        other = seen.texts[int(seen.text_B[i])]
        distance = weights.text * (
            0.0 if other == text else 0.5 if other.split()[0] == text.split()[0] else 1.0
        )
        if bool(seen.image_known_BS[i, 0]) and bool(asked.image_known_BS[0, 0]):
            distance += weights.image * float((image(seen, i) - image(asked, 0)).square().sum()) / image_scale
        elif bool(seen.image_known_BS[i, 0]) != bool(asked.image_known_BS[0, 0]):
            distance += weights.image
        if bool(known[i]) and bool(asked.point_known_B[0]):
            distance += float((seen.point_B3[i] - asked.point_B3[0]).square().sum()) / point_scale
        elif bool(known[i]) != bool(asked.point_known_B[0]):
            distance += 1.0
        found.append((round(distance, 5), i))
    return [i for _, i in sorted(found)[: weights.neighbours]]


@pytest.mark.parametrize("weights", [Weights(), Weights(text=1000.0, image=1.0, neighbours=3)])
@pytest.mark.parametrize("at_once", [7, 16384])
def test_the_nearest_are_those_of_a_slow_reading(
    clips: Clips, monkeypatch: pytest.MonkeyPatch, weights: Weights, at_once: int
) -> None:
    monkeypatch.setattr(retrieval, "_TRAIN_AT_ONCE", at_once)
    train, test = part(clips, "train"), part(clips, "test")
    quick = Retrieval(train, batch=9)
    assert quick.row_N.tolist() == list(range(len(train)))
    found = quick.nearest(quick.describe(everything(test)), [weights])[0]
    for row in range(0, len(test), 5):
        assert found[row].tolist() == slow_nearest(train, test, row, weights), row


def test_a_found_window_is_moved_onto_the_given_point_and_keeps_its_contact(clips: Clips) -> None:
    train, test = part(clips, "train", protocol="goal"), part(clips, "test", protocol="goal")
    quick, truth = Retrieval(train), everything(test)
    forecast = quick.predict(truth, Weights())
    found = train.gather(quick.row_N[quick.nearest(quick.describe(truth), [Weights()])[0][:, 0]])
    assert truth.point_known_B.all() and found.point_known_B.all()
    # Relative to the contact point, the trajectory is the found one's; the contact map is the found one's as it is.
    torch.testing.assert_close(
        forecast.joints_ref_BTJ3 - truth.point_B3[:, None, None],
        found.joints_ref_BTJ3 - found.point_B3[:, None, None],
        atol=1e-6,
        rtol=0,
    )
    assert torch.equal(forecast.contact_logits_BTV > 0, found.contact_BTV > 0)


def test_a_training_window_finds_itself(clips: Clips) -> None:
    train = part(clips, "train")
    quick, truth = Retrieval(train), everything(train)
    weights = Weights(text=1.0, image=1.0)
    distance = torch.stack(quick.distances(quick.describe(truth), slice(0, len(train)))).sum(0)
    assert float(distance.diagonal().abs().max()) < 1e-6
    same = quick.nearest(quick.describe(truth), [weights])[0][:, 0]
    known = truth.point_known_B
    assert torch.equal(same[known], torch.arange(len(train))[known])  # its point is its own


def test_nothing_but_training_windows_is_ever_returned(clips: Clips) -> None:
    """What validation and test windows hold beside their inputs changes nothing."""
    train, val, test = (part(clips, name) for name in ("train", "val", "test"))
    quick = Retrieval(train)
    before = quick.predict(everything(test), Weights(neighbours=4))
    inside = set(train.clip_N.tolist())
    held_out = torch.tensor([clip not in inside for clip in range(len(clips.clip_ids))])
    frames = held_out.repeat_interleave(clips.offsets_C1.diff())
    joints, contact = clips.joints_FJ3.clone(), clips.contact_FX.clone()
    try:
        clips.joints_FJ3[frames] += 1.0
        clips.contact_FX[frames] = 255 - clips.contact_FX[frames]
        after = Retrieval(train).predict(everything(test), Weights(neighbours=4))
    finally:
        clips.joints_FJ3.copy_(joints)
        clips.contact_FX.copy_(contact)
    assert torch.equal(before.joints_ref_BTJ3, after.joints_ref_BTJ3)
    assert torch.equal(before.contact_logits_BTV, after.contact_logits_BTV)
    assert not set(train.clip_N.tolist()) & (set(val.clip_N.tolist()) | set(test.clip_N.tolist()))


def test_weights_are_the_best_on_validation_windows(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "NEIGHBOURS", (1, 4))
    train, val = part(clips, "train"), part(clips, "val")
    quick = Retrieval(train)
    error = {}
    for text in retrieval.TEXT_WEIGHTS:
        for image in retrieval.IMAGE_WEIGHTS:
            for neighbours in (1, 4):
                weights = Weights(text=text, image=image, neighbours=neighbours)
                score = evaluate(lambda truth, w=weights: quick.predict(truth, w), val, "object")
                error[weights] = score.means()["mpjpe_cm"]
    chosen = best_weights(quick, val)
    assert error[chosen] == pytest.approx(min(error.values()), abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "interpolate"}, {"protocol": "goal"}, {"without": "text"}, {"without": "contact"}],
)
def test_every_kind_of_window_can_be_scored(clips: Clips, changes: dict[str, str]) -> None:
    scores, weights = evaluate_retrieval(
        *(part(clips, p, **changes) for p in ("train", "val", "test")), "object"
    )
    assert weights.neighbours in NEIGHBOURS
    means = scores.means()
    assert 0 < means["mpjpe_cm"] < 30 and 0 <= means["contact_f1"] <= 1


def test_windows_that_do_not_know_their_camera_are_not_found(clips: Clips) -> None:
    train = part(clips, "train")
    known = clips.camera_known_F.clone()
    first = int(clips.offsets_C1[train.clip_N[0]])
    try:
        clips.camera_known_F[first + 9] = (
            False  # inside later windows of the first clip, not of its first two
        )
        quick = Retrieval(train)
        assert 2 not in quick.row_N.tolist() and {0, 1} <= set(quick.row_N.tolist())
        clips.camera_known_F[:] = False
        with pytest.raises(ValueError, match="no training window"):
            Retrieval(train)
    finally:
        clips.camera_known_F.copy_(known)


def test_a_data_set_without_images(clips: Clips, tmp_path: Path) -> None:
    images = clips.images_I
    try:
        object.__setattr__(clips, "images_I", images.new_zeros(0, 0, 0, 3))
        rows = clips.image_F.clone()
        clips.image_F[:] = -1
        scores, _ = evaluate_retrieval(*(part(clips, p) for p in ("train", "val", "test")), "object")
        assert scores.means()["mpjpe_cm"] > 0
    finally:
        object.__setattr__(clips, "images_I", images)
        clips.image_F.copy_(rows)
