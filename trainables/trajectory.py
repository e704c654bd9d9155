"""What a prediction is to its user: one second of a hand's motion and contact, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from trainables.hand import Hand
from trainables.motion import vertices_first

if TYPE_CHECKING:
    from trainables.latentact import Prediction


@dataclass
class Trajectory:
    """One predicted second (T frames at 30 per second), on the CPU.

    parameters: MANO `global_orient` (T,3), `hand_pose` (T,45), `betas` (T,10) and `transl_m` (T,3) in each frame's
    own camera, `camera_rotation` (T,3,3) and `camera_translation_m` (T,3) from it to the first camera.
    joints_m (T,21,3), vertices_m (T,778,3): in the first camera.
    hand: "mano", or the stand-in's name; faces (F,3): its triangles, indices of vertices.
    contact_probability (T,778), to be cut at `contact_threshold`, which was chosen on validation windows.
    """

    parameters: dict[str, Tensor]
    joints_m: Tensor
    vertices_m: Tensor
    hand: str
    faces: Tensor
    contact_probability: Tensor
    contact_threshold: float


def trajectories_of(prediction: Prediction, hand: Hand, contact_threshold: float) -> list[Trajectory]:
    """A trajectory for each window of a prediction, with the hand's skin."""
    parameters = {
        "global_orient": prediction.global_orient_BT3,
        "hand_pose": prediction.hand_pose_BT45,
        "betas": prediction.betas_BT10,
        "transl_m": prediction.transl_BT3,
        "camera_rotation": prediction.camera_rot_BT33,
        "camera_translation_m": prediction.camera_transl_BT3,
    }
    parameters = {name: value.cpu() for name, value in parameters.items()}
    vertices_BTV3 = vertices_first(hand, prediction.pose).cpu()
    faces = hand.faces.cpu()
    joints_BTJ3 = prediction.joints_ref_BTJ3.cpu()
    contact_BTV = prediction.contact_logits_BTV.sigmoid().cpu()
    return [
        Trajectory(
            parameters={name: value[i] for name, value in parameters.items()},
            joints_m=joints_BTJ3[i],
            vertices_m=vertices_BTV3[i],
            hand=hand.name,
            faces=faces,
            contact_probability=contact_BTV[i],
            contact_threshold=contact_threshold,
        )
        for i in range(len(joints_BTJ3))
    ]
