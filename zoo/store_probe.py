"""Whether a store's conditional writes work: versions and aliases rest on nothing else.

Some S3-compatible servers ignore If-None-Match and If-Match and answer 200 to every write; some honour them but
not in a race. On such a store two publishers take one version number and two promotions both win, without a word.
The probe tries it on one small object of its own, which also keeps the result for everyone.
"""

from __future__ import annotations

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

from zoo.errors import Conflict, ObjectMissing, StoreError, UnsafeStore
from zoo.store import Store, parse_json, to_json

KEY = "probe/conditional-writes.json"
# A proxy or a server's settings may change under one address, so a result is not believed for ever.
VALID_FOR = timedelta(days=30)
ATTEMPTS = 40  # others may probe at the same time and move the object
RACES, WRITERS = 2, 3

_passed: set[str] = set()  # places this process knows to be sound


def check(store: Store) -> None:
    """Return where the conditional writes of `store` work; raise UnsafeStore where they do not.

    Call it before the first write that relies on `put_if`. It costs nothing the second time in a process, one
    read where anybody probed this store in the last 30 days, and about 20 small requests otherwise. Nothing is
    deleted, and any number of processes may check at once.
    """
    place = _place(store)
    if place in _passed:
        return
    if not _vouched_for(_read(store)[1], place):
        _probe(store, place)
    _passed.add(place)


def _probe(store: Store, place: str) -> None:
    """Try each kind of conditional write on KEY. A write that ought to be refused says "passed": "" and is
    never equal to another, so that where it goes through, the object does not vouch for the store.
    """
    try:
        if _read(store)[0] is None:
            store.put_if(KEY, _state(), None)
    except Conflict:
        pass  # another probe was faster
    _refused(store, None, "an object that exists was made anew (If-None-Match: * is ignored)")
    stale = _replace(store, _state())
    _refused(store, stale, "a state that is gone was replaced (If-Match is ignored)")
    for _ in range(RACES):
        _race(store)
    _replace(store, _state(passed=place))


def _refused(store: Store, tag: str | None, fault: str) -> None:
    try:
        store.put_if(KEY, _state(), tag)
    except Conflict:
        return
    raise _unsafe(store, fault)


def _replace(store: Store, data: bytes) -> str:
    """Replace the present state, as a promotion does, and return the tag of the state that is gone."""
    for _ in range(ATTEMPTS):
        tag, _ = _read(store)
        if tag is None:
            raise _unsafe(store, "an object that was just written is not there")
        try:
            store.put_if(KEY, data, tag)
            return tag
        except Conflict:
            time.sleep(random.uniform(0, 0.1))
    raise _unsafe(store, "replacing the state that was just read is refused (If-Match with the right tag)")


def _race(store: Store) -> None:
    tag, _ = _read(store)
    together = Barrier(WRITERS)

    def won(_: int) -> bool:
        together.wait()
        try:
            store.put_if(KEY, _state(), tag)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        winners = sum(pool.map(won, range(WRITERS)))
    if winners > 1:  # none, where another process's probe came first
        raise _unsafe(store, f"{winners} of {WRITERS} writers at once replaced the same state")


def _read(store: Store) -> tuple[str | None, dict[str, Any]]:
    try:
        blob = store.get(KEY)
        data = blob.read()
        tag = blob.tag
    except ObjectMissing:
        return None, {}
    try:
        return tag, parse_json(data, KEY)
    except StoreError:
        return tag, {}  # not JSON: it vouches for nothing, and is replaced


def _state(passed: str = "") -> bytes:
    return to_json(
        {"schema": 1, "passed": passed, "at": datetime.now(UTC).isoformat(), "nonce": uuid.uuid4().hex}
    )


def _vouched_for(state: dict[str, Any], place: str) -> bool:
    """Whether the object says so, of this very place (buckets are copied to other servers), and not long ago."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(str(state["at"]))
        return state["passed"] == place and timedelta(0) <= age + timedelta(minutes=5) <= VALID_FOR
    except (KeyError, ValueError, TypeError):
        return False


def _place(store: Store) -> str:
    return f"{store.url} at {getattr(store, 'endpoint', None) or 'its own address'}"


def _unsafe(store: Store, fault: str) -> UnsafeStore:
    return UnsafeStore(
        f"{_place(store)} has no working conditional writes: {fault}. Versions and aliases would be lost there: use "
        "a server that supports If-Match and If-None-Match on PUT (AWS S3, SeaweedFS 4, MinIO, Ceph 19), take away a "
        "proxy that strips these headers, or set LATENTACT_ZOO to another store."
    )
