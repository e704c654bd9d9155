"""The search: nothing twice, few points at random, and no more work the longer it goes on."""

from __future__ import annotations

import math
import random

import pytest

pytest.importorskip("ray.tune")

from ray.tune.search import Searcher

from sweeps.errors import SweepError
from sweeps.plan import SEARCHES
from sweeps.points import Params, Points
from sweeps.space import Axis
from tests.point_searches import CODES, DROPOUT, SMALL, TWO, different, run, search


@pytest.mark.parametrize("method", SEARCHES)
def test_as_many_points_as_asked_for_inside_the_space_and_all_different(method: str) -> None:
    points = run(search(method=method))
    assert len(points) == different(points) == 6
    assert all(128 <= p["codes"] <= 1024 and 1 <= p["decoder_depth"] <= 4 for p in points)


@pytest.mark.parametrize("method", ["random", "tpe", "gp"])
def test_points_are_plain_values_of_the_searched_fields(method: str) -> None:
    axes = (CODES, DROPOUT, Axis("told", "choice", choices=("window", "frame")))
    for point in run(search(axes, method=method)):
        assert {field: type(value) for field, value in point.items()} == {
            "codes": int,
            "dropout": float,
            "told": str,
        }
        assert point["told"] in ("window", "frame") and 0 <= point["dropout"] <= 0.5


@pytest.mark.parametrize("method", SEARCHES)
def test_a_seed_gives_the_same_points(method: str) -> None:
    first, again, other = (run(search(method=method, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("method", SEARCHES)
def test_a_small_space_is_searched_to_its_last_point(method: str) -> None:
    points = run(
        search(SMALL, method=method, trials=50, known=[({"codes": 256, "decoder_depth": 3}, (4.0,))])
    )
    assert len(points) == different(points) == 11
    assert {"codes": 256, "decoder_depth": 3} not in points


@pytest.mark.parametrize("method", SEARCHES)
def test_unfinished_trials_come_first_and_known_ones_never_again(method: str) -> None:
    every = list(Points(SMALL, 0).grid())
    known: list[tuple[Params, tuple[float, ...] | None]] = [(every[0], (4.0,)), (every[1], None)]
    unfinished = [every[5], every[2]]
    points = run(search(SMALL, method=method, known=known, unfinished=unfinished, trials=7))
    assert points[:2] == unfinished
    assert len(points) == different(points) == 7
    assert every[0] not in points and every[1] not in points


def test_many_at_once_are_all_different() -> None:
    searcher = search(SMALL, trials=12, parallel=12)
    points = [searcher.suggest(str(count)) for count in range(12)]
    assert different(points) == 12
    assert searcher.suggest("one more") == Searcher.FINISHED


def test_a_grid_shows_all_values_of_every_axis_early() -> None:
    axes = (
        Axis("heads", "choice", choices=(1, 2, 4)),
        Axis("codes", "choice", choices=(64, 128, 256, 512)),
        Axis("decoder_depth", "int", 1, 8),
    )
    points = run(search(axes, method="grid", trials=96))
    assert len(points) == different(points) == 96
    for axis in axes:
        assert axis.values is not None
        assert {point[axis.field] for point in points[: len(axis.values)]} == set(axis.values)
    pairs = {(point["codes"], point["decoder_depth"]) for point in points[:32]}
    assert len(pairs) == 32  # of the longest two every pair before one comes again


def test_a_grid_goes_on_where_it_was_left() -> None:
    points = run(search(SMALL, method="grid", trials=12))
    rest = search(SMALL, method="grid", trials=7, known=[(point, (5.0,)) for point in points[:5]])
    assert run(rest) == points[5:]


def test_a_grid_of_any_number_is_refused() -> None:
    with pytest.raises(SweepError, match="dropout is any number from 0 to 0.5.*choices"):
        search((CODES, DROPOUT), method="grid")


@pytest.mark.parametrize("method, trials", [("tpe", 24), ("gp", 12)])
def test_the_search_learns(method: str, trials: int) -> None:
    """Told that small codebooks are good, it proposes smaller ones than are drawn."""
    points = run(search(method=method, trials=trials), lambda point: {"mpjpe_cm": float(point["codes"])})
    late = [point["codes"] for point in points[trials // 2 :]]
    assert sum(codes < 200 for codes in late) > len(late) / 2  # one in five where they are drawn


@pytest.mark.parametrize("method, trials", [("tpe", 24), ("gp", 12)])
def test_several_objectives_are_learned_each_in_its_own_direction(method: str, trials: int) -> None:
    """Small codebooks are good for the error, dropout for the contact: what is proposed has both."""
    points = run(
        search((CODES, DROPOUT), method=method, objectives=TWO, trials=trials),
        lambda point: {"mpjpe_cm": math.log2(point["codes"]), "contact_f1": point["dropout"]},
    )
    late = points[trials // 2 :]
    # One in four where they are drawn.
    assert sum(p["codes"] < 362 and p["dropout"] > 0.25 for p in late) > len(late) / 2


def test_random_points_depend_on_no_result() -> None:
    small = run(search(method="random", trials=30), lambda point: {"mpjpe_cm": point["codes"]})
    large = run(search(method="random", trials=30), lambda point: {"mpjpe_cm": -point["codes"]})
    assert small == large


def test_numbers_to_choose_from_have_neighbours() -> None:
    """From good results around 40 follow other values near 40, which names without an order could not tell."""
    axis = Axis("codes", "choice", choices=tuple(range(64)))
    known = [({"codes": codes}, (abs(codes - 40),)) for codes in random.Random(0).sample(range(64), 20)]
    points = [search((axis,), known=known, trials=1, seed=seed).suggest("a") for seed in range(16)]
    assert sum(abs(point["codes"] - 40) <= 5 for point in points) > 12  # of 16
