"""What a search learns of earlier sweeps, on a real ledger: what fits, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.space import OBJECTIVES, Axis
from sweeps.warm_start import HINTS, hints
from tests.kept_sweeps import put
from zoo.store import Store, open_store

SPACE = (
    Axis("codes", "int", 64, 1024, log=True),
    Axis("decoder_depth", "choice", choices=(1, 2, 4)),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/zoo")


def plan(name: str, **changes: Any) -> SweepPlan:
    settings: dict[str, Any] = {
        "data": "",
        "data_name": "world",
        "data_digest": "d1" * 32,
        "settings": ("objects",),
        "axes": SPACE,
        "trials": 8,
        "epochs": 6,
        "seeds": 1,
        "seed": 0,
        "workers": "1",
        "protocol": "first",
        "environment": (("code", "new"),),
    }
    return SweepPlan(name=name, **(settings | changes))


def sweep(store: Store, planned: SweepPlan, *trials: tuple[dict[str, Any], float], **changes: Any) -> None:
    """Another sweep as the ledger keeps it, with trials that ended one after another with these errors."""
    records = []
    for number, (params, mpjpe_cm) in enumerate(trials):
        record = TrialRecord(
            identity=f"{planned.name}{number}",
            setting=planned.settings[0],
            phase="search",
            params={"seed": 0, **params},
            attempts=1,
            status="finished",
            epochs=planned.epochs,
            metrics={"mpjpe_cm": mpjpe_cm, "contact_f1": mpjpe_cm / 10},
            ended_s=1_790_000_000.0 + number,
        )
        for field, value in changes.items():
            setattr(record, field, value)
        records.append(record)
    put(store, planned.name, *records, plan=planned.record())


GOOD = ({"codes": 256, "decoder_depth": 2}, 4.5)


def test_an_empty_store_gives_no_hint(store: Store) -> None:
    assert hints(store, plan("now"), "objects") == []


def test_trials_of_another_sweep_are_hints_whatever_their_code(store: Store) -> None:
    sweep(store, plan("old", environment=(("code", "old"),), workers="2", trials=99), GOOD)
    assert hints(store, plan("now"), "objects") == [(GOOD[0], (4.5,))]


def test_a_sweep_is_no_hint_to_itself(store: Store) -> None:
    sweep(store, plan("now"), GOOD)
    assert hints(store, plan("now"), "objects") == []


@pytest.mark.parametrize(
    "other",
    [
        {"data_digest": "d2" * 32},
        {"settings": ("actions",)},
        {"epochs": 7},
        {"protocol": "goal"},
        {"fixed": (("mode", "interpolate"),)},
        {"fixed": (("width", 128),)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_asks_another_question_is_no_hint(store: Store, other: dict[str, Any]) -> None:
    sweep(store, plan("old", **other), GOOD)
    sweep(store, plan("fits"), ({"codes": 100, "decoder_depth": 1}, 6.0))
    assert hints(store, plan("now"), "objects") == [({"codes": 100, "decoder_depth": 1}, (6.0,))]


def test_a_field_that_both_fix_alike_is_the_same_question(store: Store) -> None:
    fixed = (("width", 128),)
    sweep(store, plan("old", fixed=fixed), GOOD)
    assert len(hints(store, plan("now", fixed=fixed), "objects")) == 1


@pytest.mark.parametrize("status", ["stopped", "failed", "unfinished"])
def test_what_was_not_finished_is_no_hint(store: Store, status: str) -> None:
    sweep(store, plan("old"), GOOD, status=status)
    assert hints(store, plan("now"), "objects") == []


def test_points_outside_the_space_are_left_out(store: Store) -> None:
    wide = (Axis("codes", "int", 1, 9999), Axis("decoder_depth", "int", 1, 9))
    sweep(
        store,
        plan("old", axes=wide),
        GOOD,
        ({"codes": 2048, "decoder_depth": 2}, 4.0),
        ({"codes": 256, "decoder_depth": 3}, 4.0),
    )
    assert hints(store, plan("now"), "objects") == [(GOOD[0], (4.5,))]


def test_what_one_sweep_fixed_or_left_alone_another_may_search(store: Store) -> None:
    """The depth was fixed by one and the default's by the other; both lie within the space."""
    codes = (SPACE[0],)
    sweep(store, plan("fixed", axes=codes, fixed=(("decoder_depth", 4),)), ({"codes": 128}, 5.0))
    sweep(store, plan("left", axes=codes), ({"codes": 512}, 5.5))
    found = hints(store, plan("now"), "objects")
    assert sorted(params["decoder_depth"] for params, _ in found) == [1, 4]


def test_what_another_sweep_searched_counts_where_it_equals_what_is_fixed_now(store: Store) -> None:
    sweep(store, plan("old"), GOOD, ({"codes": 128, "decoder_depth": 4}, 5.0))
    now = plan("now", axes=(SPACE[0],), fixed=(("decoder_depth", 2),))
    assert hints(store, now, "objects") == [({"codes": 256}, (4.5,))]


def test_seeds_of_one_point_are_one_hint(store: Store) -> None:
    point = GOOD[0]
    sweep(store, plan("old"), GOOD, ({**point, "seed": 1}, 5.5), ({"codes": 64, "decoder_depth": 1}, 9.0))
    sweep(store, plan("older"), ({**point, "seed": 2}, 6.5))
    found = {tuple(params.values()): values for params, values in hints(store, plan("now"), "objects")}
    assert found == {(256, 2): (5.5,), (64, 1): (9.0,)}


def test_a_trial_that_two_sweeps_share_counts_once(store: Store) -> None:
    sweep(store, plan("old"), GOOD, identity="shared")
    sweep(store, plan("older"), GOOD, identity="shared")
    sweep(store, plan("third"), ({**GOOD[0], "seed": 1}, 7.5))
    assert hints(store, plan("now"), "objects") == [(GOOD[0], (6.0,))]


def test_a_hint_has_every_objective_and_a_trial_without_one_is_left_out(store: Store) -> None:
    two = (OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"])
    sweep(store, plan("old"), GOOD)
    sweep(store, plan("without"), ({"codes": 64, "decoder_depth": 1}, 9.0), metrics={"mpjpe_cm": 9.0})
    assert hints(store, plan("now", objectives=two), "objects") == [(GOOD[0], (4.5, 0.45))]


def test_of_many_the_best_and_the_latest_are_kept(store: Store) -> None:
    trials = [({"codes": 64 + n, "decoder_depth": 1}, 5.0 + abs(n - 40) / 100) for n in range(HINTS + 50)]
    sweep(store, plan("old"), *trials)
    found = hints(store, plan("now"), "objects")
    codes = [params["codes"] for params, _ in found]
    assert len(found) == HINTS
    assert 64 + 40 in codes  # the best
    assert codes[-1] == 64 + HINTS + 49  # the latest
    assert 64 + 149 not in codes  # neither


def test_hints_are_points_that_a_search_takes(store: Store) -> None:
    pytest.importorskip("ray.tune")
    from sweeps.point_search import PointSearch

    sweep(
        store,
        plan("old"),
        GOOD,
        ({"codes": 128, "decoder_depth": 4}, 5.0),
        ({"codes": 64, "decoder_depth": 1}, 9.0),
    )
    now = plan("now")
    searcher = PointSearch(
        now.axes,
        method="tpe",
        objectives=now.objectives,
        seed=0,
        trials=3,
        parallel=1,
        known=[],
        unfinished=[],
        hints=hints(store, now, "objects"),
    )
    assert searcher._study.best_value == 4.5
    assert set(searcher.suggest("a")) == {"codes", "decoder_depth"}
