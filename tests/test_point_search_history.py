"""The search over time: trials that run at once, end badly or came before, and a history that is kept short."""

from __future__ import annotations

import itertools
import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("ray.tune")

import optuna
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from sweeps.point_search import PointSearch
from sweeps.space import Axis
from tests.point_searches import CODES, DEPTH, DROPOUT, ONE, SMALL, TWO, different, run, search, told


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


def test_tune_may_pickle_and_save_a_search(tmp_path: Path) -> None:
    searcher = search()
    searcher.suggest("a")
    assert pickle.dumps(searcher) and searcher.__getstate__() == {}
    searcher.save_to_dir(str(tmp_path))
    assert not list(tmp_path.iterdir())
