"""What of a model nothing needs any more. Only found here; `zoo.collecting` decides again, safely, and deletes.

Kept is every version that has a number or that an alias names. Garbage is:

- unfinished: files of a version that never got its number, whose publisher was last heard of before the grace
  period. Where nobody knows when that was, the grace period begins with the first `zoo gc --delete` that sees them;
- old version: with `keep_last`, a version that is not among the newest ones, was published before the grace period
  and that no alias holds or ever held, so that every rollback stays possible;
- rest: what a collector that was killed left of a version;
- hold, tombstone: what killed publishers and collectors left of their own marks;
- upload: what broke off before it became an object (`zoo.store.sweep`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zoo import holding, layout
from zoo.store import Store, read_json


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Something that may go. `state` is "would go", "gone", or why it is still there."""

    kind: str  # unfinished, unknown, old version, rest, hold, tombstone, upload
    key: str  # of an object, or of a folder with / at its end
    reason: str
    name: str = ""  # of the model; an upload has none
    objects: int = 1
    digest: str = ""
    number: int | None = None
    state: str = "would go"


def find(store: Store, name: str, grace_s: float, keep_last: int | None) -> Iterator[Garbage]:
    """The garbage of one model, as it looks now."""
    folder = f"{layout.model_folder(name)}/versions/"
    # In this order: files that a publisher makes now come after its hold, and the hold goes after the record is there.
    objects = Counter(key.removeprefix(folder).split("/")[0] for key in store.list(folder))
    holds = holding.holds_on(store, name)
    tombstones = holding.tombstones(store, name)
    records = list(layout.records(store, name))
    kept = {record["digest"] for record in records if not record.get("collected")}
    collected = {record["digest"] for record in records} - kept
    kept |= {state["digest"] for state in layout.aliases(store, name).values()}

    heard_s: dict[str, list[float]] = defaultdict(list)
    for key, age_s in {**holds, **tombstones}.items():
        heard_s[layout.marked_digest(key)].append(age_s)
    going = set()
    for digest, count in objects.items():
        if digest in kept or (heard_s[digest] and min(heard_s[digest]) < grace_s):
            continue
        going.add(digest)
        if digest in collected:
            kind, reason = "rest", "the rest of a version that was collected"
        elif heard_s[digest]:
            kind = "unfinished"
            reason = f"never finished, its publisher was last heard of {ago(min(heard_s[digest]))} ago"
        else:
            kind, reason = "unknown", "nobody knows since when: its grace period begins with --delete"
        yield Garbage(
            name=name, kind=kind, key=f"{folder}{digest}/", objects=count, digest=digest, reason=reason
        )
    for kind, marks in (("hold", holds), ("tombstone", tombstones)):
        for key, age_s in marks.items():
            if age_s >= grace_s and layout.marked_digest(key) not in going:
                digest, reason = layout.marked_digest(key), f"left behind {ago(age_s)} ago"
                yield Garbage(name=name, kind=kind, key=key, digest=digest, reason=reason)
    if keep_last is not None:
        yield from _old_versions(store, name, records, objects, grace_s, keep_last)


def _old_versions(
    store: Store,
    name: str,
    records: list[dict[str, Any]],
    objects: Counter[str],
    grace_s: float,
    keep_last: int,
) -> Iterator[Garbage]:
    needed = ever_held(store, name)
    for record in [record for record in records if not record.get("collected")][:-keep_last]:
        digest, age_s = record["digest"], holding.age_s(record.get("again", record))
        if digest not in needed and age_s >= grace_s:
            yield Garbage(
                name=name, kind="old version", number=int(record["number"]), digest=digest,
                key=f"{layout.version_folder(name, digest)}/", objects=objects[digest],
                reason=f"version {record['number']}, {ago(age_s)} old, was never under an alias",
            )  # fmt: skip


def ever_held(store: Store, name: str) -> set[str]:
    """The digests that an alias of the model holds, or held at any time."""
    log = list(store.list(f"{layout.model_folder(name)}/log/"))
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda key: read_json(store, key), log))
    return {state["digest"] for state in [*states, *layout.aliases(store, name).values()]}


def ago(seconds: float) -> str:
    """A length of time as people say it: "3 days"."""
    for unit, length_s in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}s"
    return f"{seconds:.0f} seconds"
