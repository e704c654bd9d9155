"""Who works on what: a claim has one living holder at most, over all drivers of a store.

    ledger/claims/<kind>/<identity>.json    {"holder": name}, "" once it was released, and a number, so that no two
                                            takings look alike; replaced by compare-and-swap
    ledger/holders/<holder>.json            the holder's heartbeat, one a driver, rewritten every few seconds

A claim whose holder is dead is taken over. Dead is a holder that left, or whose heartbeat stood still for as long as it
promised to beat within, by the observer's own clock and while the observer itself could see the store: clocks of
different machines are never compared, and an outage of the store kills nobody. A holder that was late all the same
(stopped, cut off) finds it by its own clock: `lost`.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sweeps.patience import PatientStore
from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.store import Store, parse_json, to_json


@dataclass(frozen=True)
class _Moment:
    """A moment by two clocks of this machine: the monotonic one stands still while the machine is suspended."""

    monotonic_s: float
    wall_s: float

    @classmethod
    def now(cls) -> _Moment:
        return cls(time.monotonic(), time.time())

    def age_s(self) -> float:
        return max(time.monotonic() - self.monotonic_s, time.time() - self.wall_s)


@dataclass
class _Seen:
    """What is known of another holder's heartbeat; times by this machine's monotonic clock."""

    tag: str | None = None
    since_s: float = 0.0  # it has stood still at least since then
    looked_s: float | None = None  # the last look that succeeded
    promise_s: float = 0.0
    left: bool = False

    @property
    def dead(self) -> bool:
        return self.left or (self.looked_s is not None and self.looked_s - self.since_s >= self.promise_s)


class Claims:
    """The claims of one holder (a driver, by its unique name), alive from `__enter__` to `__exit__`.

    Safe to be used by several threads. Operations wait 10 minutes for a store that is down; the heartbeat tries for
    ever.
    """

    def __init__(self, store: Store, holder: str, beat_s: float = 5.0, dead_after_s: float = 20.0) -> None:
        if not holder:
            raise ValueError("a holder of claims needs a name")
        self.holder = holder
        self._store, self._patient = store, PatientStore(store)
        self._beat_s, self._dead_after_s = beat_s, dead_after_s
        self._count = itertools.count(1)  # makes every heartbeat and every taking unlike the one before
        self._beat_at = _Moment.now()
        self._late = False
        self._held: set[tuple[str, str]] = set()
        self._others: dict[str, _Seen] = {}
        self._lock = threading.Lock()  # of the three above
        self._looking = threading.Lock()  # one look at a time, so that looks are in order
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._live, self._watch)]

    def __enter__(self) -> Self:
        self._beat(self._patient)
        self._late = False  # nothing was held yet
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Leave: whatever is held is free from now on, without being released one by one."""
        self._leaving.set()
        for thread in self._threads:
            thread.join()
        # Where the store is down, the heartbeat stands still soon enough.
        with contextlib.suppress(StoreError):
            self._beat(self._store, left=True)

    @property
    def lost(self) -> bool:
        """Whether others may have taken us for dead since the last `retake`, and taken over what is held."""
        with self._lock:
            return self._late or self._beat_at.age_s() > self._dead_after_s

    def take(self, kind: str, identity: str) -> str | None:
        """Claim something: None when it is ours (now or already), else the name of the living holder.

        Never waits for that holder: ask again every few seconds, and a claim whose holder died comes over.
        """
        return self._take(kind, identity, anew=self.lost)

    def release(self, kind: str, identity: str) -> None:
        """Give up a claim; no error where it is not ours (any more)."""
        key = _key(kind, identity)
        with self._lock:
            self._held.discard((kind, identity))
        holder, tag = self._state(key)
        if holder == self.holder:
            with contextlib.suppress(Conflict):  # taken over this very moment
                self._patient.put_if(key, to_json({"holder": ""}), tag)

    def retake(self) -> list[tuple[str, str]]:
        """Take again whatever was held, after `lost`; returns what (kind, identity) another has by now."""
        self._beat(self._patient)
        with self._lock:
            self._late = False  # for the silence before; late again from here on counts again
            held = sorted(self._held)
        return [claim for claim in held if self._take(*claim, anew=True) is not None]

    def _take(self, kind: str, identity: str, *, anew: bool) -> str | None:
        """`anew`: one of ours is written once more, because after a silence somebody may be about to replace it."""
        key = _key(kind, identity)
        while True:
            holder, tag = self._state(key)
            if holder and holder != self.holder and not self._look(holder):
                with self._lock:
                    self._held.discard((kind, identity))
                return holder
            if holder != self.holder or anew:
                taken = {"holder": self.holder, "taking": next(self._count)}
                try:
                    self._patient.put_if(key, to_json(taken), tag)
                except Conflict:
                    continue  # somebody was quicker: see who
            with self._lock:
                self._held.add((kind, identity))
            return None

    def _state(self, key: str) -> tuple[str, str | None]:
        """Who holds a claim ("": nobody), and the tag to replace it by."""
        try:
            blob = self._patient.get(key)
        except ObjectMissing:
            return "", None
        return parse_json(blob.read(), f"{self._store.url}/{key}")["holder"], blob.tag

    def _beat(self, store: Store, *, left: bool = False) -> None:
        begun = _Moment.now()
        heartbeat = {"beat": next(self._count), "dead_after_s": self._dead_after_s, "left": left}
        store.put(_heart(self.holder), to_json(heartbeat))
        with self._lock:
            # From the earliest moment at which the last beat can have been seen to the latest for this one.
            self._late |= self._beat_at.age_s() > self._dead_after_s
            self._beat_at = begun

    def _live(self) -> None:
        while not self._leaving.wait(self._beat_s):
            with contextlib.suppress(StoreError):
                self._beat(self._store)

    def _watch(self) -> None:
        while not self._leaving.wait(self._beat_s):
            with self._lock:
                holders = [holder for holder, seen in self._others.items() if not seen.left]
            for holder in holders:
                self._look(holder)

    def _look(self, holder: str) -> bool:
        """See whether a holder is dead by now; it is watched from the first time on that somebody asks."""
        with self._looking:
            with self._lock:
                seen = self._others.setdefault(holder, _Seen(promise_s=self._dead_after_s))
            begun_s = time.monotonic()
            tag: str | None = None
            beat: dict[str, Any] = {}
            try:
                blob = self._store.get(_heart(holder))
                tag, beat = blob.tag, parse_json(blob.read(), _heart(holder))
            except ObjectMissing:
                pass  # stands still as well
            except StoreError:
                seen.looked_s = None
                return False
            # A pause of our own says nothing about the other: nobody may have reached the store meanwhile.
            blind = seen.looked_s is None or begun_s - seen.looked_s > seen.promise_s / 2
            if blind or tag != seen.tag:
                seen.since_s = time.monotonic()
            seen.tag, seen.left = tag, bool(beat.get("left"))
            seen.promise_s = float(beat.get("dead_after_s", seen.promise_s))
            seen.looked_s = max(begun_s, seen.since_s)
            return seen.dead


def _key(kind: str, identity: str) -> str:
    return f"ledger/claims/{kind}/{identity}.json"


def _heart(holder: str) -> str:
    return f"ledger/holders/{holder}.json"
