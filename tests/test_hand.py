"""The hand model: mesh, proportions, shape directions, the joints-only path, MANO's file."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch

from trainables.hand import (
    FINGER_DIRECTION,
    JOINT_LIMITS,
    OPENPOSE_ORDER,
    PALM_NORMAL,
    THUMB_SIDE,
    Hand,
    load_hand,
    smplx_mano,
)
from trainables.mano_file import HandFileError, read_mano
from trainables.standin_hand import (
    FINGER_TIP_VERTICES,
    PARENTS,
    SHAPE_DIRECTIONS,
    standin_arrays,
    write_standin,
)

THUMB, INDEX, MIDDLE, RING, PINKY = ([4 * f + k for k in range(1, 5)] for f in range(5))  # OpenPose


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return standin_arrays()


@pytest.fixture(scope="module")
def hand(arrays: dict[str, np.ndarray]) -> Hand:
    return Hand(arrays, "standin-1")


def rest_joints(hand: Hand, betas: torch.Tensor | None = None) -> np.ndarray:
    betas = torch.zeros(1, 10) if betas is None else betas.view(1, 10)
    return hand.joints(torch.zeros(1, 3), torch.zeros(1, 45), betas, torch.zeros(1, 3))[0].numpy() * 1000


def random_inputs(count: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = ((3, 1.5), (45, 0.6), (10, 2.0), (3, 0.4))
    return [torch.randn(count, n, generator=generator, dtype=dtype) * scale for n, scale in sizes]


def smplx_joints(model: smplx.MANO, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    orient, pose, betas, transl = inputs
    out = model(global_orient=orient, hand_pose=pose, betas=betas, transl=transl)
    tips = out.vertices[:, list(FINGER_TIP_VERTICES)]
    return torch.cat([out.joints, tips], dim=1)[:, list(OPENPOSE_ORDER)], out.vertices


def test_layout_is_manos(arrays: dict[str, np.ndarray]) -> None:
    assert arrays["v_template"].shape == (778, 3) and arrays["f"].shape == (1552, 3)
    assert arrays["shapedirs"].shape == (778, 3, len(SHAPE_DIRECTIONS)) == (778, 3, 10)
    assert tuple(arrays["kintree_table"][0, 1:]) == PARENTS[1:]
    assert (arrays["J_regressor"] >= 0).all() and np.allclose(arrays["J_regressor"].sum(1), 1)
    again = standin_arrays()
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


@pytest.mark.parametrize("betas", [np.zeros(10), np.full(10, 3.0), np.full(10, -3.0)])
def test_mesh_is_closed_and_faces_outward(arrays: dict[str, np.ndarray], betas: np.ndarray) -> None:
    faces, vertices = arrays["f"], arrays["v_template"] + arrays["shapedirs"] @ betas
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)  # no edge twice in one direction
    edges, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert (uses == 2).all()
    assert len(np.unique(faces)) - len(edges) + len(faces) == 2
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-8).all()  # no face without area
    volume_cm3 = np.einsum("fc,fc->", a, np.cross(b, c)) / 6 * 1e6
    assert 80 < volume_cm3 < 900
    if not betas.any():
        assert 250 < volume_cm3 < 450  # an adult's hand with the wrist


def test_axes_are_manos_right_hand(hand: Hand) -> None:
    joints = rest_joints(hand)
    fingers, thumb_side, palm = (np.array(v) for v in (FINGER_DIRECTION, THUMB_SIDE, PALM_NORMAL))
    along = joints[MIDDLE[3]] - joints[0]
    assert along @ fingers > 0.99 * np.linalg.norm(along)
    assert (joints[INDEX[0]] - joints[PINKY[0]]) @ thumb_side > 50 and (
        joints[4] - joints[0]
    ) @ thumb_side > 60
    assert np.allclose(np.cross(-palm, fingers), thumb_side)  # what makes it a right hand
    pad = joints[THUMB[1]] - joints[MIDDLE[0]]
    assert pad @ palm > 0  # the thumb rests on the palm's side


def test_proportions_are_human(hand: Hand) -> None:
    joints = rest_joints(hand)

    def length(*chain: int) -> float:
        return float(sum(np.linalg.norm(joints[b] - joints[a]) for a, b in itertools.pairwise(chain)))

    # Ranges: adults' mean of Buryanov & Kotiuk 2010 (bones and the skin beyond the tip) plus or minus two
    # standard deviations; rays are wrist to tip, carpal bones (25 mm) included.
    assert 165 < length(0, *MIDDLE) < 200
    for finger, (ray, middle_bone) in {
        "index": ((150, 195), (17, 28)),
        "ring": ((145, 190), (19, 33)),
        "pinky": ((125, 165), (13, 24)),
    }.items():
        chain = {"index": INDEX, "ring": RING, "pinky": PINKY}[finger]
        assert ray[0] < length(0, *chain) < ray[1], finger
        assert middle_bone[0] < length(chain[1], chain[2]) < middle_bone[1], finger
        assert length(chain[0], chain[1]) > length(chain[1], chain[2]), finger
    assert 80 < length(*THUMB) < 115
    assert 55 < length(INDEX[0], PINKY[0]) < 75
    reach = {
        name: length(0, *chain) for name, chain in zip("imrp", (INDEX, MIDDLE, RING, PINKY), strict=True)
    }
    assert reach["m"] > reach["i"] > reach["p"] and reach["m"] > reach["r"] > reach["p"]
    vertices = hand.v_template.numpy() * 1000
    palm = vertices[(np.abs(vertices[:, 0] - 20) < 8) & (vertices[:, 2] < 40)]  # without the thumb
    assert 70 < np.ptp(palm[:, 2]) < 100 and 18 < np.ptp(palm[:, 1]) < 36


def test_tips_are_the_furthest_vertices(hand: Hand, arrays: dict[str, np.ndarray]) -> None:
    joints, vertices = rest_joints(hand), arrays["v_template"] * 1000
    for tip, chain in zip(FINGER_TIP_VERTICES, (THUMB, INDEX, MIDDLE, RING, PINKY), strict=True):
        along = joints[chain[3]] - joints[chain[2]]
        end_bone = {1: 15, 5: 3, 9: 6, 13: 12, 17: 9}[chain[0]]
        own = arrays["weights"][:, end_bone] > 0.5
        assert own.sum() > 15
        assert np.flatnonzero(own)[np.argmax(vertices[own] @ along)] == tip


def test_weights_are_smooth(arrays: dict[str, np.ndarray]) -> None:
    weights, faces, vertices = arrays["weights"], arrays["f"], arrays["v_template"]
    assert (weights >= 0).all() and np.allclose(weights.sum(1), 1)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    change = np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max(1)
    distance_mm = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) * 1000
    assert change.max() < 0.6 and np.quantile(change / np.maximum(distance_mm, 1), 0.99) < 0.12
    assert (weights.max(0) > 0.8).all()  # every bone has skin of its own


def test_bending_keeps_volume_and_moves_to_the_palm(hand: Hand) -> None:
    angles = torch.zeros(1, 15, 3)
    angles[:, :12, 0] = np.radians(60)
    pose = hand.pose_from_angles(angles.view(1, 45))
    zero = torch.zeros(1, 3)
    vertices = hand.vertices(zero, pose, torch.zeros(1, 10), zero)[0].double().numpy()

    def volume(points: np.ndarray) -> float:
        a, b, c = (points[hand.faces.numpy()[:, k]] for k in range(3))
        return float(np.einsum("fc,fc->", a, np.cross(b, c)))

    assert volume(vertices) / volume(hand.v_template.double().numpy()) == pytest.approx(1, abs=0.06)
    bent = hand.joints(zero, pose, torch.zeros(1, 10), zero)[0].numpy() * 1000
    moved = bent - rest_joints(hand)
    for chain in (INDEX, MIDDLE, RING, PINKY):
        assert moved[chain[3]] @ np.array(PALM_NORMAL) > 25
        assert abs(moved[chain[3]] @ np.array(THUMB_SIDE)) < 20  # about one axis only


def test_flexion_axes_bend_each_joint_alone(hand: Hand) -> None:
    axes = hand.flexion_axes()
    assert axes.shape == (15, 3) and torch.allclose(axes.norm(dim=1), torch.ones(15))
    eye = torch.eye(3).expand(15, 3, 3)
    assert torch.allclose(hand.joint_axes @ hand.joint_axes.transpose(1, 2), eye, atol=1e-6)
    assert (torch.linalg.det(hand.joint_axes) > 0.99).all()  # right-handed
    angles = torch.randn(4, 45)
    assert torch.allclose(hand.angles_from_pose(hand.pose_from_angles(angles)), angles, atol=1e-6)
    assert JOINT_LIMITS.shape == (45, 2) and (JOINT_LIMITS[:, 0] < 0).all() and (JOINT_LIMITS[:, 1] > 0).all()
    # Abduction turns a finger to the thumb's side.
    spread = torch.zeros(1, 45)
    spread[0, 1] = 0.3
    zero = torch.zeros(1, 3)
    moved = hand.joints(zero, hand.pose_from_angles(spread), torch.zeros(1, 10), zero)[0].numpy() * 1000
    assert moved[INDEX[3], 2] > rest_joints(hand)[INDEX[3], 2] + 15


def test_shape_directions_do_what_they_say(hand: Hand) -> None:
    def measures(betas: torch.Tensor) -> dict[str, float]:
        j = rest_joints(hand, betas)
        vertices = hand.v_template.numpy() + hand.shapedirs.numpy() @ betas.numpy()
        palm = np.abs(hand.v_template.numpy()[:, 0] - 0.03) < 0.01
        finger = {
            name: float(np.linalg.norm(np.diff(j[chain], axis=0), axis=1).sum())
            for name, chain in zip(
                ("thumb", "index", "middle", "ring", "pinky"),
                (THUMB, INDEX, MIDDLE, RING, PINKY),
                strict=True,
            )
        }
        return finger | {
            "palm length": float(np.linalg.norm(j[MIDDLE[0]] - j[0])),
            "palm width": float(np.linalg.norm(j[INDEX[0]] - j[PINKY[0]])),
            "thickness": float(np.ptp(vertices[palm, 1]) * 1000),
            "proximal share": float(np.linalg.norm(j[MIDDLE[1]] - j[MIDDLE[0]])),
        }

    rest = measures(torch.zeros(10))
    for k, name in enumerate(SHAPE_DIRECTIONS):
        grown = measures(torch.eye(10)[k])
        ratio = {key: grown[key] / rest[key] for key in rest}
        if name == "overall size":
            assert all(value == pytest.approx(1.05, abs=2e-3) for value in ratio.values())
            continue
        own = name.removesuffix(" length") if name not in ratio else name
        assert 1.02 < ratio[own] < 1.10, name
        others = {key: value for key, value in ratio.items() if key != own}
        # Widening the palm also spreads its length a little; a longer finger has a longer first bone.
        allowed = {"middle": {"proximal share"}}.get(own, set())
        assert all(abs(v - 1) < 0.012 for key, v in others.items() if key not in allowed), (name, ratio)


def test_shapes_reach_children_and_large_men(hand: Hand) -> None:
    def hand_length(size: float) -> float:
        j = rest_joints(hand, torch.eye(10)[0] * size)
        return float(np.linalg.norm(j[MIDDLE[3]] - j[0]))

    assert hand_length(-7) < 125 and hand_length(4) > 210


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pose_blend", [False, True])
def test_joints_equal_smplx(arrays: dict[str, np.ndarray], dtype: torch.dtype, pose_blend: bool) -> None:
    if pose_blend:  # as real MANO has
        arrays = arrays | {"posedirs": np.random.default_rng(0).normal(size=(778, 3, 135)) * 1e-3}
    inputs = random_inputs(64, dtype)
    expected, skin = smplx_joints(smplx_mano(arrays, dtype), inputs)
    model = Hand(arrays, "test").to(dtype)
    joints = model.joints(*inputs)
    assert joints.dtype == dtype and joints.shape == (64, 21, 3)
    assert (joints - expected).abs().max() < 1e-5
    assert (model.vertices(*inputs) - skin).abs().max() < 1e-5
    assert torch.allclose(joints[:, 0], model._rest_J3[0] + inputs[3], atol=1e-4)  # turns about the wrist


def test_joints_have_gradients(hand: Hand) -> None:
    double = Hand(standin_arrays(), "test").double()
    inputs = [x.requires_grad_() for x in random_inputs(1, torch.float64)]
    assert torch.autograd.gradcheck(double.joints, inputs, atol=1e-6, fast_mode=True)
    flat = [torch.zeros(2, n, requires_grad=True) for n in (3, 45, 10, 3)]
    hand.joints(*flat).square().sum().backward()  # the rest pose is where fits start
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in flat)


def test_hand_stays_out_of_state_dicts(hand: Hand) -> None:
    assert hand.state_dict() == {} and list(hand.parameters()) == []


def test_written_file_loads_through_smplx_create(tmp_path: Path, hand: Hand) -> None:
    path = write_standin(tmp_path)
    model = smplx.create(
        str(path), model_type="mano", ext="npz", is_rhand=True, use_pca=False, flat_hand_mean=True
    )
    inputs = random_inputs(8)
    expected, _ = smplx_joints(model, inputs)
    for place in (path, tmp_path):
        loaded = load_hand(place)
        assert loaded.name == "standin-1"  # a stand-in stays one, whatever its file is called
        assert (loaded.joints(*inputs) - expected).abs().max() < 1e-5
    assert torch.equal(loaded.faces, hand.faces)


def test_mano_path_is_used_and_its_absence_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANO_PATH", raising=False)
    assert load_hand().name == "standin-1"
    arrays = standin_arrays()
    np.savez(tmp_path / "MANO_RIGHT.npz", **(arrays | {"v_template": arrays["v_template"] * 1.01}))
    monkeypatch.setenv("MANO_PATH", str(tmp_path))
    assert load_hand().name == "mano"
    for missing in (tmp_path / "nowhere.pkl", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        monkeypatch.setenv("MANO_PATH", str(missing))
        with pytest.raises(HandFileError, match=f"{missing}.*MANO_PATH"):
            load_hand()


def test_damaged_files_are_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(b"not a pickle")
    with pytest.raises(HandFileError, match="MANO_RIGHT.pkl"):
        read_mano(tmp_path)
    np.savez(tmp_path / "short.npz", **{k: v for k, v in arrays.items() if k != "weights"})
    with pytest.raises(HandFileError, match="short.npz.*weights"):
        read_mano(tmp_path / "short.npz")
    np.savez(tmp_path / "shape.npz", **(arrays | {"v_template": arrays["v_template"][:700]}))
    with pytest.raises(HandFileError, match="v_template.*700"):
        read_mano(tmp_path / "shape.npz")


def test_official_pickle_is_read_without_chumpy(
    tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published file holds a scipy.sparse regressor and chumpy arrays, one of them a Select."""
    chumpy, reordering = types.ModuleType("chumpy"), types.ModuleType("chumpy.reordering")

    class Ch:
        def __init__(self, **state: object) -> None:
            self.__dict__.update(state)

    Select = type("Select", (Ch,), {"__module__": "chumpy.reordering", "__qualname__": "Select"})
    Ch.__module__, Ch.__qualname__ = "chumpy", "Ch"
    chumpy.Ch, reordering.Select = Ch, Select  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy", chumpy)
    monkeypatch.setitem(sys.modules, "chumpy.reordering", reordering)
    wide = np.concatenate([arrays["shapedirs"], np.zeros((778, 3, 5))], axis=2)
    chosen = np.arange(wide.size).reshape(wide.shape)[:, :, :10].ravel()
    content = arrays | {
        "v_template": Ch(x=arrays["v_template"]),
        "shapedirs": Select(a=Ch(x=wide), idxs=chosen, preferred_shape=(778, 3, 10)),
        "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        "bs_style": "lbs",
    }
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    for name in ("chumpy", "chumpy.reordering"):
        monkeypatch.delitem(sys.modules, name)
    read = read_mano(path)
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


def test_pickle_with_code_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(arrays | {"hands_mean": Bomb()}))
    with pytest.raises(HandFileError, match="MANO_RIGHT.pkl.*mkdir"):
        load_hand(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(pickle.dumps(arrays | {"extra": Path("x")}))
    with pytest.raises(HandFileError, match="not an array"):
        load_hand(path)
