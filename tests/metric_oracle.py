"""Every metric once more, slowly: float64 numpy, one window, frame, joint and vertex after the other.

Shares no code with what it checks, and takes other ways where there are any: the SVD with Kabsch's sign for a
similarity, an eigenvalue's argument for an angle, polynomial coefficients for the third difference, comparisons with
each threshold for levels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation, translation of points (N,3) onto points (N,3): Umeyama 1991."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    u, d, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    spread = ((source - source_mean) ** 2).sum()
    scale = np.trace(np.diag(d) @ sign) / spread if spread > 1e-20 else 1.0
    return scale, rotation, target_mean - scale * rotation @ source_mean


def distance(pred: Array, true: Array) -> float:
    return float(np.mean([math.dist(p, t) for p, t in zip(pred, true, strict=True)]))


def moved(fit: tuple[float, Array, Array], points: Array) -> Array:
    scale, rotation, shift = fit
    return np.array([scale * rotation @ point + shift for point in points])


def joint_figures(pred: Array, true: Array, known: Array) -> dict[str, float]:
    """Distances of one window's joints (T,J,3), in their unit."""
    names = ("mpjpe", "root", "frame", "trajectory", "first")
    frames = [t for t in range(len(known)) if known[t]]
    if not frames:
        return dict.fromkeys(names, math.nan)
    whole = similarity(pred[frames].reshape(-1, 3), true[frames].reshape(-1, 3))
    first = similarity(pred[frames[0]], true[frames[0]])
    errors: dict[str, list[float]] = {name: [] for name in names}
    for t in frames:
        p, q = pred[t], true[t]
        errors["mpjpe"].append(distance(p, q))
        errors["root"].append(distance(p - p[0], q - q[0]))
        for name, fit in (("frame", similarity(p, q)), ("trajectory", whole), ("first", first)):
            errors[name].append(distance(moved(fit, p), q))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def mean_jerk(joints: Array, known: Array, fps: float) -> float:
    norms = []
    for t in range(len(joints) - 3):
        if all(known[t : t + 4]):
            for j in range(joints.shape[1]):
                # Six times the leading coefficient of the cubic through four points, at 1/fps seconds from each other.
                cubic = [np.polyfit(np.arange(4.0), joints[t : t + 4, j, axis], 3)[0] for axis in range(3)]
                norms.append(6 * math.hypot(*cubic) * fps**3)
    return float(np.mean(norms)) if norms else math.nan


def angle_deg(a: Array, b: Array) -> float:
    """Half-turns and none included: rotations turn their plane by the argument of their complex eigenvalues."""
    return float(np.rad2deg(np.abs(np.angle(np.linalg.eigvals(a.T @ b))).max()))


def over_known(values: list[float], known: Array) -> float:
    kept = [value for value, k in zip(values, known, strict=True) if k]
    return float(np.mean(kept)) if kept else math.nan


def figures(forecast: dict[str, Array], truth: dict[str, Array], fps: float = 30.0) -> dict[str, float]:
    """All metrics of one window, by the names and in the units of the evaluation."""
    forecast = {name: np.asarray(value, dtype=np.float64) for name, value in forecast.items()}
    known = truth["camera_known"].astype(bool)
    truth = {name: np.asarray(value, dtype=np.float64) for name, value in truth.items()}
    every = np.ones(len(known), dtype=bool)
    ref = joint_figures(forecast["joints_ref"], truth["joints_ref"], known)
    own = joint_figures(forecast["joints"], truth["joints"], every)
    pairs = list(zip(forecast["camera_rot"], truth["camera_rot"], strict=True))
    transl = [math.dist(p, q) for p, q in zip(forecast["transl"], truth["transl"], strict=True)]
    camera = [math.dist(p, q) for p, q in zip(forecast["camera_transl"], truth["camera_transl"], strict=True)]
    return {
        "mpjpe_cm": 100 * ref["mpjpe"],
        "mpjpe_pa_trajectory_cm": 100 * ref["trajectory"],
        "mpjpe_pa_first_cm": 100 * ref["first"],
        "jerk_m_per_s3": mean_jerk(forecast["joints_ref"], known, fps),
        "jerk_true_m_per_s3": mean_jerk(truth["joints_ref"], known, fps),
        "mpjpe_own_cm": 100 * own["mpjpe"],
        "mpjpe_ra_cm": 100 * own["root"],
        "mpjpe_pa_cm": 100 * own["frame"],
        "transl_cm": 100 * over_known(transl, every),
        "camera_rot_deg": over_known([angle_deg(p, q) for p, q in pairs], known),
        "camera_rot_6d": over_known([float(np.abs(p[:2] - q[:2]).mean()) for p, q in pairs], known),
        "camera_transl_cm": 100 * over_known(camera, known),
    }


def contact_counts(pred: Array, true: Array, known: Array, finger: Array, fingers: int) -> Array:
    """True positives, false positives, false negatives (fingers,3) of one window's contact maps (T,V)."""
    counts = np.zeros((fingers, 3), dtype=int)
    for t, v in np.ndindex(*pred.shape):
        if known[t]:
            p, q = bool(pred[t, v]), bool(true[t, v])
            counts[finger[v]] += [p and q, p and not q, q and not p]
    return counts


def precision_recall_f1(counts: Any) -> tuple[float, float, float]:
    tp, fp, fn = (float(c) for c in counts)
    precision = tp / (tp + fp) if tp + fp else math.nan
    recall = tp / (tp + fn) if tp + fn else math.nan
    return precision, recall, (tp / (tp + (fp + fn) / 2) if tp + fp + fn else math.nan)


def average_precision(probability: Array, true: Array, thresholds: Array) -> float:
    """Area under the steps of precision over recall, vertices (N,) being ranked by how many thresholds they exceed."""
    rank = sum((probability > t).astype(int) for t in thresholds)
    area, before = 0.0, 0.0
    for r in range(len(thresholds), -1, -1):
        chosen = rank >= r
        if chosen.any():
            recall = (true & chosen).sum() / true.sum()
            area += (recall - before) * (true & chosen).sum() / chosen.sum()
            before = recall
    return float(area)
