"""What a setting wants trained next: the points of its search, then further seeds of the best, across runs of it."""

from __future__ import annotations

from typing import Any

import pytest
from test_sweep_plan import plan

pytest.importorskip("ray.tune")

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.space import OBJECTIVES, Axis
from sweeps.wishes import Candidate, ListWishes, SearchWishes

AXES = (Axis("codes", "choice", choices=(128, 256, 512)), Axis("decoder_depth", "choice", choices=(1, 2)))


def asked(**changes: Any) -> SweepPlan:
    return plan(**{"axes": AXES, "trials": 6, "search": "grid", "epochs": 2} | changes)


class Setting:
    """The records of one setting, as the recorder keeps them, and the wishes that see them."""

    def __init__(self, plan: SweepPlan, trials: list[TrialRecord] | None = None, **changes: Any) -> None:
        self.trials = {trial.identity: trial for trial in trials or []}
        self.grown: list[int] = []
        options: dict[str, Any] = {"retry_failed": False, "parallel": 1, "hints": []} | changes
        self.wishes = SearchWishes(plan, "objects", self.trials, grown=self.grown.append, **options)

    def begin(self) -> Candidate | None:
        """The next candidate, which is announced as a trial."""
        candidate = self.wishes.next()
        if candidate is not None:
            fresh = record(candidate.params, "unfinished", candidate.phase)
            self.trials.setdefault(fresh.identity, fresh).status = "unfinished"
        return candidate

    def end(self, candidate: Candidate, status: str = "finished", mpjpe_cm: float | None = None) -> None:
        trial = self.trials[str(candidate.params)]
        trial.status = status  # type: ignore[assignment]
        value = figure(candidate.params) if mpjpe_cm is None else mpjpe_cm
        trial.metrics = {} if status == "failed" else {"mpjpe_cm": value}
        self.wishes.ended(candidate, trial)

    def run(self) -> list[dict[str, Any]]:
        """Train everything, one after the other; the params in their order."""
        params = []
        while (candidate := self.begin()) is not None:
            assert not self.wishes.done
            params.append(candidate.params)
            self.end(candidate)
            assert len(params) < 100, "there is no end of it"
        assert self.wishes.done
        return params


def figure(params: dict[str, Any]) -> float:
    """Larger codebooks are better, depth hardly matters, and seeds differ."""
    return 6 - params["codes"] / 1000 + 0.01 * params["decoder_depth"] + 0.001 * params["seed"]


def record(params: dict[str, Any], status: str = "finished", phase: str = "search") -> TrialRecord:
    metrics = {"mpjpe_cm": figure(params)} if status in ("finished", "stopped") else {}
    return TrialRecord(str(params), "objects", phase, params, attempts=1, status=status, metrics=metrics)  # type: ignore[arg-type]


def point(codes: int, decoder_depth: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    return {"codes": codes, "decoder_depth": decoder_depth, "seed": seed, **more}


EVERY = [point(codes, depth) for codes in (128, 256, 512) for depth in (1, 2)]


def by_point(params: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return sorted((p["codes"], p["decoder_depth"], p["seed"]) for p in params)


# ---- a list


def test_a_list_is_given_in_its_order_and_done_when_the_last_has_ended() -> None:
    params = [{"contender": name, "seed": 0} for name in ("a", "b")]
    wishes = ListWishes("objects", "comparison", params)
    one, two = wishes.next(), wishes.next()
    assert one == Candidate("objects", "comparison", params[0])
    assert two == Candidate("objects", "comparison", params[1])
    assert wishes.next() is None and not wishes.done
    wishes.ended(two, record(point(1, 1)))
    assert not wishes.done
    wishes.ended(one, record(point(1, 1)))
    assert wishes.done
    assert ListWishes("objects", "comparison", []).done


# ---- a search


def test_every_point_is_given_once_with_the_plans_seed() -> None:
    setting = Setting(asked(seed=3))
    params = setting.run()
    assert by_point(params) == by_point([{**p, "seed": 3} for p in EVERY])
    assert {trial.phase for trial in setting.trials.values()} == {"search"} and not sum(setting.grown)


def test_no_more_than_asked_for_however_many_there_are() -> None:
    assert len(Setting(asked(trials=4, search="tpe")).run()) == 4
    assert len(Setting(asked(trials=60, search="random")).run()) == 6


def test_the_best_get_more_seeds_by_successive_halving() -> None:
    setting = Setting(asked(seeds=4, finalists=4))
    params = setting.run()
    assert by_point(params[:6]) == by_point(EVERY)
    assert by_point(params[6:10]) == [(256, 1, 1), (256, 2, 1), (512, 1, 1), (512, 2, 1)]
    assert by_point(params[10:]) == [(512, 1, 2), (512, 1, 3), (512, 2, 2), (512, 2, 3)]
    assert sum(setting.grown) == 8
    assert [trial.phase for trial in setting.trials.values()].count("repeat") == 8


def test_no_finalist_is_known_before_the_last_of_the_search_has_ended() -> None:
    setting = Setting(asked(trials=3, seeds=2, finalists=2))
    running = [setting.begin() for _ in range(3)]
    assert None not in running and setting.begin() is None and not setting.wishes.done
    for candidate in running[:2]:
        assert candidate is not None
        setting.end(candidate)
    assert setting.begin() is None and not setting.wishes.done and not setting.grown
    assert running[2] is not None
    setting.end(running[2])
    repeat = setting.begin()
    assert repeat is not None and (repeat.phase, repeat.params["seed"]) == ("repeat", 1)
    assert setting.grown == [2]


def test_trials_that_failed_or_were_stopped_are_no_finalists() -> None:
    setting = Setting(asked(trials=6, seeds=2, finalists=6))
    for status in ("failed", "stopped", "finished", "failed", "stopped", "finished"):
        candidate = setting.begin()
        assert candidate is not None
        setting.end(candidate, status)
    assert len(setting.run()) == 2


def test_the_search_learns_what_its_points_came_to() -> None:
    """Told that large codebooks are good, it proposes larger ones than chance would."""
    axes = (Axis("codes", "int", 128, 1024),)
    setting = Setting(asked(axes=axes, trials=40, search="tpe"))
    codes = []
    while (candidate := setting.begin()) is not None:
        codes.append(candidate.params["codes"])
        setting.end(candidate, mpjpe_cm=6 - codes[-1] / 1000)
    late = codes[20:]
    assert sum(value > 800 for value in late) > 12  # of 20; one in four by chance


def test_a_trial_without_a_figure_of_every_objective_says_nothing() -> None:
    objectives = (OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"])
    setting = Setting(asked(objectives=objectives, search="tpe"))
    candidate = setting.begin()
    assert candidate is not None
    setting.end(candidate)  # it has no contact_f1
    points = setting.wishes._points
    assert points is not None and not points._ended and not points._running


# ---- another run of the same command


def test_what_ended_is_not_given_again_and_what_was_cut_off_comes_first() -> None:
    trials = [
        record(EVERY[0]),
        record(EVERY[1], "stopped"),
        record(EVERY[2], "failed"),
        record(EVERY[4], "unfinished"),
    ]
    params = Setting(asked(), trials).run()
    assert params[0] == EVERY[4]
    assert by_point(params) == by_point([EVERY[3], EVERY[4], EVERY[5]])


def test_failed_trials_are_tried_again_where_that_is_asked_for() -> None:
    trials = [record(p, "failed" if p == EVERY[2] else "finished") for p in EVERY]
    assert Setting(asked(), trials).wishes.done
    assert Setting(asked(), trials, retry_failed=True).run() == [EVERY[2]]


def test_a_run_that_ended_among_the_repeats_goes_on_there() -> None:
    repeats = [
        record(point(512, 1, 1), phase="repeat"),
        record(point(512, 2, 1), "unfinished", "repeat"),
        record(point(256, 1, 1), "failed", "repeat"),
    ]
    setting = Setting(asked(seeds=2, finalists=4), [*map(record, EVERY), *repeats])
    assert setting.run() == [point(512, 2, 1), point(256, 2, 1)]


def test_with_nothing_left_it_is_done_at_once() -> None:
    setting = Setting(asked(), list(map(record, EVERY)))
    assert setting.wishes.done and setting.begin() is None


def test_more_trials_or_seeds_than_before_are_only_the_difference() -> None:
    trials = [record(p) for p in EVERY[:4]]
    assert by_point(Setting(asked(trials=6), trials).run()) == by_point(EVERY[4:])
    assert len(Setting(asked(trials=4, seeds=2, finalists=2), trials).run()) == 2


@pytest.mark.parametrize("left", [0, 2])
def test_a_trial_with_less_memory_that_was_cut_off_goes_on(left: int) -> None:
    """Its point was given before, by the trial that had no memory; no new one must be lost or trained for it."""
    half = point(128, 1, batch=16)
    trials = [record(EVERY[0], "failed"), record(half, "unfinished"), *map(record, EVERY[1 : 6 - left])]
    params = Setting(asked(), trials).run()
    assert params.count(half) == 1
    assert by_point([p for p in params if p != half]) == by_point(EVERY[6 - left :])


def test_what_less_memory_made_good_is_not_tried_again() -> None:
    half = point(128, 1, batch=16)
    trials = [record(EVERY[0], "failed"), record(half), *map(record, EVERY[1:5])]
    assert Setting(asked(), trials, retry_failed=True).run() == [EVERY[5]]


def test_earlier_sweeps_are_known_to_the_search() -> None:
    hints = [({"codes": codes, "decoder_depth": 1}, (6 - codes / 1000,)) for codes in (128, 256, 512)]
    setting = Setting(asked(search="tpe", trials=4), hints=hints)
    assert setting.wishes._points is not None and len(setting.wishes._points._hints) == 3
    assert len(setting.run()) == 4
