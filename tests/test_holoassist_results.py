"""HoloAssist with saved results of other networks: HaMeR's hands, SAM2's masks, inpainted frames."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.foreign.holoassist import (
    LEAD,
    WrittenClip,
    WrittenRecording,
    in_view,
    numbered_picture,
    shown_number,
    write_holoassist,
)
from tests.foreign.real_motion import real_fits, real_recordings
from trainables.clips import Clips, read_clips, read_manifest
from trainables.depth_buffer import render_depth
from trainables.hand import Hand, load_hand
from trainables.holoassist import import_holoassist
from trainables.mask_contact import mask_contacts
from trainables.recorded_clips import hand_vertices
from trainables.recording import HandParameters

SIZE_PX = (504, 896)  # of the masks, high and wide: the pictures in the tree are smaller
MATRIX = np.array([[685.88, 0, 448], [0, 685.88, 252], [0, 0, 1]])
LOST = LEAD + 20  # a frame that HaMeR saw no hand in
UNMASKED = 15
GOPRO, COFFEE = "R901-1July-GoPro", "z902-june-02-22-espresso"


def truth(clip: WrittenClip) -> tuple[HandParameters, NDArray[np.float64]]:
    """The hand that was written, as the loaded hand model has it, and how far `in_view` moved its scene."""
    fitted = real_fits()[clip.real]
    before = np.asarray(fitted.recording.joints_m)
    shift = (in_view(before) - before)[0, 0]
    own = fitted.clip
    parameters = HandParameters(
        global_orient=np.asarray(own.global_orient), hand_pose=np.asarray(own.hand_pose),
        transl_m=np.asarray(own.transl_m) + shift, betas=np.asarray(own.betas),
    )  # fmt: skip
    return parameters, shift


def object_mask(
    clip: WrittenClip, hand: Hand, vertices: NDArray[np.float64], frame: int
) -> NDArray[np.bool_]:
    """Where the object is seen: nearer than the hand."""
    recording = real_fits()[clip.real].recording
    body = recording.bodies[0]
    mesh = real_recordings()[1][body.mesh]
    mesh = mesh if recording.is_right else mesh.mirrored
    posed = mesh.vertices_m @ body.rotation[frame].T + body.translation_m[frame] + truth(clip)[1]
    first = []
    for points, faces in ((posed, mesh.faces), (vertices, hand.faces.numpy())):
        depth = np.full(SIZE_PX, np.inf)
        drawn = render_depth(points, faces, MATRIX, SIZE_PX)
        high, wide = drawn.first_m.shape
        depth[drawn.top : drawn.top + high, drawn.left : drawn.left + wide] = drawn.first_m
        first.append(depth)
    return first[0] < first[1]


def write_results(root: Path, recordings: list[WrittenRecording], hand: Hand) -> None:
    """root/{hamer,sam2,inpainted}: HaMeR for both recordings, but for one frame; masks for the first clip from
    frame UNMASKED on;
    inpainted pictures of the same recording's every 20th frame."""
    for name in ("hamer", "sam2", "inpainted"):
        (root / name).mkdir()
    for recording in recordings:
        hands: dict[int, Any] = {i: {"right": None, "left": None} for i in range(recording.frames)}
        masks = {}
        for clip in recording.clips:
            parameters, _ = truth(clip)
            vertices = hand_vertices(hand, parameters)
            turns = np.concatenate([parameters.global_orient, parameters.hand_pose], 1).reshape(-1, 16, 3)
            joints = real_joints(hand, parameters)
            for t in range(len(joints)):
                i = clip.first + t
                move = parameters.transl_m[t]
                if not (recording.folder.name == GOPRO and i == LOST):
                    hands[i]["right"] = {
                        "cam_t": move.astype(np.float32),
                        "verts": (vertices[t] - move)[None].astype(np.float32),
                        "joints": (joints[t] - move)[None].astype(np.float32),
                        "thetas": Rotation.from_rotvec(turns[t]).as_matrix()[None].astype(np.float32),
                        "betas": parameters.betas[None].astype(np.float32),
                    }
                if clip is recording.clips[0] and recording.folder.name == GOPRO and t >= UNMASKED:
                    masks[i] = {
                        "mask": object_mask(clip, hand, vertices[t], t),
                        "box": np.zeros(4, dtype=np.float32),
                    }
        (root / "hamer" / f"{recording.folder.name}_masks_hamer.pkl").write_bytes(pickle.dumps(hands))
        if masks:
            (root / "sam2" / f"{recording.folder.name}_obj_masks.pkl").write_bytes(pickle.dumps(masks))
            pictures = root / "inpainted" / recording.folder.name
            pictures.mkdir()
            for i in range(LEAD, recording.frames, 20):
                Image.fromarray(numbered_picture(2 * i, (896, 504))).save(
                    pictures / f"{i:06d}.jpg", quality=95
                )


def real_joints(hand: Hand, parameters: HandParameters) -> NDArray[np.float64]:
    from trainables.recorded_clips import hand_joints

    return hand_joints(hand, parameters)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clips, list[WrittenRecording], Path]:
    root = tmp_path_factory.mktemp("results")
    (root / "tree").mkdir()
    recordings = write_holoassist(root / "tree")
    for recording in recordings:  # HaMeR replaces the headset's hands: these files need not be there
        shutil.rmtree(recording.folder / "Export_py" / "Hands")
    write_results(root, recordings, load_hand())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_CACHE", str(root / "cache"))
        import_holoassist(
            root / "tree", root / "out", hamer=root / "hamer", sam2=root / "sam2", inpainted=root / "inpainted",
            image_px=96, workers=1, show_progress=False,
        )  # fmt: skip
    return read_clips(root / "out"), recordings, root


def each_clip(imported: tuple[Clips, list[WrittenRecording], Path]) -> list[tuple[WrittenClip, slice, int]]:
    clips, recordings, _ = imported
    made = []
    for clip in (clip for recording in recordings for clip in recording.clips):
        place = clips.clip_ids.index(f"{clip.video}/{clip.first:06d}-{clip.last:06d}")
        made.append((clip, slice(*clips.offsets_C1[place : place + 2].tolist()), place))
    return made


def test_hamers_parameters_are_kept_as_they_are(
    imported: tuple[Clips, list[WrittenRecording], Path],
) -> None:
    clips = imported[0]
    assert read_manifest(imported[2] / "out")["report"]["clips_with_inverse_kinematics"] == 0
    for clip, at, place in each_clip(imported):
        parameters, _ = truth(clip)
        seen = np.ones(len(clip.joints_m), dtype=bool)
        if clip.video == GOPRO and clip.first <= LOST <= clip.last:
            seen[LOST - clip.first] = False
        for kept, wanted in (
            (clips.global_orient_F3, parameters.global_orient),
            (clips.hand_pose_F45, parameters.hand_pose),
            (clips.transl_F3, parameters.transl_m),
        ):
            np.testing.assert_allclose(kept[at].numpy()[seen], wanted[seen], atol=2e-5)
        np.testing.assert_allclose(clips.betas_C10[place].numpy(), parameters.betas, atol=1e-5)


def test_a_frame_that_hamer_missed_is_bridged(imported: tuple[Clips, list[WrittenRecording], Path]) -> None:
    clips = imported[0]
    clip, at, _ = each_clip(imported)[0]
    t = LOST - clip.first
    parameters, _ = truth(clip)
    joints = real_joints(load_hand(), parameters)
    assert np.linalg.norm(clips.joints_FJ3[at].numpy()[t] - joints[t], axis=-1).max() < 0.01
    back = Rotation.from_rotvec(clips.global_orient_F3[at].numpy()[t]).inv()
    off = back * Rotation.from_rotvec(parameters.global_orient[t])
    assert off.magnitude() < 0.15
    assert np.linalg.norm(clips.transl_F3[at].numpy()[t] - parameters.transl_m[t]) < 0.01
    report = read_manifest(imported[2] / "out")["report"]
    assert report["share_of_frames_filled_in"] == pytest.approx(1 / clips.frames, abs=1e-4)


def test_contact_is_that_of_the_masks(imported: tuple[Clips, list[WrittenRecording], Path]) -> None:
    clips, hand = imported[0], load_hand()
    for number, (clip, at, _) in enumerate(each_clip(imported)):
        known = clips.contact_known_F[at].numpy()
        if number:
            assert not known.any(), "no masks, no knowledge"
            continue
        parameters, _ = truth(clip)
        vertices = hand_vertices(hand, parameters)
        masks = [
            object_mask(clip, hand, vertices[t], t) if t >= UNMASKED else None for t in range(len(vertices))
        ]
        wanted = mask_contacts(vertices, hand.faces.numpy(), masks, MATRIX)
        assert not known[:UNMASKED].any()
        certain = np.arange(len(known)) != LOST - clip.first
        np.testing.assert_array_equal(known[certain], wanted.known[certain])
        got = clips.contact_FV[at].numpy().astype(bool)
        differ = got[certain & wanted.known] != wanted.bits[certain & wanted.known]
        assert differ.mean() < 1e-3, "float32 files may move a vertex over an edge"
        assert wanted.bits.any(), "something touches"


def test_pictures_without_the_hand_are_those_of_their_frames(
    imported: tuple[Clips, list[WrittenRecording], Path],
) -> None:
    clips = imported[0]
    shown = [shown_number(picture.numpy()) for picture in clips.hand_free_I]
    clip, other, last = (at for _, at, _ in each_clip(imported))
    # Every 10th frame of a clip is wanted, every 20th of the recording is there.
    assert shown == [2 * i for i in (LEAD, LEAD + 20, LEAD + 40)]
    assert clips.hand_free_F[clip.start] == 0 and (clips.hand_free_F[last] == -1).all()
    assert (clips.hand_free_F[other] == -1).all()


def test_masks_that_come_later_leave_the_other_stages_alone(
    imported: tuple[Clips, list[WrittenRecording], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, root = imported
    monkeypatch.setenv("LATENTACT_CACHE", str(root / "cache"))

    def kept() -> dict[str, set[tuple[str, int]]]:
        stages = (root / "cache" / "stages").iterdir()
        return {s.name: {(p.name, p.stat().st_mtime_ns) for p in s.iterdir()} for s in stages}

    before = kept()
    assert {name: len(files) for name, files in before.items()} == {
        "tracks": 2, "hands": 2, "pictures": 2, "contacts": 1, "hand-free": 1,
    }  # fmt: skip
    masks = root / "sam2" / f"{GOPRO}_obj_masks.pkl"
    shutil.copytree(root / "sam2", tmp_path / "more")
    shutil.copy(masks, tmp_path / "more" / f"{COFFEE}_obj_masks.pkl")
    report = import_holoassist(
        root / "tree", tmp_path / "out", hamer=root / "hamer", sam2=tmp_path / "more", image_px=96,
        workers=1, show_progress=False,
    )  # fmt: skip
    after = kept()
    assert len(after["contacts"]) == 2 and after["contacts"] > before["contacts"]
    assert {name: files for name, files in after.items() if name != "contacts"} == {
        name: files for name, files in before.items() if name != "contacts"
    }
    assert report["recordings_without_masks"] == 0


def test_a_recording_without_hamers_results_is_dropped(
    imported: tuple[Clips, list[WrittenRecording], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, root = imported
    monkeypatch.setenv("LATENTACT_CACHE", str(root / "cache"))
    shutil.copytree(root / "hamer", tmp_path / "hamer")
    (tmp_path / "hamer" / f"{COFFEE}_masks_hamer.pkl").unlink()
    report = import_holoassist(
        root / "tree", tmp_path / "out", hamer=tmp_path / "hamer", image_px=96, workers=1, show_progress=False
    )
    assert list(report["dropped"]) == [COFFEE] and report["clips"] == 2
    assert f"{COFFEE}_masks_hamer.pkl" in report["dropped"][COFFEE]
