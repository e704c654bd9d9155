"""The states of an alias: the present one, moved by compare-and-swap, and the log of all that were.

The alias object holds the whole move, so that one write makes it and puts it on record. Its copy in the log is
written after; where its mover died in between, the next mover writes it before it moves on.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zoo import bundle, layout, records
from zoo.errors import Conflict, DamagedBundle, ObjectMissing
from zoo.holding import held
from zoo.identity import signature
from zoo.names import DEFAULT_ALIAS, check_alias, parse_name, unknown_model
from zoo.store import Store, open_store, parse_json, read_json, to_json

State = dict[str, Any]
ATTEMPTS = 20
LISTED = ("figures", "tags", "by", "publisher", "at")  # fields of a version's record


def history(name: str, alias: str = DEFAULT_ALIAS, *, store: Store | None = None) -> list[State]:
    """Every state that an alias has had, oldest first; empty for an alias that was never set.

    Each has `sequence`, `number`, `digest`, `previous`, `how` (promotion, forced, rollback), `reason`, `verdict`, `by`
    and `at`. Raises UnknownModel, BadName, StoreError.
    """
    parse_name(name)
    check_alias(alias)
    store = store or open_store()
    _, current = present(store, name, alias)
    keys = [
        key
        for key in store.list(f"{layout.model_folder(name)}/log/")
        if key.rsplit("/", 1)[1].rpartition("-")[0] == alias
    ]
    if current is None and not keys and not layout.numbers(store, name):
        raise unknown_model(name, layout.names(store))
    with ThreadPoolExecutor(8) as pool:
        states = dict(zip(keys, pool.map(lambda key: read_json(store, key), keys), strict=True))
    if current is not None:
        states[layout.log_key(name, alias, current["sequence"])] = current
    return [_shown(states[key]) for key in sorted(states)]


def attempts(name: str, alias: str) -> Iterator[None]:
    """Turns at moving an alias that others move too, each after a pause. Raises Conflict after the last."""
    for attempt in range(ATTEMPTS):
        yield
        time.sleep(random.uniform(0, 0.05 * (attempt + 1)))  # the more there are, the longer
    raise Conflict(f"The alias '{alias}' of {name} is being moved by many at once: try again in a moment.")


def present(store: Store, name: str, alias: str) -> tuple[str | None, State | None]:
    """The tag and the content of the alias object; None for both where there is none."""
    key = layout.alias_key(name, alias)
    try:
        blob = store.get(key)
        data = blob.read()
    except ObjectMissing:
        return None, None
    where = f"{store.url}/{key}"
    return blob.tag, records.checked(parse_json(data, where), where)


def past(store: Store, name: str, current: State, sequence: int) -> State | None:
    """The state with this sequence number, at or before `current`; None where there is none."""
    if sequence == current["sequence"]:
        return current
    try:
        return read_json(store, layout.log_key(name, current["alias"], sequence))
    except ObjectMissing:
        return None


def move(
    store: Store,
    name: str,
    alias: str,
    *,
    seen: tuple[str | None, State | None],
    number: int,
    digest: str,
    how: str,
    reason: str | None,
    **more: Any,
) -> State:
    """Move an alias on from the state `seen` (of `present`) to a version that is whole; returns its new state.

    Raises Conflict where the alias is in that state no longer, DamagedBundle where files of the version are missing.
    """
    tag, current = seen
    record = read_json(store, layout.number_key(name, number))
    state = {
        "schema": 1,
        "alias": alias,
        "number": number,
        "digest": digest,
        "sequence": current["sequence"] + 1 if current else 1,
        "previous": {"number": current["number"], "digest": current["digest"]} if current else None,
        "how": how,
        "reason": reason,
        # What a listing shows of the version, which never changes: `zoo ls` has it without another request.
        "record": {field: record[field] for field in LISTED if field in record},
        "nonce": uuid.uuid4().hex,  # no two moves have equal bytes, so a state never comes back unnoticed
        **more,
        **signature(),
    }
    with held(store, name, digest) as hold:  # `zoo gc` leaves the version alone
        check_whole(store, name, number, digest)
        if current is not None:
            _complete_log(store, name, current)
        store.put_if(layout.alias_key(name, alias), to_json(state), tag)
        kept = hold.is_kept()
    _log(store, name, state)
    if not kept:  # this process was held up for a day in there, and its version may have been collected
        check_whole(store, name, number, digest)
    return state


def check_whole(store: Store, name: str, number: int, digest: str) -> None:
    """Raise DamagedBundle, which names them, if files of a version are missing in the store, CollectedVersion if
    `zoo gc` took it away.
    """
    folder = layout.version_folder(name, digest)
    layout.refuse_collected(f"{name}@{number}", read_json(store, layout.number_key(name, number)))
    try:
        manifest = layout.read_manifest(store, name, digest)
    except ObjectMissing:
        missing = [bundle.MANIFEST]
    else:
        there = set(store.list(f"{folder}/"))
        missing = [file.path for file in manifest.files if f"{folder}/{file.path}" not in there]
    if missing:
        raise DamagedBundle(
            f"{name}@{number} is not whole in {store.url}: it lacks {', '.join(missing[:5])}"
            f"{' ...' if len(missing) > 5 else ''}. Publish its folder again, or choose another version."
        )


def _shown(state: State) -> State:
    """States that were written before there was a rollback named their reason `forced`."""
    forced = state.get("forced")
    return {"how": "forced" if forced else "promotion", "reason": forced, **state}


def _complete_log(store: Store, name: str, state: State) -> None:
    """Log a state whose mover may have died before he did; to read first is cheaper than a write that is refused."""
    try:
        store.get(layout.log_key(name, state["alias"], state["sequence"])).read()
    except ObjectMissing:
        _log(store, name, state)


def _log(store: Store, name: str, state: State) -> None:
    store.put_if(layout.log_key(name, state["alias"], state["sequence"]), to_json(state), None)
