"""FPHA: real motion written in its layout, read back; and what damaged files do."""

from __future__ import annotations

import multiprocessing
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.foreign.fpha import CAMERA, UNPOSED, Written, write_fpha, write_ply
from tests.foreign.fpha import LABELS as WRITTEN_LABELS
from trainables.clips import Clips, read_clips, read_manifest
from trainables.fpha import SHORT, Work, convert_subject, import_fpha
from trainables.fpha_labels import LABELS, MODELLED
from trainables.fpha_sequence import read_sequence, read_table
from trainables.fpha_source import NO_SKELETON, find_fpha
from trainables.import_run import Unit
from trainables.prepare import main
from trainables.signed_distance import Mesh, read_mesh
from trainables.source_errors import DamagedFile, MissingFile, WrongShape, WrongType, WrongValue
from trainables.square_picture import PICTURE_PX

SALT, SHAKE = "Subject_2/put_salt/2", "Subject_1/handshake/1"


@pytest.fixture(autouse=True)
def _own_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Written]]:
    root = tmp_path_factory.mktemp("fpha") / "F-PHAB"
    return root, {written.name: written for written in write_fpha(root)}


@pytest.fixture(scope="module")
def imported(
    whole: tuple[Path, dict[str, Written]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Clips]:
    return _import(whole[0], tmp_path_factory.mktemp("clips") / "fpha")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences without pictures, by two people."""
    root = tmp_path_factory.mktemp("bare") / "F-PHAB"
    write_fpha(root, pictures=False)
    for action in ("open_milk", "pour_juice_bottle"):
        shutil.rmtree(root / "Hand_pose_annotation_v1_1" / "Subject_1" / action)
    return root


@pytest.fixture
def small(bare: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bare, tmp_path / "F-PHAB"))


def _import(source: Path, dest: Path, **options: Any) -> tuple[dict[str, Any], Clips]:
    report = import_fpha(source, dest, workers=1, show_progress=False, **options)
    return report, read_clips(str(dest))


def _frames(clips: Clips, name: str) -> slice:
    index = clips.clip_ids.index(name)
    return slice(int(clips.offsets_C1[index]), int(clips.offsets_C1[index + 1]))


# --- the authors' own way of reading --------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1_1"])
def test_the_authors_reader_accepts_what_is_written(version: str, tmp_path: Path) -> None:
    """guiggh/hand_pose_action, load_example.py: joints, object and picture of every frame the split lists."""
    written = {w.name: w for w in write_fpha(tmp_path, version=version, pictures=version == "v1")}
    reorder_idx = np.array([0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20])
    entries = [
        line.split() for line in (tmp_path / "data_split_action_recognition.txt").read_text().splitlines()
    ]
    assert [entry[0] for entry in entries if entry[0] in ("Training", "Test")] == ["Training", "Test"]
    sequences = [entry for entry in entries if "/" in entry[0]]
    assert len(sequences) == 4
    for name, label in sequences:
        action = name.split("/")[1]
        assert WRITTEN_LABELS[action] == int(label) and action in LABELS
        values = np.loadtxt(tmp_path / f"Hand_pose_annotation_{version}" / name / "skeleton.txt")
        skeleton = values[:, 1:].reshape(values.shape[0], 21, -1)
        assert (values[:, 0] == np.arange(45)).all()
        for frame in (0, 17, 44):
            skel = skeleton[frame][reorder_idx]
            skel_hom = np.concatenate([skel, np.ones([skel.shape[0], 1])], 1)
            in_camera = CAMERA.dot(skel_hom.transpose()).transpose()[:, :3]
            np.testing.assert_allclose(in_camera / 1000, written[name].joints_m[frame], atol=1e-8)
        if version == "v1":
            assert (tmp_path / "Video_files" / name / "color" / "color_0044.jpeg").is_file()
        pose_file = tmp_path / "Object_6D_pose_annotation_v1_1" / name / "object_pose.txt"
        if name == SHAKE:
            assert not pose_file.exists()
            continue
        line = pose_file.read_text().splitlines()[17].strip().split(" ")
        transform = np.array(line[1:]).astype(np.float32).reshape(4, 4).transpose()
        own = MODELLED[written[name].object]
        verts = read_mesh(tmp_path / "Object_models" / f"{own}_model" / f"{own}_model.ply").vertices_m * 1000
        hom = np.concatenate([verts, np.ones([verts.shape[0], 1])], axis=1)
        placed = CAMERA.dot(transform.dot(hom.T))[:3].T / 1000
        # The object is in the hand's reach.
        hand_m = written[name].joints_m[17]
        assert np.linalg.norm(placed[:, None] - hand_m[None], axis=-1).min() < 0.1


def test_the_table_of_labels_is_the_papers() -> None:
    assert len(LABELS) == 45 and len({label.object for label in LABELS.values()}) == 26
    posed = sorted(folder for folder, label in LABELS.items() if label.object in MODELLED)
    assert len(posed) == 10 and "put_salt" in posed
    for folder in posed:  # load_example.py's own rule: the object is what follows the verb
        assert folder.split("_", 1)[1] == MODELLED[LABELS[folder].object]
    assert LABELS["use_flash"].text == "use spray" and LABELS["use_flash"].action == "use flash"


# --- round trip -----------------------------------------------------------------------------------------


def test_round_trip(whole: tuple[Path, dict[str, Written]], imported: tuple[dict[str, Any], Clips]) -> None:
    report, clips = imported
    assert report["recordings"] == 4 and report["clips"] == 4 and not report["dropped"]
    assert report["hand_fit"]["joint_error_mm"]["median"] < 5
    for name, meant in whole[1].items():
        own, index = _frames(clips, name), clips.clip_ids.index(name)
        np.testing.assert_allclose(clips.joints_FJ3[own].numpy(), meant.joints_m, rtol=0, atol=1e-6)
        assert clips.groups["action"][index] == meant.action
        assert clips.groups["object"][index] == meant.object
        assert clips.groups["subject"][index] == name.split("/")[0]
        assert clips.texts[int(clips.text_F[own.start])] == meant.text
        known = clips.contact_known_F[own].numpy()
        if meant.contact_bits is None:
            assert not known.any()
            continue
        posed = 45 - (UNPOSED if name == SALT else 0)
        assert known[:posed].all() and not known[posed:].any()
        bits = clips.contact_FV[own].bool().numpy()
        assert not bits[posed:].any()
        assert (bits[:posed] == meant.contact_bits[:posed]).mean() > 0.98
        assert bits.any() == meant.contact_bits[:posed].any()
    assert report["share_of_frames_with_known_contact"] == round((3 * 45 - UNPOSED) / (4 * 45), 3)


def test_the_camera_is_unknown_after_the_first_frame(imported: tuple[dict[str, Any], Clips]) -> None:
    report, clips = imported
    firsts = clips.offsets_C1[:-1]
    assert clips.camera_known_F[firsts].all() and int(clips.camera_known_F.sum()) == len(clips)
    assert report["share_of_frames_with_unknown_camera"] == round(44 / 45, 3)


def test_every_tenth_picture_is_the_frames_own(imported: tuple[dict[str, Any], Clips]) -> None:
    report, clips = imported
    assert report["pictures"] == 4 * 5 and clips.images_I.shape == (20, PICTURE_PX, PICTURE_PX, 3)
    own = _frames(clips, SALT)
    for frame in (0, 9, 10, 44):
        image = clips.images_I[int(clips.image_F[own.start + frame])]
        assert abs(int(image[112, 112, 0]) - 5 * (frame // 10 * 10)) <= 2  # JPEG
        assert int(image[10, 112, 0]) == 0 and int(image[112, 2, 0]) == int(image[112, 112, 0])  # 16:9


def test_without_models_or_pictures_contact_is_unknown(tmp_path: Path) -> None:
    write_fpha(tmp_path / "F-PHAB", models=False, pictures=False)
    report, clips = _import(tmp_path / "F-PHAB", tmp_path / "clips")
    assert report["clips"] == 4 and report["object_models"] == []
    assert not clips.contact_known_F.any() and not len(clips.images_I)


# --- the command, again and again -----------------------------------------------------------------------


def test_the_command_imports_and_says_what_it_did(small: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "clips")
    result = CliRunner().invoke(main, ["fpha", str(small), dest, "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "2 recordings: 2 clips kept, 0 dropped" in result.output
    before = (tmp_path / "clips" / "manifest.json").read_bytes()
    again = import_fpha(small, dest, workers=1, show_progress=False)
    assert (tmp_path / "clips" / "manifest.json").read_bytes() == before and again["clips"] == 2
    nothing = CliRunner().invoke(main, ["fpha", str(tmp_path / "empty"), dest])
    assert nothing.exit_code == 1 and "Hand_pose_annotation_v1" in nothing.output


def test_an_import_goes_on_where_it_was_stopped(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stopping(place: Any, mesh: Any) -> Any:
        seen.append(place.name)
        if place.name == SALT and seen.count(SALT) == 1:
            raise KeyboardInterrupt
        return read_sequence(place, mesh)

    monkeypatch.setattr("trainables.fpha.read_sequence", stopping)
    with pytest.raises(KeyboardInterrupt):
        import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    assert not (tmp_path / "clips").exists()
    report = import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 2 and seen == [SHAKE, SALT, SALT]
    assert import_fpha(small, tmp_path / "whole", workers=1, show_progress=False) == report
    assert read_manifest(tmp_path / "whole") == read_manifest(tmp_path / "clips")


def test_work_travels_to_other_processes(bare: Path) -> None:
    found = find_fpha(bare)
    unit = Unit(name="Subject_2", key="", work=Work(places=found.places[1:], models=found.models))
    convert = partial(convert_subject, radius_m=0.005)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        (there,) = pool.submit(convert, unit).result().clips
    (here,) = convert(unit).clips
    np.testing.assert_array_equal(here.contact_bits, there.contact_bits)


# --- damage ---------------------------------------------------------------------------------------------


def _skeleton(root: Path) -> Path:
    return root / "Hand_pose_annotation_v1_1" / SALT / "skeleton.txt"


def _pose(root: Path) -> Path:
    return root / "Object_6D_pose_annotation_v1_1" / SALT / "object_pose.txt"


def _line(path: Path, at: int, change: Callable[[str], str]) -> None:
    lines = path.read_text().splitlines()
    lines[at] = change(lines[at])
    path.write_text("\n".join(lines) + "\n")


def _scaled(path: Path, factor: float, columns: slice = slice(1, None)) -> None:
    table = np.loadtxt(path)
    table[:, columns] *= factor
    path.write_text(
        "".join(" ".join([str(int(row[0])), *map(repr, row[1:].tolist())]) + "\n" for row in table)
    )


DAMAGE: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "a short line": (lambda r: _line(_skeleton(r), 6, lambda line: line[:200]), WrongShape, "line 7"),
    "a word": (lambda r: _line(_skeleton(r), 6, lambda line: re.sub(r" \S+$", " x", line)), WrongType, "line 7"),
    "NaN": (lambda r: _line(_skeleton(r), 6, lambda line: re.sub(r" \S+$", " nan", line)), WrongValue, "NaN"),
    "bytes": (lambda r: _skeleton(r).write_bytes(b"\xff\xd8\x00"), DamagedFile, "no text"),
    "empty": (lambda r: _skeleton(r).write_text(""), DamagedFile, "no frame"),
    "a frame twice": (lambda r: _line(_skeleton(r), 6, lambda line: "5" + line[1:]), WrongValue, "does not rise"),
    "metres": (lambda r: _scaled(_skeleton(r), 1e-3), WrongValue, "looks like metres"),
    "tenths": (lambda r: _scaled(_skeleton(r), 10), WrongValue, "looks like decimetres|looks like centimetres"),
    "zeros": (lambda r: _scaled(_skeleton(r), 0), WrongValue, "zeros"),
    "behind": (lambda r: _scaled(_skeleton(r), -1), WrongValue, "behind the camera"),
    "no rotation": (lambda r: _scaled(_pose(r), 2, slice(1, 4)), WrongValue, "no rotation"),
    "object in metres": (lambda r: _scaled(_pose(r), 1e-3, slice(13, 16)), WrongValue, "looks like metres"),
    "a short pose": (lambda r: _line(_pose(r), 2, lambda line: line[:60]), WrongShape, "line 3"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_drops_its_sequence_with_the_reason(kind: str, small: Path, tmp_path: Path) -> None:
    damage, error, words = DAMAGE[kind]
    damage(small)
    (place,) = [place for place in find_fpha(small).places if place.name == SALT]
    with pytest.raises(error, match=words) as raised:
        read_sequence(place, "salt")
    assert SALT in str(raised.value)
    report = import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 1 and report["dropped"] == {SALT: str(raised.value)}


def test_gaps_and_folders_that_are_no_sequences(small: Path, tmp_path: Path) -> None:
    hands = small / "Hand_pose_annotation_v1_1"
    (hands / "Subject_1" / "juggle_balls" / "1").mkdir(parents=True)
    (hands / "Subject_1" / "stir" / "4").mkdir(parents=True)
    shutil.copytree(hands / SALT, hands / "Subject_2/put_salt/3")
    lines = _skeleton(small).read_text().splitlines()
    _skeleton(small).write_text("\n".join(lines[:20] + lines[21:]) + "\n")  # frame 20 is missing
    table = hands / "Subject_2/put_salt/3/skeleton.txt"
    _line(table, 2, lambda line: " ".join(["2", *["0"] * 63]))  # frame 2 was not measured
    assert len(read_table(table, 63)[0]) == 45
    report = import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 2 and report["frames_without_joints"] == 1
    assert (
        report["recordings_cut_to_their_longest_run"] == 1 and report["frames_outside_the_longest_run"] == 2
    )
    assert report["dropped"] == {
        "Subject_1/juggle_balls/1": "'juggle_balls' is none of FPHA's 45 actions; rename or remove the folder",
        "Subject_1/stir/4": NO_SKELETON,
        SALT: SHORT,
    }


def test_models_that_no_recording_can_use_stop_the_import(small: Path, tmp_path: Path) -> None:
    model = small / "Object_models" / "salt_model" / "salt_model.ply"
    mesh, whole = read_mesh(model), model.read_text()
    write_ply(model, Mesh(vertices_m=1000 * mesh.vertices_m, faces=mesh.faces))
    with pytest.raises(WrongValue, match="in metres"):
        import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    model.write_text(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile, match="mesh"):
        import_fpha(small, tmp_path / "clips", workers=1, show_progress=False)
    assert not (tmp_path / "clips").exists()


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Hand_pose_annotation_v1").mkdir()
    with pytest.raises(MissingFile, match="fetch FPHA again"):
        find_fpha(tmp_path)
