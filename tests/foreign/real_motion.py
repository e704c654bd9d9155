"""Real hand motion for the foreign layouts that tests make: a few DexYCB recordings, or made-up ones without it.

Tests write these into a project's own layout and import them back. `REAL` says which it is.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import igl
import numpy as np
from scipy.spatial.transform import Rotation

from trainables.clips import Clip
from trainables.dexycb_pack import read_pack
from trainables.hand import load_hand
from trainables.recorded_clips import Fitted, fit_recordings
from trainables.recording import Body, Recording, steady_run
from trainables.signed_distance import Mesh, unsigned_distance_m

DATA = Path(os.environ.get("LATENTACT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "dexycb"
REAL = DATA.is_dir()
SEQUENCES = [  # two subjects, three objects; the last is a left hand
    "20200709-subject-01/20200709_141754",
    "20200709-subject-01/20200709_144429",
    "20200813-subject-02/20200813_154945",
]
OBJECTS = ("002_master_chef_can", "009_gelatin_box", "037_scissors")


@functools.cache
def real_recordings(frames: int = 45) -> tuple[tuple[Recording, ...], dict[str, Mesh]]:
    """Three recordings of `frames` frames around the first contact (right hands and one left), and their meshes."""
    if not REAL:
        return _made_up(frames)
    source = read_pack(DATA, SEQUENCES)
    cuts = []
    for whole in source.recordings:
        recording = steady_run(whole, 5.0)
        assert recording.joint_distance_m is not None
        touching = np.flatnonzero(recording.joint_distance_m.min(1) < 0.01)
        middle = int(touching[0]) if len(touching) else len(recording) // 2
        begin = int(np.clip(middle - frames // 2, 0, len(recording) - frames))
        cuts.append(recording.cut(begin, begin + frames))
    return tuple(cuts), source.meshes


@functools.cache
def real_fits(frames: int = 45) -> tuple[Fitted, ...]:
    """The same as clips, fitted with the loaded hand, with the recordings they come from (right-handed)."""
    recordings, meshes = real_recordings(frames)
    hand = load_hand()
    made: list[Fitted] = []
    for person in dict.fromkeys(r.person for r in recordings):
        own = [r for r in recordings if r.person == person]
        made += fit_recordings(hand, own, meshes, radius_m=0.005)
    return tuple(made)


def real_clips(frames: int = 45) -> list[Clip]:
    return [fitted.clip for fitted in real_fits(frames)]


def _made_up(frames: int) -> tuple[tuple[Recording, ...], dict[str, Mesh]]:
    """Smooth motion of the loaded hand towards a box, for places without the real data."""
    import torch

    hand = load_hand()
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.03
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    fine_m, triangles = igl.upsample(corners, faces, 3)  # as fine as a scanned object
    box = Mesh(vertices_m=fine_m, faces=np.asarray(triangles, dtype=np.int64))
    made = []
    for i, side in enumerate(("right", "right", "left")):
        rng = np.random.default_rng(i)
        time = np.linspace(0, 1, frames)[:, None]
        pose = time * rng.uniform(0.1, 0.5, 45) * hand.joint_limits[:, 1].numpy()
        angles = hand.pose_from_angles(torch.from_numpy(pose).float())
        orient = torch.from_numpy(rng.normal(0, 0.5, 3) + 0.2 * time * rng.normal(0, 1, 3)).float()
        transl = torch.from_numpy(np.array([0.05, 0.0, 0.6]) + time * rng.uniform(-0.1, 0.1, 3)).float()
        with torch.no_grad():
            betas = torch.from_numpy(1.5 * np.random.default_rng(10 + i // 2).normal(size=10)).float()
            joints = hand.joints(orient, angles, betas.expand(frames, 10), transl).double().numpy()
        at = joints[:, [12]].mean(1) + (1 - time) * 0.1
        distance = unsigned_distance_m((joints - at[:, None]).reshape(-1, 3), box).reshape(frames, 21)
        recording = Recording(
            name=SEQUENCES[
                i
            ],  # under the same names, so that the layouts written from it have the same files
            person=f"subject-0{i // 2 + 1}",
            side=side,
            fps=30.0,
            object=OBJECTS[i],
            subject=f"subject-0{i // 2 + 1}",
            text_start=[0],
            text=["grasp the object"],
            joints_m=joints,
            bodies=(Body(mesh=OBJECTS[i], rotation=Rotation.identity(frames).as_matrix(), translation_m=at),),
            joint_distance_m=distance,
        )
        made.append(recording)
    return tuple(made), dict.fromkeys(OBJECTS, box)
