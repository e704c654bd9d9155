"""The desk of a warm group: who is given which trial, how reports go out and answers come back, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("ray.tune")

from desk_by_hand import SETTINGS, Cluster, begun, in_a_loop, reported, soon, spec, still_waits, until


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


@in_a_loop
async def test_a_trial_goes_to_the_workers_and_its_reports_come_back(cluster: Cluster) -> None:
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


@in_a_loop
async def test_workers_stay_for_the_next_trial(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        await group.finished("a", {"failure": "ValueError: no", "kind": "error"})
        assert await soon(group.next("a")) == {"outcome": {"failure": "ValueError: no", "kind": "error"}}
        taking = asyncio.create_task(group.take("worker", "a-1"))
        assert await still_waits(taking)
        await group.train(spec("b"))
        assert await soon(taking) == spec("b")
        assert len(cluster.runs) == 1


@in_a_loop
async def test_all_ranks_are_given_the_same_trials(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await group.train(spec("a"))
        assert await soon(group.take("rank 0", "")) == await soon(group.take("rank 1", "")) == spec("a")
        # Rank 1 is through with it before rank 0 has said so.
        second = asyncio.create_task(group.take("rank 1", "a-1"))
        assert await still_waits(second)
        await group.finished("a", None)
        await group.train(spec("b"))
        assert await soon(group.take("rank 0", "a-1")) == await soon(second) == spec("b")


@pytest.mark.parametrize("how", ["stop", "park"])
@in_a_loop
async def test_a_trial_that_waits_for_an_answer_is_told_to_end(cluster: Cluster, how: str) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        answer = await reported(group, "a", {"epoch": 1})
        await group.end("a", how)
        assert await soon(answer) == how
        # Its slot has been given to the next one while its workers were still at it.
        await group.train(spec("b"))
        await group.finished("a", None)
        assert await soon(group.take("worker", "a-1")) == spec("b")


@in_a_loop
async def test_a_trial_in_the_middle_of_an_epoch_ends_at_its_report(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        await group.end("a", "park")
        assert await soon(group.report("a", {"epoch": 1})) == "park"


@in_a_loop
async def test_a_trial_that_no_worker_has_taken_ends_at_once(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await group.train(spec("a"))
        await group.end("a", "park")
        assert await soon(group.next("a")) == {"outcome": {}}
        taking = asyncio.create_task(group.take("worker", ""))
        assert await still_waits(taking)
        await group.train(spec("b"))
        assert await soon(taking) == spec("b")


@in_a_loop
async def test_whoever_takes_a_trial_over_is_told_what_nobody_has_gone_on_from(cluster: Cluster) -> None:
    """Tune's side of it was lost and started again; the workers noticed nothing."""
    async with cluster.group() as group:
        await begun(group, "a")
        answer = await reported(group, "a", {"epoch": 1})
        await group.train(spec("a"))
        assert await soon(group.next("a")) == {"epoch": 1} and await still_waits(answer)
        asking = asyncio.create_task(group.next("a"))
        assert await soon(answer) == "go"
        await group.finished("a", None)
        assert await soon(asking) == {"outcome": {}}
        assert not group._queue, "it would be trained twice"


@in_a_loop
async def test_a_trial_whose_slot_was_given_to_another_is_parked(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        answer = asyncio.create_task(group.report("a", {"epoch": 1}))
        assert await still_waits(answer)
        await group.train(spec("b"))
        assert await soon(answer) == "park"


# ---- workers that have nothing to do, die, or do not get on


@in_a_loop
async def test_workers_that_get_no_trial_for_a_while_give_their_place_back(cluster: Cluster) -> None:
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


@in_a_loop
async def test_a_closed_group_ends_and_is_started_again_by_the_next_trial(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
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


@in_a_loop
async def test_a_trial_whose_workers_died_is_begun_again_once(cluster: Cluster) -> None:
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


@in_a_loop
async def test_a_trial_that_comes_further_each_time_may_lose_its_workers_again_and_again(
    cluster: Cluster,
) -> None:
    async with cluster.group() as group:
        await group.train(spec("a"))
        # As on nodes of a spot market: the first epochs of an attempt were reported before.
        for attempt, reached in enumerate((2, 3, 5, 6)):
            assert await soon(group.take(f"worker {attempt}", "")) == spec("a")
            answer = await reported(group, "a", {"history_from": 1, "history": [{}] * (reached - 1)})
            asking = asyncio.create_task(group.next("a"))
            assert await soon(answer) == "go"
            await group.died("RayActorError: the actor's node was terminated unexpectedly")
            assert await still_waits(asking)
            asking.cancel()
        assert await soon(group.take("last worker", "")) == spec("a")
        answer = await reported(group, "a", {"history_from": 5, "history": [{}]})
        await group.died("RuntimeError: killed")
        failure = "its workers died 2 times; last: RuntimeError: killed"
        assert await soon(group.next("a")) == {"outcome": {"failure": failure, "kind": "error"}}
        await soon(answer)


@in_a_loop
async def test_the_first_report_of_new_workers_replaces_what_the_dead_ones_said(cluster: Cluster) -> None:
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


@in_a_loop
async def test_workers_killed_for_memory_are_not_tried_again_alike(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        await group.died("OutOfMemoryError: killed by the memory monitor")
        outcome = (await soon(group.next("a")))["outcome"]
        assert outcome == {"failure": "OutOfMemoryError: killed by the memory monitor", "kind": "memory"}


@in_a_loop
async def test_workers_that_die_without_a_trial_cost_none(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await group.train(spec("a"))
        await group.died("RuntimeError: the node is gone")
        assert await soon(group.take("worker", "")) == spec("a")
        await group.finished("a", None)
        await group.died("RuntimeError: the node is gone")
        assert await soon(group.next("a")) == {"outcome": {}}


@pytest.mark.parametrize("taken", [True, False])
@in_a_loop
async def test_workers_that_cannot_be_kept_alive_fail_the_trial_that_wants_them(
    cluster: Cluster, taken: bool
) -> None:
    async with cluster.group() as group:
        await group.train(spec("a"))
        workers = await cluster.workers(1)
        words = "no place for 2 workers"
        if taken:
            await soon(group.take("worker", ""))
            await group.died(words := "RuntimeError: the node is gone")
        workers.end(RuntimeError("no place for 2 workers\nTraceback ..."))
        failure = f"its workers could not be kept alive: {words}"
        assert await soon(group.next("a")) == {"outcome": {"failure": failure, "kind": "lost"}}
        # The next trial gets workers of its own.
        await group.train(spec("b"))
        await cluster.workers(2)
        assert await soon(group.take("worker", "")) == spec("b")


@in_a_loop
async def test_a_trial_that_its_workers_left_behind_is_taken_up_by_others(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await begun(group, "a")
        cluster.runs[0].end()
        await cluster.workers(2)
        assert await soon(group.take("worker", "")) == spec("a")


@in_a_loop
async def test_what_a_desk_that_was_started_again_does_not_know_is_lost(cluster: Cluster) -> None:
    async with cluster.group() as group:
        await group.end("a", "stop")
        await group.finished("a", None)
        await group.died("RuntimeError: the node is gone")
        assert (await soon(group.next("a")))["outcome"]["kind"] == "lost"


@in_a_loop
async def test_an_epoch_that_does_not_end_ends_the_trial_and_its_workers(cluster: Cluster) -> None:
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


@in_a_loop
async def test_neither_a_long_answer_nor_a_long_epoch_is_a_hang(cluster: Cluster) -> None:
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
