"""The DexYCB importer: on scenes made here, a few real recordings, and a folder in the official layout."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import igl
import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from trainables.clips import Clips, read_clips
from trainables.dexycb import PHASES, clean, import_dexycb, phases, read_dexycb
from trainables.dexycb_recording import DexYCBError, Recording, hand_run, steady_run
from trainables.hand import Hand, load_hand
from trainables.signed_distance import (
    MIRROR_X,
    Mesh,
    contact_map,
    read_mesh,
    signed_distance_m,
    unsigned_distance_m,
)
from trainables.standin_hand import standin_arrays

DATA = Path(os.environ.get("LATENTACT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "dexycb"


def _box(size_m: tuple[float, float, float]) -> Mesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(size_m) / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))])
    return Mesh(vertices_m=corners, faces=faces)


def _recording(frames: int = 80, **fields: Any) -> Recording:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "name": "20200101-subject-01/20200101_000000",
        "subject": "subject-01",
        "side": "left",
        "object": "006_mustard_bottle",
        "start": 5,
        "joints_m": rng.normal(size=(1, 21, 3)) * 0.05 + np.linspace(0, 0.2, frames)[:, None, None],
        "object_rotation": Rotation.random(frames, random_state=1).as_matrix(),
        "object_translation_m": rng.normal(size=(frames, 3)) * 0.05,
        "joint_distance_m": np.zeros((frames, 21)),
        "first_contact": 20,
        "first_lift": 40,
    }
    return Recording(**(values | fields))


def _local(points_m: np.ndarray, recording: Recording) -> np.ndarray:
    centred = points_m - recording.object_translation_m[:, None]
    return np.einsum("tij,tki->tkj", recording.object_rotation, centred).reshape(-1, 3)


# --- distances -----------------------------------------------------------------------------------------


def test_signed_distance_of_a_box_is_the_closed_form() -> None:
    half = np.array([0.05, 0.08, 0.03])
    points = np.random.default_rng(1).uniform(-0.12, 0.12, (2000, 3))
    beyond = np.abs(points) - half
    exact = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    np.testing.assert_allclose(signed_distance_m(points, _box(tuple(2 * half))), exact, atol=1e-9)


def test_contact_map_equals_igls_signed_distance_on_every_point() -> None:
    mesh, recording = _box((0.06, 0.09, 0.05)), _recording(6)
    points = (
        np.random.default_rng(2).uniform(-0.1, 0.1, (6, 500, 3)) + recording.object_translation_m[:, None]
    )
    found = contact_map(points, recording.object_rotation, recording.object_translation_m, mesh, 0.005)
    exact = igl.signed_distance(_local(points, recording), mesh.vertices_m, mesh.faces)[0].reshape(6, 500)
    assert (found == (exact < 0.005)).all()
    assert (exact < -0.006).any() and (np.abs(exact) < 0.005).any() and (~found).any()


def test_mirroring_keeps_every_distance_and_stays_a_rotation() -> None:
    mesh, recording = _box((0.06, 0.09, 0.05)), _recording()
    mesh = replace(mesh, vertices_m=mesh.vertices_m + [0.02, 0.0, 0.01])  # not symmetric under x -> -x
    other = recording.mirrored()
    before = signed_distance_m(_local(recording.joints_m, recording), mesh)
    after = signed_distance_m(_local(other.joints_m, other), mesh.mirrored)
    np.testing.assert_allclose(after, before, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(other.object_rotation), 1, atol=1e-9)
    assert np.abs(signed_distance_m(_local(other.joints_m, other), mesh) - before).max() > 1e-3
    np.testing.assert_allclose(other.mirrored().joints_m, recording.joints_m, atol=1e-12)


# --- cleaning and phases -------------------------------------------------------------------------------


def test_phases_follow_contact_and_lift() -> None:
    start, text = phases(_recording())
    assert start == [0, 15, 35, 50]  # the recording's frames 20, 40 and 55, counted from its frame 5
    assert text == [f"{phase} the mustard bottle" for phase in PHASES]


@pytest.mark.parametrize("frame", [0, 14, 15, 34, 35, 49, 50, 79])
def test_a_phase_does_not_know_the_future(frame: int) -> None:
    whole = _recording()
    shown = whole.start + frame
    past = replace(
        whole.cut(0, frame + 1),
        first_contact=whole.first_contact if whole.first_contact <= shown else -1,
        first_lift=whole.first_lift if whole.first_lift <= shown else -1,
    )

    def at(recording: Recording) -> str:
        start, text = phases(recording)
        return text[np.searchsorted(start, frame, side="right") - 1]

    assert at(whole) == at(past)


def test_a_lift_without_contact_still_is_a_lift() -> None:
    assert phases(_recording(first_contact=-1))[1] == [
        "reach the mustard bottle",
        "lift the mustard bottle",
        "hand over the mustard bottle",
    ]


def test_jumps_are_cut_and_lost_hands_end_a_recording() -> None:
    jumping = _recording(80, side="right")
    jumping.joints_m[50:] += 0.3  # 9 m/s
    kept = steady_run(jumping, 5.0)
    assert (kept.start, len(kept)) == (5, 50)
    speed = np.linalg.norm(np.diff(kept.joints_m, axis=0), axis=-1).max() * 30
    assert speed < 5
    valid = np.ones(80, dtype=bool)
    valid[:7] = valid[60:] = False
    assert (hand_run(jumping, valid).start, len(hand_run(jumping, valid))) == (12, 53)
    jumping.joints_m[25:] += 0.3
    kept_recordings, report = clean([jumping.cut(0, 50)])
    assert kept_recordings == [] and report["dropped_too_short"] == [jumping.name]


# --- the pack ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pack() -> Path:
    if not (DATA / "dexycb_hand_object.npz").is_file():
        print(reason := f"DexYCB is not at {DATA}; set LATENTACT_TEST_DATA to the folder that holds dexycb/")
        pytest.skip(reason)
    return DATA


@pytest.fixture(scope="module")
def some(pack: Path) -> list[str]:
    """Eight recordings of four subjects and both hands; of two that lose the hand, one leaves 25 frames, one 35."""
    index = json.loads((pack / "sequences.json").read_text())
    names = [index[i]["seq"] for i in (0, 7, 62, 95, 110, 190, 254, 300)]
    assert {entry["side"] for entry in index if entry["seq"] in names} == {"left", "right"}
    return names


@pytest.fixture(scope="module")
def imported(
    pack: Path, some: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    dest = tmp_path_factory.mktemp("dexycb") / "clips"
    return dest, import_dexycb(pack, dest, sequences=some, show_progress=False)


@pytest.fixture(scope="module")
def clips(imported: tuple[Path, dict[str, Any]]) -> Clips:
    return read_clips(str(imported[0]))


def test_the_fit_is_within_five_millimetres(imported: tuple[Path, dict[str, Any]]) -> None:
    fit = imported[1]["inverse_kinematics"]
    assert 0 < fit["joint_error_mm"]["median"] <= 5
    assert fit["joint_error_mm"]["p95"] <= 10
    assert fit["bone_length_change_mm"]["median"] <= 5


def test_contacts_agree_with_the_packs_joint_distances(imported: tuple[Path, dict[str, Any]]) -> None:
    agreement = imported[1]["contact_agreement"]
    assert agreement["frame_precision"] > 0.9 and agreement["frame_recall"] > 0.85
    assert agreement["joint_precision"] > 0.65 and agreement["joint_recall"] > 0.8


def test_joints_are_the_measured_ones_mirrored_for_left_hands(
    clips: Clips, pack: Path, some: list[str]
) -> None:
    arrays = np.load(pack / "dexycb_hand_object.npz")
    index = {entry["seq"]: entry for entry in json.loads((pack / "sequences.json").read_text())}
    assert sorted(clips.clip_ids) == sorted(some[:2] + some[3:])
    assert clips.manifest["report"]["dropped_too_short"] == [some[2]]
    for row, name in enumerate(clips.clip_ids):
        entry = index[name]
        joints = clips.joints_FJ3[clips.offsets_C1[row] : clips.offsets_C1[row + 1]].numpy()
        first = entry["start"] + entry["hand_first"]
        measured = arrays["joints"][first : first + len(joints)]
        np.testing.assert_allclose(
            joints, measured @ MIRROR_X if entry["side"] == "left" else measured, atol=1e-6
        )
        assert clips.groups["object"][row] == entry["object"]
        assert clips.groups["subject"][row] == f"subject-{entry['subject']:02d}"
        assert (np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 30 < 5).all()


def test_one_shape_a_subject_and_a_still_camera(clips: Clips) -> None:
    shapes: dict[str, set[tuple[float, ...]]] = {}
    for row, subject in enumerate(clips.groups["subject"]):
        shapes.setdefault(str(subject), set()).add(tuple(clips.betas_C10[row].tolist()))
    assert len(shapes) == 4 and all(len(found) == 1 for found in shapes.values())
    assert clips.camera_known_F.all()
    torch.testing.assert_close(clips.camera_rot_F33, torch.eye(3).expand_as(clips.camera_rot_F33))


def test_contact_points_are_centroids_of_touching_skin(clips: Clips) -> None:
    hand, row = load_hand(), 0
    frames = slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))
    count = frames.stop - frames.start
    vertices = hand.vertices(
        clips.global_orient_F3[frames],
        clips.hand_pose_F45[frames],
        clips.betas_C10[row].expand(count, -1),
        clips.transl_F3[frames],
    )
    contact = clips.contact_FV[frames].bool()
    touching = contact.any(1)
    assert touching.any() and (touching == clips.point_known_F[frames]).all()
    for t in torch.nonzero(touching)[::10, 0].tolist():
        torch.testing.assert_close(
            clips.point_F3[frames][t], vertices[t][contact[t]].mean(0), atol=1e-5, rtol=0
        )


def test_importing_again_leaves_an_equal_data_set_alone(
    imported: tuple[Path, dict[str, Any]], pack: Path, some: list[str]
) -> None:
    dest, report = imported
    before = {path.name: path.stat().st_mtime_ns for path in dest.iterdir()}
    assert import_dexycb(pack, dest, sequences=some, show_progress=False) == json.loads(json.dumps(report))
    assert before == {path.name: path.stat().st_mtime_ns for path in dest.iterdir()}


def test_the_packs_own_distances_confirm_meshes_and_poses(pack: Path, some: list[str]) -> None:
    source = read_dexycb(pack, sequences=some)
    for recording in source.recordings:
        exact = unsigned_distance_m(_local(recording.joints_m, recording), source.meshes[recording.object])
        # the pack's numbers are float16 and were taken on the full-resolution meshes
        assert np.abs(exact - recording.joint_distance_m.ravel()).max() < 0.006


# --- refusals ------------------------------------------------------------------------------------------


def test_a_missing_folder_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DexYCBError, match="no such folder"):
        read_dexycb(tmp_path / "nothing")
    with pytest.raises(DexYCBError, match="neither the pack .* nor the official layout"):
        read_dexycb(tmp_path)


def test_missing_and_damaged_parts_of_the_pack_are_named(pack: Path, some: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "dexycb"
    broken.mkdir()
    shutil.copy(pack / "sequences.json", broken)
    with pytest.raises(DexYCBError, match="dexycb_hand_object.npz: missing"):
        read_dexycb(broken)
    (broken / "dexycb_hand_object.npz").write_bytes((pack / "dexycb_hand_object.npz").read_bytes()[:100_000])
    (broken / "ycb_meshes").mkdir()
    with pytest.raises(DexYCBError, match="dexycb_hand_object.npz: damaged"):
        read_dexycb(broken)
    (broken / "dexycb_hand_object.npz").unlink()
    (broken / "dexycb_hand_object.npz").symlink_to(pack / "dexycb_hand_object.npz")
    with pytest.raises(DexYCBError, match=r"'002_master_chef_can': .*ply: mesh file is missing"):
        read_dexycb(broken, sequences=some[:1])
    with pytest.raises(DexYCBError, match="no sequence 'elsewhere'"):
        read_dexycb(pack, sequences=["elsewhere"])


def test_an_unreadable_mesh_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ply").write_text("ply\nnot a mesh")
    with pytest.raises(ValueError, match=r"bad.ply: .*fetch the file again"):
        read_mesh(tmp_path / "bad.ply")


# --- the official layout, on a folder written here with the stand-in in place of MANO ------------------


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
    box, model = _box((0.05, 0.05, 0.05)), root / "models" / "007_tuna_fish_can"
    model.mkdir(parents=True)
    igl.write_triangle_mesh(str(model / "textured_simple.obj"), box.vertices_m, box.faces)
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
    assert right.start == 4 and right.first_contact >= 4 and right.first_lift == 33
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
    with pytest.raises(DexYCBError, match=r"extrinsics.yml: missing"):
        read_dexycb(broken, mano_path=official[1])
