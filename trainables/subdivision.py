"""One step of Catmull-Clark subdivision of a closed quad mesh, as a matrix.

E. Catmull, J. Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes",
Computer-Aided Design 10(6), 1978.
"""

from __future__ import annotations

import numpy as np


def catmull_clark(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (new vertices, old vertices), rows summing to 1, and new quads (4 Q, 4), of closed quads (Q, 4).

    New vertices in order: the old ones moved, then one a face, then one an edge.
    """
    count = int(quads.max()) + 1
    faces_of: dict[tuple[int, int], list[int]] = {}
    for f, quad in enumerate(quads):
        for a, b in zip(quad, np.roll(quad, -1), strict=True):
            faces_of.setdefault((min(a, b), max(a, b)), []).append(f)
    edges = sorted(faces_of)
    number = {edge: count + len(quads) + e for e, edge in enumerate(edges)}
    matrix = np.zeros((count + len(quads) + len(edges), count))
    for f, quad in enumerate(quads):
        matrix[count + f, quad] = 0.25
    for edge in edges:
        matrix[number[edge], list(edge)] += 0.25
        matrix[number[edge]] += matrix[[count + f for f in faces_of[edge]]].sum(0) / 4
    for v in range(count):
        around = [count + f for f in np.flatnonzero((quads == v).any(1))]
        ends = [a + b - v for a, b in edges if v in (a, b)]
        n = len(around)
        matrix[v] = matrix[around].mean(0) / n
        matrix[v, ends] += 1 / n**2
        matrix[v, v] += 1 / n + (n - 3) / n  # of twice the mean of edge middles: half is v itself
    new = []
    for f, quad in enumerate(quads):
        for k in range(4):
            before, here, after = quad[k - 1], quad[k], quad[(k + 1) % 4]
            side_a = number[min(here, after), max(here, after)]
            side_b = number[min(here, before), max(here, before)]
            new.append((here, side_a, count + f, side_b))
    return matrix, np.array(new)
