"""Looks of the gate: which candidates were compared with a champion, in order, and what came of it.

models/<name>/gate/<champion's digest>/looks.json               candidates' digests, in order; compare-and-swap
models/<name>/gate/<champion's digest>/<candidate's digest>.json  one look: its place, its verdict; written once

A look is counted before it is taken: whoever dies in between has used up its place, and the same candidate finds it
again. So no two candidates ever have the same place, and no comparison is forgotten, also where it was refused.
"""

from __future__ import annotations

import random
import time
from typing import Any

from zoo import gate, layout
from zoo.errors import Conflict, ObjectMissing
from zoo.identity import signature
from zoo.names import DEFAULT_ALIAS, Reference, check_alias, parse_name
from zoo.store import Store, open_store, parse_json, read_json, to_json

ATTEMPTS = 40


def count(store: Store, name: str, champion: str, candidate: str) -> int:
    """The candidate's place among those compared with this champion, from 1: a new one, or the one it has.

    `champion` and `candidate` are digests. Raises Conflict where too many are compared at once.
    """
    key = _key(name, champion, "looks")
    for attempt in range(ATTEMPTS):
        try:
            blob = store.get(key)
            tag, candidates = blob.tag, list(parse_json(blob.read(), f"{store.url}/{key}")["candidates"])
        except ObjectMissing:
            tag, candidates = None, []
        if candidate in candidates:
            return int(candidates.index(candidate)) + 1
        candidates.append(candidate)
        try:
            store.put_if(key, to_json({"schema": 1, "candidates": candidates}), tag)
            return len(candidates)
        except Conflict:
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))
    raise Conflict(f"Too many are compared with the champion of {name} at once: try again in a moment.")


def keep(store: Store, name: str, champion: str, candidate: str, number: int, verdict: gate.Verdict) -> None:
    """Put a look at a candidate, version `number`, on record, unless it is there: the first time counts."""
    record = {
        "schema": 1, "look": verdict.look, "champion": champion, "candidate": candidate, "number": number,
        "verdict": verdict.to_json(), **signature(),
    }  # fmt: skip
    try:
        store.put_if(_key(name, champion, candidate), to_json(record), None)
    except Conflict:
        pass  # looked at before


def looks(name: str, alias: str = DEFAULT_ALIAS, *, store: Store | None = None) -> list[dict[str, Any]]:
    """What is on record about the candidates that were compared with the present holder of an alias, in order.

    Each has `look`, `candidate` (its digest), `number`, `verdict`, `by` and `at`; a comparison that died before its
    verdict was written has `look` and `candidate` alone. Raises UnknownModel, BadName, StoreError.
    """
    parse_name(name)
    check_alias(alias)
    store = store or open_store()
    _, champion = layout.resolve(store, Reference(name, alias=alias))
    try:
        candidates = read_json(store, _key(name, champion, "looks"))["candidates"]
    except ObjectMissing:
        return []
    found = []
    for place, candidate in enumerate(candidates, 1):
        try:
            found.append(read_json(store, _key(name, champion, candidate)))
        except ObjectMissing:
            found.append({"look": place, "candidate": candidate})
    return found


def _key(name: str, champion: str, which: str) -> str:
    return f"{layout.model_folder(name)}/gate/{champion}/{which}.json"
