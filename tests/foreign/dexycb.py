"""Real DexYCB motion written back into DexYCB's two layouts: the official folders and the re-packed archive.

Official field names, shapes and encodings: NVlabs/dex-ycb-toolkit, dex_ycb_toolkit/dex_ycb.py and sequence_loader.py.
MANO's files are stood in by the stand-in hand with a random mean pose and PCA basis (tests/foreign/arctic.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import igl
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.foreign.arctic import write_mano
from tests.foreign.real_motion import real_fits, real_recordings
from trainables.dexycb_official import YCB_CLASSES
from trainables.hand import Hand
from trainables.recording import HandParameters

MASTER, OTHER = "840412060917", "932122060861"
NO_HAND = 4  # frames at the beginning


@dataclass(frozen=True, kw_only=True)
class Official:
    source: Path
    mano: Path
    joints_m: dict[
        str, NDArray[np.float64]
    ]  # by sequence: right-handed joints that were meant, without NO_HAND


def write_dexycb_official(root: Path, *, frames: int = 45) -> Official:
    """Every real recording as `<subject>/<sequence>/{meta.yml, pose.npz}`, with calibration/ and models/."""
    source = root / "dexycb"
    arrays = write_mano(root / "mano")
    hands = {side: Hand(values, "mano") for side, values in arrays.items()}
    recordings, meshes = real_recordings(frames)
    to_world = np.concatenate(
        [Rotation.from_euler("xyz", [0.4, 1.0, -0.3]).as_matrix(), [[0.3], [-0.2], [0.9]]], 1
    )
    meant = {}
    for recording, fitted in zip(recordings, real_fits(frames), strict=True):
        name = recording.name if "/" in recording.name else f"20200709-{recording.person}/{recording.name}"
        clip, side = fitted.clip, recording.side
        own = HandParameters(
            global_orient=clip.global_orient,
            hand_pose=clip.hand_pose,
            transl_m=clip.transl_m,
            betas=clip.betas,
        )
        meant[name] = fitted.joints_m[NO_HAND:]
        placed = own if side == "right" else own.mirrored()
        ycb = recording.object if recording.object in YCB_CLASSES else YCB_CLASSES[5]
        body = recording.bodies[0]
        folder = source / name
        folder.mkdir(parents=True)
        calibration = f"20200514_{name.split('/')[0].split('-', 1)[1]}_{side}"
        meta = {
            "serials": [OTHER, MASTER],
            "num_frames": len(recording),
            "extrinsics": "20200702_151821",
            "ycb_ids": [21, YCB_CLASSES.index(str(ycb)) + 1],
            "ycb_grasp_ind": 1,
            "mano_sides": [side],
            "mano_calib": [calibration],
        }
        (folder / "meta.yml").write_text(yaml.safe_dump(meta))
        coefficients = np.linalg.solve(
            arrays[side]["hands_components"].T, (placed.hand_pose - arrays[side]["hands_mean"]).T
        ).T
        # MANO turns about its wrist's rest position, so a new frame moves `transl` as it moves the wrist.
        wrist = hands[side].rest_wrist(torch.from_numpy(np.asarray(own.betas)).float()).double().numpy()
        turn, shift = to_world[:, :3], to_world[:, 3]
        orient = Rotation.from_matrix(
            turn @ Rotation.from_rotvec(placed.global_orient).as_matrix()
        ).as_rotvec()
        transl = (placed.transl_m + wrist) @ turn.T + shift - wrist
        pose_m = np.concatenate([orient, coefficients, transl], 1)[:, None].astype(np.float32)
        pose_m[:NO_HAND] = 0
        quaternion = Rotation.from_matrix(turn @ body.rotation).as_quat()
        grasped = np.concatenate([quaternion, body.translation_m @ turn.T + shift], 1)
        other = np.tile([0, 0, 0, 1, 5, 5, 5.0], (len(recording), 1))
        np.savez(folder / "pose.npz", pose_m=pose_m, pose_y=np.stack([other, grasped], 1).astype(np.float32))
        shape = source / "calibration" / f"mano_{calibration}"
        shape.mkdir(parents=True, exist_ok=True)
        (shape / "mano.yml").write_text(yaml.safe_dump({"betas": np.asarray(own.betas).tolist()}))
        model = source / "models" / str(ycb)
        model.mkdir(parents=True, exist_ok=True)
        mesh = meshes[body.mesh]
        igl.write_triangle_mesh(str(model / "textured_simple.obj"), mesh.vertices_m, mesh.faces)
    extrinsics = source / "calibration" / "extrinsics_20200702_151821"
    extrinsics.mkdir()
    values = {MASTER: to_world.ravel().tolist(), OTHER: np.eye(3, 4).ravel().tolist()}
    values["apriltag"] = np.eye(3, 4).ravel().tolist()
    (extrinsics / "extrinsics.yml").write_text(yaml.safe_dump({"master": MASTER, "extrinsics": values}))
    return Official(source=source, mano=root / "mano", joints_m=meant)


def write_dexycb_pack(root: Path, *, frames: int = 45) -> Path:
    """Every real recording end to end in dexycb_hand_object.npz, with sequences.json and ycb_meshes/."""
    recordings, meshes = real_recordings(frames)
    folder = root / "dexycb"
    (folder / "ycb_meshes").mkdir(parents=True)
    index, begin = [], 0
    for number, recording in enumerate(recordings):
        index.append(
            {
                "seq": recording.name,
                "subject": number // 2 + 1,
                "side": recording.side,
                "object": recording.bodies[0].mesh,
                "start": begin,
                "length": len(recording),
                "hand_first": NO_HAND,
                "first_contact": 20,
                "first_lift": -1,
            }
        )
        begin += len(recording)
    (folder / "sequences.json").write_text(json.dumps(index))
    valid = np.concatenate([np.arange(len(recording)) >= NO_HAND for recording in recordings])
    joints = np.concatenate([recording.joints_m for recording in recordings])
    distance = np.concatenate(
        [np.zeros((len(r), 21)) if r.joint_distance_m is None else r.joint_distance_m for r in recordings]
    )
    bodies = [recording.bodies[0] for recording in recordings]
    np.savez(
        folder / "dexycb_hand_object.npz",
        hand_valid=valid,
        joints=np.where(valid[:, None, None], joints, 0).astype(np.float32),
        obj_rotvec=np.concatenate([Rotation.from_matrix(b.rotation).as_rotvec() for b in bodies]).astype(
            np.float32
        ),
        obj_trans=np.concatenate([b.translation_m for b in bodies]).astype(np.float32),
        joint_obj_dist=np.where(valid[:, None], distance, np.inf).astype(np.float16),
    )
    for name, mesh in meshes.items():
        igl.write_triangle_mesh(str(folder / "ycb_meshes" / f"{name}.ply"), mesh.vertices_m, mesh.faces)
    return folder
