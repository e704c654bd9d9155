"""How the collector (`zoo gc`) and those who make or promote a version keep out of each other's way, without locks.

    models/<name>/publishing/<digest>-<nonce>.json   a hold: somebody publishes or promotes this version now
    models/<name>/collecting/<digest>.json           a tombstone: a collector takes this version away now

Each side writes before it reads. A holder writes its hold, then looks for a tombstone. A collector writes its
tombstone, then looks for holds, and last at what it would take away. In a store that shows every write to every
later read (S3 does, and so do files), at least one of the two therefore sees the other. If the collector sees a
hold, it withdraws; a holder that sees a tombstone waits until it is gone. Where both see each other, the
collector withdraws.

Three deaths and delays remain.
- A holder that is killed leaves its hold. The collector ignores holds older than the grace period (a day, by
  default), and removes them, before it looks at the number records or aliases. So a holder that was only
  suspended, or whose clock is wrong, finds its hold gone when it looks again after its last write
  (`Hold.is_kept`): either it finds it, and then its last write came before everything the collector read, so the
  collector knew; or it does not, and does its work again.
- A collector that is killed leaves its tombstone. It deletes during the first SWEEP_S of its tombstone only, so a
  holder waits LEASE_S from when it first saw it, by its own clock, and then removes it. Another collector takes
  it over when it is older than the grace period.
- A request of a collector that is under way longer than LEASE_S - SWEEP_S would come too late. That this does not
  happen is assumed, as is that the machines' clocks agree far better than the grace period. Should it happen
  nevertheless, the loss is found by every pull (each byte is verified), and publishing the folder again mends it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from zoo import layout
from zoo.errors import Conflict, ObjectMissing
from zoo.identity import signature
from zoo.store import Store, parse_json, read_json, to_json

log = logging.getLogger("zoo")
LEASE_S = 120.0
SWEEP_S = 20.0
REFRESH_S = 300.0
POLL_S = 0.2


@dataclass
class Hold:
    """A hold on one version, from `held`."""

    store: Store
    key: str
    refreshed: float  # time.monotonic()

    def is_kept(self) -> bool:
        """Whether no collector has taken the holder for dead. Ask after the last write that must not be lost."""
        try:
            self.store.get(self.key).read()
        except ObjectMissing:
            return False
        return True

    def refresh(self) -> None:
        """Say, now and then, that the holder is alive. Never makes the hold anew where it has been removed."""
        if time.monotonic() - self.refreshed < REFRESH_S:
            return
        try:
            tag = self.store.get(self.key).tag
            self.store.put_if(self.key, _stamped(), tag)
        except (ObjectMissing, Conflict):
            pass  # `is_kept` will find out
        self.refreshed = time.monotonic()


@contextmanager
def held(store: Store, name: str, digest: str) -> Iterator[Hold]:
    """Keep the collector away from a version while the block runs; waits for one that is at it.

    Where the block fails, the hold stays: it says how old the unfinished version is. A lost compare-and-swap
    leaves nothing unfinished.
    """
    hold = Hold(store, layout.hold_key(name, digest, uuid.uuid4().hex[:12]), time.monotonic())
    store.put(hold.key, _stamped())
    _wait_until_collected(store, name, digest)
    try:
        yield hold
    except Conflict:
        store.delete(hold.key)
        raise
    store.delete(hold.key)


@dataclass
class Tombstone:
    """A collector's claim on one version, from `entomb`."""

    store: Store
    key: str
    since: float  # time.monotonic(), before it was written

    def may_delete(self) -> bool:
        """Whether there is still time; to be asked before every single deletion."""
        return time.monotonic() - self.since < SWEEP_S

    def remove(self) -> None:
        """Let holders go on; after twice the time the tombstone may be another's, and stays."""
        if time.monotonic() - self.since < 2 * SWEEP_S:
            self.store.delete(self.key)


def entomb(store: Store, name: str, digest: str, grace_s: float) -> Tombstone | None:
    """Claim a version for collection, or None where somebody holds it or collects it already.

    The caller now reads, once more, what decides about the version, and then deletes or removes the tombstone.
    """
    key = layout.tombstone_key(name, digest)
    tombstone = Tombstone(store, key, time.monotonic())
    tag = None
    try:
        blob = store.get(key)
        if age_s(parse_json(blob.read(), key)) < grace_s:
            return None
        tag = blob.tag
    except ObjectMissing:
        pass
    try:
        store.put_if(key, _stamped(), tag)
    except Conflict:
        return None
    holds = holds_on(store, name, digest)
    if any(age < grace_s for age in holds.values()):
        tombstone.remove()
        return None
    for hold in holds:
        store.delete(hold)
    return tombstone


def begin_grace(store: Store, name: str, digest: str) -> None:
    """A hold in nobody's name, on files of unknown age: what has not been finished a grace period later, may go."""
    store.put(layout.hold_key(name, digest, "unknown"), _stamped())


def holds_on(store: Store, name: str, digest: str = "") -> dict[str, float]:
    """Key -> age in seconds of the holds on a version, or on all versions of a name."""
    return _ages(store, f"{layout.model_folder(name)}/publishing/", digest)


def tombstones(store: Store, name: str) -> dict[str, float]:
    """Key -> age in seconds of the tombstones of a name."""
    return _ages(store, f"{layout.model_folder(name)}/collecting/", "")


def _ages(store: Store, folder: str, digest: str) -> dict[str, float]:
    ages = {}
    for key in store.list(folder):
        if key.removeprefix(folder).startswith(digest):
            try:
                ages[key] = age_s(read_json(store, key))
            except ObjectMissing:
                continue  # removed meanwhile
    return ages


def age_s(record: dict[str, Any]) -> float:
    """Seconds since a record was signed, by this machine's clock; never negative."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(record["at"])).total_seconds())


def _stamped() -> bytes:
    return to_json({"schema": 1, "nonce": uuid.uuid4().hex, **signature()})


def _wait_until_collected(store: Store, name: str, digest: str) -> None:
    key, nonce, since = layout.tombstone_key(name, digest), "", 0.0
    while True:
        try:
            found = read_json(store, key)["nonce"]
        except ObjectMissing:
            return
        if found != nonce:
            if not nonce:
                log.warning(
                    f"`zoo gc` is just taking version {digest[:12]} of {name} away: waiting, for {LEASE_S:.0f} s at most."
                )
            nonce, since = found, time.monotonic()
        elif time.monotonic() - since > LEASE_S:
            store.delete(key)  # its collector is dead
            return
        time.sleep(POLL_S)
