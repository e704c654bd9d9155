"""Looks of the gate: each candidate has its own place, and many tries let none through by luck."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from zoo_bundles import write_bundle

import zoo
from tests.simulated_gate import World, any_promoted, power
from zoo import gate_looks
from zoo.errors import GateRefused, UnknownModel
from zoo.gate import ALPHA
from zoo.store import Store

OBJECTS = "latentact-world-objects"


@pytest.fixture(autouse=True)
def _no_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_of_30_candidates_that_are_no_better_none_comes_through_by_luck() -> None:
    """300 champions on 12 held-out groups: without the correction far too many would lose their place."""
    trials, world = 300, World()
    uncorrected = any_promoted(world, candidates=30, trials=trials, seed=1, corrected=False)
    corrected = any_promoted(world, candidates=30, trials=trials, seed=1, corrected=True)
    margin = 2 * (ALPHA * (1 - ALPHA) / trials) ** 0.5
    assert corrected < ALPHA + margin
    assert uncorrected > 2 * ALPHA + margin


def test_what_is_better_is_seen() -> None:
    """5 % better, 12 groups, models that differ by luck by about 2 % a group."""
    world = World(group_cm=0.05, clip_cm=0.10)
    assert power(world, better=0.05, look=1, trials=100, seed=2) > 0.95
    assert power(world, better=0.05, look=10, trials=100, seed=2) > 0.5
    assert power(world, better=0.0, look=1, trials=100, seed=2) < 0.05


def test_a_place_is_given_once_and_found_again(store: Store) -> None:
    assert [gate_looks.count(store, OBJECTS, "a" * 64, c * 64) for c in "bcbdc"] == [1, 2, 1, 3, 2]
    assert gate_looks.count(store, OBJECTS, "e" * 64, "b" * 64) == 1  # another champion, another count


def test_candidates_that_come_at_once_have_places_of_their_own(store: Store) -> None:
    digests = [f"{i:064x}" for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda d: gate_looks.count(store, OBJECTS, "a" * 64, d), digests * 2))
    assert sorted(places[:8]) == list(range(1, 9)) and places[8:] == places[:8]


def test_every_look_is_on_record_also_those_that_were_refused(store: Store, tmp_path: Path) -> None:
    digests = []
    for seed, error_cm in enumerate([3.0, 3.1, 3.2, 2.5]):
        folder = write_bundle(tmp_path / str(seed), seed=seed, errors_cm=[error_cm] * 6)
        digests.append(zoo.publish(OBJECTS, folder, store=store).digest)
    zoo.promote(OBJECTS, 1, store=store)
    for version in (2, 3, 2):
        with pytest.raises(GateRefused, match="not shown to be better") as refusal:
            zoo.promote(OBJECTS, version, store=store)
        assert refusal.value.verdict is not None and refusal.value.verdict["look"] == version - 1
    kept = zoo.looks(OBJECTS, store=store)
    assert [(look["look"], look["number"]) for look in kept] == [(1, 2), (2, 3)]
    promotion = zoo.promote(OBJECTS, 4, store=store)
    assert promotion.verdict is not None and promotion.verdict["look"] == 3
    assert promotion.verdict["confidence"] == pytest.approx(1 - 2 * ALPHA / 12)
    assert zoo.looks(OBJECTS, store=store) == []  # nobody was compared with the new holder yet
    zoo.rollback(OBJECTS, reason="back", store=store)
    kept = zoo.looks(OBJECTS, store=store)
    assert [(look["look"], look["candidate"], look["verdict"]["passed"]) for look in kept] == [
        (1, digests[1], False), (2, digests[2], False), (3, digests[3], True)
    ]  # fmt: skip
    with pytest.raises(UnknownModel, match="has no alias 'staging'"):
        zoo.looks(OBJECTS, "staging", store=store)


def test_a_comparison_that_dies_keeps_its_place(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, and killed before the verdict was written: the next time it is the same look, and on record."""
    _, second = (
        zoo.publish(OBJECTS, write_bundle(tmp_path / str(s), seed=s, errors_cm=[3.0] * 6), store=store).digest
        for s in (0, 1)
    )
    zoo.promote(OBJECTS, 1, store=store)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gate_looks, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.promote(OBJECTS, 2, store=store)
    (look,) = zoo.looks(OBJECTS, store=store)
    assert look["candidate"] == second and "verdict" not in look
    with pytest.raises(GateRefused, match="look 1 at this champion"):
        zoo.promote(OBJECTS, 2, store=store)
    (look,) = zoo.looks(OBJECTS, store=store)
    assert look["verdict"]["look"] == 1


def test_what_cannot_be_compared_is_no_look(store: Store, tmp_path: Path) -> None:
    zoo.publish(OBJECTS, write_bundle(tmp_path / "a"), store=store)
    zoo.publish(OBJECTS, write_bundle(tmp_path / "b", seed=1, window=15), store=store)
    zoo.promote(OBJECTS, 1, store=store)
    with pytest.raises(GateRefused, match="window is 15"):
        zoo.promote(OBJECTS, 2, store=store)
    assert zoo.looks(OBJECTS, store=store) == []
