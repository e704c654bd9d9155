"""Virtual time: it passes while the driver works, by what that takes, and in a store by what its requests would take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.store import Blob, Sent, Store


class VirtualClock:
    """Stands for the module `time`. With `cpu` the main thread's CPU time counts for its work, otherwise the wall clock's."""

    def __init__(self, *, cpu: bool) -> None:
        clock = time.CLOCK_MONOTONIC
        if cpu:
            clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self._read = lambda: time.clock_gettime(clock)
        self._began_s = time.time()
        self._before_s = 0.0
        self._since: float | None = self._read()  # None: what runs now takes no time
        self.idle_s = 0.0

    def monotonic(self) -> float:
        return self._before_s + (self._read() - self._since if self._since is not None else 0.0)

    def time(self) -> float:
        return self._began_s + self.monotonic()

    def sleep(self, seconds: float) -> None:
        self.skip_to(self.monotonic() + seconds)

    @property
    def busy_s(self) -> float:
        return self.monotonic() - self.idle_s

    def spend(self, seconds: float) -> None:
        """Work that took so long elsewhere, such as in a store."""
        self._before_s += seconds

    def skip_to(self, at_s: float) -> None:
        """Wait."""
        waited_s = max(0.0, at_s - self.monotonic())
        self.idle_s += waited_s
        self._before_s += waited_s

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in here is the fleet's, and takes the driver no time."""
        self._before_s, self._since = self.monotonic(), None
        try:
            yield
        finally:
            self._since = self._read()


class CountedStore:
    """A store that counts the driver's requests; each takes `latency_s` of virtual time more than it takes really."""

    def __init__(self, store: Store, clock: VirtualClock, latency_s: float) -> None:
        self.url, self.inner = store.url, store
        self._clock, self._latency_s = clock, latency_s
        self.requests = 0

    def _count(self) -> None:
        if threading.current_thread() is threading.main_thread():  # heartbeats hold up nobody
            self.requests += 1
            self._clock.spend(self._latency_s)

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        self._count()
        return self.inner.get(key, start=start, end=end)

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        self._count()
        self.inner.put(key, source, sent=sent)

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        self._count()
        self.inner.put_if(key, data, tag)

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        self._count()
        return self.inner.list(prefix, deep=deep)

    def delete(self, key: str) -> None:
        self._count()
        self.inner.delete(key)
