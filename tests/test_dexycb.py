"""The DexYCB importer, on scenes made here and on a few real recordings."""

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
from scipy.spatial.transform import Rotation

from trainables.clips import Clips, read_clips
from trainables.dexycb import SHORT, Work, convert_subject, import_dexycb, read_dexycb
from trainables.dexycb_recording import PHASES, DexYCBError, hand_run, phase_texts
from trainables.hand import load_hand
from trainables.import_run import Unit
from trainables.recording import Body, Recording, steady_run
from trainables.signed_distance import (
    MIRROR_X,
    Mesh,
    contact_map,
    read_mesh,
    signed_distance_m,
    unsigned_distance_m,
)
from trainables.source_errors import DamagedFile

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
        "person": "subject-01",
        "subject": "subject-01",
        "side": "left",
        "fps": 30.0,
        "object": "006_mustard_bottle",
        "text_start": [0, 20, 40],
        "text": ["reach", "grasp", "lift"],
        "joints_m": rng.normal(size=(1, 21, 3)) * 0.05 + np.linspace(0, 0.2, frames)[:, None, None],
        "bodies": (
            Body(
                mesh="006_mustard_bottle",
                rotation=Rotation.random(frames, random_state=1).as_matrix(),
                translation_m=rng.normal(size=(frames, 3)) * 0.05,
            ),
        ),
        "joint_distance_m": np.zeros((frames, 21)),
    }
    return Recording(**(values | fields))


def _local(points_m: np.ndarray, recording: Recording) -> np.ndarray:
    (body,) = recording.bodies
    return np.einsum("tij,tki->tkj", body.rotation, points_m - body.translation_m[:, None]).reshape(-1, 3)


# --- distances -----------------------------------------------------------------------------------------


def test_signed_distance_of_a_box_is_the_closed_form() -> None:
    half = np.array([0.05, 0.08, 0.03])
    points = np.random.default_rng(1).uniform(-0.12, 0.12, (2000, 3))
    beyond = np.abs(points) - half
    exact = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    np.testing.assert_allclose(signed_distance_m(points, _box(tuple(2 * half))), exact, atol=1e-9)


def test_contact_map_equals_igls_signed_distance_on_every_point() -> None:
    mesh, recording = _box((0.06, 0.09, 0.05)), _recording(6)
    (body,) = recording.bodies
    points = np.random.default_rng(2).uniform(-0.1, 0.1, (6, 500, 3)) + body.translation_m[:, None]
    found = contact_map(points, body.rotation, body.translation_m, mesh, 0.005)
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
    np.testing.assert_allclose(np.linalg.det(other.bodies[0].rotation), 1, atol=1e-9)
    assert np.abs(signed_distance_m(_local(other.joints_m, other), mesh) - before).max() > 1e-3
    np.testing.assert_allclose(other.mirrored().joints_m, recording.joints_m, atol=1e-12)


# --- cleaning and phases -------------------------------------------------------------------------------


def test_phases_follow_contact_and_lift() -> None:
    start, text = phase_texts(85, "006_mustard_bottle", first_contact=20, first_lift=40)
    assert start == [0, 20, 40, 55]
    assert text == [f"{phase} the mustard bottle" for phase in PHASES]


@pytest.mark.parametrize("frame", [0, 19, 20, 39, 40, 54, 55, 84])
def test_a_phase_does_not_know_the_future(frame: int) -> None:
    def at(frames: int, **moments: int) -> str:
        start, text = phase_texts(frames, "006_mustard_bottle", **moments)
        return text[np.searchsorted(start, frame, side="right") - 1]

    past = {"first_contact": 20 if frame >= 20 else -1, "first_lift": 40 if frame >= 40 else -1}
    assert at(85, first_contact=20, first_lift=40) == at(frame + 1, **past)


def test_a_lift_without_contact_still_is_a_lift() -> None:
    assert phase_texts(85, "006_mustard_bottle", first_contact=-1, first_lift=40)[1] == [
        "reach the mustard bottle",
        "lift the mustard bottle",
        "hand over the mustard bottle",
    ]


def test_a_cut_keeps_each_frames_text() -> None:
    whole = _recording(80)
    at = np.searchsorted(whole.text_start, np.arange(80), side="right") - 1
    for begin, end in ((0, 80), (0, 20), (10, 50), (20, 40), (45, 80), (5, 6)):
        part = whole.cut(begin, end)
        assert part.text_start[0] == 0 and len(part) == end - begin
        now = np.searchsorted(part.text_start, np.arange(end - begin), side="right") - 1
        assert [part.text[i] for i in now] == [whole.text[i] for i in at[begin:end]]


def test_jumps_are_cut_and_lost_hands_end_a_recording() -> None:
    jumping = _recording(80, side="right")
    jumping.joints_m[50:] += 0.3  # 9 m/s
    kept = steady_run(jumping, 5.0)
    np.testing.assert_array_equal(kept.joints_m, jumping.joints_m[:50])
    valid = np.ones(80, dtype=bool)
    valid[:7] = valid[60:] = False
    np.testing.assert_array_equal(hand_run(jumping, valid).joints_m, jumping.joints_m[7:60])
    jumping.joints_m[25:] += 0.3
    unit = Unit(name="one", key="", work=Work(recordings=[jumping.cut(0, 50)], meshes={}))
    made = convert_subject(unit, radius_m=0.005)
    assert made.clips == [] and made.dropped == {jumping.name: SHORT}


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
    assert clips.manifest["report"]["dropped"] == {some[2]: SHORT}
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
        exact = unsigned_distance_m(
            _local(recording.joints_m, recording), source.meshes[str(recording.object)]
        )
        assert recording.joint_distance_m is not None
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
    with pytest.raises(DamagedFile, match="dexycb_hand_object.npz: is a damaged archive"):
        read_dexycb(broken)
    (broken / "dexycb_hand_object.npz").unlink()
    (broken / "dexycb_hand_object.npz").symlink_to(pack / "dexycb_hand_object.npz")
    dropped = read_dexycb(broken, sequences=some[:1]).dropped
    assert list(dropped) == some[:1] and "002_master_chef_can.ply: mesh file is missing" in dropped[some[0]]
    with pytest.raises(DexYCBError, match="no sequence 'elsewhere'"):
        read_dexycb(pack, sequences=["elsewhere"])


def test_an_unreadable_mesh_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.ply").write_text("ply\nnot a mesh")
    with pytest.raises(ValueError, match=r"bad.ply: .*fetch the file again"):
        read_mesh(tmp_path / "bad.ply")
