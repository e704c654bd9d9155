"""The events of one sweep: pages that its sessions write, and the segments that closed pages are read from.

    events/<session>-<k>/<sha256>.json             one event, never rewritten
    segments/<session>-<k>.<sha256>.json           all events of a closed page; the page is not listed again

A page belongs to one session (one driver), so that nobody else adds to it. It is closed when it holds 1,000 events,
at the session's end, or by another session when it must be dead. Segments only save time: without one, or with a
damaged one, the events themselves are read. (Earlier sweeps keep their events under events/ without a page.)
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from zoo.errors import ObjectMissing, StoreError
from zoo.store import Store, parse_json, to_json

PAGE_EVENTS = 1000
# A session turns the page after half an hour without an event, and another closes it after an hour. What lies between
# is for events that wait for their store (10 minutes) and for clocks that disagree.
TURN_AFTER_S = 1800.0
DEAD_AFTER_S = 3600.0
# Enough to hide a store's latency, few enough not to crowd it.
READERS = 16
_SUFFIX = len(".json")
_HEX = len(hashlib.sha256().hexdigest())

Event = dict[str, Any]


@dataclass
class _Page:
    name: str
    begun: int = 0  # events that it has or will have
    bodies: list[bytes] = field(default_factory=list)  # those that are in the store
    closed: bool = False

    @property
    def whole(self) -> bool:
        return self.closed and len(self.bodies) == self.begun > 0


class Pages:
    """What the sessions of a sweep have written below the key `home`; with a `session`, also what this one writes.

    Safe to be used by several threads.
    """

    def __init__(self, store: Store, home: str, session: str) -> None:
        self._store, self._home, self._session = store, home, session
        self._lock = threading.Lock()
        self._turned = 0
        self._last_s = 0.0
        self._page = _Page(f"{session}-0000")

    def add(self, event: Event) -> None:
        """Write an event, stamped with the time; returns when the store has it."""
        if not self._session:
            raise ValueError("a ledger that was opened without a session can only be read")
        with self._lock:
            # Later than the one before, even where the clock was set back.
            at_s = max(_now_s(), self._last_s + 2e-6)
            left = self._turn() if self._page.begun and at_s - self._last_s > TURN_AFTER_S else None
            self._last_s = at_s
            page = self._page
            page.begun += 1
            if page.begun == PAGE_EVENTS:
                self._turn()
        if left is not None:
            self._write_segment(left.name, left.bodies)
        body = _stamped(event, at_s)
        self._store.put_if(f"{self._home}/events/{page.name}/{_digest(body)}.json", body, None)
        with self._lock:
            page.bodies.append(body)
            whole = page.whole
        if whole:
            self._write_segment(page.name, page.bodies)

    def read(self) -> list[Event]:
        """Every event, oldest first. Raises StoreError where one is damaged."""
        closed = self._segments()
        entries = list(self._store.list(f"{self._home}/events/", deep=False))
        loose = [key for key in entries if not key.endswith("/")]
        listed = [key.rstrip("/").rpartition("/")[2] for key in entries if key.endswith("/")]
        with ThreadPoolExecutor(READERS) as pool:
            kept = list(pool.map(self._read_segments, closed.values()))
            unread = [page for page, events in zip(closed, kept, strict=True) if events is None]
            unread += [page for page in listed if page not in closed]
            for keys in pool.map(self._list_page, unread):
                loose += keys
            read = [event for events in kept for event in events or ()]
            read += (json.loads(body) for body in pool.map(self._read_event, loose))
        return _in_order(read)

    def compact(self) -> None:
        """Close this session's page, and the pages of others that nobody adds to any more."""
        with self._lock:
            left = self._turn() if self._page.begun else None
        if left is not None:
            self._write_segment(left.name, left.bodies)
        closed = self._segments()
        entries = self._store.list(f"{self._home}/events/", deep=False)
        listed = [key.rstrip("/").rpartition("/")[2] for key in entries if key.endswith("/")]
        with ThreadPoolExecutor(READERS) as pool:
            for page in listed:
                if page in closed or page.rpartition("-")[0] == self._session:
                    continue
                bodies = list(pool.map(self._read_event, self._list_page(page)))
                newest_s = max((written_s(json.loads(body)) for body in bodies), default=_now_s())
                if _now_s() - newest_s > DEAD_AFTER_S:
                    self._write_segment(page, bodies)

    def _turn(self) -> _Page | None:
        """Begin the next page; the one before, if its segment can be written now. Others write to it still, otherwise,
        and the last of them writes the segment. One with a failed write has none until another session closes it.
        """
        before = self._page
        before.closed = True
        self._turned += 1
        self._page = _Page(f"{self._session}-{self._turned:04d}")
        return before if before.whole else None

    def _write_segment(self, page: str, bodies: Iterable[bytes]) -> None:
        # In order, so that two who close the same page write the same segment.
        data = b'{"events":[' + b",".join(sorted(bodies)) + b"]}"
        self._store.put_if(f"{self._home}/segments/{page}.{_digest(data)}.json", data, None)

    def _segments(self) -> dict[str, list[str]]:
        """The keys of the segments of each closed page: more than one where it was closed twice."""
        segments: dict[str, list[str]] = {}
        for key in self._store.list(f"{self._home}/segments/"):
            name = key.rpartition("/")[2]
            segments.setdefault(name[: -_SUFFIX - _HEX - 1], []).append(key)
        return segments

    def _read_segments(self, keys: list[str]) -> list[Event] | None:
        """The events of a closed page; None, after a warning, where they must be read one by one."""
        events: list[Event] = []
        for key in keys:
            try:
                data = self._store.get(key).read()
                damaged = _digest(data) != key[-_SUFFIX - _HEX : -_SUFFIX]
            except ObjectMissing:
                return None
            if damaged:
                print(
                    f"{self._store.url}/{key} is damaged, and its events are read one by one: delete it, and the sweep "
                    "makes it again.",
                    file=sys.stderr,
                )
                return None
            events += json.loads(data)["events"]
        # A page that was closed twice gives most of its events twice.
        return events if len(keys) == 1 else list({to_json(event): event for event in events}.values())

    def _list_page(self, page: str) -> list[str]:
        return list(self._store.list(f"{self._home}/events/{page}/"))

    def _read_event(self, key: str) -> bytes:
        return read_event(self._store, key)


def read_event(store: Store, key: str) -> bytes:
    """One event as it was written. Raises StoreError where its content is not the one it is named by."""
    body = store.get(key).read()
    if _digest(body) != key[-_SUFFIX - _HEX : -_SUFFIX]:
        raise StoreError(
            f"{store.url}/{key} is damaged: restore it from a copy, or delete it and lose this event."
        )
    return body


def add_event(store: Store, folder: str, event: Event) -> None:
    """Write an event below a key that has no pages, stamped with the time."""
    body = _stamped(event, _now_s())
    store.put_if(f"{folder}/{_digest(body)}.json", body, None)


def read_folder(store: Store, folder: str) -> list[Event]:
    """Every event below a key that has no pages, oldest first."""
    keys = store.list(f"{folder}/")
    return _in_order(parse_json(read_event(store, key), f"{store.url}/{key}") for key in keys)


def _stamped(event: Event, at_s: float) -> bytes:
    """An event's bytes, with its time (Unix, seconds)."""
    return to_json({**event, "at": datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds")})


def written_s(event: Event) -> float:
    """When an event was written (Unix time, seconds, by its writer's clock)."""
    return datetime.fromisoformat(event["at"]).timestamp()


def _in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event["at"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now_s() -> float:
    return time.time()
