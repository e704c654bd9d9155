"""The search: nothing twice, nothing lost, and every point announced before it can train."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.plan import Axis

pytest.importorskip("ray.tune")

from sweeps.search import LedgerSearch

CODES, DEPTH = Axis(128, 1024, log=True), Axis(1, 4)


class Announcements:
    """Stands where the ledger does; `known` are figures that other sweeps have."""

    def __init__(self, known: dict[int, float] | None = None) -> None:
        self.known = known or {}
        self.points: list[dict[str, int]] = []

    def __call__(self, params: dict[str, int]) -> dict[str, Any] | float:
        self.points.append(params)
        return self.known.get(params["codes"], {"identity": str(params)})


def search(announce: Announcements, **changes: Any) -> LedgerSearch:
    settings: dict[str, Any] = {"trials": 6, "seed": 0, "known": [], "unfinished": []}
    axes = {"codes": CODES, "depth": DEPTH}
    return LedgerSearch(changes.pop("axes", axes), announce=announce, **(settings | changes))


def run(searcher: LedgerSearch, result: float = 5.0) -> int:
    """Ask until there is no more, completing each trial at once; returns how many there were."""
    for count in range(1000):
        if searcher.suggest(str(count)) == LedgerSearch.FINISHED:
            return count
        searcher.on_trial_complete(str(count), {"mpjpe_cm": result})
    raise AssertionError("the search does not end")


def test_as_many_points_as_asked_for_inside_the_space_and_all_different() -> None:
    announce = Announcements()
    assert run(search(announce)) == 6
    assert len({tuple(point.items()) for point in announce.points}) == 6
    assert all(128 <= p["codes"] <= 1024 and 1 <= p["depth"] <= 4 for p in announce.points)


def test_a_seed_gives_the_same_points() -> None:
    points = []
    for seed in (0, 0, 1):
        announce = Announcements()
        run(search(announce, seed=seed))
        points.append(announce.points)
    assert points[0] == points[1] != points[2]


def test_a_small_space_is_searched_to_its_last_point() -> None:
    announce = Announcements()
    axes = {"codes": Axis.parse("128,256,512", "--codes"), "depth": Axis(1, 4)}
    assert run(search(announce, axes=axes, trials=12)) == 12
    assert len({tuple(point.items()) for point in announce.points}) == 12


def test_unfinished_trials_come_first_and_known_ones_never_again() -> None:
    announce = Announcements()
    unfinished = [{"codes": 200, "depth": 3}, {"codes": 999, "depth": 1}]
    known: list[tuple[dict[str, int], float | None]] = [
        ({"codes": 300, "depth": 2}, 4.0),
        ({"codes": 301, "depth": 2}, None),
    ]
    assert run(search(announce, unfinished=unfinished, known=known, trials=5)) == 5
    assert announce.points[:2] == unfinished
    assert {300, 301}.isdisjoint(point["codes"] for point in announce.points)


def test_what_another_sweep_has_trained_is_told_and_not_run() -> None:
    announce = Announcements(known={200: 4.0})
    searcher = search(announce, unfinished=[{"codes": 200, "depth": 3}], trials=3)
    assert run(searcher) == 2
    assert len(announce.points) == 3
    assert searcher._ot_study.best_value == 4.0


def test_the_search_learns() -> None:
    """Told that small codebooks are good, TPE proposes smaller ones than the prior's middle."""
    announce = Announcements()
    searcher = search(announce, trials=40)
    for count in range(40):
        suggestion = searcher.suggest(str(count))
        assert suggestion != LedgerSearch.FINISHED
        searcher.on_trial_complete(str(count), {"mpjpe_cm": float(announce.points[-1]["codes"])})
    late = [point["codes"] for point in announce.points[20:]]
    assert sum(codes < 250 for codes in late) > 14  # of 20; one in three under the prior


def test_reports_without_the_metric_are_passed_over() -> None:
    searcher = search(Announcements())
    searcher.suggest("a")
    searcher.on_trial_result("a", {"figures": {"stage": "codebook"}, "training_iteration": 1})
    searcher.on_trial_result("a", {"mpjpe_cm": 5.0, "training_iteration": 2})
    assert searcher._ot_trials["a"].study.trials[0].intermediate_values == {2: 5.0}
