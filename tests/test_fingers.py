"""Which finger a vertex is of: what contact figures by finger are counted by."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import torch

from trainables.hand import FINGERS, load_hand
from trainables.standin_hand import FINGER_TIP_VERTICES, standin_arrays


def test_fingers_of_vertices() -> None:
    hand, arrays = load_hand(), standin_arrays()
    finger_V = hand.finger_V.numpy()
    assert finger_V.shape == (778,) and "finger_V" not in hand.state_dict()
    for finger, tip in zip(FINGERS[:5], FINGER_TIP_VERTICES, strict=True):
        assert FINGERS[finger_V[tip]] == finger
    # A finger is one piece of the skin, but for single vertices at its seam, and moves its own vertices most.
    for number in range(len(FINGERS)):
        inside = finger_V == number
        edges = arrays["f"][inside[arrays["f"]].all(1)].astype(int)
        graph = scipy.sparse.coo_matrix(
            (np.ones(2 * len(edges)), (edges[:, :2].T.ravel(), edges[:, 1:].T.ravel())), (778, 778)
        )
        _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
        assert np.bincount(label[inside]).max() >= inside.sum() - 2 and 60 < inside.sum() < 320
    rest = torch.zeros(1, 3), torch.zeros(1, 45), torch.zeros(1, 10), torch.zeros(1, 3)
    for chain, finger in enumerate(("index", "middle", "pinky", "ring", "thumb")):
        angles = torch.zeros(1, 15, 3)
        angles[:, 3 * chain, 0] = 0.8
        bent = hand.vertices(rest[0], hand.pose_from_angles(angles.view(1, 45)), rest[2], rest[3])
        distance_V = (bent - hand.vertices(*rest))[0].norm(dim=-1).numpy()
        moved = set(np.argsort(distance_V)[-50:].tolist())
        assert moved <= set(np.flatnonzero(finger_V == FINGERS.index(finger)).tolist())
