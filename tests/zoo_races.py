"""Rounds in which many processes publish and promote at once, while another one collects garbage.

In each round all publish, some the same bytes: what a dead publisher left of these lies there already, and the
collector is after it. Then all have seen the same state of the alias `duel` and each moves it once: exactly one may
win. Last, all promote their version to champion, as users do.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.zoo_bundles import write_bundle
from tests.zoo_inspector import Inspector
from zoo import alias_log, bundle, collecting, layout, promotion, publishing
from zoo.errors import Conflict
from zoo.store import Store, open_store, to_json

PATIENCE_S = 120.0
GRACE_S = 3600.0
LONG_AGO = "2020-01-01T00:00:00.000+00:00"
ROUNDS_A_NAME = 25
PROMOTION_ATTEMPTS = 2  # else most of the time goes into the patience of those who lose


@dataclass
class Figures:
    """What a race came to."""

    rounds: int = 0
    versions: int = 0
    moves: int = 0  # of the champion
    lost: int = 0  # promotions that gave up, told so
    collected: Counter[str] = field(default_factory=Counter)  # states of the collector's items
    seconds: list[float] = field(default_factory=list)  # each round's


def bundle_seed(round_: int, rank: int, processes: int) -> int:
    """Half of the processes publish the same bytes, the others in pairs."""
    return round_ * processes + (0 if rank < processes // 2 else 1 + rank // 2)


def race(
    store: Store,
    folder: Path,
    *,
    rounds: int,
    processes: int = 16,
    said: Callable[[str], None] = lambda line: None,
) -> Figures:
    """Run the rounds, asserting after each that nothing was lost."""
    figures, inspector = Figures(), Inspector(store)
    with _contestants(store.url, folder, processes) as pipes, _collector(store.url) as states:
        for round_ in range(rounds):
            name = f"latentact-race{round_ // ROUNDS_A_NAME}-objects"
            before = len(layout.numbers(store, name))
            _leave_remains(store, name, _bundle(folder / "remains", name, bundle_seed(round_, 0, processes)))
            time.sleep(random.uniform(0, 1))  # the collector comes before, during or after
            began = time.monotonic()
            for pipe in pipes:
                pipe.send((round_, name))
            answers = [pipe.recv() for pipe in pipes]
            figures.seconds.append(time.monotonic() - began)
            assert not (failed := [a for a in answers if isinstance(a, str)]), failed[0]
            _check_round(inspector, name, before, answers)
            figures.rounds += 1
            figures.lost += sum(answer["lost"] for answer in answers)
            if (round_ + 1) % 10 == 0:
                said(f"{round_ + 1} rounds, the last in {figures.seconds[-1]:.1f} s")
    figures.collected.update(states)
    inspector.forget()
    for name in layout.names(store):
        figures.versions += len(inspector.look(name))
        figures.moves += len(inspector.history(name, "champion"))
    return figures


def _check_round(inspector: Inspector, name: str, before: int, answers: list[dict[str, Any]]) -> None:
    digests = {answer["digest"] for answer in answers}
    pairs = {(answer["digest"], answer["version"]) for answer in answers}
    assert len(pairs) == len(digests), f"a digest got two numbers: {pairs}"
    assert {version for _, version in pairs} == set(range(before + 1, before + len(digests) + 1)), "a gap"
    records = inspector.look(name)
    assert len(records) == before + len(digests), "a version was lost"
    assert all(records[answer["version"]]["digest"] == answer["digest"] for answer in answers)

    duels = inspector.history(name, "duel")
    winners = [answer for answer in answers if answer["won"]]
    assert len(winners) == 1, f"{len(winners)} won a duel"
    assert (duels[-1]["number"], duels[-1]["sequence"]) == (winners[0]["version"], answers[0]["seen"] + 1)

    champions = inspector.history(name, "champion")
    assert [state["sequence"] for state in champions] == list(range(1, len(champions) + 1))
    for earlier, later in itertools.pairwise(champions):
        assert later["previous"]["number"] == earlier["number"], "a move that did not see the one before it"
    claimed = [answer["sequence"] for answer in answers if answer["sequence"]]
    assert len(set(claimed)) == len(claimed), "two promotions won the same state"
    assert all(champions[a["sequence"] - 1]["number"] == a["version"] for a in answers if a["sequence"])
    old = len(champions) - len(claimed)
    assert sorted(claimed) == list(range(old + 1, len(champions) + 1)), "a move is missing in the log"


def _leave_remains(store: Store, name: str, folder: Path) -> None:
    """What a publisher that died long ago left: some files, and its hold."""
    digest = bundle.make_manifest(folder).digest
    store.put(layout.hold_key(name, digest, "dead"), to_json({"at": LONG_AGO, "nonce": "dead"}))
    store.put(f"{layout.version_folder(name, digest)}/config.json", folder / "config.json")


def _bundle(folder: Path, name: str, seed: int) -> Path:
    top = folder / str(seed)
    return top if top.exists() else write_bundle(top, seed=seed, data=name.split("-")[1])


@contextmanager
def _contestants(url: str, folder: Path, processes: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    pipes, children = [], []
    for rank in range(processes):
        ours, theirs = context.Pipe()
        args = (url, folder / str(rank), rank, processes, barrier, theirs)
        children.append(context.Process(target=_contest, args=args, daemon=True))
        pipes.append(ours)
        children[-1].start()
    try:
        yield pipes
        for pipe in pipes:
            pipe.send(None)
    finally:
        for child in children:
            child.join(10)
            child.kill()


def _contest(url: str, folder: Path, rank: int, processes: int, barrier: Any, pipe: Connection) -> None:
    store, promotion.ATTEMPTS = open_store(url), PROMOTION_ATTEMPTS
    while (job := pipe.recv()) is not None:
        round_, name = job
        try:
            top = _bundle(folder, name, bundle_seed(round_, rank, processes))
            pipe.send(_play(store, name, top, barrier))
        except BaseException:  # noqa: BLE001 (told to the test)
            barrier.abort()
            pipe.send(traceback.format_exc())


def _play(store: Store, name: str, folder: Path, barrier: Any) -> dict[str, Any]:
    barrier.wait(PATIENCE_S)
    published = publishing.publish(name, folder, store=store)
    barrier.wait(PATIENCE_S)
    seen = alias_log.present(store, name, "duel")
    barrier.wait(PATIENCE_S)
    answer = {
        "version": published.version, "digest": published.digest, "won": True, "lost": False, "sequence": None,
        "seen": seen[1]["sequence"] if seen[1] else 0,
    }  # fmt: skip
    try:
        alias_log.move(
            store, name, "duel", seen=seen, number=published.version, digest=published.digest, how="forced", reason="a duel",
        )  # fmt: skip
    except Conflict:
        answer["won"] = False
    try:
        promoted = promotion.promote(name, published.version, force="a race", store=store)
        answer["sequence"] = promoted.sequence if promoted.moved else None
    except Conflict:
        answer["lost"] = True
    return answer


@contextmanager
def _collector(url: str) -> Iterator[Counter[str]]:
    """A process that collects garbage all the time; what it did is known when the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_collect, args=(url, theirs), daemon=True)
    child.start()
    states: Counter[str] = Counter()
    try:
        yield states
    finally:
        ours.send(None)
        answer = ours.recv() if ours.poll(PATIENCE_S) else "the collector does not answer"
        child.join(10)
        child.kill()
    assert not isinstance(answer, str), answer
    states.update(answer)


def _collect(url: str, pipe: Connection) -> None:
    store, states = open_store(url), Counter[str]()
    try:
        while not pipe.poll(0.2):
            for item in collecting.gc(delete=True, grace_s=GRACE_S, store=store):
                states[f"{item.kind}: {item.state}"] += 1
        pipe.send(states)
    except BaseException:  # noqa: BLE001 (told to the test)
        pipe.send(traceback.format_exc())
