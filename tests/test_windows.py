"""Windows: which there are, what a batch holds, and that nothing of the future enters the inputs."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from made_up_clips import random_clip, with_other_frames, write

from trainables.clips import Clips, ClipsError, read_clips
from trainables.windows import Batch, Inputs, Protocol, Windows

LENGTH = 10


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    rows = [random_clip(f"clip-{i}", (9, 10, 31, 25)[i % 4], seed=i) for i in range(16)]
    return read_clips(str(write(tmp_path_factory.mktemp("windows") / "data", rows)))


def everything(clips: Clips) -> torch.Tensor:
    return torch.arange(len(clips))


def test_every_window_is_there_once(clips: Clips) -> None:
    windows = Windows(clips, everything(clips), length=LENGTH)
    batch = windows.gather(torch.arange(len(windows)))
    found = list(zip(batch.clip_B.tolist(), batch.start_B.tolist(), strict=True))
    expected = [(c, s) for c in range(16) for s in range((9, 10, 31, 25)[c % 4] - LENGTH + 1)]
    assert found == expected
    some = Windows(clips, torch.tensor([6, 2]), length=LENGTH, stride=4)
    assert list(zip(some.clip_N.tolist(), some.start_N.tolist(), strict=True)) == [
        (c, s) for c in (6, 2) for s in (0, 4, 8, 12, 16, 20)
    ]


def test_a_batch_holds_what_a_slow_reading_finds(clips: Clips) -> None:
    windows = Windows(clips, everything(clips), length=LENGTH)
    index = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    batch = windows.gather(index)
    for b in range(0, len(index), 7):
        clip, start = int(batch.clip_B[b]), int(batch.start_B[b])
        first = int(clips.offsets_C1[clip]) + start
        assert batch.text_B[b] == clips.text_F[first]
        image = int(clips.image_F[first])
        assert bool(batch.image_known_BS[b, 0]) == (image >= 0)
        picture = clips.images_I[image] if image >= 0 else torch.zeros_like(clips.images_I[0])
        assert torch.equal(batch.image_BSX[b, 0], picture)
        assert torch.equal(batch.betas_BT10[b], clips.betas_C10[clip].expand(LENGTH, 10))
        for t in range(LENGTH):
            f = first + t
            assert torch.equal(batch.global_orient_BT3[b, t], clips.global_orient_F3[f])
            assert torch.equal(batch.hand_pose_BT45[b, t], clips.hand_pose_F45[f])
            assert torch.equal(batch.transl_BT3[b, t], clips.transl_F3[f])
            assert torch.equal(batch.joints_BTJ3[b, t], clips.joints_FJ3[f])
            assert torch.equal(batch.contact_BTV[b, t], clips.contact_FV[f].float())
            assert batch.contact_known_BT[b, t] == clips.contact_known_F[f]
            known = bool(clips.camera_known_F[first] and clips.camera_known_F[f])
            assert bool(batch.camera_known_BT[b, t]) == known
            if not known:
                assert torch.equal(batch.camera_rot_BT33[b, t], torch.eye(3))
                assert torch.equal(batch.camera_transl_BT3[b, t], torch.zeros(3))
                continue
            move = matrix(clips, first).inverse() @ matrix(clips, f)
            torch.testing.assert_close(batch.camera_rot_BT33[b, t], move[:3, :3], atol=1e-6, rtol=0)
            torch.testing.assert_close(batch.camera_transl_BT3[b, t], move[:3, 3], atol=1e-6, rtol=0)
            joints = (move[:3, :3] @ clips.joints_FJ3[f].T).T + move[:3, 3]
            torch.testing.assert_close(batch.joints_ref_BTJ3[b, t], joints, atol=1e-6, rtol=0)
    assert len(batch) == len(index) and batch.texts == clips.texts


def matrix(clips: Clips, frame: int) -> torch.Tensor:
    """(4, 4): the frame's camera -> its clip's first camera."""
    move = torch.eye(4)
    move[:3, :3], move[:3, 3] = clips.camera_rot_F33[frame], clips.camera_transl_F3[frame]
    return move


@pytest.mark.parametrize("protocol", ["first", "goal"])
def test_contact_point_of_each_protocol(clips: Clips, protocol: Protocol) -> None:
    windows = Windows(clips, everything(clips), length=LENGTH, protocol=protocol)
    batch = windows.gather(torch.arange(len(windows)))
    later = 0
    for b in range(len(windows)):
        first = int(clips.offsets_C1[batch.clip_B[b]]) + int(batch.start_B[b])
        last = first + (LENGTH if protocol == "goal" else 1)
        touching = [f for f in range(first, last) if clips.point_known_F[f]]
        seen = clips.camera_known_F
        if not touching or (touching[0] > first and not (seen[first] and seen[touching[0]])):
            assert not batch.point_known_B[b] and torch.equal(batch.point_B3[b], torch.zeros(3))
            continue
        move = matrix(clips, first).inverse() @ matrix(clips, touching[0])
        point = move[:3, :3] @ clips.point_F3[touching[0]] + move[:3, 3]
        assert batch.point_known_B[b]
        torch.testing.assert_close(batch.point_B3[b], point, atol=1e-6, rtol=0)
        later += touching[0] > first
    assert (later > 10) == (protocol == "goal")


def with_another_future(clips: Clips, clip: int, start: int) -> Clips:
    """Everything after frame `start` of one clip replaced: motion, contact, camera, texts and images."""
    rows = slice(int(clips.offsets_C1[clip]) + start + 1, int(clips.offsets_C1[clip + 1]))
    changed = with_other_frames(clips, rows)
    seen = clips.image_F[rows.start - 1]
    own = clips.image_F[rows].unique()
    changed.images_I[own[own > seen]] += 100
    changed.image_F[rows] = torch.where(
        changed.image_F[rows] > seen, changed.image_F[rows], len(clips.images_I) - 1
    )
    return changed


@pytest.mark.parametrize("protocol", ["first", "goal"])
def test_the_future_does_not_enter_the_inputs(clips: Clips, protocol: Protocol) -> None:
    moved = 0
    for clip, start in [(2, 0), (2, 3), (2, 7), (2, 12), (3, 5), (3, 8), (3, 12), (6, 21), (10, 2)]:
        before, after = (
            window(Windows(data, torch.tensor([clip]), length=LENGTH, protocol=protocol), start)
            for data in (clips, with_another_future(clips, clip, start))
        )
        assert not torch.equal(before.joints_BTJ3, after.joints_BTJ3)
        assert not torch.equal(before.contact_BTV, after.contact_BTV)
        declared = {"point_BS3", "point_known_BS"} if protocol == "goal" else set()
        for name in {field.name for field in fields(Inputs)} - declared:
            assert same(getattr(before, name), getattr(after, name)), (name, clip, start)
        moved += not torch.equal(before.point_B3, after.point_B3)
    assert (moved > 0) == (protocol == "goal")


def test_the_future_image_and_text_are_of_the_future_only(clips: Clips) -> None:
    """The change made by the test above would be seen, were the inputs taken one frame later."""
    clip, start = 2, 14  # a text and an image begin in frame 15
    changed = with_another_future(clips, clip, start)
    before, after = (
        window(Windows(data, torch.tensor([clip]), length=LENGTH), start + 1) for data in (clips, changed)
    )
    for name in ("text_B", "image_BSX"):
        assert not torch.equal(getattr(before, name), getattr(after, name)), name


def same(one: torch.Tensor | list[str] | None, other: torch.Tensor | list[str] | None) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def window(windows: Windows, start: int) -> Batch:
    return windows.gather(torch.tensor([start]))


def test_windows_that_cannot_be_are_refused(clips: Clips) -> None:
    with pytest.raises(
        ClipsError, match="none of these 16 clips of 'made_up' is long enough for a window of 32 .*has 31"
    ):
        Windows(clips, everything(clips), length=32)
    with pytest.raises(ClipsError, match="unknown contact protocol 'last'; there are first, goal"):
        Windows(clips, everything(clips), protocol="last")  # type: ignore[arg-type]
    with pytest.raises(ClipsError, match="unknown mode 'none'; there are forecast, interpolate"):
        Windows(clips, everything(clips), mode="none")  # type: ignore[arg-type]
    with pytest.raises(ClipsError, match="unknown hidden input 'none'; there are text, image, contact"):
        Windows(clips, everything(clips), hidden="none")
    with pytest.raises(ClipsError, match="at least 1"):
        Windows(clips, everything(clips), stride=0)


def test_a_data_set_without_images(tmp_path: Path) -> None:
    rows = [replace(random_clip(f"clip-{i}", seed=i), image_frame=(), image_png=()) for i in range(8)]
    clips = read_clips(str(write(tmp_path / "data", rows)))
    batch = window(Windows(clips, torch.tensor([0]), length=LENGTH), 5)
    assert (
        not batch.image_known_BS.any()
        and batch.image_BSX.shape == (1, 1, 64, 64, 3)
        and not batch.image_BSX.any()
    )
