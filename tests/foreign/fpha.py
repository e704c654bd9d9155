"""FPHA's own layout, written from real motion, as guiggh/hand_pose_action (README.md, load_example.py) has it."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.foreign.real_motion import real_fits, real_recordings
from trainables.signed_distance import Mesh

CAMERA = np.array(  # load_example.py's cam_extr: depth camera to colour camera, millimetres
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 25.7],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 1.22],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 3.902],
        [0, 0, 0, 1],
    ]
)
# README: Wrist, the five MCPs from thumb to pinky, then PIP, DIP and TIP of each; as OpenPose's numbers.
JOINTS = (0, 1, 5, 9, 13, 17, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20)
UNPOSED = 3  # frames at the end of put_salt that have no object pose
# label -> its number in action_object_info.txt, which counts from 0 in data_split_action_recognition.txt
LABELS = {"open_milk": 10, "pour_juice_bottle": 2, "handshake": 43, "put_salt": 15}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a sequence means: joints (T, 21, 3) in the colour camera, OpenPose order, metres; contact as it was fitted."""

    name: str
    action: str
    object: str
    text: str
    joints_m: np.ndarray
    contact_bits: np.ndarray | None


def write_fpha(
    root: Path, *, pictures: bool = True, models: bool = True, version: str = "v1_1", frames: int = 45
) -> list[Written]:
    """Four repetitions by two people: three with a posed object; one without, the reverse of another one's motion."""
    plan = [
        ("Subject_1", "open_milk", "1", 0, "milk"),
        ("Subject_1", "pour_juice_bottle", "3", 1, "juice_bottle"),
        ("Subject_1", "handshake", "1", 1, ""),
        ("Subject_2", "put_salt", "2", 2, "salt"),
    ]
    _, meshes = real_recordings(frames)
    written = []
    for subject, action, number, index, model in plan:
        fitted = real_fits(frames)[index]
        (body,) = fitted.recording.bodies
        joints = fitted.recording.joints_m if model else fitted.recording.joints_m[::-1]
        own = Path(subject) / action / number
        _write_lines(
            root / f"Hand_pose_annotation_{version}" / own / "skeleton.txt",
            _in_depth_camera(joints)[:, list(JOINTS)].reshape(frames, 63),
        )
        if model:
            _write_poses(
                root / "Object_6D_pose_annotation_v1_1" / own / "object_pose.txt",
                body.rotation,
                body.translation_m,
                frames - UNPOSED if model == "salt" else frames,
            )
        if model and models:
            mesh = meshes[body.mesh]
            # What was a left hand's recording is mirrored, its object too.
            mesh = mesh if fitted.recording.is_right else mesh.mirrored
            write_ply(root / "Object_models" / f"{model}_model" / f"{model}_model.ply", mesh)
        if pictures:
            folder = root / "Video_files" / own / "color"
            folder.mkdir(parents=True)
            for frame in range(frames):
                (folder / f"color_{frame:04d}.jpeg").write_bytes(_jpeg(frame))
        written.append(
            Written(
                name=str(own),
                action=action.replace("_", " "),
                object=model.replace("_", " ") or "hand",
                text=action.replace("_", " "),
                joints_m=joints,
                contact_bits=fitted.clip.contact_bits if model else None,
            )
        )
    lines = [f"{w.name} {LABELS[w.name.split('/')[1]]}" for w in written]
    split = ["Training 3", *lines[:3], "Test 1", *lines[3:]]
    (root / "data_split_action_recognition.txt").write_text("\n".join(split) + "\n")
    return written


def write_ply(path: Path, mesh: Mesh) -> None:
    """ASCII, metres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"""ply
format ascii 1.0
element vertex {len(mesh.vertices_m)}
property float x
property float y
property float z
element face {len(mesh.faces)}
property list uchar int vertex_indices
end_header
"""
    rows = ["{:.9g} {:.9g} {:.9g}".format(*vertex) for vertex in mesh.vertices_m]
    rows += ["3 {} {} {}".format(*face) for face in mesh.faces]
    path.write_text(head + "\n".join(rows) + "\n")


def _in_depth_camera(points_m: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(CAMERA)
    return 1000 * points_m @ back[:3, :3].T + back[:3, 3]


def _write_poses(path: Path, rotation: np.ndarray, translation_m: np.ndarray, count: int) -> None:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = np.linalg.inv(CAMERA)[:3, :3] @ rotation[:count]
    poses[:, :3, 3] = _in_depth_camera(translation_m[:count])
    _write_lines(path, poses.transpose(0, 2, 1).reshape(count, 16))


def _write_lines(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True)
    lines = [" ".join([str(frame), *(f"{value:.6f}" for value in row)]) for frame, row in enumerate(values)]
    path.write_text("\n".join(lines) + "\n")


@functools.cache
def _jpeg(frame: int) -> bytes:
    """1920 x 1080, as bright as its number says."""
    buffer = io.BytesIO()
    Image.new("RGB", (1920, 1080), (5 * frame,) * 3).save(buffer, format="JPEG")
    return buffer.getvalue()
