"""Version numbers: given in order, one for each digest, never taken back. Only an import, whose versions keep their
numbers, can leave a gap.

Whoever wants a number for a digest first makes the digest's claim, an object that is written once and says which
number was the last one taken until then: no record up to it has this digest, because none is made without a claim.
From there on it tries one number after the other, and where one is taken looks at who has it. So publishers of the
same bytes meet at the same number, and the same bytes are found again in a few requests, however many versions
there are.
"""

from __future__ import annotations

from typing import Any

from zoo import layout
from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.identity import signature
from zoo.store import Store, parse_json, read_json, to_json

MOST_AT_ONCE = 10_000


def take_number(store: Store, name: str, record: dict[str, Any]) -> int:
    """The number of `record["digest"]`: the one it has, else the next free one, which gets the record."""
    first = _claim(store, name, record["digest"]) + 1
    for number in range(first, first + MOST_AT_ONCE):
        key = layout.number_key(name, number)
        try:
            new = {"schema": 1, "number": number, "claimed": True, **record, **signature()}
            store.put_if(key, to_json(new), None)
            return number
        except Conflict:
            if read_json(store, key)["digest"] == record["digest"]:
                _bring_back(store, key)
                return number
    raise StoreError(
        f"No free version number for {name} was found in {store.url}: is something publishing in a loop?"
    )


def find(store: Store, name: str, digest: str) -> int | None:
    """The number of a digest that was claimed, or None."""
    try:
        number = int(read_json(store, layout.claim_key(name, digest))["after"]) + 1
        while read_json(store, layout.number_key(name, number))["digest"] != digest:
            number += 1
    except ObjectMissing:
        return None
    return number


def _claim(store: Store, name: str, digest: str) -> int:
    """The last number that was taken when this digest was claimed."""
    key = layout.claim_key(name, digest)
    try:
        return int(read_json(store, key)["after"])
    except ObjectMissing:
        pass
    after = _last_without(store, name, digest)
    try:
        store.put_if(key, to_json({"schema": 1, "after": after}), None)
    except Conflict:  # another publisher of the same bytes
        return int(read_json(store, key)["after"])
    return after


def _last_without(store: Store, name: str, digest: str) -> int:
    """The last number taken, all records up to it being of other digests.

    Only records that were made before there were claims need to be read: they come first.
    """
    numbers = layout.numbers(store, name)
    if numbers and not read_json(store, layout.number_key(name, numbers[0])).get("claimed"):
        for record in layout.records(store, name):
            if record["digest"] == digest:
                return int(record["number"]) - 1
    return numbers[-1] if numbers else 0


def _bring_back(store: Store, key: str) -> None:
    """Take the collector's mark from the record of a version that has been published again."""
    while True:
        blob = store.get(key)
        record = parse_json(blob.read(), key)
        if record.pop("collected", None) is None:
            return
        try:
            store.put_if(key, to_json({**record, "again": signature()}), blob.tag)
            return
        except Conflict:
            continue
