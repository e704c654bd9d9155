"""The desk of a warm group without Ray: a test takes trials and reports as workers do, and ends their group."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps import warm_group
from sweeps.warm_group import WarmGroup

SETTINGS: dict[str, Any] = {
    "storage": "s3://zoo/groups",
    "workers": 2,
    "resources": {"CPU": 0.9},
    "train": None,
}


@dataclass
class Run:
    """Workers that a group has started, until `end`."""

    settings: dict[str, Any]
    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        self.error = error
        self.over.set()


class Cluster:
    """Stands where Ray is: starts workers and kills them; `now_s` is the group's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[Run] = []
        self.killed: list[Any] = []
        self.now_s = 1000.0
        here = SimpleNamespace(current_actor="the desk")
        ray = SimpleNamespace(get_runtime_context=lambda: here, kill=self.killed.append)
        monkeypatch.setattr(warm_group, "ray", ray)
        monkeypatch.setattr(warm_group, "run_group", self._run)
        monkeypatch.setattr(warm_group, "time", SimpleNamespace(monotonic=lambda: self.now_s))

    def _run(self, desk: Any, **settings: Any) -> None:
        assert desk == "the desk"
        run = Run(settings)
        self.runs.append(run)
        run.over.wait()
        if run.error is not None:
            raise run.error

    @asynccontextmanager
    async def group(self, idle_s: float = 60.0) -> AsyncIterator[WarmGroup]:
        group = WarmGroup("slot-0", idle_s=idle_s, **SETTINGS)
        try:
            yield group
        finally:
            if group._watch is not None:
                group._watch.cancel()
            group._queue.clear()
            group._current = None
            for run in self.runs:
                run.over.set()
            await until(lambda: not group._running)

    async def workers(self, count: int) -> Run:
        """The `count`-th group of workers, once it has started."""
        await until(lambda: len(self.runs) >= count)
        return self.runs[count - 1]


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test that pytest can call of one that awaits."""

    @functools.wraps(test)
    def called(**given: Any) -> None:
        asyncio.run(test(**given))

    return called


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def soon(waiting: Awaitable[Any]) -> Any:
    """What should need nobody else's doing any more."""
    return await asyncio.wait_for(waiting, 60)


async def still_waits(waiting: asyncio.Task[Any]) -> bool:
    """Whether it has come to nothing after everybody else has had their turns."""
    for _ in range(20):
        await asyncio.sleep(0)
    return not waiting.done()


def spec(identity: str, hang_after_s: float = 600.0) -> dict[str, Any]:
    return {"identity": identity, "job": f"{identity}-1", "hang_after_s": hang_after_s}


async def begun(group: WarmGroup, identity: str) -> None:
    """Tune has given a trial and a worker has taken it."""
    await group.train(spec(identity))
    assert await soon(group.take("worker", "")) == spec(identity)


async def reported(group: WarmGroup, identity: str, told: dict[str, Any]) -> asyncio.Task[str]:
    """Workers report and wait; Tune has been shown the report."""
    answer = asyncio.create_task(group.report(identity, told))
    assert await soon(group.next(identity)) == told
    return answer
