"""Clips for the viewer: the stand-in hand closing on a ball before a drawn photo, with a truth beside it."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageDraw

from trainables.hand import Hand, load_hand
from zoo.viewer import ViewerClip

CAMERA_K = np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]])
BALL_RADIUS_M = 0.035


def grasp(hand: Hand, *, frames: int, lag: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (frames, 778, 3) and joints (frames, 21, 3), metres, of a right hand that reaches and closes."""
    rng = np.random.default_rng(seed)
    time = np.clip(np.linspace(0, 1, frames) * (1 - lag), 0, 1)[:, None]
    angles = torch.zeros(frames, 15, 3)
    angles[:, :12, 0] = torch.tensor(0.15 + 0.95 * time)
    pose = hand.pose_from_angles(angles.reshape(frames, 45))
    orient = np.array([1.1, 2.2, 0.2]) + rng.normal(0, 0.1, 3) + 0.3 * time
    transl = np.array([0.11, 0.04, 0.5]) + rng.normal(0, 0.015, 3) + time * np.array([-0.13, -0.03, 0.03])
    rows = [torch.as_tensor(x, dtype=torch.float32) for x in (orient, pose, np.zeros((frames, 10)), transl)]
    return hand.vertices(*rows).numpy(), hand.joints(*rows).numpy()


def ball(centre_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a ball."""
    rows, columns = 12, 20
    angle_up, angle_round = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    points = np.stack(
        [np.sin(angle_up) * np.cos(angle_round), np.cos(angle_up), np.sin(angle_up) * np.sin(angle_round)], -1
    )
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([first, first + 1, first + columns], 1),
            np.stack([first + 1, first + columns + 1, first + columns], 1),
        ]
    )
    return centre_m + BALL_RADIUS_M * points.reshape(-1, 3), faces


def photo(seed: int) -> bytes:
    """A picture of a table with noise, as large as a photo is: PNG, 640 x 480."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (640, 480), (196, 186, 170))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 300, 640, 480), fill=(140, 108, 78))
    for _ in range(12):
        x, y = rng.integers(0, 640), rng.integers(250, 480)
        pen.ellipse((x, y, x + 60, y + 40), fill=tuple(int(c) for c in rng.integers(60, 220, 3)))
    noisy = np.asarray(picture, np.int16) + rng.normal(0, 8, (480, 640, 3)).astype(np.int16)
    content = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def viewer_clips(count: int, *, frames: int = 30) -> tuple[list[ViewerClip], np.ndarray]:
    """`count` clips with truth, object and photo, and the hand's faces (1538, 3)."""
    hand = load_hand()
    clips = []
    for seed in range(count):
        vertices, joints = grasp(hand, frames=frames, lag=0.0, seed=seed)
        truth_vertices, truth_joints = grasp(hand, frames=frames, lag=0.25, seed=seed)
        centre = vertices[-1].mean(axis=0) + (0.0, 0.0, 0.045)
        distance_m = np.linalg.norm(vertices - centre, axis=-1) - BALL_RADIUS_M
        points, faces = ball(centre)
        clips.append(
            ViewerClip(
                title=f"clip {seed}",
                text=f"pick up ball {seed} <b>&</b>",
                vertices_m=vertices,
                contact_probability=1 / (1 + np.exp((distance_m - 0.02) / 0.008)),
                joints_m=joints,
                truth_vertices_m=truth_vertices,
                truth_joints_m=truth_joints,
                contact_point_m=centre - (0, 0, BALL_RADIUS_M),
                object_vertices_m=points,
                object_faces=faces,
                photo=photo(seed),
                camera_K=CAMERA_K,
                figures={"MPJPE (cm)": 2.345678, "contact F1": 0.71, "seed": f"{seed}"},
                note="made with the stand-in hand",
            )
        )
    return clips, hand.faces.numpy()
