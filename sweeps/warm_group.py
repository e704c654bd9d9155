"""The desk of a warm group of workers: trials come in from Tune, figures go out, and the answer is go on, stop or park.

A group is an actor on its own, named after its slot, so that it outlives the Tune trials that it serves. Its workers
(trainables/ray_train.py) hold the slot's cores and GPUs from the first trial until they have been without one for a while.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from trainables.ray_train import run_group

# How often a trial is begun again after the death of its workers, without having come further than ever before. One that
# has may lose its nodes again and again: Ray Train and the recorder give up in the end.
_RETRIES = 1
# An epoch that takes so many times the longest one before it is not under way any more.
_HANGS = 10.0


@dataclass
class _Job:
    spec: dict[str, Any]
    report: dict[str, Any] | None = None  # that training waits with for an answer
    seen: bool = False  # by Tune
    verdict: str = ""  # stop or park, once somebody said so
    outcome: dict[str, Any] | None = None
    attempt: int = -1  # life of the group in which workers took it
    retries: int = 0
    reached: int = 0  # epochs, of all stages, that were reported
    # Monotonic time of the workers' last sign; 0: none has taken it, or they wait for an answer.
    sign_s: float = 0.0
    longest_s: float = 0.0


class WarmGroup:
    """Serves one slot. To be made with `ray.remote(WarmGroup).options(max_restarts=-1, ...)`."""

    def __init__(
        self,
        name: str,
        storage: str,
        workers: int | tuple[int, int],
        resources: dict[str, float],
        idle_s: float,
        train: Callable[..., Any] | None,
    ) -> None:
        logging.getLogger("ray.train").setLevel(logging.CRITICAL)
        self._settings: dict[str, Any] = {
            "storage": storage,
            "workers": workers,
            "resources": resources,
            "train": train,
        }
        self._name, self._idle_s = name, idle_s
        self._queue: deque[_Job] = deque()
        self._current: _Job | None = None
        self._jobs: dict[str, _Job] = {}
        self._workers: dict[str, Any] = {}
        self._changed = asyncio.Condition()
        self._running = self._closing = False
        self._runs = self._lives = 0
        self._last_words = ""
        self._watch: asyncio.Task[None] | None = None

    # What Tune's side calls.

    async def train(self, spec: dict[str, Any]) -> None:
        """Take on a trial; one of the same identity that is under way is taken over as it is."""
        async with self._changed:
            known = self._jobs.get(spec["identity"])
            if known is not None and known.outcome is None and not known.verdict:
                known.seen = False  # by whoever asks from now on
                return
            for other in [*self._queue, *([self._current] if self._current else [])]:
                # Whoever gave it does not wait for it any more, or would not have given the slot to another.
                other.verdict = other.verdict or "park"
            job = _Job(spec)
            self._jobs = {identity: j for identity, j in self._jobs.items() if j.outcome is None}
            self._jobs[spec["identity"]] = job
            self._queue.append(job)
            if not self._running:
                self._start()
            self._changed.notify_all()
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_over())

    async def next(self, identity: str) -> dict[str, Any]:
        """The trial's next report, once there is one, or {"outcome": {...}}, empty or with `failure` and `kind`.

        To ask for the next one is to say that training shall go on.
        """
        job = self._jobs.get(identity)
        if job is None:  # the actor was started again elsewhere, and remembers nothing
            return {"outcome": {"failure": "its desk was lost with a node", "kind": "lost"}}
        async with self._changed:
            if job.seen:
                job.report, job.seen = None, False
                self._changed.notify_all()
            await self._changed.wait_for(lambda: job.report is not None or job.outcome is not None)
            if job.report is None:
                return {"outcome": job.outcome}
            job.seen = True
            return job.report

    async def end(self, identity: str, how: str) -> None:
        """Let a trial end at its next report: "stop" for good, "park" to go on later."""
        async with self._changed:
            job = self._jobs.get(identity)
            if job is None or job.outcome is not None:
                return
            job.verdict = how
            if job in self._queue:
                self._queue.remove(job)
                job.outcome = {}
            self._changed.notify_all()

    async def close(self) -> None:
        """Give the slot back now."""
        async with self._changed:
            self._closing = True
            self._changed.notify_all()

    # What the workers and their controller call.

    async def take(self, worker: Any, done: str) -> dict[str, Any] | None:
        """The trial to train next, other than the one just `done`; None after a while without any."""
        async with self._changed:
            self._workers[str(worker)] = worker

            def waiting() -> bool:
                if self._closing:
                    return True
                if self._current is None and self._queue:
                    self._current = self._queue.popleft()
                return self._current is not None and self._current.spec["job"] != done

            try:
                await asyncio.wait_for(self._changed.wait_for(waiting), self._idle_s)
            except TimeoutError:
                # Ranks end together: none shall be given what others no longer take.
                self._closing = True
                self._changed.notify_all()
            job = self._current
            if self._closing or job is None:
                return None
            if job.attempt not in (-1, self._lives):
                job.retries += 1
            job.attempt = self._lives
            job.sign_s = time.monotonic()
            return job.spec

    async def report(self, identity: str, told: dict[str, Any]) -> str:
        """Pass a report on; "go", "stop" or "park" as soon as that has been decided."""
        job = self._jobs[identity]
        async with self._changed:
            if job.outcome is not None:
                return "stop"
            job.longest_s = max(job.longest_s, time.monotonic() - job.sign_s)
            job.sign_s = 0.0
            reached = told.get("history_from", 0) + len(told.get("history", ()))
            if reached > job.reached:
                job.reached, job.retries = reached, 0
            job.report, job.seen = told, False
            self._changed.notify_all()
            await self._changed.wait_for(
                lambda: job.report is not told or job.verdict or job.outcome is not None
            )
            job.sign_s = time.monotonic()
            return job.verdict or ("go" if job.outcome is None else "stop")

    async def finished(self, identity: str, failure: dict[str, Any] | None) -> None:
        """The workers are through with a trial."""
        async with self._changed:
            self._end(self._jobs.get(identity), failure or {})

    async def died(self, reason: str) -> None:
        """Workers died; those that come after them will ask for the trial again."""
        async with self._changed:
            self._lives += 1
            self._workers.clear()
            self._last_words = reason
            job = self._current
            if job is None or job.outcome is not None:
                return
            if "outofmemory" in reason.lower():
                self._end(job, {"failure": reason, "kind": "memory"})
            elif job.retries >= _RETRIES:
                self._end(
                    job,
                    {"failure": f"its workers died {job.retries + 1} times; last: {reason}", "kind": "error"},
                )
            else:
                job.sign_s = 0.0

    def _end(self, job: _Job | None, outcome: dict[str, Any]) -> None:
        if job is None:
            return
        if job.outcome is None:
            job.outcome = outcome
        job.sign_s = 0.0
        if job is self._current:
            self._current = None
        self._changed.notify_all()

    def _start(self) -> None:
        self._running, self._closing = True, False
        self._runs += 1
        loop, me = asyncio.get_running_loop(), ray.get_runtime_context().current_actor
        name = f"{self._name}-{self._runs}"

        def serve() -> None:
            reason = ""
            try:
                run_group(me, name=name, **self._settings)
            except Exception as error:  # noqa: BLE001 it is told to whoever waits for a trial
                reason = self._last_words or str(error).strip().splitlines()[0]
            asyncio.run_coroutine_threadsafe(self._ran(reason), loop)

        threading.Thread(target=serve, name=name, daemon=True).start()

    async def _ran(self, reason: str) -> None:
        """The workers have ended, or (with a reason) could not be kept alive."""
        async with self._changed:
            self._running = False
            self._workers.clear()
            job = self._current or (self._queue.popleft() if reason and self._queue else None)
            if job is not None and reason:
                # As with the node of their controller: another group may be luckier.
                self._end(job, {"failure": f"its workers could not be kept alive: {reason}", "kind": "lost"})
            if self._current is not None or self._queue:
                self._start()
            self._changed.notify_all()

    async def _watch_over(self) -> None:
        """End a trial whose epoch does not end."""
        while True:
            await asyncio.sleep(1.0)
            async with self._changed:
                job = self._current
                if job is None or not job.sign_s:
                    continue
                limit_s = max(job.spec["hang_after_s"], _HANGS * job.longest_s)
                if time.monotonic() - job.sign_s < limit_s:
                    continue
                workers = list(self._workers.values())
                reason = f"hung: no epoch ended within {limit_s:.0f} s (the longest before took {job.longest_s:.0f} s)"
                self._end(job, {"failure": reason, "kind": "hung"})
            for worker in workers:
                ray.kill(worker)
