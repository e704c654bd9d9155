"""Results of HaMeR, in the layouts that people save what its demo computes in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.foreign.network_results import write_hamer_demo, write_hamer_release
from tests.foreign.real_motion import real_clips
from trainables.hamer_results import hamer_file, read_hamer
from trainables.hand import Hand, load_hand
from trainables.plain_pickle import read_pickle_plainly
from trainables.recorded_clips import hand_joints, hand_vertices
from trainables.recording import HandParameters
from trainables.saved_results import results_stamp
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
FRAMES = [12, 13, 14, 20]


@pytest.fixture(scope="module")
def hand() -> Hand:
    return load_hand()


@pytest.fixture(scope="module")
def parameters() -> HandParameters:
    """Four frames of a real hand, half a metre before the camera."""
    clip = real_clips()[0]
    transl = np.asarray(clip.transl_m, dtype=np.float64)[:4]
    return HandParameters(
        global_orient=np.asarray(clip.global_orient, dtype=np.float64)[:4],
        hand_pose=np.asarray(clip.hand_pose, dtype=np.float64)[:4],
        transl_m=transl - transl.mean(0) + [0.0, 0.05, 0.5],
        betas=np.asarray(clip.betas, dtype=np.float64),
    )


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("bomb"),))


@pytest.mark.parametrize("layout", ["release", "npz", "pkl", "video", "full"])
def test_hands_come_back_from_every_layout(
    tmp_path: Path, hand: Hand, parameters: HandParameters, layout: str
) -> None:
    if layout == "release":
        written = write_hamer_release(tmp_path, VIDEO, hand, parameters, FRAMES)
    else:
        written = write_hamer_demo(tmp_path, VIDEO, hand, parameters, FRAMES, layout)
    path = hamer_file(tmp_path, VIDEO)
    assert path == written
    found = read_hamer(path)
    assert list(found) == FRAMES
    joints, vertices = hand_joints(hand, parameters), hand_vertices(hand, parameters)
    for row, one in enumerate(found.values()):
        np.testing.assert_allclose(one.transl_m, parameters.transl_m[row], atol=1e-5)
        np.testing.assert_allclose(one.betas, parameters.betas, atol=1e-6)
        np.testing.assert_allclose(one.joints_m, joints[row], atol=1e-5)
        np.testing.assert_allclose(one.verts_m, vertices[row], atol=1e-5)
    # The parameters mean the same to the hand model: its vertices are those that were read.
    again = HandParameters(
        global_orient=np.stack([one.global_orient for one in found.values()]),
        hand_pose=np.stack([one.hand_pose for one in found.values()]),
        transl_m=np.stack([one.transl_m for one in found.values()]),
        betas=parameters.betas,
    )
    np.testing.assert_allclose(hand_vertices(hand, again), vertices, atol=1e-5)


def test_frames_without_a_right_hand_are_left_out(
    tmp_path: Path, hand: Hand, parameters: HandParameters
) -> None:
    path = write_hamer_release(tmp_path, VIDEO, hand, parameters, FRAMES, missed=(13, 20))
    assert list(read_hamer(path)) == [12, 14]


def test_the_nearest_of_several_right_hands_counts(
    tmp_path: Path, hand: Hand, parameters: HandParameters
) -> None:
    path = write_hamer_demo(tmp_path, VIDEO, hand, parameters, FRAMES, "full")
    content = read_pickle_plainly(path)
    for entry in content.values():
        entry["right"] = np.array([1, 1])
        entry["pred_cam_t_full"][0, 2] *= 1.5
    path.write_bytes(pickle.dumps(content))
    found = read_hamer(path)
    np.testing.assert_allclose(found[12].transl_m, parameters.transl_m[0], atol=1e-5)


def test_the_focal_length_moves_hands_in_depth_alone(
    tmp_path: Path, hand: Hand, parameters: HandParameters
) -> None:
    path = write_hamer_demo(tmp_path, VIDEO, hand, parameters, FRAMES)
    near, far = read_hamer(path), read_hamer(path, focal_px=2 * 685.88)
    np.testing.assert_allclose(far[12].transl_m, near[12].transl_m * [1, 1, 2], rtol=1e-9)


def _release(folder: Path, hand: Hand, parameters: HandParameters) -> tuple[Path, dict[int, Any]]:
    path = write_hamer_release(folder, VIDEO, hand, parameters, FRAMES)
    return path, read_pickle_plainly(path)


@pytest.mark.parametrize(
    ("name", "change", "kind", "said"),
    [
        ("thetas", lambda v: v * 1.2, WrongValue, "13.right.thetas"),
        ("thetas", lambda v: v * [-1, 1, 1], WrongValue, "13.right.thetas"),
        ("verts", lambda v: v[:, :700], WrongShape, "13.right.verts"),
        ("joints", lambda v: np.full_like(v, np.nan), WrongValue, "13.right.joints"),
        ("betas", lambda v: "none", WrongType, "13.right.betas"),
        ("cam_t", None, MissingField, "cam_t"),
    ],
)
def test_a_damaged_hand_is_named(
    tmp_path: Path, hand: Hand, parameters: HandParameters, name: str, change: Any, kind: type, said: str
) -> None:
    path, content = _release(tmp_path, hand, parameters)
    if change is None:
        del content[13]["right"][name]
    else:
        content[13]["right"][name] = change(content[13]["right"][name])
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(kind, match=said) as raised:
        read_hamer(path)
    assert str(path) in str(raised.value)


def test_other_units_and_focal_lengths_are_named(
    tmp_path: Path, hand: Hand, parameters: HandParameters
) -> None:
    path, content = _release(tmp_path, hand, parameters)
    for entry in content.values():
        for name in ("cam_t", "verts", "joints"):
            entry["right"][name] = entry["right"][name] * 1000
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(WrongValue, match="millimetres"):
        read_hamer(path)

    path, content = _release(tmp_path, hand, parameters)
    for entry in content.values():
        entry["right"]["cam_t"] = entry["right"]["cam_t"] * [1, 1, 17500 / 685.88]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(WrongValue, match="focal length"):
        read_hamer(path)


def test_hamer_files_that_are_no_results(tmp_path: Path, hand: Hand, parameters: HandParameters) -> None:
    with pytest.raises(MissingFile, match="_masks_hamer.pkl"):
        read_hamer(hamer_file(tmp_path, VIDEO))
    with pytest.raises(OutsidePath):
        hamer_file(tmp_path, "../elsewhere")
    path = tmp_path / f"{VIDEO}.pkl"
    for data, kind in (
        (b"", DamagedFile),
        (pickle.dumps([1, 2]), WrongType),
        (pickle.dumps({"a": {}}), WrongType),
        (pickle.dumps({1: 3}), WrongType),
        (pickle.dumps({1: {"pred_cam": np.zeros((1, 3))}}), MissingField),
    ):
        path.write_bytes(data)
        with pytest.raises(kind):
            read_hamer(path)
    folder = write_hamer_demo(tmp_path / "own", VIDEO, hand, parameters, FRAMES)
    whole = (folder / "000013.npz").read_bytes()
    (folder / "000013.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile, match="000013.npz"):
        read_hamer(folder)
    np.savez(folder / "000013.npz", right=np.array([_Bomb()], dtype=object))
    with pytest.raises(HostileFile, match="000013.npz"):
        read_hamer(folder)


def test_a_folders_stamp_follows_its_files(tmp_path: Path, hand: Hand, parameters: HandParameters) -> None:
    folder = write_hamer_demo(tmp_path, VIDEO, hand, parameters, FRAMES)
    before = results_stamp(folder)
    assert before == results_stamp(folder)
    (folder / "000012.npz").rename(folder / "000015.npz")
    assert results_stamp(folder) != before
