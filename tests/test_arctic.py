"""The ARCTIC importer, on ARCTIC's own layout written from real motion; the stand-in, as MANO files, is its MANO."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import igl
import numpy as np
import pytest
import smplx
import torch
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from tests.foreign.arctic import EDGE, GREY_PER_FRAME, SEQUENCES, Arctic, write_arctic
from trainables import arctic
from trainables.arctic import import_arctic
from trainables.arctic_object import read_parts
from trainables.arctic_sequence import read_camera, read_object
from trainables.arctic_source import find_sequences
from trainables.clips import Clips, read_clips
from trainables.hand import OPENPOSE_ORDER, load_hand
from trainables.plain_pickle import read_npy_plainly
from trainables.prepare import main
from trainables.signed_distance import MIRROR_X

TIPS = [744, 320, 443, 554, 671]  # of smplx's MANO: thumb to pinky
GRAB, USE = "s02/box_grab_01", "s01/capsulemachine_use_01"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MANO_PATH", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Arctic:
    return write_arctic(tmp_path_factory.mktemp("arctic"), pictures=True)


@pytest.fixture(scope="module")
def imported(made: Arctic, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clips, dict[str, Any]]:
    """By the command that users type."""
    dest = tmp_path_factory.mktemp("out") / "clips"
    environment = {
        "MANO_PATH": str(made.mano),
        "LATENTACT_CACHE": str(tmp_path_factory.mktemp("cache")),
    }
    words = ["arctic", str(made.source), str(dest), "--workers", "1"]
    result = CliRunner().invoke(main, words, env=environment)
    assert result.exit_code == 0, result.output
    assert "8 recordings: 8 clips kept, 0 dropped" in result.output
    clips = read_clips(str(dest))
    return clips, clips.manifest["report"]


def run(made: Arctic, dest: Path, source: Path | None = None) -> tuple[Clips, dict[str, Any]]:
    report = import_arctic(source or made.source, dest, mano_path=made.mano, workers=1, show_progress=False)
    return read_clips(str(dest)), report


def rows(clips: Clips, name: str) -> slice:
    index = clips.clip_ids.index(name)
    begin, end = clips.offsets_C1[index : index + 2].tolist()
    return slice(begin, end)


# --- ARCTIC's own reader, as src/arctic/processing.py, common/object_tensors.py and common/body_models.py work ----


def official(made: Arctic, name: str) -> dict[str, np.ndarray]:
    """Joints (T, 21, 3) of both hands and the object's vertices (T, V, 3) in the egocentric view, metres."""
    start = made.source / "raw_seqs" / name

    def load(kind: str) -> Any:
        return np.load(
            f"{start}.{kind}.npy", allow_pickle=True
        )  # as ARCTIC does; the file is this test's own

    mano, camera, thing = load("mano").item(), load("egocam.dist").item(), torch.FloatTensor(load("object"))
    frames = len(mano["right"]["rot"])
    assert frames == len(thing) and not thing.isnan().any()
    world2ego = torch.zeros(frames, 4, 4)
    world2ego[:, :3, :3] = torch.FloatTensor(camera["R_k_cam_np"])
    world2ego[:, :3, 3] = torch.FloatTensor(camera["T_k_cam_np"]).view(frames, 3)
    world2ego[:, 3, 3] = 1
    found = {}

    def to_ego(points: torch.Tensor) -> np.ndarray:
        whole = torch.cat([points, torch.ones(*points.shape[:2], 1)], -1)
        return (whole @ world2ego.transpose(1, 2))[..., :3].numpy()

    for side in ("right", "left"):
        layer = smplx.MANO(
            str(made.mano), ext="npz", is_rhand=side == "right", use_pca=False, flat_hand_mean=False,
            create_transl=True, batch_size=frames,
        )  # fmt: skip
        own = mano[side]
        assert len(own["fitting_err"]) > 50
        with torch.no_grad():
            out = layer(
                global_orient=torch.FloatTensor(own["rot"]), hand_pose=torch.FloatTensor(own["pose"]),
                betas=torch.FloatTensor(own["shape"]).repeat(frames, 1), transl=torch.FloatTensor(own["trans"]),
            )  # fmt: skip
        found[side] = to_ego(torch.cat([out.joints[:, :16], out.vertices[:, TIPS]], 1)[:, OPENPOSE_ORDER])
    folder = made.source / "meta" / "object_vtemplates" / name.split("/")[1].split("_")[0]
    vertices = igl.read_triangle_mesh(str(folder / "mesh.obj"))[0] / 1000
    top = np.array(json.loads((folder / "parts.json").read_text()), dtype=bool)
    posed = []
    for angle, *rest in thing.double().numpy():
        moved = vertices.copy()
        moved[top] = Rotation.from_rotvec(angle * np.array([0, 0, -1.0])).apply(moved[top])
        posed.append(Rotation.from_rotvec(rest[:3]).apply(moved) + np.array(rest[3:]) / 1000)
    found["object"] = to_ego(torch.FloatTensor(np.stack(posed)))
    return found


# --- what is imported -----------------------------------------------------------------------------------


def test_every_stored_field_comes_back(made: Arctic, imported: tuple[Clips, dict[str, Any]]) -> None:
    clips, report = imported
    assert sorted(clips.clip_ids) == sorted(made.truth)
    for name, truth in made.truth.items():
        frames, want = rows(clips, name), truth.parameters
        close = {"atol": 1e-5, "rtol": 0}
        turns = [
            Rotation.from_rotvec(v).as_matrix()
            for v in (clips.global_orient_F3[frames].numpy(), want.global_orient)
        ]
        np.testing.assert_allclose(turns[0], turns[1], **close)
        np.testing.assert_allclose(clips.hand_pose_F45[frames], want.hand_pose, **close)
        np.testing.assert_allclose(clips.transl_F3[frames], want.transl_m, **close)
        camera = torch.cat([clips.camera_rot_F33[frames], clips.camera_transl_F3[frames][..., None]], -1)
        np.testing.assert_allclose(camera, truth.camera_to_first, **close)
        index = clips.clip_ids.index(name)
        np.testing.assert_allclose(clips.betas_C10[index], want.betas, **close)
    assert report["right_hands"]["kept_parameters"] == report["left_hands"]["kept_parameters"] == 4
    assert report["kept_parameters"]["joint_error_mm"]["p95"] < 0.01


def test_arctics_own_reader_gives_the_same_hands(
    made: Arctic, imported: tuple[Clips, dict[str, Any]]
) -> None:
    clips, _ = imported
    for name in SEQUENCES:
        theirs = official(made, name)
        for side, flip in (("right", np.eye(3)), ("left", MIRROR_X)):
            ours = clips.joints_FJ3[rows(clips, f"{name}/{side}")]
            np.testing.assert_allclose(ours, theirs[side][EDGE:-EDGE] @ flip, atol=2e-5, rtol=0)


def test_arctics_own_reader_gives_the_same_object(made: Arctic) -> None:
    for name in SEQUENCES:
        thing = name.split("/")[1].split("_")[0]
        template = made.source / "meta" / "object_vtemplates" / thing
        top = np.array(json.loads((template / "parts.json").read_text()), dtype=bool)
        whole = igl.read_triangle_mesh(str(template / "mesh.obj"))[0] / 1000
        sequence = arctic_sequences(made)[name]
        camera = read_camera(sequence.files["egocam"])
        bodies = read_object(sequence.files["object"], thing, camera)
        theirs, parts, seen = official(made, name)["object"], read_parts(template), np.zeros(len(whole), bool)
        for body, labelled in zip(bodies, (~top, top), strict=True):
            mesh = parts[body.mesh.split("/")[1]]
            near = np.abs(whole[:, None] - mesh.vertices_m).max(-1)
            mine = labelled & (near.min(1) < 1e-9)
            moved = mesh.vertices_m[near[mine].argmin(1)] @ body.rotation.transpose(0, 2, 1)
            np.testing.assert_allclose(moved + body.translation_m[:, None], theirs[:, mine], atol=2e-6)
            seen |= mine
        assert seen.mean() > 0.95  # the others are corners of triangles on the seam
        angle = np.load(sequence.files["object"])[:, 0]
        assert (angle.max() > 0.5) == ("_use_" in name)


def arctic_sequences(made: Arctic) -> dict[str, Any]:
    found = find_sequences(made.source).sequences
    return {f"{one.names.subject}/{one.names.sequence}": one for one in found}


def test_contact_is_the_signed_distance_to_the_articulated_mesh(
    made: Arctic, imported: tuple[Clips, dict[str, Any]]
) -> None:
    clips, report = imported
    hand, touched = load_hand(made.mano), {}
    for name in SEQUENCES:
        thing = name.split("/")[1].split("_")[0]
        faces = igl.read_triangle_mesh(str(made.source / "meta/object_vtemplates" / thing / "mesh.obj"))[1]
        objects = official(made, name)["object"][EDGE:-EDGE].astype(np.float64)
        for side, flip in (("right", np.eye(3)), ("left", MIRROR_X)):
            frames = rows(clips, f"{name}/{side}")
            wanted = made.truth[f"{name}/{side}"].parameters
            arguments = [
                wanted.global_orient,
                wanted.hand_pose,
                np.tile(wanted.betas, (45, 1)),
                wanted.transl_m,
            ]
            skin = hand.vertices(*(torch.from_numpy(a).float() for a in arguments)).double().numpy() @ flip
            ours = clips.contact_FV[frames].bool().numpy()
            assert clips.contact_known_F[frames].all()
            for t in range(0, 45, 6):
                near = igl.signed_distance(skin[t], objects[t], faces)[0] < 0.005
                # The original stretches the triangles between the parts as they turn.
                assert (near == ours[t]).mean() >= (0.98 if "_use_" in name else 0.998)
            touched[side, name] = bool(ours.any())
    assert touched["right", GRAB] and touched["left", "s04/scissors_use_02"]
    assert 0 < report["share_of_frames_with_contact"] < 1


def test_names_texts_groups_and_settings(imported: tuple[Clips, dict[str, Any]]) -> None:
    clips, _ = imported
    index = clips.clip_ids.index(f"{USE}/left")
    groups = {column: values[index] for column, values in clips.groups.items()}
    assert groups == {
        "object": "capsulemachine", "action": "use", "task": None, "scene": None, "subject": "s01"
    }  # fmt: skip
    assert "use the capsule machine" in clips.texts and "grab the box" in clips.texts
    settings = clips.manifest["settings"]
    assert set(settings) == {"objects", "subjects"}  # two verbs cannot fill four parts
    held = [subject for part in settings["subjects"]["parts"].values() for subject in part]
    assert sorted(held) == ["s01", "s02", "s04", "s05"]


def test_pictures_are_those_of_their_frames(imported: tuple[Clips, dict[str, Any]]) -> None:
    clips, report = imported
    assert clips.images_I.shape[1:] == (224, 224, 3) and report["pictures"]["in_clips"] == 8 * 5
    for name in clips.clip_ids:
        shown = clips.image_F[rows(clips, name)]
        assert len(shown.unique()) == 5 and (shown >= 0).all()
        for frame in (0, 10, 44):
            picture = clips.images_I[shown[frame]].numpy()
            assert (picture[:20] == 0).all()  # padded to a square
            grey = GREY_PER_FRAME * (EDGE + frame // 10 * 10)
            assert abs(int(picture[112, 112, 0]) - grey) <= 1


def test_left_hands_of_manos_published_file_are_fitted(tmp_path: Path) -> None:
    """Its shape directions are not mirrored: the right hand cannot take the parameters as they are."""
    made = write_arctic(tmp_path, left_defect=True)
    for subject in ("s01", "s05"):
        shutil.rmtree(made.source / "raw_seqs" / subject)
    clips, report = run(made, tmp_path / "out")
    assert report["left_hands"] == {"kept_parameters": 0, "inverse_kinematics": 2}
    assert report["right_hands"] == {"kept_parameters": 2, "inverse_kinematics": 0}
    assert report["inverse_kinematics"]["joint_error_mm"]["median"] < 5
    theirs = official(made, GRAB)["left"][EDGE:-EDGE] @ MIRROR_X
    np.testing.assert_allclose(clips.joints_FJ3[rows(clips, f"{GRAB}/left")], theirs, atol=2e-5, rtol=0)


# --- how an import goes ---------------------------------------------------------------------------------


def test_an_import_is_idempotent_and_goes_on_where_it_was(
    made: Arctic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def stopped_at_the_third(path: Path) -> Any:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(path.name)
        return read_camera(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(arctic, "read_camera", stopped_at_the_third)
        run(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    again: list[str] = []
    monkeypatch.setattr(arctic, "read_camera", lambda path: again.append(path.name) or read_camera(path))
    clips, report = run(made, tmp_path / "out")
    assert len(read) == len(again) == 2 and not set(read) & set(again) and report["clips"] == 8
    assert run(made, tmp_path / "out")[0].digest == clips.digest and len(again) == 2
    fresh, _ = run(made, tmp_path / "fresh")
    assert fresh.digest == clips.digest and len(again) == 6


def test_a_jump_of_the_hand_cuts_the_clip(made: Arctic, tmp_path: Path) -> None:
    source = tmp_path / "jump"
    shutil.copytree(made.source, source, ignore=shutil.ignore_patterns("cropped_images", "s0[245]"))
    path = source / "raw_seqs" / f"{USE}.mano.npy"
    content = read_npy_plainly(path)
    content["right"]["trans"][EDGE + 10 :] += 0.3  # 9 m/s for a frame; ten frames before, 35 after
    content["left"]["trans"][EDGE + 20 :] += 0.3  # no second is left on either side
    np.save(path, np.array(content, dtype=object))
    clips, report = run(made, tmp_path / "out", source=source)
    assert clips.clip_ids == [f"{USE}/right"] and clips.frames == 35
    assert report["cut_to_their_longest_part_without_a_jump"] == 1
    assert "shorter than 30 frames" in report["dropped"][f"{USE}/left"]
    assert torch.allclose(clips.camera_rot_F33[0], torch.eye(3), atol=1e-6)
