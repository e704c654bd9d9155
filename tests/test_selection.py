"""Who is ahead, and who deserves further seeds: a pure function of the records, that a resumed sweep repeats."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sweeps.ledger import TrialRecord
from sweeps.selection import Configuration, compared, finalists, next_seeds, rank


def trial(
    codes: int, seed: int, mpjpe_cm: float, status: str = "finished", first_seed: int = 0, **more: Any
) -> TrialRecord:
    params = {"codes": codes, "decoder_depth": 1, **more, "seed": seed}
    phase = "search" if seed == first_seed else "repeat"
    metrics = {"mpjpe_cm": mpjpe_cm} if status in ("finished", "stopped") else {}
    return TrialRecord(str(params), "objects", phase, params, status=status, metrics=metrics)  # type: ignore[arg-type]


def asked(trials: list[TrialRecord], **changes: int) -> list[tuple[int, int]]:
    """What is to be trained now: (codes, seed)."""
    wanted = next_seeds(trials, **{"seeds": 4, "finalists": 4, "first_seed": 0, **changes})
    return sorted((params["codes"], params["seed"]) for params in wanted)


SEARCH = [trial(codes, 0, 5 + codes / 1000) for codes in (100, 200, 300, 400, 500)]


def test_the_mean_over_seeds_wins_over_one_lucky_draw() -> None:
    trials = [
        trial(128, 0, 4.0),
        trial(128, 1, 6.0),
        trial(256, 0, 4.5),
        trial(256, 1, 4.7),
        trial(512, 0, 3.0, "stopped"),
        trial(600, 0, 0.0, "failed"),
        trial(1024, 0, 4.4),
    ]
    ranked = rank(trials)
    assert [c.params["codes"] for c in ranked] == [256, 128, 1024]
    assert ranked[0].mpjpe_cm == pytest.approx(4.6)
    assert ranked[0].spread_cm == pytest.approx(0.1 * 2**0.5) and ranked[2].spread_cm == 0
    assert [t.params["seed"] for t in ranked[0].trials] == [0, 1]
    assert [c.params["codes"] for c in finalists(trials, 2)] == [128, 1024]  # of the search alone
    assert [c.params["codes"] for c in compared(trials, 4)] == [256, 128]
    assert [c.params["codes"] for c in compared(trials[:1], 4)] == [128]
    assert compared([], 4) == [] and len(compared(SEARCH, 4)) == 4


def test_trials_that_differ_in_any_field_but_the_seed_are_different_configurations() -> None:
    trials = [
        trial(128, 0, 4.0, dropout=0.1),
        trial(128, 1, 4.2, dropout=0.1),
        trial(128, 1, 3.0, dropout=0.2),
    ]
    assert [c.params for c in rank(trials)] == [
        {"codes": 128, "decoder_depth": 1, "dropout": 0.1},
        {"codes": 128, "decoder_depth": 1, "dropout": 0.2},
    ]
    # Whatever the order of the fields, which the ledger does not keep.
    turned = trial(128, 2, 4.0, dropout=0.1)
    turned.params = dict(reversed(turned.params.items()))
    assert len(rank([*trials, turned])) == 2
    assert rank(trials)[0].key == Configuration((turned,)).key


def test_a_configuration_is_named_in_plain_words() -> None:
    named = Configuration((trial(128, 0, 4.0, learning_rate=0.0012345678, norm=True),))
    assert named.name == "128 codes, depth 1, learning rate 0.001235, norm True"


def test_equal_figures_have_one_order_whatever_that_of_the_records() -> None:
    trials = [trial(codes, 0, 5.0) for codes in (300, 100, 200)]
    assert [c.key for c in rank(trials)] == [c.key for c in rank(trials[::-1])]


def test_seeds_are_spent_by_successive_halving() -> None:
    trials = list(SEARCH)
    assert asked(trials) == [(100, 1), (200, 1), (300, 1), (400, 1)]
    # With its second seed 400 is ahead of all, and 100 falls behind.
    trials += [trial(400, 1, 4.0), trial(300, 1, 5.3)]
    assert asked(trials) == [(100, 1), (200, 1)]  # what is not yet there, before anything is halved
    trials += [trial(100, 1, 6.0), trial(200, 1, 5.2)]
    assert asked(trials) == [(200, 2), (200, 3), (400, 2), (400, 3)]
    trials += [trial(c, s, 5.0) for c, s in asked(trials)]
    assert asked(trials) == []
    # Two always stay, to be compared, and no seed is beyond what was asked for.
    assert asked(trials, seeds=7) == [(c, s) for c in (200, 400) for s in (4, 5, 6)]
    assert len(next_seeds(trials, seeds=7, finalists=4, first_seed=0)[0]) == 3


def test_one_seed_asks_for_nothing_and_few_finalists_for_all_their_seeds() -> None:
    assert asked(SEARCH, seeds=1) == []
    assert asked(SEARCH, finalists=1, seeds=2) == [(100, 1)]
    assert asked(SEARCH[:1], seeds=2) == [(100, 1)]
    assert asked([trial(100, 0, 5.0, "stopped")]) == [] and asked([]) == []
    assert asked([trial(100, 7, 5.0, first_seed=7)], first_seed=7, seeds=2) == [(100, 8)]


def test_a_repeat_under_way_is_waited_for_and_a_failed_one_is_not_asked_for_again() -> None:
    trials = [*SEARCH, *(trial(codes, 1, 5.0) for codes in (100, 200, 300))]
    assert asked([*trials, trial(400, 1, 5.0, "unfinished")]) == []
    # A mean of two is not compared with one draw: who lost its repeat comes after those who did not.
    failed = [*trials, trial(400, 1, 0.0, "failed")]
    assert asked(failed) == [(100, 2), (100, 3), (200, 2), (200, 3)]
    every = [*SEARCH, *(trial(codes, 1, 0.0, "failed") for codes in (100, 200, 300, 400))]
    assert asked(every) == [(100, 2), (100, 3), (200, 2), (200, 3)]
    assert asked([*every, *(trial(c, s, 0.0, "failed") for c, s in asked(every))]) == []


def repeats_in_all(seeds: int, standing: int) -> int:
    """How many repeats of that many finalists halving comes to, counted rung by rung."""
    count, trained = 0, 1
    while trained < seeds:
        more = min(2 * trained, seeds) - trained
        count, trained = count + more * standing, trained + more
        standing = min(standing, max(2, (standing + 1) // 2))
    return count


@pytest.mark.parametrize(
    ("seeds", "count"), [(1, 4), (2, 4), (3, 4), (4, 4), (8, 9), (5, 1), (3, 2), (16, 16)]
)
def test_a_resumed_sweep_goes_on_as_it_would_have(seeds: int, count: int) -> None:
    """Repeats end in any order, some fail, and the driver is killed now and then: nothing is asked for twice."""
    for attempt in range(20):
        rng = random.Random(attempt)
        trials = [trial(i, 0, rng.random()) for i in range(20)]
        asked_for: set[tuple[int, int]] = set()
        begun: list[TrialRecord] = []
        while True:
            rng.shuffle(trials)
            wanted = next_seeds(trials, seeds=seeds, finalists=count, first_seed=0)
            points = [(params["codes"], params["seed"]) for params in wanted]
            assert len(set(points)) == len(points) and not set(points) & asked_for
            asked_for |= set(points)
            begun += [trial(codes, seed, 1.0, "unfinished") for codes, seed in points]
            trials += begun[len(begun) - len(points) :]
            if not begun:
                break
            ending = begun.pop(rng.randrange(len(begun)))
            ending.status = "failed" if rng.random() < 0.1 else "finished"
            ending.metrics = {"mpjpe_cm": rng.random()}
        assert len(asked_for) == repeats_in_all(seeds, count)
        best = {c.params["codes"] for c in finalists(trials, count)}
        assert {codes for codes, _ in asked_for} == (best if seeds > 1 else set())
