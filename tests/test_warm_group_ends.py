"""What becomes of a group's trials when its workers have nothing to do, die, or do not get on."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("ray.tune")

from desk_by_hand import Cluster, reported, run, soon, spec, still_waits, until


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_workers_that_get_no_trial_for_a_while_give_their_place_back(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group(idle_s=0.05) as group:
            await group.train(spec("a"))
            await soon(group.take("rank 0", ""))
            await group.finished("a", None)
            assert await soon(group.take("rank 0", "a-1")) is None
            # A trial that comes between the ends of two ranks is for the workers after them.
            await group.train(spec("b"))
            assert await soon(group.take("rank 1", "a-1")) is None
            assert len(cluster.runs) == 1
            cluster.runs[0].end()
            assert (await cluster.workers(2)).settings["name"] == "slot-0-2"
            assert await soon(group.take("rank 0", "")) == spec("b")

    run(test())


def test_a_closed_group_ends_and_is_started_again_by_the_next_trial(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            await group.finished("a", None)
            taking = asyncio.create_task(group.take("worker", "a-1"))
            assert await still_waits(taking)
            await group.close()
            assert await soon(taking) is None
            cluster.runs[0].end()
            await until(lambda: not group._running)
            assert len(cluster.runs) == 1
            await group.train(spec("b"))
            await cluster.workers(2)
            assert await soon(group.take("worker", "")) == spec("b")

    run(test())


def test_a_trial_whose_workers_died_is_begun_again_once(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            for attempt in (1, 2):
                assert await soon(group.take(f"worker {attempt}", "")) == spec("a")
                answer = await reported(group, "a", {"attempt": attempt})
                asking = asyncio.create_task(group.next("a"))
                assert await soon(answer) == "go"
                await group.died("RuntimeError: the node is gone")
                assert await still_waits(asking) == (attempt == 1)
                asking.cancel()
            failure = "its workers died 2 times; last: RuntimeError: the node is gone"
            assert await soon(group.next("a")) == {"outcome": {"failure": failure, "kind": "error"}}
            # The next trial has as many tries of its own.
            await group.train(spec("b"))
            assert await soon(group.take("worker 3", "")) == spec("b")
            await group.died("RuntimeError: the node is gone")
            assert await soon(group.take("worker 4", "")) == spec("b")
            assert len(cluster.runs) == 1, "Ray Train itself starts the workers again"

    run(test())


def test_the_first_report_of_new_workers_replaces_what_the_dead_ones_said(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker 1", ""))
            dead = asyncio.create_task(group.report("a", {"epoch": 5}))
            assert await still_waits(dead)
            await group.died("RuntimeError: the node is gone")
            await soon(group.take("worker 2", ""))
            answer = asyncio.create_task(group.report("a", {"epoch": 4}))
            await soon(dead)
            assert await soon(group.next("a")) == {"epoch": 4} and await still_waits(answer)

    run(test())


def test_workers_killed_for_memory_are_not_tried_again_alike(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            await group.died("OutOfMemoryError: killed by the memory monitor")
            outcome = (await soon(group.next("a")))["outcome"]
            assert outcome == {"failure": "OutOfMemoryError: killed by the memory monitor", "kind": "memory"}

    run(test())


def test_workers_that_die_without_a_trial_cost_none(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await group.died("RuntimeError: the node is gone")
            assert await soon(group.take("worker", "")) == spec("a")
            await group.finished("a", None)
            await group.died("RuntimeError: the node is gone")
            assert await soon(group.next("a")) == {"outcome": {}}

    run(test())


@pytest.mark.parametrize("taken", [True, False])
def test_workers_that_cannot_be_kept_alive_fail_the_trial_that_wants_them(
    cluster: Cluster, taken: bool
) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            workers = await cluster.workers(1)
            words = "no place for 2 workers"
            if taken:
                await soon(group.take("worker", ""))
                await group.died(words := "RuntimeError: the node is gone")
            workers.end(RuntimeError("no place for 2 workers\nTraceback ..."))
            failure = f"its workers could not be kept alive: {words}"
            assert await soon(group.next("a")) == {"outcome": {"failure": failure, "kind": "error"}}
            # The next trial gets workers of its own.
            await group.train(spec("b"))
            await cluster.workers(2)
            assert await soon(group.take("worker", "")) == spec("b")

    run(test())


def test_a_trial_that_its_workers_left_behind_is_taken_up_by_others(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a"))
            await soon(group.take("worker", ""))
            cluster.runs[0].end()
            await cluster.workers(2)
            assert await soon(group.take("worker", "")) == spec("a")

    run(test())


def test_what_a_desk_that_was_started_again_does_not_know_is_lost(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.end("a", "stop")
            await group.finished("a", None)
            await group.died("RuntimeError: the node is gone")
            assert (await soon(group.next("a")))["outcome"]["kind"] == "lost"

    run(test())


def test_an_epoch_that_does_not_end_ends_the_trial_and_its_workers(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a", hang_after_s=100.0))
            asking = asyncio.create_task(group.next("a"))
            cluster.now_s += 1e6  # no worker has taken it: it waits for a place
            await soon(group.take("rank 0", ""))
            await soon(group.take("rank 1", ""))
            cluster.now_s += 101.0
            outcome = (await soon(asking))["outcome"]
            assert outcome["kind"] == "hung" and "no epoch ended within 100 s" in outcome["failure"]
            await until(lambda: len(cluster.killed) == 2)
            assert cluster.killed == ["rank 0", "rank 1"]
            assert await soon(group.report("a", {"epoch": 1})) == "stop", "it moved after all"
            await group.died("RayActorError: killed")
            await group.train(spec("b"))
            assert await soon(group.take("rank 0", "")) == spec("b")

    run(test())


def test_neither_a_long_answer_nor_a_long_epoch_is_a_hang(cluster: Cluster) -> None:
    async def test() -> None:
        async with cluster.group() as group:
            await group.train(spec("a", hang_after_s=100.0))
            await soon(group.take("worker", ""))
            cluster.now_s += 90.0  # its first epoch, which says how long they may be
            answer = await reported(group, "a", {"epoch": 1})
            cluster.now_s += 1e6  # a slow driver
            await asyncio.sleep(2.5)
            assert not answer.done() and not cluster.killed
            asking = asyncio.create_task(group.next("a"))
            assert await soon(answer) == "go"
            cluster.now_s += 899.0
            await asyncio.sleep(2.5)
            assert not asking.done() and not cluster.killed
            cluster.now_s += 2.0
            failure = (await soon(asking))["outcome"]["failure"]
            assert failure == "hung: no epoch ended within 900 s (the longest before took 90 s)"

    run(test())
