"""Recordings of one person's hand as clips: hand parameters, contact, and what both are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.clip_format import GROUPS, VERTICES, Clip
from trainables.hand import Hand
from trainables.inverse_kinematics import fit_errors_mm, fit_hand
from trainables.recording import Body, Contact, HandParameters, Recording
from trainables.signed_distance import Mesh, contact_map

# Stored parameters are kept where they give the stored joints with the loaded hand model: more than this apart in the
# median, they belong to another hand model (MANO's, while the stand-in is loaded).
SAME_HAND_MM = 2.0


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One clip, the recording it was made of (right-handed), and the joints (T, 21, 3) of the fitted hand, metres."""

    recording: Recording
    clip: Clip
    joints_m: NDArray[np.float64]
    kept_parameters: bool  # as stored, not found by inverse kinematics

    def errors_mm(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Joint error (T*21,) and bone-length change (T*20,) of fitted against measured joints."""
        joint, bone = fit_errors_mm(
            torch.from_numpy(self.joints_m).float(), torch.from_numpy(self.recording.joints_m).float()
        )
        return joint.numpy().ravel(), bone.numpy().ravel()


def fit_recordings(
    hand: Hand,
    recordings: Sequence[Recording],
    meshes: Mapping[str, Mesh],
    radius_m: float,
    on_step: Callable[[], None] | None = None,
) -> list[Fitted]:
    """Clips of recordings of one person, in their order; left hands become right ones before one shape is fitted.

    Args:
        meshes: by the names that the recordings' bodies have, as they come from their files.
        radius_m: a vertex touches where its signed distance to some body is below this.
        on_step: called once per step of inverse kinematics (progress).
    """
    own = [recording if recording.is_right else recording.mirrored() for recording in recordings]
    stored = [_stored(hand, recording) for recording in own]
    fits = iter(_fit(hand, [r for r, kept in zip(own, stored, strict=True) if kept is None], on_step))
    made = []
    for recording, kept in zip(own, stored, strict=True):
        parameters = kept or next(fits)
        contact = recording.contact or _mesh_contact(hand, recording, parameters, meshes, radius_m)
        made.append(
            Fitted(
                recording=recording,
                clip=_clip(recording, parameters, contact),
                joints_m=hand_joints(hand, parameters),
                kept_parameters=kept is not None,
            )
        )
    return made


def hand_joints(hand: Hand, parameters: HandParameters) -> NDArray[np.float64]:
    """Joints (T, 21, 3), metres, of hand parameters."""
    with torch.no_grad():
        return hand.joints(*_tensors(parameters)).double().numpy()


def hand_vertices(hand: Hand, parameters: HandParameters) -> NDArray[np.float64]:
    """Skin vertices (T, 778, 3), metres, of hand parameters."""
    with torch.no_grad():
        return hand.vertices(*_tensors(parameters)).double().numpy()


def centroid(bits: NDArray[np.bool_], vertices_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean (T, 3) of the vertices (T, 778, 3) that touch (T, 778), NaN where none does."""
    count = bits.sum(1)
    total = np.einsum("tv,tvc->tc", bits, vertices_m)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)


def _tensors(parameters: HandParameters) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    orient, pose, transl = (
        torch.from_numpy(np.ascontiguousarray(values)).float()
        for values in (parameters.global_orient, parameters.hand_pose, parameters.transl_m)
    )
    betas = torch.from_numpy(np.ascontiguousarray(parameters.betas)).float()
    return orient, pose, betas.expand(len(orient), -1), transl


def _stored(hand: Hand, recording: Recording) -> HandParameters | None:
    """The recording's own parameters, where the loaded hand model means the same by them."""
    if recording.parameters is None:
        return None
    off_m = np.linalg.norm(hand_joints(hand, recording.parameters) - recording.joints_m, axis=-1)
    return recording.parameters if 1000 * np.median(off_m) <= SAME_HAND_MM else None


def _fit(hand: Hand, recordings: list[Recording], on_step: Callable[[], None] | None) -> list[HandParameters]:
    if not recordings:
        return []
    joints = torch.from_numpy(np.concatenate([recording.joints_m for recording in recordings])).float()
    lengths = torch.tensor([len(recording) for recording in recordings])
    fit = fit_hand(hand, joints, torch.repeat_interleave(torch.arange(len(recordings)), lengths), on_step)
    found, begin = [], 0
    for recording in recordings:
        frames = slice(begin, begin := begin + len(recording))
        found.append(
            HandParameters(
                global_orient=fit.global_orient_N3[frames].numpy(),
                hand_pose=fit.hand_pose_N45[frames].numpy(),
                transl_m=fit.transl_N3[frames].numpy(),
                betas=fit.betas_10.numpy(),
            )
        )
    return found


def _mesh_contact(
    hand: Hand,
    recording: Recording,
    parameters: HandParameters,
    meshes: Mapping[str, Mesh],
    radius_m: float,
) -> Contact:
    count = len(recording)
    bits = np.zeros((count, VERTICES), dtype=bool)
    if not recording.bodies:
        return Contact(bits=bits, known=np.zeros(count, dtype=bool), point_m=np.full((count, 3), np.nan))
    vertices_m = hand_vertices(hand, parameters)
    for body in recording.bodies:
        mesh = meshes[body.mesh] if recording.is_right else meshes[body.mesh].mirrored
        bits |= _touches(vertices_m, body, mesh, radius_m)
    return Contact(bits=bits, known=np.ones(count, dtype=bool), point_m=centroid(bits, vertices_m))


def _touches(vertices_m: NDArray[np.float64], body: Body, mesh: Mesh, radius_m: float) -> NDArray[np.bool_]:
    return contact_map(vertices_m, body.rotation, body.translation_m, mesh, radius_m)


def _clip(recording: Recording, parameters: HandParameters, contact: Contact) -> Clip:
    camera = recording.camera_to_first
    if camera is None:  # it stands still
        camera = np.broadcast_to(np.eye(3, 4), (len(recording), 3, 4))
    return Clip(
        clip_id=recording.name,
        fps=recording.fps,
        **{group: getattr(recording, group) for group in GROUPS},
        text_start=recording.text_start,
        text=recording.text,
        global_orient=parameters.global_orient,
        hand_pose=parameters.hand_pose,
        transl_m=parameters.transl_m,
        betas=parameters.betas,
        camera_to_first=camera,
        joints_m=recording.joints_m,
        contact_bits=contact.bits,
        contact_known=contact.known,
        contact_point_m=contact.point_m,
        image_frame=recording.image_frame,
        image_png=recording.image_png,
        hand_free_frame=recording.hand_free_frame,
        hand_free_png=recording.hand_free_png,
        image_feature=recording.image_feature,
        hand_free_feature=recording.hand_free_feature,
        text_feature=recording.text_feature,
    )
