"""HoloAssist's axes and joints, as this project has them.

HoloLens poses as psi stores them (MathNet) have x forward, y left, z up; a picture's camera has OpenCV's x right, y
down, z forward. With A taking OpenCV axes to MathNet's, a camera-to-world pose P of the recording is P A as an OpenCV
camera's, so that a point of the room is inv(P A) p in it and the motion from frame t's camera to frame 0's is
inv(A) inv(P_0) P_t A: one convention for hand and camera. (LatentAct's release leaves its transforms in MathNet's axes.)

The 26 joints are in the order of psi's HandJointIndex, which is OpenXR's XR_EXT_hand_tracking: palm, wrist, thumb
metacarpal, proximal, distal, tip, then metacarpal, proximal, intermediate, distal, tip of index to little finger. A
joint is named after the bone that begins there. So the thumb's metacarpal is its CMC joint, its proximal the MCP, its
distal the IP; a finger's proximal is its knuckle (MCP), its metacarpal lies at the wrist and has no like in MANO's 21.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OPENCV_TO_MATHNET = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
# Of the 26, in OpenPose order: wrist, thumb (CMC, MCP, IP, tip), index to pinky (MCP, PIP, DIP, tip).
OPENPOSE_OF_26 = (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 24, 25)


def opencv_camera(camera_to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera to room (..., 3, 4) for points in OpenCV axes, of poses (..., 4, 4) as Pose_sync.txt has them."""
    return (camera_to_world @ OPENCV_TO_MATHNET)[..., :3, :]


def to_room(camera: NDArray[np.float64], points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (T, K, 3) of each frame's camera, in the room; `camera` (T, 3, 4) is camera to room."""
    return np.einsum("tij,tkj->tki", camera[..., :3], points_m) + camera[:, None, :, 3]


def from_room(camera: NDArray[np.float64], points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (T, K, 3) of the room, in each frame's camera."""
    return np.einsum("tji,tkj->tki", camera[..., :3], points_m - camera[:, None, :, 3])


def camera_to_first(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Motion (T, 3, 4) from each frame's camera to the first one's, of cameras to room (T, 3, 4)."""
    back = camera[0, :, :3].T
    moved = (camera[..., 3] - camera[0, :, 3]) @ back.T
    made = np.concatenate([back @ camera[..., :3], moved[..., None]], -1)
    made[0] = np.eye(3, 4)  # exactly
    return made
