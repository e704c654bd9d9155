"""The official DexYCB layout, on a folder written here; the stand-in, as MANO files, takes MANO's place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from trainables.clips import read_clips
from trainables.dexycb import import_dexycb, read_dexycb
from trainables.dexycb_recording import DexYCBError
from trainables.hand import Hand, load_hand
from trainables.signed_distance import MIRROR_X
from trainables.standin_hand import standin_arrays

CUBE_OBJ = """
v -0.025 -0.025 -0.025
v -0.025 -0.025 0.025
v -0.025 0.025 -0.025
v -0.025 0.025 0.025
v 0.025 -0.025 -0.025
v 0.025 -0.025 0.025
v 0.025 0.025 -0.025
v 0.025 0.025 0.025
f 1 2 4
f 1 4 3
f 5 7 8
f 5 8 6
f 1 5 6
f 1 6 2
f 3 4 8
f 3 8 7
f 1 3 7
f 1 7 5
f 2 6 8
f 2 8 4
"""


def _left(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return arrays | {
        "v_template": arrays["v_template"] @ MIRROR_X,
        "shapedirs": np.einsum("ij,vjk->vik", MIRROR_X, arrays["shapedirs"]),
        "f": arrays["f"][:, ::-1].copy(),
    }


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, torch.Tensor]:
    """A right hand, and the same scene in a mirror with a left one; and the joints that were meant."""
    root, mano = tmp_path_factory.mktemp("official"), tmp_path_factory.mktemp("mano")
    rng = np.random.default_rng(0)
    basis = Rotation.random(15, random_state=2).as_matrix()  # stands for MANO's PCA basis
    components = np.zeros((45, 45))
    for joint in range(15):
        components[3 * joint : 3 * joint + 3, 3 * joint : 3 * joint + 3] = basis[joint]
    mean = 0.05 * rng.normal(size=45)
    arrays = standin_arrays() | {"hands_components": components, "hands_mean": mean}
    np.savez(mano / "MANO_RIGHT.npz", **arrays)
    np.savez(mano / "MANO_LEFT.npz", **_left(arrays))

    frames, hand = 50, Hand(arrays, "mano")
    bend = torch.linspace(0.1, 0.8, frames)[:, None] * torch.tensor([1.0, 0.0, 0.0]).repeat(15)
    pose = hand.pose_from_angles(bend)
    orient = torch.tensor([0.3, -0.4, 0.2]).expand(frames, 3)
    transl = torch.stack(
        [torch.linspace(-0.1, 0.0, frames), torch.zeros(frames), torch.full((frames,), 0.7)], 1
    )
    betas = torch.tensor([0.5, *[0.0] * 9])
    joints = hand.joints(orient, pose, betas.expand(frames, -1), transl).numpy()

    to_world = np.concatenate(
        [Rotation.from_euler("xyz", [0.4, 1.0, -0.3]).as_matrix(), [[0.3], [-0.2], [0.9]]], 1
    )
    lift = np.maximum(0, np.arange(frames) - 30)[:, None] * np.array([0.0, -0.01, 0.0])
    place = joints[-1, 8] + np.array([0.0, 0.03, 0.0]) + lift
    for number, flip in (("1", np.eye(3)), ("2", MIRROR_X)):
        # In the mirror an axis-angle vector turns into -S w: it is a pseudovector.
        turn = flip if number == "1" else -flip
        folder = root / "20200709-subject-01" / f"20200709_14175{number}"
        folder.mkdir(parents=True)
        side = "right" if number == "1" else "left"
        meta = {
            "serials": ["840412060917"],
            "num_frames": frames,
            "extrinsics": "20200702_151821",
            "ycb_ids": [2, 6],
            "ycb_grasp_ind": 1,
            "mano_sides": [side],
            "mano_calib": [f"20200514_subject-01_{side}"],
        }
        (folder / "meta.yml").write_text(yaml.safe_dump(meta))
        pose_own = (pose.double().numpy().reshape(-1, 15, 3) @ turn).reshape(-1, 45)
        coefficients = np.linalg.solve(components.T, (pose_own - mean).T).T
        # MANO turns about its wrist, so a new frame moves `transl` as it moves the wrist.
        wrist = (joints[:, 0] - transl.numpy()) @ flip
        orient_camera = Rotation.from_rotvec(orient.double().numpy() @ turn).as_matrix()
        world_orient = Rotation.from_matrix(to_world[:, :3] @ orient_camera).as_rotvec()
        world_transl = (joints[:, 0] @ flip) @ to_world[:, :3].T + to_world[:, 3] - wrist
        pose_m = np.concatenate([world_orient, coefficients, world_transl], 1)[:, None].astype(np.float32)
        pose_m[:4] = 0  # no hand yet
        quaternion = np.tile(Rotation.from_matrix(to_world[:, :3]).as_quat(), (frames, 1))
        object_world = (place @ flip) @ to_world[:, :3].T + to_world[:, 3]
        other = np.tile([0, 0, 0, 1, 5, 5, 5.0], (frames, 1))
        pose_y = np.stack([other, np.concatenate([quaternion, object_world], 1)], 1).astype(np.float32)
        np.savez(folder / "pose.npz", pose_m=pose_m, pose_y=pose_y)
        calibration = root / "calibration" / f"mano_20200514_subject-01_{side}"
        calibration.mkdir(parents=True)
        (calibration / "mano.yml").write_text(yaml.safe_dump({"betas": betas.tolist()}))
    extrinsics = root / "calibration" / "extrinsics_20200702_151821"
    extrinsics.mkdir()
    values = {"840412060917": to_world.ravel().tolist(), "apriltag": np.eye(3, 4).ravel().tolist()}
    (extrinsics / "extrinsics.yml").write_text(
        yaml.safe_dump({"master": "840412060917", "extrinsics": values})
    )
    model = root / "models" / "007_tuna_fish_can"
    model.mkdir(parents=True)
    (model / "textured_simple.obj").write_text(CUBE_OBJ)
    return root, mano, torch.from_numpy(joints[4:])


def test_official_layout_gives_the_joints_that_were_meant(official: tuple[Path, Path, torch.Tensor]) -> None:
    root, mano, joints = official
    right, left = read_dexycb(root, mano_path=mano).recordings
    assert (right.side, left.side, right.object, right.subject) == (
        "right",
        "left",
        "007_tuna_fish_can",
        "subject-01",
    )
    # No hand in the first four frames; the object has moved 2 cm by frame 33 of the recording.
    assert len(right) == len(joints) and right.text_start[-2] == 33 - 4 and right.text[-2].startswith("lift")
    np.testing.assert_allclose(right.joints_m, joints, atol=2e-6)
    np.testing.assert_allclose(left.mirrored().joints_m, joints, atol=2e-6)
    np.testing.assert_allclose(left.joint_distance_m, right.joint_distance_m, atol=2e-6)


def test_official_layout_imports_with_mano(official: tuple[Path, Path, torch.Tensor], tmp_path: Path) -> None:
    root, mano, joints = official
    report = import_dexycb(root, tmp_path / "clips", mano_path=mano, show_progress=False)
    clips = read_clips(str(tmp_path / "clips"))
    assert clips.hand == load_hand(mano).name and report["clips"] == 2 and report["mirrored"] == 1
    assert report["inverse_kinematics"]["joint_error_mm"]["median"] < 2
    torch.testing.assert_close(clips.joints_FJ3, joints.float().repeat(2, 1, 1), atol=1e-5, rtol=0)
    right, left = clips.contact_FV.bool().chunk(2)
    assert right.any() and (right == left).float().mean() > 0.999


def test_official_layout_without_mano_says_what_is_needed(
    official: tuple[Path, Path, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MANO_PATH", raising=False)
    with pytest.raises(
        DexYCBError, match="set MANO_PATH to the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl"
    ):
        read_dexycb(official[0])
    with pytest.raises(DexYCBError, match="right hands need MANO"):
        read_dexycb(official[0], mano_path=tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(official[0], broken)
    (next(broken.glob("calibration/extrinsics_*")) / "extrinsics.yml").unlink()
    read = read_dexycb(broken, mano_path=official[1])
    assert not read.recordings and len(read.dropped) == 2
    assert all("extrinsics.yml: is missing" in reason for reason in read.dropped.values())
