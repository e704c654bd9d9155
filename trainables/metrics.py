"""How far a forecast is from the truth: one value per window, so that any later average or resampling is exact.

Every distance is a mean over the window's known frames (and joints); a window without a known frame is NaN.
The release averages masked frames in as zeros for translations, and takes the first-frame-aligned norm over the
wrong axis; here masked frames leave the mean and norms are over x, y, z. Its own-camera errors are masked by the
camera's mask although no camera motion enters them; here they use every frame whose joints are known.

Shapes: B windows, T frames, J joints, V vertices, F fingers. Inputs in metres; results named `_cm` in centimetres.
Distances are computed in float64: float32 joints half a metre away are rounded to 30 nanometres as it is, and sums of
such differences, or a similarity fitted to them, would lose more.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor

CM_PER_M = 100.0


def known_mean(value_BT: Tensor, known_BT: Tensor) -> Tensor:
    """Mean over the known frames of each window (B,); NaN where no frame is known.

    Unknown frames may hold anything, NaN included.
    """
    known_BT = known_BT.bool()
    total_B = torch.where(known_BT, value_BT, 0.0).sum(dim=1)
    return total_B / known_BT.sum(dim=1).to(value_BT.dtype)  # 0 / 0 is the NaN meant above


def mpjpe(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """Mean per-joint position error (B,), in the unit of the joints: mean Euclidean distance over J, then T."""
    difference_BTJ3 = pred_BTJ3.double() - true_BTJ3.double()
    return known_mean(torch.linalg.vector_norm(difference_BTJ3, dim=-1).mean(dim=-1), known_BT)


def root_aligned_mpjpe(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """MPJPE (B,) after each frame's wrist (joint 0) is moved to the origin."""
    pred_BTJ3, true_BTJ3 = pred_BTJ3.double(), true_BTJ3.double()
    return mpjpe(pred_BTJ3 - pred_BTJ3[:, :, :1], true_BTJ3 - true_BTJ3[:, :, :1], known_BT)


def fit_similarity(
    source_BN3: Tensor, target_BN3: Tensor, weight_BN: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (B,), rotation (B,3,3), translation (B,3) minimising sum_n w_n |s R source_n + t - target_n|^2.

    Umeyama 1991 (IEEE TPAMI 13:4), reflections excluded. Points of weight 0 must be finite. Where all source
    points coincide no scale is determined and 1 is used; the optimum, the target's centroid, is reached anyway.
    """
    weight_BN1 = (weight_BN / weight_BN.sum(dim=1, keepdim=True).clamp_min(1e-12)).unsqueeze(-1)
    source_mean_B3 = (weight_BN1 * source_BN3).sum(dim=1)
    target_mean_B3 = (weight_BN1 * target_BN3).sum(dim=1)
    source_BN3 = source_BN3 - source_mean_B3.unsqueeze(1)
    target_BN3 = target_BN3 - target_mean_B3.unsqueeze(1)
    covariance_B33 = (weight_BN1 * target_BN3).transpose(1, 2) @ source_BN3
    # Horn's closed form (JOSA A 4:4, 1987). 4096 covariances in float64 on one CPU thread: 4.8 ms; by batched SVD
    # 9.6 ms, by numpy's SVD in a loop 32 ms. Where two rotations are equally good to 1e-7 of the spread it may choose
    # another than the SVD; the figures equal the SVD's to 1e-6 cm in all degenerate cases of the tests.
    rotation_B33 = roma.special_procrustes(covariance_B33, method="horn")
    variance_B = (weight_BN1 * source_BN3.square()).sum(dim=(1, 2))
    # Below a picometre of spread, rounding alone would set the scale.
    spread_B = variance_B > 1e-24
    scale_B = torch.where(
        spread_B,
        (rotation_B33 * covariance_B33).sum(dim=(1, 2)) / torch.where(spread_B, variance_B, 1.0),
        1.0,
    )
    transl_B3 = target_mean_B3 - scale_B[:, None] * (rotation_B33 @ source_mean_B3.unsqueeze(-1)).squeeze(-1)
    return scale_B, rotation_B33, transl_B3


def apply_similarity(scale_B: Tensor, rotation_B33: Tensor, transl_B3: Tensor, points_BN3: Tensor) -> Tensor:
    """s R p + t for every point (B,N,3)."""
    return scale_B[:, None, None] * (points_BN3 @ rotation_B33.transpose(1, 2)) + transl_B3[:, None]


def _finite_where_known(joints_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """Float64 joints with unknown frames zeroed: NaN times a weight of 0 would still be NaN in a fit."""
    return torch.where(known_BT[:, :, None, None].bool(), joints_BTJ3.double(), 0.0)


def procrustes_mpjpe(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """MPJPE (B,) after every frame is aligned to its truth by a similarity of its own (PA-MPJPE), float64."""
    B, T, J = pred_BTJ3.shape[:3]
    pred_BTJ3, true_BTJ3 = _finite_where_known(pred_BTJ3, known_BT), _finite_where_known(true_BTJ3, known_BT)
    pred_NJ3, true_NJ3 = pred_BTJ3.reshape(B * T, J, 3), true_BTJ3.reshape(B * T, J, 3)
    fit = fit_similarity(pred_NJ3, true_NJ3, torch.ones_like(pred_NJ3[..., 0]))
    return mpjpe(apply_similarity(*fit, pred_NJ3).reshape(B, T, J, 3), true_BTJ3, known_BT)


def trajectory_procrustes_mpjpe(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """MPJPE (B,) after one similarity per window is fitted over all T*J points of its known frames, float64."""
    return _window_aligned_mpjpe(pred_BTJ3, true_BTJ3, known_BT, fitted_BT=known_BT.bool())


def first_frame_procrustes_mpjpe(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> Tensor:
    """MPJPE (B,) after the similarity fitted on the first known frame is applied to all frames, float64."""
    known_BT = known_BT.bool()
    first_BT = known_BT & (known_BT.cumsum(dim=1) == 1)
    return _window_aligned_mpjpe(pred_BTJ3, true_BTJ3, known_BT, fitted_BT=first_BT)


def _window_aligned_mpjpe(
    pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor, fitted_BT: Tensor
) -> Tensor:
    B, T, J = pred_BTJ3.shape[:3]
    pred_BTJ3, true_BTJ3 = _finite_where_known(pred_BTJ3, known_BT), _finite_where_known(true_BTJ3, known_BT)
    weight_BN = fitted_BT.double().repeat_interleave(J, dim=1)
    pred_BN3 = pred_BTJ3.reshape(B, T * J, 3)
    fit = fit_similarity(pred_BN3, true_BTJ3.reshape(B, T * J, 3), weight_BN)
    return mpjpe(apply_similarity(*fit, pred_BN3).reshape(B, T, J, 3), true_BTJ3, known_BT)


def translation_error(pred_BT3: Tensor, true_BT3: Tensor, known_BT: Tensor) -> Tensor:
    """Mean Euclidean distance (B,) between translations, in their unit."""
    return known_mean(torch.linalg.vector_norm(pred_BT3.double() - true_BT3.double(), dim=-1), known_BT)


def rotation_error_deg(pred_BT33: Tensor, true_BT33: Tensor, known_BT: Tensor) -> Tensor:
    """Mean geodesic angle (B,) between rotations, in degrees: atan2(2 sin a, 2 cos a) of R1' R2.

    2 sin a is the length of the antisymmetric part's axis, 2 cos a the trace less 1. Unlike an arc cosine of the
    trace, or an arc sine of the distance, this is as accurate at half a turn and at none as anywhere between.
    """
    turn_BT33 = pred_BT33.double().mT @ true_BT33.double()
    skew_BT33 = turn_BT33 - turn_BT33.mT
    axis_BT3 = torch.stack([skew_BT33[..., 2, 1], skew_BT33[..., 0, 2], skew_BT33[..., 1, 0]], dim=-1)
    trace_BT = turn_BT33.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    angle_BT = torch.atan2(torch.linalg.vector_norm(axis_BT3, dim=-1), trace_BT - 1)
    return known_mean(torch.rad2deg(angle_BT), known_BT)


def rotation_error_6d(pred_BT33: Tensor, true_BT33: Tensor, known_BT: Tensor) -> Tensor:
    """Mean absolute difference (B,) of the first two rows of the matrices: the release's figure, no unit."""
    difference_BT23 = pred_BT33[..., :2, :].double() - true_BT33[..., :2, :].double()
    return known_mean(difference_BT23.abs().mean(dim=(-1, -2)), known_BT)


def jerk_known(known_BT: Tensor) -> Tensor:
    """Where a third difference exists (B, T-3): frames t to t+3 are all known."""
    known_BT = known_BT.bool()
    return known_BT[:, :-3] & known_BT[:, 1:-2] & known_BT[:, 2:-1] & known_BT[:, 3:]


def jerk(joints_BTJ3: Tensor, known_BT: Tensor, fps: float) -> Tensor:
    """Mean norm (B,) of the joints' third derivative, from third differences, in the joints' unit per s^3.

    The "jitter" of the motion capture literature (Yi, Zhou & Xu, TransPose, ACM TOG 40:4, 2021, after Flash & Hogan,
    J. Neuroscience 5:7, 1985). It is no error: the truth's own jerk stands beside it, and a forecast far below that is
    as wrong (over-smoothed) as one far above (jittery). NaN where no four neighbouring frames are known.
    """
    j = joints_BTJ3.double()
    third_BTJ3 = j[:, 3:] - j[:, :-3] - 3 * (j[:, 2:-1] - j[:, 1:-2])
    norm_BT = torch.linalg.vector_norm(third_BTJ3, dim=-1).mean(dim=-1)
    return known_mean(norm_BT, jerk_known(known_BT)) * fps**3


def own_camera_metrics(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> dict[str, Tensor]:
    """Figures in each frame's own camera, each (B,): MPJPE, root-aligned, per-frame Procrustes."""
    pred_BTJ3, true_BTJ3 = pred_BTJ3.double(), true_BTJ3.double()
    return {
        "mpjpe_own_cm": CM_PER_M * mpjpe(pred_BTJ3, true_BTJ3, known_BT),
        "mpjpe_ra_cm": CM_PER_M * root_aligned_mpjpe(pred_BTJ3, true_BTJ3, known_BT),
        "mpjpe_pa_cm": CM_PER_M * procrustes_mpjpe(pred_BTJ3, true_BTJ3, known_BT),
    }


def first_camera_metrics(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor) -> dict[str, Tensor]:
    """Figures in the window's first camera, each (B,): MPJPE (the headline), aligned by one similarity a window."""
    pred_BTJ3, true_BTJ3 = pred_BTJ3.double(), true_BTJ3.double()
    return {
        "mpjpe_cm": CM_PER_M * mpjpe(pred_BTJ3, true_BTJ3, known_BT),
        "mpjpe_pa_trajectory_cm": CM_PER_M * trajectory_procrustes_mpjpe(pred_BTJ3, true_BTJ3, known_BT),
        "mpjpe_pa_first_cm": CM_PER_M * first_frame_procrustes_mpjpe(pred_BTJ3, true_BTJ3, known_BT),
    }


def camera_metrics(
    pred_rot_BT33: Tensor,
    pred_transl_BT3: Tensor,
    true_rot_BT33: Tensor,
    true_transl_BT3: Tensor,
    known_BT: Tensor,
) -> dict[str, Tensor]:
    """Errors of the transform from each frame's camera to the window's first, each (B,)."""
    return {
        "camera_rot_deg": rotation_error_deg(pred_rot_BT33, true_rot_BT33, known_BT),
        "camera_rot_6d": rotation_error_6d(pred_rot_BT33, true_rot_BT33, known_BT),
        "camera_transl_cm": CM_PER_M * translation_error(pred_transl_BT3, true_transl_BT3, known_BT),
    }


def jerk_metrics(pred_BTJ3: Tensor, true_BTJ3: Tensor, known_BT: Tensor, fps: float) -> dict[str, Tensor]:
    """Jerk of the forecast and of the truth in the window's first camera, each (B,), over the same frames."""
    return {
        "jerk_m_per_s3": jerk(pred_BTJ3, known_BT, fps),
        "jerk_true_m_per_s3": jerk(true_BTJ3, known_BT, fps),
    }


def contact_counts(pred_BTV: Tensor, true_BTV: Tensor, known_BT: Tensor) -> Tensor:
    """True positives, false positives, false negatives of each window, (B,3) int64, over its known frames.

    `pred_BTV` and `true_BTV` are boolean contact maps. Sums of counts give the pooled figures of any set of windows.
    """
    whole_V = torch.zeros(pred_BTV.shape[-1], dtype=torch.int64, device=pred_BTV.device)
    return finger_contact_counts(pred_BTV, true_BTV, known_BT, whole_V, 1)[:, 0]


def finger_contact_counts(
    pred_BTV: Tensor, true_BTV: Tensor, known_BT: Tensor, finger_V: Tensor, fingers: int
) -> Tensor:
    """`contact_counts` of each finger's vertices, (B,F,3) int64; `finger_V` says which of F each vertex is of."""
    known_BT1 = known_BT.bool().unsqueeze(-1)
    pred_BTV, true_BTV = pred_BTV.bool() & known_BT1, true_BTV.bool() & known_BT1

    def count(map_BTV: Tensor) -> Tensor:
        # int32 over frames first: several times as fast on a CPU as summing booleans into int64.
        count_BV = map_BTV.sum(dim=1, dtype=torch.int32)
        count_BF = count_BV.new_zeros(len(count_BV), fingers).index_add_(1, finger_V, count_BV)
        return count_BF.long()

    tp_BF, pred_BF, true_BF = count(pred_BTV & true_BTV), count(pred_BTV), count(true_BTV)
    return torch.stack([tp_BF, pred_BF - tp_BF, true_BF - tp_BF], dim=-1)


def precision_recall_f1(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
    """Pooled figures from summed counts; NaN where the denominator is 0 (nothing predicted, nothing true)."""

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole else float("nan")

    return ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)
