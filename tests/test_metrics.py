"""Metrics against a slow oracle: float64 numpy loops over windows, frames and joints."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests import metric_oracle
from trainables import metrics

B, T, J, V = 6, 5, 21, 40
CM = 1e-6 / 100  # 1e-6 of a centimetre, in metres


def oracle(pred: np.ndarray, true: np.ndarray, known: np.ndarray) -> dict[str, list[float]]:
    """All joint metrics of (B,T,J,3) trajectories in metres."""
    pred, true = pred.astype(np.float64), true.astype(np.float64)
    rows = [metric_oracle.joint_figures(p, q, k) for p, q, k in zip(pred, true, known, strict=True)]
    return {name: [row[name] for row in rows] for name in rows[0]}


FUNCTIONS = {
    "mpjpe": metrics.mpjpe,
    "root": metrics.root_aligned_mpjpe,
    "frame": metrics.procrustes_mpjpe,
    "trajectory": metrics.trajectory_procrustes_mpjpe,
    "first": metrics.first_frame_procrustes_mpjpe,
}


@pytest.fixture
def trajectories() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    true = rng.normal(size=(B, T, J, 3)) * 0.1 + [0.1, 0.0, 0.6]
    pred = true + rng.normal(size=true.shape) * 0.03
    known = rng.random((B, T)) < 0.7
    known[0] = True
    known[1] = False  # nothing known
    known[2] = [False, False, True, True, False]  # the first frame is unknown
    pred[3] *= [-1, 1, 1]  # a mirror image, which no rotation may undo
    return pred, true, known


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_joint_metrics_equal_the_oracle(name: str, dtype: type, trajectories) -> None:
    pred, true, known = trajectories
    pred, true = pred.astype(dtype), true.astype(dtype)
    got = FUNCTIONS[name](torch.tensor(pred), torch.tensor(true), torch.tensor(known))
    assert got.shape == (B,)
    np.testing.assert_allclose(got.double().numpy(), oracle(pred, true, known)[name], atol=CM, rtol=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unknown_frames_may_hold_nan(name: str, trajectories) -> None:
    pred, true, known = (torch.tensor(x) for x in trajectories)
    expected = FUNCTIONS[name](pred, true, known)
    pred, true = pred.clone(), true.clone()
    true[~known] = torch.nan
    pred[~known] = torch.nan
    torch.testing.assert_close(FUNCTIONS[name](pred, true, known), expected, equal_nan=True)
    assert expected[1].isnan() and not expected[[0, 2, 3, 4, 5]].isnan().any()


SHAPES = ("source point", "target point", "both points", "line", "turned line", "plane", "mirror", "equal")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("which", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_degenerate_joints(name: str, which: str, dtype: type, trajectories) -> None:
    pred, true, known = (x.copy() for x in trajectories)
    turn = Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix()
    if which in ("source point", "both points"):
        pred[:] = pred[:, :1, :1]  # all joints of all frames at one point
    if which in ("target point", "both points"):
        true[:] = true[:, :1, :1]
    if "line" in which:
        pred[..., 1:] = 0.0  # rotation about the line is free, the error is not
    if "turned" in which:
        pred = pred @ turn
    if which == "plane":
        pred[..., 2] = 0.0
        pred = pred @ turn
    if which == "mirror":
        pred = true * [1.0, -1.0, 1.0] @ turn  # the best rotation leaves an error
    if which == "equal":
        pred = 1.3 * true @ turn + 0.2
    pred, true = pred.astype(dtype), true.astype(dtype)
    got = FUNCTIONS[name](torch.tensor(pred), torch.tensor(true), torch.tensor(known))
    np.testing.assert_allclose(got.numpy(), oracle(pred, true, known)[name], atol=CM, rtol=0)


def test_ambiguous_rotations_are_still_the_best() -> None:
    # A mirrored cube has many best rotations. Which is taken is open, how good it is is not.
    cube = np.array(list(np.ndindex(2, 2, 2)), dtype=float) - 0.5
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(2, 40, 8, 3)) * np.logspace(-16, -2, 40)[:, None, None]
    source, target = cube + noise[0], cube * [1, 1, -1] + noise[1]
    fit = metrics.fit_similarity(torch.tensor(source), torch.tensor(target), torch.ones(40, 8))
    got = metrics.apply_similarity(*fit, torch.tensor(source)).numpy()
    for one, p, q in zip(got, source, target, strict=True):
        best = metric_oracle.moved(metric_oracle.similarity(p, q), p)
        assert ((one - q) ** 2).sum() == pytest.approx(((best - q) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_jerk_equals_the_oracle(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(4)
    joints = torch.tensor(rng.normal(size=(5, 9, J, 3)) * 0.01 + [0.1, 0.0, 0.6], dtype=dtype)
    known = torch.ones(5, 9, dtype=torch.bool)
    known[1] = False
    known[2, [3, 7]] = False  # nowhere four in a row
    known[3, :5] = False  # one third difference alone
    expected = [
        metric_oracle.mean_jerk(j.double().numpy(), k, 30.0)
        for j, k in zip(joints, known.numpy(), strict=True)
    ]
    assert [math.isnan(x) for x in expected] == [False, True, True, False, False]
    np.testing.assert_allclose(metrics.jerk(joints, known, 30.0).numpy(), expected, rtol=1e-6)
    joints[:, :, 0] = torch.nan
    assert metrics.jerk(joints, known, 30.0).isnan().all()


def test_jerk_is_a_third_derivative() -> None:
    time_s = torch.arange(30, dtype=torch.float64) / 30
    known = torch.ones(1, 30, dtype=torch.bool)
    cubic = torch.stack([7 * time_s**3 / 6, time_s**2, 3 + time_s], dim=-1)[None, :, None]
    torch.testing.assert_close(metrics.jerk(cubic, known, 30.0), torch.tensor([7.0], dtype=torch.float64))
    for frames in range(1, 4):
        assert metrics.jerk(cubic[:, :frames], known[:, :frames], 30.0).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_angles_at_none_and_at_half_a_turn(dtype: torch.dtype) -> None:
    degrees = np.array([0.0, 1e-4, 0.01, 1, 90, 179, 179.99, 179.9999, 180])
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    turn = Rotation.from_rotvec(np.deg2rad(degrees)[:, None] * axis).as_matrix()
    start = Rotation.random(len(degrees), random_state=3).as_matrix()
    got = metrics.rotation_error_deg(
        torch.tensor(start, dtype=dtype)[:, None],
        torch.tensor(start @ turn, dtype=dtype)[:, None],
        torch.ones(len(degrees), 1, dtype=torch.bool),
    )
    # Matrices rounded to float32 are themselves turned by up to 1e-7 radians.
    np.testing.assert_allclose(got.numpy(), degrees, atol=1e-9 if dtype == torch.float64 else 2e-5)


def test_alignment_undoes_what_it_should_and_no_more() -> None:
    rng = np.random.default_rng(0)
    true = torch.tensor(rng.normal(size=(2, T, J, 3)))
    known = torch.ones(2, T, dtype=torch.bool)
    rotation = torch.tensor(Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix())
    one = 1.7 * true @ rotation.T + torch.tensor([0.1, 2.0, -3.0])
    each = true * torch.linspace(0.5, 2.0, T)[None, :, None, None]  # another scale in every frame
    for name in ("frame", "trajectory", "first"):
        assert FUNCTIONS[name](one, true, known).max() < 1e-9
    assert FUNCTIONS["frame"](each, true, known).max() < 1e-9
    assert FUNCTIONS["trajectory"](each, true, known).min() > 0.01
    assert FUNCTIONS["first"](each, true, known).min() > 0.01
    assert FUNCTIONS["frame"](true * torch.tensor([-1.0, 1, 1]), true, known).min() > 0.01


def test_camera_errors_equal_the_oracle() -> None:
    rng = np.random.default_rng(1)
    pred = Rotation.random(B * T, random_state=1)
    true = Rotation.random(B * T, random_state=2)
    pred_x, true_x = rng.normal(size=(2, B, T, 3))
    known = rng.random((B, T)) < 0.6
    known[4] = False

    def by_window(values: np.ndarray) -> list[float]:
        rows = zip(values.reshape(B, T), known, strict=True)
        return [row[mask].mean() if mask.any() else math.nan for row, mask in rows]

    as_tensor = [torch.tensor(r.as_matrix().reshape(B, T, 3, 3)) for r in (pred, true)]
    got = metrics.camera_metrics(
        as_tensor[0], torch.tensor(pred_x), as_tensor[1], torch.tensor(true_x), torch.tensor(known)
    )
    angle = np.rad2deg((pred * true.inv()).magnitude())
    six = [np.abs(p[:2] - q[:2]).mean() for p, q in zip(pred.as_matrix(), true.as_matrix(), strict=True)]
    moved = [100 * math.dist(p, q) for p, q in zip(pred_x.reshape(-1, 3), true_x.reshape(-1, 3), strict=True)]
    np.testing.assert_allclose(got["camera_rot_deg"].numpy(), by_window(angle), atol=1e-6)
    np.testing.assert_allclose(got["camera_rot_6d"].numpy(), by_window(np.array(six)), atol=1e-6)
    np.testing.assert_allclose(got["camera_transl_cm"].numpy(), by_window(np.array(moved)), atol=1e-6)


def test_named_figures_are_centimetres(trajectories) -> None:
    pred, true, known = (torch.tensor(x) for x in trajectories)
    slow = oracle(*trajectories)
    own = metrics.own_camera_metrics(pred, true, known)
    first = metrics.first_camera_metrics(pred, true, known)
    expected = {"mpjpe_own_cm": "mpjpe", "mpjpe_ra_cm": "root", "mpjpe_pa_cm": "frame", "mpjpe_cm": "mpjpe"}
    expected |= {"mpjpe_pa_trajectory_cm": "trajectory", "mpjpe_pa_first_cm": "first"}
    assert set(own | first) == set(expected)
    for name, values in (own | first).items():
        np.testing.assert_allclose(values.numpy(), 100 * np.array(slow[expected[name]]), atol=1e-6)


def test_contact_counts_equal_a_loop_and_pool() -> None:
    rng = np.random.default_rng(2)
    pred, true = rng.random((2, B, T, V)) < 0.3
    known = rng.random((B, T)) < 0.5
    known[5] = False
    finger = rng.integers(0, 6, V)
    rows = zip(pred, true, known, strict=True)
    expected = np.array([metric_oracle.contact_counts(p, q, k, finger, 6) for p, q, k in rows])
    maps = (torch.tensor(pred), torch.tensor(true).float(), torch.tensor(known))
    got = metrics.finger_contact_counts(*maps, torch.tensor(finger), 6)
    np.testing.assert_array_equal(got.numpy(), expected)
    np.testing.assert_array_equal(metrics.contact_counts(*maps).numpy(), expected.sum(1))
    assert (expected[5] == 0).all()
    tp, fp, fn = expected.sum((0, 1))
    precision, recall, f1 = metrics.precision_recall_f1(tp, fp, fn)
    assert (precision, recall, f1) == pytest.approx(metric_oracle.precision_recall_f1((tp, fp, fn)))
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_contact_figures_without_evidence_are_nan() -> None:
    assert all(math.isnan(x) for x in metrics.precision_recall_f1(0, 0, 0))
    precision, recall, f1 = metrics.precision_recall_f1(0, 0, 4)
    assert math.isnan(precision) and recall == 0 and f1 == 0
