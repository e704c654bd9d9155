"""The desk of a warm group: who is given which trial, and how reports go out and answers come back."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("ray.tune")

from desk_by_hand import SETTINGS, Cluster, reported, run, soon, spec, still_waits


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_a_trial_goes_to_the_workers_and_its_reports_come_back(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            assert (await cluster.workers(1)).settings == {"name": "slot-0-1", **SETTINGS}
            assert await soon(group.take("worker", "")) == spec("a")
            answer = await reported(group, "a", {"epoch": 1})
            assert await still_waits(answer), "nobody has said that it shall go on"
            asking = asyncio.create_task(group.next("a"))
            assert await soon(answer) == "go" and await still_waits(asking)
            answer = asyncio.create_task(group.report("a", {"epoch": 2}))
            assert await soon(asking) == {"epoch": 2}
            asking = asyncio.create_task(group.next("a"))
            assert await soon(answer) == "go"
            await group.finished("a", None)
            assert await soon(asking) == {"outcome": {}}

    run(test())


def test_workers_stay_for_the_next_trial(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            assert await soon(group.take("worker", "")) == spec("a")
            await group.finished("a", {"failure": "ValueError: no", "kind": "error"})
            assert await soon(group.next("a")) == {"outcome": {"failure": "ValueError: no", "kind": "error"}}
            taking = asyncio.create_task(group.take("worker", "a-1"))
            assert await still_waits(taking)
            await group.train(spec("b"))
            assert await soon(taking) == spec("b")
            assert len(cluster.runs) == 1

    run(test())


def test_all_ranks_are_given_the_same_trials(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            assert await soon(group.take("rank 0", "")) == await soon(group.take("rank 1", "")) == spec("a")
            # Rank 1 is through with it before rank 0 has said so.
            second = asyncio.create_task(group.take("rank 1", "a-1"))
            assert await still_waits(second)
            await group.finished("a", None)
            await group.train(spec("b"))
            assert await soon(group.take("rank 0", "a-1")) == await soon(second) == spec("b")

    run(test())


@pytest.mark.parametrize("how", ["stop", "park"])
def test_a_trial_that_waits_for_an_answer_is_told_to_end(cluster: Cluster, how: str) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            answer = await reported(group, "a", {"epoch": 1})
            await group.end("a", how)
            assert await soon(answer) == how
            # Its slot has been given to the next one while its workers were still at it.
            await group.train(spec("b"))
            await group.finished("a", None)
            assert await soon(group.take("worker", "a-1")) == spec("b")

    run(test())


def test_a_trial_in_the_middle_of_an_epoch_ends_at_its_report(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            await group.end("a", "park")
            assert await soon(group.report("a", {"epoch": 1})) == "park"

    run(test())


def test_a_trial_that_no_worker_has_taken_ends_at_once(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await group.end("a", "park")
            assert await soon(group.next("a")) == {"outcome": {}}
            taking = asyncio.create_task(group.take("worker", ""))
            assert await still_waits(taking)
            await group.train(spec("b"))
            assert await soon(taking) == spec("b")

    run(test())


def test_whoever_takes_a_trial_over_is_told_what_nobody_has_gone_on_from(cluster: Cluster) -> None:
    """Tune's side of it was lost and started again; the workers noticed nothing."""

    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            answer = await reported(group, "a", {"epoch": 1})
            await group.train(spec("a"))
            assert await soon(group.next("a")) == {"epoch": 1} and await still_waits(answer)
            asking = asyncio.create_task(group.next("a"))
            assert await soon(answer) == "go"
            await group.finished("a", None)
            assert await soon(asking) == {"outcome": {}}
            assert not group._queue, "it would be trained twice"

    run(test())


def test_a_trial_whose_slot_was_given_to_another_is_parked(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            answer = asyncio.create_task(group.report("a", {"epoch": 1}))
            assert await still_waits(answer)
            await group.train(spec("b"))
            assert await soon(answer) == "park"

    run(test())
