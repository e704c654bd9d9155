"""Which frames a network is given: the first, the first and last, or all; with pixels or features, with or without hands."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from made_up_clips import random_clip, with_other_frames, write
from torch import Tensor

from trainables.clips import Clips, encode_png, read_clips
from trainables.frozen_encoders import FeatureTables
from trainables.shown_window import first_picture
from trainables.windows import HIDEABLE, Batch, Inputs, Windows

LENGTH = 10
LAST = LENGTH - 1
INPUT_FIELDS = [field.name for field in fields(Inputs)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Camera unknown in frame 7, images from frames 3 and n / 2 on, hand-free ones in every third clip from frame 9 on."""
    rows = []
    for i in range(16):
        picture = encode_png(torch.full((8, 8, 3), 10 * i, dtype=torch.uint8).numpy())
        free = {"hand_free_frame": (9,), "hand_free_png": [picture]} if i % 3 == 0 else {}
        rows.append(random_clip(f"clip-{i}", (10, 31, 25)[i % 3], seed=i, **free))
    return read_clips(str(write(tmp_path_factory.mktemp("given") / "data", rows)))


def everything(clips: Clips) -> Tensor:
    return torch.arange(len(clips))


def gathered(clips: Clips, *, every: bool = False, **options: object) -> Batch:
    windows = Windows(clips, everything(clips), length=LENGTH, **options)  # type: ignore[arg-type]
    windows = windows.with_every_frame_given() if every else windows
    return windows.gather(torch.arange(len(windows)))


def to_first_camera(clips: Clips, first: int, frame: int) -> tuple[Tensor, bool]:
    """A frame's contact point in the camera of frame `first`, and whether it is known there."""
    seen = clips.camera_known_F
    known = bool(clips.point_known_F[frame] and (frame == first or (seen[first] and seen[frame])))
    in_clip = clips.camera_rot_F33[frame] @ clips.point_F3[frame] + clips.camera_transl_F3[frame]
    point = clips.camera_rot_F33[first].T @ (in_clip - clips.camera_transl_F3[first])
    return (clips.point_F3[frame] if frame == first else point), known


@pytest.mark.parametrize("given", [[0], [0, LAST], list(range(LENGTH))], ids=["first", "both", "every"])
def test_inputs_hold_image_and_contact_point_of_each_given_frame(clips: Clips, given: list[int]) -> None:
    batch = gathered(clips, mode="interpolate" if len(given) == 2 else "forecast", every=len(given) > 2)
    assert batch.point_BS3.shape[1] == batch.image_BSX.shape[1] == len(given)
    found = {"known": 0, "camera unknown": 0, "no point": 0}
    for b in range(len(batch)):
        first = int(clips.offsets_C1[batch.clip_B[b]]) + int(batch.start_B[b])
        for s, t in enumerate(given):
            frame = first + t
            image = int(clips.image_F[frame])
            assert bool(batch.image_known_BS[b, s]) == (image >= 0)
            pixels = clips.images_I[image] if image >= 0 else torch.zeros_like(clips.images_I[0])
            assert torch.equal(batch.image_BSX[b, s], pixels)
            point, known = to_first_camera(clips, first, frame)
            assert bool(batch.point_known_BS[b, s]) == known
            expected = point if known else torch.zeros(3)
            torch.testing.assert_close(batch.point_BS3[b, s], expected, atol=1e-6, rtol=0)
            camera_hides = bool(clips.point_known_F[frame]) and not known
            found["known" if known else "camera unknown" if camera_hides else "no point"] += 1
    assert found["known"] > 50 and found["no point"] > 10
    assert (found["camera unknown"] > 0) == (len(given) > 1)


def test_the_last_image_is_the_latest_at_or_before_the_last_frame(clips: Clips) -> None:
    batch = gathered(clips, mode="interpolate")
    longer = torch.tensor([(10, 31, 25)[c % 3] == 31 for c in batch.clip_B.tolist()])
    last_B = batch.start_B + LAST
    seen = {}
    for b in torch.nonzero(longer)[:, 0].tolist():
        last, clip = int(last_B[b]), int(batch.clip_B[b])
        own = clips.image_F[int(clips.offsets_C1[clip]) :][:31].unique()
        own = own[own >= 0].tolist()  # of frames 3 and 15
        wanted = None if last < 3 else own[0] if last < 15 else own[1]
        assert wanted is not None and torch.equal(batch.image_BSX[b, 1], clips.images_I[wanted])
        seen[wanted == own[1]] = True
    assert seen == {False: True, True: True}


def with_another_middle(clips: Clips, clip: int, start: int) -> Clips:
    """Everything strictly between first and last frame of one window replaced, but which images there are."""
    first = int(clips.offsets_C1[clip]) + start
    rows = slice(first + 1, first + LAST)
    changed = with_other_frames(clips, rows)
    # Images that begin in between and are over before the last frame do not exist here: a clip has two, far apart.
    changed.image_F[rows] = len(clips.images_I) - 1
    changed.hand_free_F[rows] = len(clips.hand_free_I) - 1
    return changed


@pytest.mark.parametrize("hand_free", [False, True])
def test_what_lies_between_first_and_last_does_not_enter_the_inputs(clips: Clips, hand_free: bool) -> None:
    points = cameras = 0
    for clip, start in [(0, 0), (1, 0), (1, 7), (1, 12), (4, 5), (4, 8), (2, 12), (5, 15), (10, 2)]:
        row = torch.tensor([start])
        one = torch.tensor([clip])
        both = [
            Windows(data, one, length=LENGTH, mode="interpolate", hand_free=hand_free).gather(row)
            for data in (clips, with_another_middle(clips, clip, start))
        ]
        for name in ("joints_BTJ3", "transl_BT3", "contact_BTV", "contact_known_BT"):
            assert not torch.equal(getattr(both[0], name), getattr(both[1], name)), name
        cameras += not torch.equal(both[0].camera_rot_BT33, both[1].camera_rot_BT33)
        for name in INPUT_FIELDS:
            assert same(*(getattr(batch, name) for batch in both)), (name, clip, start)
        points += int(both[0].point_known_BS[0, 1])
    assert points >= 3 and cameras >= 6


def test_the_middle_would_be_seen_were_it_given(clips: Clips) -> None:
    """The test above can fail: with every frame given, what it changes is seen."""
    changed = with_another_middle(clips, 1, 0)
    windows = [
        Windows(c, torch.tensor([1]), length=LENGTH).with_every_frame_given() for c in (clips, changed)
    ]
    before, after = (w.gather(torch.tensor([0])) for w in windows)
    for name in ("image_BSX", "point_BS3", "point_known_BS"):
        assert not same(getattr(before, name), getattr(after, name)), name


@pytest.mark.parametrize("protocol", ["first", "goal"])
@pytest.mark.parametrize("mode", ["forecast", "interpolate"])
def test_with_every_frame_given_the_same_motion_is_measured_from_the_same_point(
    clips: Clips, protocol: str, mode: str
) -> None:
    """Or the codebook would be trained on other motion vectors than its codes are then taken from."""
    plain, every = (gathered(clips, protocol=protocol, mode=mode, every=e) for e in (False, True))
    for field in fields(Batch):
        if field.name not in ("image_BSX", "image_known_BS", "point_BS3", "point_known_BS"):
            assert same(getattr(plain, field.name), getattr(every, field.name)), field.name
    assert torch.equal(plain.point_B3, every.point_B3)
    assert torch.equal(plain.point_known_B, every.point_known_B)
    assert torch.equal(gathered(clips, every=True).point_BS3[:, 1:], every.point_BS3[:, 1:])


def same(one: Tensor | list[str] | None, other: Tensor | list[str] | None) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.mark.parametrize("protocol", ["first", "goal"])
@pytest.mark.parametrize("hidden", HIDEABLE)
def test_a_hidden_input_is_unknown_and_the_others_are_as_they_were(
    clips: Clips, hidden: str, protocol: str
) -> None:
    plain = gathered(clips, mode="interpolate", protocol=protocol)
    without = gathered(clips, mode="interpolate", protocol=protocol, hidden=hidden)
    flag, content = {
        "text": ("text_known_B", None),
        "image": ("image_known_BS", "image_BSX"),
        "contact": ("point_known_BS", "point_BS3"),
    }[hidden]
    assert getattr(plain, flag).any() and not getattr(without, flag).any()
    if content:
        assert getattr(plain, content).any() and not getattr(without, content).any()
    for field in fields(Batch):  # the targets too
        if field.name not in (flag, content):
            assert same(getattr(plain, field.name), getattr(without, field.name)), field.name


def tables(clips: Clips, *, image: bool, text: bool, hand_free: bool = False) -> FeatureTables:
    generator = torch.Generator().manual_seed(0)
    images = len(clips.images_I) + (len(clips.hand_free_I) if hand_free else 0)
    return FeatureTables(
        image_IF=torch.randn(images, 5, generator=generator) if image else None,
        text_XF=torch.randn(len(clips.texts), 7, generator=generator) if text else None,
        digests={},
    )


@pytest.mark.parametrize(("image", "text"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("hand_free", [False, True])
def test_features_stand_in_place_of_pixels_and_words(
    clips: Clips, image: bool, text: bool, hand_free: bool
) -> None:
    features = tables(clips, image=image, text=text, hand_free=hand_free)
    options = {"mode": "interpolate", "hand_free": hand_free}
    pixels, batch = gathered(clips, **options), gathered(clips, features=features, **options)
    assert torch.equal(pixels.image_known_BS, batch.image_known_BS)
    if not image:
        assert torch.equal(batch.image_BSX, pixels.image_BSX)
    else:
        table = clips.images_I if not hand_free else torch.cat([clips.images_I, clips.hand_free_I])
        assert batch.image_BSX.shape == (len(batch), 2, 5)
        for b in range(0, len(batch), 5):
            for s in range(2):
                if not batch.image_known_BS[b, s]:
                    assert not batch.image_BSX[b, s].any()
                    continue
                rows = [i for i, picture in enumerate(table) if torch.equal(picture, pixels.image_BSX[b, s])]
                assert any(torch.equal(batch.image_BSX[b, s], features.image_IF[i]) for i in rows)
    if text:
        assert (
            torch.equal(batch.text_BF, features.text_XF[batch.text_B]) and batch.text_B.unique().numel() > 1
        )
    else:
        assert batch.text_BF is None


@pytest.mark.parametrize("every", [False, True])
def test_hand_free_images_are_shown_where_there_are_such_and_else_the_original(
    clips: Clips, every: bool
) -> None:
    plain, free = (gathered(clips, mode="interpolate", hand_free=f, every=every) for f in (False, True))
    given = list(range(LENGTH)) if every else [0, LAST]
    counts = {True: 0, False: 0}
    for b in range(len(free)):
        clip = int(free.clip_B[b])
        for s, t in enumerate(given):
            has = clip % 3 == 0 and int(free.start_B[b]) + t >= 9
            expected = torch.full((8, 8, 3), 10 * clip, dtype=torch.uint8) if has else plain.image_BSX[b, s]
            assert torch.equal(free.image_BSX[b, s], expected)
            assert bool(free.image_known_BS[b, s]) == (has or bool(plain.image_known_BS[b, s]))
            counts[has] += 1
    assert min(counts.values()) > 5


@pytest.mark.parametrize(
    "options", [{}, {"hand_free": True}, {"hidden": "image"}], ids=["plain", "free", "none"]
)
def test_the_picture_beside_a_window_is_the_one_that_the_model_sees(
    clips: Clips, options: dict[str, Any]
) -> None:
    windows = Windows(clips, everything(clips), length=1, **options)
    batch = windows.gather(torch.arange(len(windows)))
    for b in range(len(batch)):
        picture = first_picture(windows, int(batch.clip_B[b]), int(batch.start_B[b]))
        assert (picture is not None) == bool(batch.image_known_BS[b, 0])
        assert picture is None or np.array_equal(picture, batch.image_BSX[b, 0])
