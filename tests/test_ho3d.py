"""HO-3D: real motion written in its layout (both versions), read back; and what damaged files do."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from tests.foreign.ho3d import LEAD, Written, write_ho3d
from trainables.clips import Clips, read_clips, read_manifest
from trainables.hand import OPENPOSE_ORDER, load_hand
from trainables.ho3d import EVALUATION, Work, convert_scene, find_sequences, import_ho3d
from trainables.ho3d_models import VARIABLE
from trainables.ho3d_sequence import read_sequence, scene_of, subject_of
from trainables.import_run import Unit
from trainables.plain_pickle import read_pickle_plainly
from trainables.prepare import main
from trainables.recorded_clips import centroid
from trainables.source_errors import (
    MissingFile,
)
from trainables.square_picture import PICTURE_PX

NAMES = ["GPMF10", "GPMF11", "SM2", "SiS1"]


@pytest.fixture(autouse=True)
def _no_models_from_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Written]]:
    root = tmp_path_factory.mktemp("ho3d") / "HO3D_v3"
    return root, {written.name: written for written in write_ho3d(root)}


@pytest.fixture
def copied(third: tuple[Path, dict[str, Written]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(third[0], tmp_path / "HO3D_v3"))


def _import(source: Path, dest: Path, **options: Any) -> tuple[dict[str, Any], Clips]:
    report = import_ho3d(source, dest, workers=1, show_progress=False, **options)
    return report, read_clips(str(dest))


def _frames(clips: Clips, name: str) -> slice:
    index = clips.clip_ids.index(name)
    return slice(int(clips.offsets_C1[index]), int(clips.offsets_C1[index + 1]))


# --- the authors' own way of reading --------------------------------------------------------------------


def _project(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """As utils/vis_utils.py projects OpenGL points."""
    turned = points @ np.diag([1.0, -1.0, -1.0])
    on_plane = turned @ camera.T
    return on_plane[:, :2] / on_plane[:, 2:]


@pytest.mark.parametrize("version", [2, 3])
def test_the_authors_reader_accepts_what_is_written(version: int, tmp_path: Path) -> None:
    """shreyashampali/ho3d: vis_HO3D.py, with the loaded hand in MANO's place."""
    written = {w.name: w for w in write_ho3d(tmp_path, version=version)}
    hand = load_hand()
    shown = 0
    for line in (tmp_path / "train.txt").read_text().split():
        sequence, number = line.split("/")
        # The authors' pickle.load, but that it admits arrays alone: what it takes, that takes too.
        anno = read_pickle_plainly(tmp_path / "train" / sequence / "meta" / f"{number}.pkl")
        assert anno["objRot"] is not None, "train.txt lists annotated frames alone"
        assert (anno["handPose"].shape, anno["handTrans"].shape, anno["handBeta"].shape) == (
            (48,),
            (3,),
            (10,),
        )
        pose, betas, transl = (
            torch.from_numpy(anno[name])[None].float() for name in ("handPose", "handBeta", "handTrans")
        )
        joints = hand.joints(pose[:, :3], pose[:, 3:], betas, transl)[0].numpy()
        stored = anno["handJoints3D"][list(OPENPOSE_ORDER)]  # jointsMapManoToSimple
        np.testing.assert_allclose(joints, stored, atol=1e-5)
        meant = written[sequence].joints_m[int(number) - LEAD]
        kps = _project(anno["camMat"], stored)
        np.testing.assert_allclose(kps, (meant @ anno["camMat"].T / meant[:, 2:])[:, :2], atol=1e-6)
        turn = Rotation.from_rotvec(anno["objRot"][:, 0]).as_matrix()
        corners = anno["objCorners3DRest"] @ turn.T + anno["objTrans"]
        np.testing.assert_allclose(corners, anno["objCorners3D"], atol=1e-9)
        assert (tmp_path / "models" / anno["objName"] / "textured_simple.obj").is_file()
        assert (
            tmp_path / "train" / sequence / "rgb" / f"{number}.{'png' if version == 2 else 'jpg'}"
        ).is_file()
        assert ("handVertContact" in anno) == (version == 3)
        shown += 1
    assert shown == 4 * 45
    assert read_pickle_plainly(tmp_path / "train" / "SM2" / "meta" / "0000.pkl")["objRot"] is None


# --- round trip -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_round_trip_keeps_the_authors_parameters(version: int, tmp_path: Path) -> None:
    """The stand-in hand is in MANO's place for both, so that stored parameters are the loaded hand's."""
    written = write_ho3d(tmp_path / "HO3D", version=version)
    report, clips = _import(tmp_path / "HO3D", tmp_path / "clips")
    assert sorted(clips.clip_ids) == NAMES and report["clips_with_their_own_hand_parameters"] == 4
    assert report["recordings"] == 5 and report["dropped"] == {"evaluation/AP10": EVALUATION}
    for meant in written:
        own = _frames(clips, meant.name)
        index = clips.clip_ids.index(meant.name)
        for stored, value in (
            (clips.joints_FJ3[own], meant.joints_m),
            (clips.hand_pose_F45[own], meant.parameters.hand_pose),
            (clips.transl_F3[own], meant.parameters.transl_m),
            (clips.betas_C10[index], meant.parameters.betas),
        ):
            np.testing.assert_allclose(stored.numpy(), value, rtol=0, atol=1e-6)
        turns = Rotation.from_rotvec(clips.global_orient_F3[own].numpy())
        off = turns * Rotation.from_rotvec(meant.parameters.global_orient).inv()
        assert off.magnitude().max() < 1e-5
        assert (clips.contact_FV[own].bool().numpy() == meant.contact_bits).mean() > 0.9999
        assert clips.groups["object"][index] == meant.object
        assert clips.groups["subject"][index] == meant.subject and clips.groups["scene"][index] == meant.scene
        words = meant.object.split("_", 1)[1].replace("_", " ")
        assert clips.texts[int(clips.text_F[own.start])] == f"manipulate the {words}"
    assert clips.contact_known_F.all() and clips.camera_known_F.all()
    assert 0.4 < report["share_of_those_in_contact"] < 0.9
    assert report["hand_fit"]["joint_error_mm"]["p95"] < 0.1
    assert (
        report["frames_without_annotation"] == 4 * LEAD and report["frames_outside_the_longest_run"] == 4 * 2
    )


def test_every_tenth_picture_is_the_frames_own(
    third: tuple[Path, dict[str, Written]], tmp_path: Path
) -> None:
    _, clips = _import(third[0], tmp_path / "clips")
    assert clips.images_I.shape == (4 * 5, PICTURE_PX, PICTURE_PX, 3)
    own = _frames(clips, "SM2")
    for frame in (0, 9, 10, 44):
        image = clips.images_I[int(clips.image_F[own.start + frame])]
        number = LEAD + frame // 10 * 10
        assert abs(int(image[112, 112, 0]) - 3 * number) <= 2  # JPEG
        assert int(image[10, 112, 0]) == 0  # 4:3 was padded to a square


def test_other_hands_parameters_are_found_again(tmp_path: Path) -> None:
    written = write_ho3d(tmp_path / "HO3D", measured=True)
    report, clips = _import(tmp_path / "HO3D", tmp_path / "clips")
    assert report["clips_with_their_own_hand_parameters"] == 0
    assert report["hand_fit"]["joint_error_mm"]["median"] < 5
    for meant in written:
        own = _frames(clips, meant.name)
        np.testing.assert_allclose(clips.joints_FJ3[own].numpy(), meant.joints_m, rtol=0, atol=1e-6)
        agree = clips.contact_FV[own].bool().numpy() == meant.contact_bits
        assert agree.mean() > 0.98


def test_views_of_one_recording_are_one_scene() -> None:
    assert [scene_of(name) for name in ("ABF10", "ABF14", "MC1", "SMu1", "SMu42")] == [
        "ABF1", "ABF1", "MC1", "SMu1", "SMu4"
    ]  # fmt: skip
    assert [subject_of(name) for name in ("ABF10", "SMu40", "ShSu12", "SiBF11", "ND2")] == [
        "A", "S", "Sh", "Si", "N"
    ]  # fmt: skip


# --- without models -------------------------------------------------------------------------------------


def test_without_models_the_stored_distances_tell(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied / "models")
    report, clips = _import(copied, tmp_path / "clips")
    assert report["recordings_with_the_contact_that_the_source_stores"] == 4
    assert report["object_models"].startswith("none: fetch the YCB-Video 3D models")
    for name, meant in {w.name: w for w in write_ho3d(tmp_path / "again")}.items():
        own = _frames(clips, name)
        bits = clips.contact_FV[own].bool().numpy()
        assert (bits == meant.contact_bits).mean() > 0.9999
        vertices = load_hand().vertices(
            clips.global_orient_F3[own],
            clips.hand_pose_F45[own],
            clips.betas_C10[clips.clip_ids.index(name)].expand(45, -1),
            clips.transl_F3[own],
        )
        point = centroid(bits, vertices.double().numpy())
        known = clips.point_known_F[own].numpy()
        assert known.any() and (known == ~np.isnan(point[:, 0])).all()
        np.testing.assert_allclose(clips.point_F3[own].numpy()[known], point[known], atol=1e-5)


def test_version_2_without_models_knows_no_contact(tmp_path: Path) -> None:
    write_ho3d(tmp_path / "HO3D", version=2, models=False, pictures=False)
    report, clips = _import(tmp_path / "HO3D", tmp_path / "clips")
    assert report["clips"] == 4 and not clips.contact_known_F.any() and not len(clips.images_I)
    assert report["share_of_frames_with_known_contact"] == 0


def test_models_may_lie_elsewhere(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "models").rename(tmp_path / "ycb")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(MissingFile, match="YCB_MODELS names it"):
        import_ho3d(copied, tmp_path / "clips", show_progress=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "ycb"))
    report, clips = _import(copied, tmp_path / "clips")
    assert report["object_models"] == "found" and clips.contact_known_F.all()


# --- the command, again and again -----------------------------------------------------------------------


def test_the_command_imports_and_says_what_it_did(copied: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "clips")
    result = CliRunner().invoke(main, ["ho3d", str(copied), dest, "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "5 recordings: 4 clips kept, 1 dropped" in result.output and EVALUATION in result.output
    before = (tmp_path / "clips" / "manifest.json").read_bytes()
    again = import_ho3d(copied, dest, workers=1, show_progress=False)
    assert (tmp_path / "clips" / "manifest.json").read_bytes() == before and again["clips"] == 4
    nothing = CliRunner().invoke(main, ["ho3d", str(tmp_path / "empty"), dest])
    assert nothing.exit_code == 1 and "train/" in nothing.output


def test_an_import_goes_on_where_it_was_stopped(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stopping(place: Any, hand: Any) -> Any:
        seen.append(place.name)
        if place.name == "SM2" and seen.count("SM2") == 1:
            raise KeyboardInterrupt
        return read_sequence(place, hand)

    monkeypatch.setattr("trainables.ho3d.read_sequence", stopping)
    with pytest.raises(KeyboardInterrupt):
        import_ho3d(copied, tmp_path / "clips", workers=1, show_progress=False)
    assert not (tmp_path / "clips").exists()
    report = import_ho3d(copied, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 4 and seen == ["GPMF10", "GPMF11", "SM2", "SM2", "SiS1"]
    whole = import_ho3d(copied, tmp_path / "whole", workers=1, show_progress=False)
    assert whole == report
    assert read_manifest(tmp_path / "whole") == read_manifest(tmp_path / "clips")


def test_work_travels_to_other_processes(third: tuple[Path, dict[str, Written]]) -> None:
    places, _ = find_sequences(third[0])
    unit = Unit(name="SM2", key="", work=Work(places=places[2:3], models=third[0] / "models"))
    convert = partial(convert_scene, radius_m=0.005)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        (there,) = pool.submit(convert, unit).result().clips
    (here,) = convert(unit).clips
    np.testing.assert_array_equal(here.contact_bits, there.contact_bits)
