"""HO-3D files that are damaged: each is an error by class, or a sequence dropped with the reason."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.foreign.ho3d import LEAD, write_ho3d
from trainables.ho3d import NO_META, SHORT, find_sequences, import_ho3d
from trainables.ho3d_frame import read_frame
from trainables.ho3d_models import VARIABLE, read_model
from trainables.plain_pickle import read_pickle_plainly
from trainables.source_errors import (
    DamagedFile,
    HostileFile,
    MissingField,
    MissingFile,
    OutsidePath,
    WrongShape,
    WrongType,
    WrongValue,
)


@pytest.fixture(autouse=True)
def _no_models_from_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ho3d") / "HO3D_v3"
    write_ho3d(root)
    return root


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "HO3D_v3"))


@pytest.fixture
def small(whole: Path, tmp_path: Path) -> Path:
    """Two sequences without pictures."""
    ignored = shutil.ignore_patterns("GPMF1*", "rgb")
    return Path(shutil.copytree(whole, tmp_path / "HO3D_v3", ignore=ignored))


def _frame(root: Path, number: int = LEAD + 5) -> Path:
    return root / "train" / "SM2" / "meta" / f"{number:04d}.pkl"


def _rewrite(path: Path, **fields: Any) -> None:
    meta = read_pickle_plainly(path)
    meta |= fields
    path.write_bytes(pickle.dumps({k: v for k, v in meta.items() if v is not ...}, protocol=2))


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('code of the pickle ran')",)


DAMAGE: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:200]), DamagedFile, "no readable pickle"),
    "hostile": (lambda p: p.write_bytes(pickle.dumps(_Runs())), HostileFile, "nothing was run"),
    "no field": (lambda p: _rewrite(p, handPose=...), MissingField, "handPose"),
    "a shape": (lambda p: _rewrite(p, handPose=np.zeros(45)), WrongShape, "handPose"),
    "a type": (lambda p: _rewrite(p, handTrans="0 0 0"), WrongType, "handTrans"),
    "NaN": (lambda p: _rewrite(p, handJoints3D=np.full((21, 3), np.nan)), WrongValue, "handJoints3D"),
    "root alone": (lambda p: _rewrite(p, handJoints3D=np.zeros(3)), WrongShape, "evaluation part"),
    "no mapping": (lambda p: p.write_bytes(pickle.dumps([1, 2])), WrongType, "fields are expected"),
    "distances": (lambda p: _rewrite(p, handVertDist=np.ones(778), handVertContact=np.ones(778),
                                     handVertIntersec=np.zeros(778)), WrongValue, "handVertDist"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_frame_drops_its_sequence_with_the_reason(kind: str, small: Path, tmp_path: Path) -> None:
    damage, error, words = DAMAGE[kind]
    damage(_frame(small))
    with pytest.raises(error, match=words) as raised:
        read_frame(_frame(small))
    assert str(_frame(small)) in str(raised.value)
    report = import_ho3d(small, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 1 and report["dropped"]["SM2"] == str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda meta: {"handJoints3D": meta["handJoints3D"] * 1000}, "looks like millimetres"),
        (lambda meta: {"handJoints3D": meta["handJoints3D"] @ np.diag([1, -1, -1])}, "behind an OpenGL camera"),
        (lambda meta: {"objName": "../../elsewhere"}, "outside"),
        (lambda meta: {"objCorners3DRest": meta["objCorners3DRest"] * 1000}, "annotated size"),
        (lambda meta: dict.fromkeys(meta), SHORT),
    ],
)  # fmt: skip
def test_a_sequence_in_other_units_or_axes_is_dropped(
    change: Callable[[dict[str, Any]], dict[str, Any]], words: str, small: Path, tmp_path: Path
) -> None:
    for path in (small / "train" / "SM2" / "meta").glob("*.pkl"):
        meta = read_pickle_plainly(path)
        if meta["objRot"] is not None:
            _rewrite(path, **change(meta))
    report = import_ho3d(small, tmp_path / "clips", workers=1, show_progress=False)
    assert report["clips"] == 1 and words in report["dropped"]["SM2"]


def test_what_lies_outside_is_an_error_of_its_own(copied: Path) -> None:
    with pytest.raises(OutsidePath, match="objName"):
        read_model(copied / "models", "../../etc", None, "0003.pkl")


def test_other_damage(copied: Path, tmp_path: Path) -> None:
    (copied / "train" / "GPMF10" / "rgb" / f"{LEAD:04d}.jpg").write_bytes(b"no picture")
    shutil.rmtree(copied / "train" / "GPMF11" / "meta")
    shutil.copytree(copied / "train" / "SM2", copied / "train" / "SM3")
    model = copied / "models" / "004_sugar_box" / "textured_simple.obj"  # SiS1's
    model.write_text("nothing of a mesh")
    report = import_ho3d(copied, tmp_path / "clips", workers=1, show_progress=False)
    assert "no readable picture" in report["dropped"]["GPMF10"]
    assert report["dropped"]["GPMF11"] == NO_META
    assert "the recording is there twice" in report["dropped"]["SM3"]
    assert "mesh" in report["dropped"]["SiS1"] and str(model) in report["dropped"]["SiS1"]
    assert report["clips"] == 1


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="train/"):
        find_sequences(tmp_path)
    (tmp_path / "train" / "SM2").mkdir(parents=True)
    with pytest.raises(MissingFile, match="fetch HO-3D again"):
        import_ho3d(tmp_path, tmp_path / "clips", show_progress=False)
