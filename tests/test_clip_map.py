"""One copy of a data set a node: mapped, shared, verified, rebuilt where it is not whole."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made_up_clips import SETTINGS, random_clip, some_clips
from trainables import clip_writer
from trainables.clip_assembly import assemble
from trainables.clip_folder import open_folder
from trainables.clip_reader import read_clips, shard_tables
from trainables.clip_set import Clips
from trainables.clips import ClipsError, write_clips

TENSORS = [field.name for field in fields(Clips) if field.type == "Tensor"]


def write(dest: Path, clips: list, **options: object) -> Path:
    with write_clips(dest, name="made_up", hand="standin-1", source={}, **options) as writer:  # type: ignore[arg-type]
        for clip in clips:
            writer.add(clip)
        writer.settings = SETTINGS
    return dest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clips"


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 clips in eight shards, at three frame rates, texts in no order, pictures and features in some."""
    monkeypatch.setattr(clip_writer, "CLIPS_PER_SHARD", 4)
    rng = np.random.default_rng(0)
    clips = []
    for i, clip in enumerate(some_clips(30)):
        changes: dict[str, object] = {"fps": (30.0, 24.0, 17.4)[i % 3]}
        changes["text"] = (f"text {rng.integers(20)}", f"text {rng.integers(20, 40)}")
        changes["text_feature"] = np.float32([[int(text[5:])] * 3 for text in changes["text"]])  # type: ignore[attr-defined]
        if i % 3 == 1:
            changes |= {"image_frame": (), "image_png": ()}
        else:
            changes["image_feature"] = rng.normal(size=(2, 5)).astype(np.float32)
        clips.append(random_clip(clip.clip_id, 40 + i, seed=i, **changes))
    return write(tmp_path / "many", clips)


def test_shard_by_shard_gives_what_one_assembly_gives(many: Path, cache: Path) -> None:
    clips = read_clips(many)
    whole = assemble(list(shard_tables(open_folder(many), clips.manifest)), clips.manifest, "here")
    assert (clips.clip_ids, clips.groups, clips.texts) == (whole.clip_ids, whole.groups, whole.texts)
    for name in TENSORS:
        ours, theirs = getattr(clips, name), getattr(whole, name)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), name
    assert len(clips.manifest["shards"]) == 8 and len(clips.images_I) == len(clips.image_IF) == 40
    numbers = torch.tensor([float(text[5:]) for text in clips.texts])
    assert torch.equal(clips.text_XF, numbers[:, None].expand(-1, 3))


def test_the_second_reader_fetches_nothing(many: Path, cache: Path) -> None:
    first = read_clips(many)
    for shard in many.glob("*.parquet"):
        shard.unlink()
    assert torch.equal(read_clips(many).joints_FJ3, first.joints_FJ3)
    assert [path.name[:1] for path in cache.iterdir() if path.is_dir()] != ["."]


def test_what_one_process_writes_the_others_do_not_see(many: Path, cache: Path) -> None:
    clips = read_clips(many)
    clips.joints_FJ3.zero_()
    assert read_clips(many).joints_FJ3.any()


@pytest.mark.parametrize("damage", ["truncated", "gone", "index"])
def test_a_copy_that_is_not_whole_is_made_again(many: Path, cache: Path, damage: str) -> None:
    before = read_clips(many).hand_pose_F45.clone()
    (place,) = (path for path in cache.iterdir() if path.is_dir())
    if damage == "truncated":
        with (place / "hand_pose_F45").open("r+b") as file:
            file.truncate(100)
    elif damage == "gone":
        (place / "contact_FX").unlink()
    else:
        (place / "index.json").write_text("{")
    assert torch.equal(read_clips(many).hand_pose_F45, before)


def test_a_cache_that_cannot_be_written_costs_a_warning(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert len(read_clips(many)) == 30
    assert "set LATENTACT_CACHE" in caplog.text


def test_copies_that_nobody_opens_are_forgotten(many: Path, cache: Path, tmp_path: Path) -> None:
    read_clips(many)
    (old,) = (path for path in cache.iterdir() if path.is_dir())
    read_clips(write(tmp_path / "second", some_clips(20)))
    assert old.is_dir()
    long_ago = time.time() - 31 * 86_400
    os.utime(old / "index.json", (long_ago, long_ago))
    clips = read_clips(many)  # opened again: a month begins
    read_clips(write(tmp_path / "third", some_clips(21)))
    assert old.is_dir()
    os.utime(old / "index.json", (long_ago, long_ago))
    read_clips(write(tmp_path / "fourth", some_clips(22)))
    assert not old.exists() and bool(clips.joints_FJ3.any())  # what is mapped stays readable


def _read(path: str) -> float:
    return float(read_clips(path).joints_FJ3.double().sum())


def test_processes_that_start_at_once_make_one_copy(many: Path, cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.map(_read, [str(many)] * 3)
    assert len(set(sums)) == 1 and sum(path.is_dir() for path in cache.iterdir()) == 1


def test_a_group_in_two_parts_is_found_when_a_data_set_is_opened(many: Path, cache: Path) -> None:
    manifest = many / "manifest.json"
    overlapping = manifest.read_text().replace('"pot"\n', '"pot", "ball"\n')
    assert overlapping != manifest.read_text()
    manifest.write_text(overlapping)
    with pytest.raises(ClipsError, match="group 'ball' lies in two parts"):
        read_clips(many)
    shutil.rmtree(cache)
