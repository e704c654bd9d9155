"""The search: nothing twice, few points at random, and no more work the longer it goes on."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sweeps.errors import SweepError
from sweeps.points import Points
from sweeps.space import OBJECTIVES, Axis

pytest.importorskip("ray.tune")

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from sweeps.point_search import PointSearch

Params = dict[str, Any]

CODES, DEPTH = Axis("codes", "int", 128, 1024, log=True), Axis("decoder_depth", "int", 1, 4)
DROPOUT = Axis("dropout", "float", 0.0, 0.5)
SMALL = (Axis("codes", "choice", choices=(128, 256, 512)), Axis("decoder_depth", "int", 1, 4))
ONE = (OBJECTIVES["mpjpe_cm"],)
TWO = (OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"])
METHODS = ("random", "grid", "tpe", "gp")


def search(axes: tuple[Axis, ...] = (CODES, DEPTH), **changes: Any) -> PointSearch:
    settings: Params = {
        "method": "tpe",
        "objectives": ONE,
        "seed": 0,
        "trials": 6,
        "parallel": 1,
        "known": [],
        "unfinished": [],
    }
    return PointSearch(axes, **(settings | changes))


def run(searcher: PointSearch, figures: Callable[[Params], Params] | None = None) -> list[Params]:
    """Ask until there is no more, completing each trial at once; the points in their order."""
    points: list[Params] = []
    while (point := searcher.suggest(str(len(points)))) != Searcher.FINISHED:
        searcher.on_trial_complete(str(len(points)), figures(point) if figures else {"mpjpe_cm": 5.0})
        points.append(point)
        assert len(points) < 1000, "the search does not end"
    return points


def different(points: list[Params]) -> int:
    return len({tuple(point.values()) for point in points})


def told(searcher: PointSearch, state: TrialState) -> list[optuna.trial.FrozenTrial]:
    return searcher._study.get_trials(states=(state,))


@pytest.mark.parametrize("method", METHODS)
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


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_the_same_points(method: str) -> None:
    first, again, other = (run(search(method=method, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("method", METHODS)
def test_a_small_space_is_searched_to_its_last_point(method: str) -> None:
    points = run(
        search(SMALL, method=method, trials=50, known=[({"codes": 256, "decoder_depth": 3}, (4.0,))])
    )
    assert len(points) == different(points) == 11
    assert {"codes": 256, "decoder_depth": 3} not in points


@pytest.mark.parametrize("method", METHODS)
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


def suggestions_of(searcher: OptunaSearch, sign: float, results: int, count: int) -> list[Any]:
    """`count` suggestions given while 8 trials run, of which `results` have ended by the ninth and no more after."""
    points: list[Any] = [searcher.suggest(str(number)) for number in range(8)]
    for number in range(results):
        searcher.on_trial_complete(str(number), {"mpjpe_cm": sign * points[number]["codes"]})
    return points + [searcher.suggest(str(number)) for number in range(8, count)]


def test_trials_that_run_at_once_add_no_points_at_random() -> None:
    """A point that depends on the results is the model's; one that does not was drawn.

    30 trials begin with 10 that are drawn. OptunaSearch draws until 10 have ended, however many have been given.
    """
    small, large = (
        suggestions_of(search(trials=30, parallel=8), sign, results=3, count=16) for sign in (1.0, -1.0)
    )
    assert small[:10] == large[:10]
    assert all(a != b for a, b in zip(small[10:], large[10:], strict=True))

    space = {"codes": CODES.distribution(), "decoder_depth": DEPTH.distribution()}
    upstream = [
        suggestions_of(
            OptunaSearch(
                space,
                metric="mpjpe_cm",
                mode="min",
                sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=10),
            ),
            sign,
            results=3,
            count=16,
        )
        for sign in (1.0, -1.0)
    ]
    assert upstream[0] == upstream[1]


def test_while_there_are_too_few_results_points_are_spread_out() -> None:
    """12 trials begin with 4 that are drawn; 8 that run at once are all given before anything is known."""
    points = suggestions_of(search((DROPOUT,), trials=12, parallel=8), 1.0, results=0, count=8)
    assert {int(point["dropout"] / 0.5 * 8) for point in points} == set(range(8))


def test_running_trials_are_part_of_the_model() -> None:
    """One after another, without results between them, proposals move away from those before."""
    known = [({"dropout": i / 40}, (abs(i / 40 - 0.2),)) for i in range(20)]
    searcher = search((DROPOUT,), known=known, trials=8, parallel=8)
    together = [searcher.suggest(str(number))["dropout"] for number in range(8)]
    assert len(told(searcher, TrialState.RUNNING)) == 8
    alone = [
        search((DROPOUT,), known=known, trials=1, seed=seed).suggest("a")["dropout"] for seed in range(8)
    ]

    def spread(values: list[float]) -> float:
        return sum(abs(a - b) for a, b in itertools.combinations(values, 2))

    assert spread(together) > spread(alone)


@pytest.mark.parametrize("method", ["random", "tpe", "gp"])
def test_a_resume_draws_on(method: str) -> None:
    points = run(search((CODES, DROPOUT), method=method, trials=7))
    known = [(point, (5.0,)) for point in points[:4]]
    rest, again = (run(search((CODES, DROPOUT), method=method, trials=4, known=known)) for _ in range(2))
    assert rest == again
    assert different(rest + points[:4]) == 8


def test_a_trial_that_failed_teaches_nothing_and_is_not_tried_again() -> None:
    searcher = search(SMALL, trials=12)
    points = [searcher.suggest(name) for name in "abcd"]
    searcher.on_trial_complete("a", error=True)
    searcher.on_trial_complete("b", {"mpjpe_cm": 1.0, "failure": "the loss is nan"})
    searcher.on_trial_complete("c", {"mpjpe_cm": math.nan})
    searcher.on_trial_complete("d", {"mpjpe_cm": 4.0})
    assert [trial.values for trial in told(searcher, TrialState.COMPLETE)] == [[4.0]]
    assert not told(searcher, TrialState.RUNNING)
    assert different(points + run(searcher)) == 12


def test_a_stopped_trial_is_told_with_its_last_values() -> None:
    searcher = search(objectives=TWO)
    searcher.suggest("a")
    searcher.on_trial_result("a", {"figures": {"stage": "codebook"}})
    searcher.on_trial_result("a", {"mpjpe_cm": 6.0, "contact_f1": 0.3})
    searcher.on_trial_result("a", {"mpjpe_cm": 5.0, "contact_f1": 0.4})
    searcher.on_trial_complete("a")  # stopped while it was paused
    searcher.on_trial_complete("a", {"mpjpe_cm": 1.0, "contact_f1": 1.0})  # over already
    assert [trial.values for trial in told(searcher, TrialState.COMPLETE)] == [[5.0, 0.4]]


def test_hints_shorten_the_start_and_do_not_count() -> None:
    hints = [({"codes": 200 + 70 * i, "decoder_depth": 1 + i % 4}, (float(i),)) for i in range(10)]
    upside_down = [(params, (-values[0],)) for params, values in hints]
    good, bad = (search(hints=told_, trials=5) for told_ in (hints, upside_down))
    assert good.suggest("a") != bad.suggest("a")  # depends on figures, so no draw
    assert len(run(search(SMALL, trials=12, hints=[({"codes": 128, "decoder_depth": 1}, (1.0,))]))) == 12


def test_hints_leave_once_the_sweep_knows_more_itself() -> None:
    hints = [({"codes": 200 + i, "decoder_depth": 1}, (0.1,)) for i in range(4)]
    searcher = search(hints=hints, trials=8)
    values = []
    for number in range(6):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"mpjpe_cm": 5.0})
        values.append(sorted(trial.value or 0 for trial in told(searcher, TrialState.COMPLETE)))
    assert values[3] == [0.1] * 4 + [5.0] * 4
    assert values[5] == [5.0] * 6


class Narrow(PointSearch):
    windows: ClassVar[dict[str, int]] = {"random": 40, "grid": 40, "tpe": 40, "gp": 40}


@pytest.mark.parametrize("objectives", [ONE, TWO])
def test_a_long_search_keeps_a_short_history(objectives: tuple[Any, ...]) -> None:
    """What is kept has the best in it, and trials that began before it was shortened are told after."""
    best, worst = {"codes": 1, "dropout": 0.5}, {"codes": 2, "dropout": 0.5}
    known: list[Any] = [(best, (0.5, 0.9)[: len(objectives)]), (worst, (99.0, 0.1)[: len(objectives)])]
    axes = (Axis("codes", "int", 1, 1000), DROPOUT)
    searcher = Narrow(
        axes,
        method="tpe",
        objectives=objectives,
        seed=0,
        trials=300,
        parallel=20,
        known=known,
        unfinished=[],
    )
    points, sizes = [], []
    for number in range(300):
        points.append(searcher.suggest(str(number)))
        sizes.append(len(searcher._study.get_trials(deepcopy=False)))
        if number >= 20:
            searcher.on_trial_complete(str(number - 20), {"mpjpe_cm": 2.0 + number, "contact_f1": 0.5})
    assert different(points) == 300
    assert max(sizes) <= 40
    kept = [tuple(trial.values) for trial in told(searcher, TrialState.COMPLETE)]
    assert known[0][1] in kept and known[1][1] not in kept
    assert (301.0, 0.5)[: len(objectives)] in kept  # the latest


def test_a_long_history_is_shortened_at_once() -> None:
    known = [({"codes": 1 + i, "dropout": 0.1}, (abs(i - 700) + 1.0,)) for i in range(3000)]
    searcher = search((Axis("codes", "int", 1, 5000), DROPOUT), known=known, trials=3)
    kept = {trial.value for trial in told(searcher, TrialState.COMPLETE)}
    assert len(told(searcher, TrialState.COMPLETE)) == 250
    assert {1.0, 2.0, 3.0, 2300.0} <= kept  # the best, and the last
    assert different(run(searcher)) == 3


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


def test_tune_may_pickle_and_save_a_search(tmp_path: Path) -> None:
    searcher = search()
    searcher.suggest("a")
    assert isinstance(pickle.loads(pickle.dumps(searcher)), PointSearch)
    searcher.save_to_dir(str(tmp_path))
    assert not list(tmp_path.iterdir())
