"""Results of SAM 2 and of inpainting, in the layouts that those projects write."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.foreign.network_results import (
    encode_runs,
    write_inpainted,
    write_masks_release,
    write_masks_sa_v,
    write_masks_segments,
    write_masks_vos,
)
from trainables.inpainted_frames import inpainted_file, read_inpainted
from trainables.run_lengths import decode_runs
from trainables.sam2_results import ObjectMasks, masks_file, read_object_masks
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

VIDEO = "R005-7July-CoffeeGMC"

# --- SAM 2 -----------------------------------------------------------------------------------------------


def _disc(row: int, column: int, radius: int, size: tuple[int, int] = (50, 67)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


CUP = {0: _disc(20, 30, 9), 4: _disc(22, 33, 8), 8: np.zeros((50, 67), dtype=bool)}
LID = {0: _disc(24, 40, 5), 4: _disc(24, 41, 5)}  # overlaps the cup in part


def _written(folder: Path, layout: str) -> Path:
    objects = {1: CUP, 2: LID}
    if layout == "palette":
        return write_masks_vos(folder, VIDEO, objects, per_object=False)
    if layout == "folders":
        return write_masks_vos(folder, VIDEO, objects, per_object=True)
    if layout == "sa-v":
        return write_masks_sa_v(folder, VIDEO, objects, frame_count=11)
    return write_masks_segments(folder, VIDEO, objects, layout)


def _check_masks(found: ObjectMasks, wanted: dict[int, np.ndarray]) -> None:
    assert found.frames == list(wanted)
    for frame, mask in wanted.items():
        assert found.mask(frame).dtype == bool
        np.testing.assert_array_equal(found.mask(frame), mask)


def test_the_releases_pickled_pictures_come_back(tmp_path: Path) -> None:
    path = write_masks_release(tmp_path, VIDEO, CUP)
    assert masks_file(tmp_path, VIDEO) == path
    _check_masks(read_object_masks(path), CUP)
    for mode in ("L", "P"):
        pictures = {
            f: {"mask": Image.fromarray(mask).convert(mode), "box": [0, 0, 1, 1]} for f, mask in CUP.items()
        }
        path.write_bytes(pickle.dumps(pictures, protocol=2))
        _check_masks(read_object_masks(path), CUP)


@pytest.mark.parametrize("layout", ["palette", "folders", "sa-v", "json", "pkl"])
def test_masks_come_back_from_sam2s_own_layouts(tmp_path: Path, layout: str) -> None:
    path = _written(tmp_path, layout)
    assert masks_file(tmp_path, VIDEO) == path
    both = {f: mask | LID.get(f, np.zeros_like(mask)) for f, mask in CUP.items()}
    _check_masks(read_object_masks(path), both)
    found = read_object_masks(path, objects=[2])
    lid = LID if layout != "palette" else {f: mask & ~CUP[f] for f, mask in LID.items()}  # one number a pixel
    for frame, mask in lid.items():
        np.testing.assert_array_equal(found.mask(frame), mask)


def test_pngs_are_read_as_sam2s_evaluation_reads_them(tmp_path: Path) -> None:
    """sav_dataset/sav_evaluator.py and tools/vos_inference.py (load_ann_png): array of a picture, number > 0."""
    packed = write_masks_vos(tmp_path / "packed", VIDEO, {1: CUP, 2: LID}, per_object=False)
    pixels = np.array(Image.open(packed / "000000.png")).astype(np.uint8)
    assert np.unique(pixels).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(pixels == 1, CUP[0])
    each = write_masks_vos(tmp_path / "each", VIDEO, {1: CUP, 2: LID}, per_object=True)
    for name in sorted(path.name for path in each.iterdir()):
        mask = np.array(Image.open(each / name / "000000.png")) > 0
        np.testing.assert_array_equal(mask, (CUP if int(name) == 1 else LID)[0])


def test_run_lengths_are_those_of_pycocotools() -> None:
    """The strings are what pycocotools 2.0 gives for these masks."""
    rows, columns = np.mgrid[:40, :60]
    far = np.pad(np.ones((30, 2), dtype=bool), ((300, 200), (400, 300)))
    for mask, counts in (
        (np.zeros((3, 5), dtype=bool), "?"),
        (np.ones((3, 5), dtype=bool), "0?"),
        (
            (rows - 20) ** 2 + (columns - 31) ** 2 < 150,
            "Zh05P16K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5Jac0",
        ),
        (far, "\\Z_6n0d?0\\oj4"),
    ):
        assert encode_runs(mask) == {"size": list(mask.shape), "counts": counts}
        for code in (counts, counts.encode()):
            np.testing.assert_array_equal(decode_runs({"size": mask.shape, "counts": code}, "f", "m"), mask)
    listed = {"size": [2, 3], "counts": [1, 3, 2]}  # not compressed: down the columns
    np.testing.assert_array_equal(decode_runs(listed, "f", "m"), [[False, True, False], [True, True, False]])


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ({"size": [40, 60], "counts": "Zh05P16K4M2N2N2O0O2O000O2O0000000"}, WrongValue),
        (
            {"size": [40, 60], "counts": "Zh05P16K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5Jac"},
            DamagedFile,
        ),
        ({"size": [40, 60], "counts": "Zh0 5P1"}, DamagedFile),
        ({"size": [40, 60], "counts": "oooooooooooo0"}, DamagedFile),
        ({"size": [40, 60], "counts": "é"}, WrongType),
        ({"size": [40, 60], "counts": [-5, 2405]}, WrongValue),
        ({"size": [40, 60], "counts": None}, WrongType),
        ({"size": [40], "counts": "?"}, WrongShape),
        ({"size": [1e9, 1e9], "counts": "?"}, WrongValue),
        ({"size": [2.5, 6], "counts": "?"}, WrongValue),
    ],
)
def test_damaged_run_lengths_are_named(code: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind, match="masks.json"):
        decode_runs(code, "masks.json", "7")


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("bomb"),))


def test_no_code_of_a_mask_pickle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{VIDEO}_obj_masks.pkl"
    path.write_bytes(pickle.dumps({0: {"mask": _Bomb(), "box": [0, 0, 1, 1]}}))
    with pytest.raises(HostileFile):
        read_object_masks(path)
    for name in ("open", "frombytes", "Image.open"):
        path.write_bytes(f"cPIL.Image\n{name}\n.".encode())
        with pytest.raises(HostileFile, match="PIL.Image"):
            read_object_masks(path)
    # A class of Pillow's that loads a file when it is asked for its pixels is not admitted either.
    buffer = io.BytesIO()
    Image.fromarray(CUP[0]).save(buffer, format="PNG")
    path.write_bytes(pickle.dumps({0: {"mask": Image.open(buffer)}}))
    with pytest.raises(HostileFile, match="PngImageFile"):
        read_object_masks(path)
    assert not Path("bomb").exists()


@pytest.mark.parametrize(
    "state",
    [
        None,
        "text",
        [{}, "1", (67, 50), None, b"short"],
        [{}, "RGB", (67, 50), None, bytes(67 * 50 * 3)],
        [{}, "1", (1 << 40, 1 << 40), None, b""],
        [{}, "1", "67x50", None, b""],
        [{}, ["1"], (67, 50), None, bytes(9 * 50)],
    ],
)
def test_pictures_that_are_no_masks_are_named(tmp_path: Path, state: Any) -> None:
    path = tmp_path / f"{VIDEO}_obj_masks.pkl"
    built = b"" if state is None else pickle.dumps(state, 3)[2:-1] + b"b"  # without its frame, then BUILD
    picture = b"cPIL.Image\nImage\n)\x81" + built
    path.write_bytes(b"\x80\x02}K\x03}X\x04\x00\x00\x00mask" + picture + b"ss.")
    with pytest.raises(WrongType, match="3.mask"):
        read_object_masks(path)


def test_mask_files_that_are_no_masks(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="_obj_masks.pkl"):
        read_object_masks(masks_file(tmp_path, VIDEO))
    with pytest.raises(OutsidePath):
        masks_file(tmp_path, "/etc/x")
    path = tmp_path / f"{VIDEO}.json"
    for text, kind in (
        ("{", DamagedFile),
        ("[1]", WrongType),
        (json.dumps({"first": {}}), WrongType),
        (json.dumps({"1": {"1": "mask"}}), WrongType),
        (json.dumps({"masklet": 3}), WrongType),
        (json.dumps({"masklet": []}), MissingField),
    ):
        path.write_text(text)
        with pytest.raises(kind, match=VIDEO):
            read_object_masks(path)
    path.unlink()
    logits = {0: {1: np.random.default_rng(0).normal(size=(1, 50, 67)).astype(np.float32)}}
    (tmp_path / f"{VIDEO}.pkl").write_bytes(pickle.dumps(logits))
    with pytest.raises(WrongType, match="logits"):
        read_object_masks(tmp_path / f"{VIDEO}.pkl")


def test_a_damaged_png_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    folder = write_masks_vos(tmp_path, VIDEO, {1: CUP}, per_object=False)
    whole = (folder / "000004.png").read_bytes()
    (folder / "000004.png").write_bytes(whole[:-40])
    Image.new("RGB", (67, 50)).save(folder / "000008.png")
    masks = read_object_masks(folder)
    np.testing.assert_array_equal(masks.mask(0), CUP[0])
    with pytest.raises(DamagedFile, match="000004.png"):
        masks.mask(4)
    with pytest.raises(WrongType, match="RGB"):
        masks.mask(8)
    with pytest.raises(MissingField, match="field 5"):
        masks.mask(5)


def test_objects_of_different_sizes_are_refused(tmp_path: Path) -> None:
    path = write_masks_segments(tmp_path, VIDEO, {1: CUP, 2: {0: np.ones((9, 9), dtype=bool)}}, "pkl")
    with pytest.raises(WrongShape, match="sizes"):
        read_object_masks(path).mask(0)


def test_masks_stay_packed_until_they_are_asked_for(tmp_path: Path) -> None:
    many = {frame: _disc(200, 400, 90, (504, 896)) for frame in range(20)}
    masks = read_object_masks(write_masks_release(tmp_path, VIDEO, many))
    assert len(pickle.dumps(masks)) < 20 * 504 * 896 / 8 * 1.05  # travels to workers as bits
    np.testing.assert_array_equal(masks.mask(7), many[7])


# --- inpainted frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_inpainted_frames_come_back(tmp_path: Path, suffix: str) -> None:
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[:, 30:] = [200, 100, 50]
    write_inpainted(tmp_path, VIDEO, {7: picture}, suffix)
    path = inpainted_file(tmp_path, VIDEO, 7)
    assert path.name == f"000007.{suffix}"
    for found in (read_inpainted(path), read_inpainted(tmp_path / VIDEO, 7)):
        assert found is not None and found.dtype == np.uint8 and found.shape == (40, 60, 3)
        assert np.abs(found.astype(int) - picture)[:, np.r_[:26, 34:60]].max() <= (
            0 if suffix == "png" else 8
        )
    assert read_inpainted(inpainted_file(tmp_path, VIDEO, 8)) is None
    assert read_inpainted(tmp_path / VIDEO, 8) is None
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DamagedFile, match="000007"):
        read_inpainted(path)
    with pytest.raises(OutsidePath):
        inpainted_file(tmp_path, "../up", 7)
