"""Hand-free images: written, read back, resampled without a look ahead, drawn by the world, absent from older data."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from made_up_clips import random_clip, some_clips, write

from trainables.clip_format import SCHEMA_VERSION
from trainables.clip_table import SCHEMA_1
from trainables.clips import Clip, ClipsError, encode_png, read_clips, read_manifest
from trainables.prepare import main
from trainables.windows import Windows
from trainables.world import make_world


def picture(value: int, side: int = 8) -> bytes:
    return encode_png(np.full((side, side, 3), value, dtype=np.uint8))


def clips_with(frames: tuple[int, ...], count: int = 16) -> list[Clip]:
    return [
        replace(clip, hand_free_frame=frames, hand_free_png=[picture(10 * i + k) for k in range(len(frames))])
        for i, clip in enumerate(some_clips(count))
    ]


def test_hand_free_images_come_back_with_the_frames_they_hold_from(tmp_path: Path) -> None:
    written = clips_with((0, 9))
    written[3] = replace(written[3], hand_free_frame=(), hand_free_png=())
    clips = read_clips(write(tmp_path / "data", written))
    assert clips.manifest["schema"] == SCHEMA_VERSION and clips.manifest["counts"]["hand_free_images"] == 30
    assert clips.hand_free_I.shape == (30, 8, 8, 3) and clips.hand_free_I.dtype == torch.uint8
    for c, clip in enumerate(written):
        held_F = clips.hand_free_F[clips.offsets_C1[c] : clips.offsets_C1[c + 1]]
        if c == 3:
            assert (held_F == -1).all()
            continue
        values = clips.hand_free_I[held_F, 0, 0, 0].tolist()
        assert values == [10 * c] * 9 + [10 * c + 1] * (clip.frames - 9)


def test_a_data_set_without_them_has_none(tmp_path: Path) -> None:
    clips = read_clips(write(tmp_path / "data", some_clips()))
    assert clips.hand_free_I.shape == (0, 8, 8, 3) and (clips.hand_free_F == -1).all()
    assert clips.manifest["counts"]["hand_free_images"] == 0


def as_schema_1(folder: Path) -> None:
    """Rewrite a data set as the version before hand-free images wrote it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        file = folder / shard["file"]
        pq.write_table(pq.read_table(file).select(SCHEMA_1.names), file)
        shard["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["schema"] = 1
    del manifest["counts"]["hand_free_images"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_data_set_of_schema_1_is_read_and_is_the_same_data_set(tmp_path: Path) -> None:
    now = read_clips(write(tmp_path / "data", some_clips()))
    as_schema_1(tmp_path / "data")
    old = read_clips(tmp_path / "data")
    assert old.manifest["schema"] == 1
    for name, tensor in vars(now).items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, getattr(old, name)), name
    before = (tmp_path / "data" / "manifest.json").read_bytes()
    write(tmp_path / "data", some_clips())  # preparing it again must not ask for its deletion
    assert (tmp_path / "data" / "manifest.json").read_bytes() == before
    with pytest.raises(ClipsError, match="source is .*choose another DEST"):
        write(tmp_path / "data", some_clips(), source={"seed": 1})


def test_resampling_takes_the_latest_and_never_a_later_one(tmp_path: Path) -> None:
    slow = random_clip(
        "slow", 20, seed=1, fps=20.0
    )  # frame j at 30 fps is the moment of recorded frame j * 2 / 3
    slow = replace(slow, hand_free_frame=(3, 9), hand_free_png=[picture(1), picture(2)])
    clips = read_clips(write(tmp_path / "data", [*some_clips(), slow]))
    held = clips.hand_free_F[clips.offsets_C1[-2] :]
    for j, row in enumerate(held.tolist()):
        moment = j * 2 / 3 + 1e-6
        expected = -1 if moment < 3 else (1 if moment < 9 else 2)
        assert (int(clips.hand_free_I[row, 0, 0, 0]) if row >= 0 else -1) == expected, j


@pytest.mark.parametrize(
    ("frames", "pngs", "says"),
    [
        ((1, 2), [b""], "field hand_free_png: needs one entry for each entry of hand_free_frame"),
        ((5, 5), [b"", b""], "field hand_free_frame: must rise and lie inside the clip"),
        ((99,), [b""], "field hand_free_frame: must rise and lie inside the clip"),
        ((1,), [b"no picture"], "field hand_free_png: holds something that is no picture"),
        ((1,), [picture(1, side=9)], "field hand_free_png: its pictures are .*give both one size"),
    ],
)
def test_wrong_ones_are_refused(tmp_path: Path, frames: tuple, pngs: list[bytes], says: str) -> None:
    wrong = random_clip("wrong", hand_free_frame=frames, hand_free_png=pngs)
    with pytest.raises(ClipsError, match=says):
        write(tmp_path / "data", [*some_clips(15), wrong])
    assert list(tmp_path.iterdir()) == []


def test_a_window_shows_them_and_falls_back_to_the_original(tmp_path: Path) -> None:
    clips = read_clips(write(tmp_path / "data", clips_with((9,))))
    both = [Windows(clips, torch.tensor([2]), length=10, hand_free=free) for free in (False, True)]
    plain, free = (windows.gather(torch.arange(len(windows))) for windows in both)
    # Image frames of this clip are 3 and 21, its only hand-free image is of frame 9.
    assert (
        free.image_known_BS[:, 0].tolist() == plain.image_known_BS[:, 0].tolist() == [False] * 3 + [True] * 30
    )
    assert torch.equal(free.image_BSX[3:9], plain.image_BSX[3:9])
    assert (free.image_BSX[9:] == 20).all() and not (plain.image_BSX[9:] == 20).all()


def test_the_world_draws_the_same_scene_without_the_hand(tmp_path: Path) -> None:
    make_world(tmp_path / "plain", clips=4, seed=3)
    make_world(tmp_path / "free", clips=4, seed=3, hand_free=True)
    plain, free = read_clips(tmp_path / "plain"), read_clips(tmp_path / "free")
    assert len(plain.hand_free_I) == 0 and plain.digest != free.digest
    assert torch.equal(plain.images_I, free.images_I) and torch.equal(plain.joints_FJ3, free.joints_FJ3)
    assert free.hand_free_I.shape == free.images_I.shape and torch.equal(free.hand_free_F, free.image_F)
    changed_I = (free.hand_free_I != free.images_I).any(-1).float().mean((1, 2))
    assert (changed_I > 0.01).float().mean() > 0.9  # the hand was in nearly every picture
    assert changed_I.max() < 0.6  # and what was around it stays as it was


def test_the_command_makes_them_when_asked(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["world", str(tmp_path / "a"), "--clips", "3", "--hand-free"])
    assert result.exit_code == 0, result.output
    images = read_manifest(tmp_path / "a")["counts"]["images"]
    assert f"{images} images and {images} without the hand" in result.output
    result = CliRunner().invoke(main, ["world", str(tmp_path / "a"), "--clips", "3"])
    assert result.exit_code == 1 and "choose another DEST" in result.output
