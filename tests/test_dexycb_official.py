"""DexYCB's two layouts, written here from real motion and read back; the stand-in, as MANO files, takes MANO's place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
import yaml
from smplx.utils import Struct

from tests.foreign.dexycb import MASTER, NO_HAND, Official, write_dexycb_official, write_dexycb_pack
from tests.foreign.real_motion import real_fits, real_recordings
from trainables.clips import read_clips
from trainables.dexycb import import_dexycb, read_dexycb
from trainables.hand import load_hand
from trainables.mano_sides import NeedsMano


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    return write_dexycb_official(tmp_path_factory.mktemp("official"))


def test_official_layout_gives_the_joints_that_were_meant(official: Official) -> None:
    read = read_dexycb(official.source, mano_path=official.mano)
    assert not read.dropped and {recording.side for recording in read.recordings} == {"left", "right"}
    for recording in read.recordings:
        right = recording if recording.is_right else recording.mirrored()
        np.testing.assert_allclose(right.joints_m, official.joints_m[recording.name], atol=5e-6)


def test_official_poses_and_distances_are_the_real_ones(official: Official) -> None:
    """Object poses come back from the world frame; distances agree with those measured on the real joints."""
    real = {recording.name.split("/")[-1]: recording for recording in real_recordings()[0]}
    for recording in read_dexycb(official.source, mano_path=official.mano).recordings:
        (body,), (truth,) = recording.bodies, real[recording.name.split("/")[-1]].bodies
        np.testing.assert_allclose(body.rotation, truth.rotation[NO_HAND:], atol=1e-5)
        np.testing.assert_allclose(body.translation_m, truth.translation_m[NO_HAND:], atol=1e-5)
        measured = real[recording.name.split("/")[-1]].joint_distance_m
        assert recording.joint_distance_m is not None
        if measured is not None:  # the fitted joints are a few millimetres from the measured ones
            assert np.median(np.abs(recording.joint_distance_m - measured[NO_HAND:])) < 0.004


def test_official_files_mean_what_dexycbs_toolkit_reads(official: Official) -> None:
    """As dex_ycb_toolkit's SequenceLoader reads them: MANO with PCA and its mean pose, world frame, extrinsics inverted."""
    for name, meant in official.joints_m.items():
        folder = official.source / name
        meta = yaml.safe_load((folder / "meta.yml").read_text())
        side = meta["mano_sides"][0]
        betas = yaml.safe_load(
            (official.source / "calibration" / f"mano_{meta['mano_calib'][0]}" / "mano.yml").read_text()
        )["betas"]
        extrinsics = yaml.safe_load(
            (
                official.source / "calibration" / f"extrinsics_{meta['extrinsics']}" / "extrinsics.yml"
            ).read_text()
        )["extrinsics"]
        to_world = np.reshape(extrinsics[MASTER], (3, 4))
        pose_m = np.load(folder / "pose.npz")["pose_m"][NO_HAND:, 0]
        arrays = dict(np.load(official.mano / f"MANO_{side.upper()}.npz"))
        model = smplx.MANO(
            "", data_struct=Struct(**arrays), is_rhand=side == "right", use_pca=True, num_pca_comps=45,
            flat_hand_mean=False, batch_size=len(pose_m),
        )  # fmt: skip
        rows = torch.from_numpy(pose_m)
        shape = torch.tensor(betas, dtype=torch.float32).expand(len(pose_m), -1)
        out = model(betas=shape, global_orient=rows[:, :3], hand_pose=rows[:, 3:48], transl=rows[:, 48:])
        wrist = (out.joints[:, 0].detach().numpy() - to_world[:, 3]) @ to_world[:, :3]
        wrist = wrist if side == "right" else wrist * [-1, 1, 1]
        np.testing.assert_allclose(wrist, meant[:, 0], atol=5e-6)


def test_official_layout_imports_with_mano(official: Official, tmp_path: Path) -> None:
    report = import_dexycb(
        official.source, tmp_path / "clips", mano_path=official.mano, workers=1, show_progress=False
    )
    clips = read_clips(tmp_path / "clips")
    assert clips.hand == load_hand(official.mano / "MANO_RIGHT.npz").name
    assert report["clips"] == len(official.joints_m) and not report["dropped"] and report["mirrored"] == 1
    assert report["inverse_kinematics"]["joint_error_mm"]["median"] < 2
    fits = {fitted.clip.clip_id.split("/")[-1]: fitted for fitted in real_fits()}
    for row, name in enumerate(clips.clip_ids):
        frames = slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))
        np.testing.assert_allclose(clips.joints_FJ3[frames], official.joints_m[name], atol=1e-5)
        ours, theirs = clips.contact_FV[frames].bool().numpy(), fits[name.split("/")[-1]].clip.contact_bits
        assert (ours == theirs[NO_HAND:]).mean() > 0.98


def test_the_pack_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = write_dexycb_pack(tmp_path)
    recordings = {recording.name: recording for recording in real_recordings()[0]}
    report = import_dexycb(folder, tmp_path / "clips", workers=1, show_progress=False)
    clips = read_clips(tmp_path / "clips")
    assert len(clips) == len(recordings) == report["clips"] and not report["dropped"]
    assert report["inverse_kinematics"]["joint_error_mm"]["median"] < 5
    for row, name in enumerate(clips.clip_ids):
        real = recordings[name] if recordings[name].is_right else recordings[name].mirrored()
        frames = slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))
        np.testing.assert_array_equal(clips.joints_FJ3[frames], real.joints_m[NO_HAND:].astype(np.float32))


def test_official_layout_without_mano_says_what_is_needed(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MANO_PATH", raising=False)
    with pytest.raises(NeedsMano, match="set MANO_PATH to the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl"):
        read_dexycb(official.source)
    with pytest.raises(NeedsMano, match="right hands need MANO"):
        read_dexycb(official.source, mano_path=tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(official.source, broken)
    (next(broken.glob("calibration/extrinsics_*")) / "extrinsics.yml").unlink()
    read = read_dexycb(broken, mano_path=official.mano)
    assert not read.recordings and len(read.dropped) == len(official.joints_m)
    assert all("extrinsics.yml: is missing" in reason for reason in read.dropped.values())
