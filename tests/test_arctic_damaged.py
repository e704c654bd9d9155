"""What is wrong with an ARCTIC folder is said: an error by name, or a drop with its reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.foreign.arctic import EDGE, SEQUENCES, Arctic, write_arctic
from trainables.arctic import import_arctic
from trainables.arctic_source import ArcticError
from trainables.clips import Clips, read_clips
from trainables.mano_sides import NeedsMano
from trainables.plain_pickle import read_npy_plainly

GRAB, USE = "s02/box_grab_01", "s01/capsulemachine_use_01"
BOTH = {f"{GRAB}/right", f"{GRAB}/left"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MANO_PATH", raising=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Arctic:
    return write_arctic(tmp_path_factory.mktemp("arctic"), pictures=True)


@pytest.fixture
def copy(whole: Arctic, tmp_path: Path) -> Arctic:
    """Two sequences of it, to be damaged."""
    others = [Path(name).name + ".*" for name in SEQUENCES if name not in (GRAB, USE)]
    shutil.copytree(whole.source, tmp_path / "data", ignore=shutil.ignore_patterns(*others))
    return Arctic(source=tmp_path / "data", mano=whole.mano, truth=whole.truth)


def run(made: Arctic, dest: Path) -> tuple[Clips, dict[str, Any]]:
    report = import_arctic(made.source, dest, mano_path=made.mano, workers=1, show_progress=False)
    return read_clips(str(dest)), report


def edit_dict(kind: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(raw: Path) -> None:
        path = raw / f"{GRAB}.{kind}.npy"
        content = read_npy_plainly(path)
        change(content)
        np.save(path, np.array(content, dtype=object))

    return edit


def edit_object(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def edit(raw: Path) -> None:
        path = raw / f"{GRAB}.object.npy"
        np.save(path, change(np.load(path)))

    return edit


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this ran",))


def set_nan(content: dict[str, Any]) -> None:
    content["left"]["pose"][3, 4] = np.nan


def centimetres(content: dict[str, Any]) -> None:
    content["T_k_cam_np"] = content["T_k_cam_np"] + 4 * np.array([[0.0], [0.0], [1.0]])


def scale(content: dict[str, Any]) -> None:
    content["right"]["trans"] = 1000 * content["right"]["trans"]


def shear(content: dict[str, Any]) -> None:
    content["R_k_cam_np"][7] *= 0.9


@pytest.mark.parametrize(
    ("damage", "names", "why"),
    [
        (lambda raw: (raw / f"{GRAB}.object.npy").unlink(), BOTH, r"object\.npy: is missing"),
        (lambda raw: (raw / f"{GRAB}.mano.npy").unlink(), BOTH, r"mano\.npy: is missing"),
        (lambda raw: (raw / f"{GRAB}.mano.npy").write_bytes(b"\x93NUMPY"), BOTH, r"no readable \.npy"),
        (edit_dict("mano", lambda d: d.pop("left")), {f"{GRAB}/left"}, "field left: is missing"),
        (edit_dict("mano", set_nan), {f"{GRAB}/left"}, r"field left\.pose: holds NaN"),
        (edit_dict("mano", scale), {f"{GRAB}/right"}, r"field right\.trans: holds .* outside -20 to 20"),
        (edit_dict("mano", lambda d: d["right"].update(shape=np.zeros(9))), {f"{GRAB}/right"}, r"right\.shape: has"),
        (edit_dict("mano", lambda d: d["right"].update(rot="none")), {f"{GRAB}/right"}, "not an array of numbers"),
        (edit_dict("egocam.dist", lambda d: d.pop("R_k_cam_np")), BOTH, "R_k_cam_np: is missing"),
        (edit_dict("egocam.dist", shear), BOTH, "no rotation"),
        (edit_dict("egocam.dist", lambda d: d.update(T_k_cam_np=[[1], [2, 3]])), BOTH, "not an array of numbers"),
        (edit_dict("egocam.dist", lambda d: d.update(R_k_cam_np=np.zeros((0, 3, 3)), T_k_cam_np=np.zeros((0, 3, 1)))),
         BOTH, "shorter than 30 frames"),
        (edit_dict("egocam.dist", centimetres), BOTH, "T_k_cam_np: puts the hand"),
        (edit_dict("egocam.dist", lambda d: d.update(a=Hostile())), BOTH, "pickle names builtins.print"),
        (edit_object(lambda a: a[:-1]), BOTH, "has 64 entries where frames of the camera has 65"),
        (edit_object(lambda a: a[:, :6]), BOTH, r"has shape \(65, 6\), not \(n, 7\)"),
        (edit_object(lambda a: a * [1, 1, 1, 1, 1e-3, 1e-3, 1e-3]), BOTH, "this looks like metres"),
        (edit_object(lambda a: a + [90.0, 0, 0, 0, 0, 0, 0]), BOTH, "articulation: is 90 rad"),
        (edit_object(lambda a: a + [0.0, 0, 0, 0, 5000, 0, 0]), BOTH, "away from the hand"),
    ],
)  # fmt: skip
def test_a_damaged_sequence_is_dropped_with_the_reason(
    copy: Arctic, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None], names: set[str], why: str,
) -> None:  # fmt: skip
    damage(copy.source / "raw_seqs")
    clips, report = run(copy, tmp_path / "out")
    assert set(report["dropped"]) == names and report["recordings"] == 4
    assert set(clips.clip_ids) == {f"{n}/{s}" for n in (GRAB, USE) for s in ("right", "left")} - names
    for reason in report["dropped"].values():
        assert re.search(why, reason), reason
    assert "this ran" not in capsys.readouterr().out


def test_pictures_that_are_not_there_or_broken_are_counted(copy: Arctic, tmp_path: Path) -> None:
    folder = copy.source / "cropped_images" / GRAB / "0"
    (folder / f"{EDGE + 1:05d}.jpg").unlink()
    (folder / f"{EDGE + 11:05d}.jpg").write_bytes(b"\xff\xd8 no picture")
    shutil.rmtree(copy.source / "cropped_images" / "s01")
    clips, report = run(copy, tmp_path / "out")
    assert report["pictures"] == {"in_clips": 2 * 3, "missing": 1, "unreadable": 1}
    index = clips.clip_ids.index(f"{USE}/right")
    begin, end = clips.offsets_C1[index : index + 2].tolist()
    assert (clips.image_F[begin:end] == -1).all()


def test_what_all_sequences_need_stops_the_import(copy: Arctic, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    with pytest.raises(
        NeedsMano, match=r"set MANO_PATH to the folder with MANO_RIGHT\.pkl and MANO_LEFT\.pkl"
    ):
        import_arctic(copy.source, dest)
    right_alone = tmp_path / "mano"
    right_alone.mkdir()
    shutil.copy(copy.mano / "MANO_RIGHT.npz", right_alone)
    with pytest.raises(NeedsMano, match="left hands need MANO"):
        import_arctic(copy.source, dest, mano_path=right_alone)
    (copy.source / "meta" / "misc.json").write_text("{")
    with pytest.raises(ArcticError, match=r"misc\.json: is no JSON"):
        run(copy, dest)
    shutil.rmtree(copy.source / "meta")
    with pytest.raises(ArcticError, match="object_vtemplates"):
        run(copy, dest)
    shutil.rmtree(copy.source / "raw_seqs")
    with pytest.raises(ArcticError, match="holds no raw_seqs"):
        run(copy, dest)
    assert not dest.exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("parts.json", "[0, 1]", r"field parts: has shape \(2,\)"),
        ("parts.json", "{", "is no JSON"),
        ("mesh.obj", "v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n", "this looks like metres"),
        ("mesh.obj", "", "not a readable triangle mesh|no triangles"),
        ("mesh.obj", None, "is missing"),
    ],
)
def test_a_damaged_object_drops_its_own_sequences(
    copy: Arctic, tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    path = copy.source / "meta" / "object_vtemplates" / "box" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    _, report = run(copy, tmp_path / "out")
    assert set(report["dropped"]) == BOTH and report["clips"] == 2
    assert all(re.search(why, reason) for reason in report["dropped"].values()), report["dropped"]
