"""Metrics against a slow oracle: float64 numpy loops over windows, frames and joints."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trainables import metrics

B, T, J, V = 6, 5, 21, 40


def oracle_similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    source_mean, target_mean = source.mean(0), target.mean(0)
    u, d, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    spread = ((source - source_mean) ** 2).sum()
    scale = np.trace(np.diag(d) @ sign) / spread if spread > 1e-20 else 1.0
    return scale, rotation, target_mean - scale * rotation @ source_mean


def oracle_error(pred: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([math.dist(p, t) for p, t in zip(pred, true, strict=True)]))


def oracle(pred: np.ndarray, true: np.ndarray, known: np.ndarray) -> dict[str, list[float]]:
    """All joint metrics of (B,T,J,3) trajectories in metres."""
    names = ("mpjpe", "root", "frame", "trajectory", "first")
    out: dict[str, list[float]] = {name: [] for name in names}
    for b in range(len(pred)):
        frames = [t for t in range(pred.shape[1]) if known[b, t]]
        if not frames:
            for name in names:
                out[name].append(math.nan)
            continue
        whole = oracle_similarity(pred[b, frames].reshape(-1, 3), true[b, frames].reshape(-1, 3))
        first = oracle_similarity(pred[b, frames[0]], true[b, frames[0]])
        errors: dict[str, list[float]] = {name: [] for name in names}
        for t in frames:
            p, q = pred[b, t], true[b, t]
            own = oracle_similarity(p, q)
            errors["mpjpe"].append(oracle_error(p, q))
            errors["root"].append(oracle_error(p - p[0], q - q[0]))
            for name, (s, r, x) in (("frame", own), ("trajectory", whole), ("first", first)):
                errors[name].append(oracle_error(np.array([s * r @ point + x for point in p]), q))
        for name in names:
            out[name].append(float(np.mean(errors[name])))
    return out


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
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_joint_metrics_equal_the_oracle(name: str, dtype: torch.dtype, trajectories) -> None:
    pred, true, known = trajectories
    got = FUNCTIONS[name](
        torch.tensor(pred, dtype=dtype), torch.tensor(true, dtype=dtype), torch.tensor(known)
    )
    assert got.shape == (B,)
    np.testing.assert_allclose(got.double().numpy(), oracle(pred, true, known)[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unknown_frames_may_hold_nan(name: str, trajectories) -> None:
    pred, true, known = (torch.tensor(x) for x in trajectories)
    expected = FUNCTIONS[name](pred, true, known)
    pred, true = pred.clone(), true.clone()
    true[~known] = torch.nan
    pred[~known] = torch.nan
    torch.testing.assert_close(FUNCTIONS[name](pred, true, known), expected, equal_nan=True)
    assert expected[1].isnan() and not expected[[0, 2, 3, 4, 5]].isnan().any()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("which", ["source", "target", "both", "line"])
def test_degenerate_joints(name: str, which: str, trajectories) -> None:
    pred, true, known = (x.copy() for x in trajectories)
    if which in ("source", "both"):
        pred[:] = pred[:, :1, :1]  # all joints of all frames at one point
    if which in ("target", "both"):
        true[:] = true[:, :1, :1]
    if which == "line":
        pred[:, :, :, 1:] = 0.0  # rotation about the line is free, the error is not
    got = FUNCTIONS[name](torch.tensor(pred), torch.tensor(true), torch.tensor(known))
    np.testing.assert_allclose(got.numpy(), oracle(pred, true, known)[name], atol=1e-6, rtol=0)


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
    expected = np.zeros((B, 3), dtype=int)
    for b, t, v in np.ndindex(B, T, V):
        if known[b, t]:
            p, q = pred[b, t, v], true[b, t, v]
            expected[b] += [p and q, p and not q, q and not p]
    got = metrics.contact_counts(torch.tensor(pred), torch.tensor(true).float(), torch.tensor(known))
    np.testing.assert_array_equal(got.numpy(), expected)
    tp, fp, fn = expected.sum(0)
    precision, recall, f1 = metrics.precision_recall_f1(tp, fp, fn)
    assert precision == pytest.approx(tp / (tp + fp)) and recall == pytest.approx(tp / (tp + fn))
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_contact_figures_without_evidence_are_nan() -> None:
    assert all(math.isnan(x) for x in metrics.precision_recall_f1(0, 0, 0))
    precision, recall, f1 = metrics.precision_recall_f1(0, 0, 4)
    assert math.isnan(precision) and recall == 0 and f1 == 0
