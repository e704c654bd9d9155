"""The points of a space: free ones are found without a walk, and spread-out ones lie in every part."""

from __future__ import annotations

import math

from sweeps.points import Points
from sweeps.space import Axis

CODES, DROPOUT = Axis("codes", "int", 128, 1024, log=True), Axis("dropout", "float", 0.0, 0.5)


def test_a_free_point_is_found_without_a_walk_through_the_space() -> None:
    """A space of 10^18 points, of which 10,000 are taken."""
    axes = tuple(Axis(field, "int", 1, 1_000_000) for field in ("codes", "width", "batch"))
    points = Points(axes, 0)
    taken = {(500_000 + i % 100, 500_000 + i // 100, 500_000) for i in range(10_000)}
    near = {"codes": 500_000, "width": 500_000, "batch": 500_000}
    found = points.free(near, taken)
    assert found is not None and points.key(found) not in taken
    assert all(abs(value - 500_000) < 250_000 for value in found.values())


def test_the_last_free_point_of_a_space_is_found() -> None:
    points = Points((Axis("codes", "int", 1, 5000), Axis("told", "choice", choices=("window", "frame"))), 0)
    keys = [points.key(params) for params in points.grid()]
    taken = set(keys) - {keys[1234]}
    found = points.free({"codes": 1, "told": "frame"}, taken)
    assert found is not None and points.key(found) == keys[1234]
    assert points.free(found, set(keys)) is None


def test_spread_out_points_have_one_in_every_part_of_every_axis() -> None:
    axes = (CODES, DROPOUT, Axis("heads", "choice", choices=(1, 2, 4, 8)))
    points = Points(axes, 3).spread(8)
    assert {int(point["dropout"] / 0.5 * 8) for point in points} == set(range(8))
    assert sorted(point["heads"] for point in points) == [1, 1, 2, 2, 4, 4, 8, 8]
    # By magnitude: as many below the geometric middle as above it.
    assert sum(point["codes"] < math.sqrt(128 * 1024) for point in points) == 4
