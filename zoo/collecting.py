"""Take away what nothing needs any more: `zoo gc`. What that is, `zoo.garbage` says.

A version is deleted under a tombstone, after looking again at holds, number records and aliases in that order:
`zoo.holding` explains why nothing that is being published or promoted meanwhile is lost. The manifest goes first,
so that a sweep that is killed leaves no bundle, and the next one finishes it.

Of an old version the number's record stays, marked "collected": numbers are never given twice, a reference to it
gets an answer, and publishing the same bytes again brings it back under its number.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from zoo import bundle, garbage, holding, layout, numbering, store_probe
from zoo.errors import Conflict, RegistryError, StoreError
from zoo.garbage import Garbage
from zoo.identity import signature
from zoo.progress import counted
from zoo.store import Store, open_store, parse_json, sweep, to_json

log = logging.getLogger("zoo")
GRACE_S = 24 * 3600.0
DELETIONS = 8  # at once


def gc(
    pattern: str = "*",
    *,
    delete: bool = False,
    grace_s: float = GRACE_S,
    keep_last: int | None = None,
    store: Store | None = None,
) -> list[Garbage]:
    """Find the garbage of the models whose name matches a shell pattern, and take it away if `delete` says so.

    `grace_s` must be much longer than the machines' clocks may differ, and longer than the largest file takes to
    upload; 0 is for a zoo that nobody else is using. `keep_last` (1 or more) takes old versions away, too. Any
    number of processes may collect, publish and promote at once. Raises StoreError.
    """
    if keep_last is not None and keep_last < 1:
        raise StoreError("The newest version of a model is always kept: give --keep-last 1 or more.")
    if grace_s < 0:
        raise StoreError("The grace period cannot be negative: give --grace 24h, for example.")
    store = store or open_store()
    if delete:
        store_probe.check(store)
    found = []
    for name in counted("looking for garbage", layout.names(store, pattern)):
        for item in garbage.find(store, name, grace_s, keep_last):
            found.append(replace(item, state=_collect(store, item, grace_s)) if delete else item)
    _tell_registry(store, {item.name for item in found if (item.kind, item.state) == ("old version", "gone")})
    if delete and pattern == "*":  # what broke off is not under a model's name
        reason = "an upload that broke off"
        found += [
            Garbage(kind="upload", key=key, reason=reason, state="gone") for key in sweep(store, grace_s)
        ]
    return found


def _tell_registry(store: Store, names: set[str]) -> None:
    """Let MLflow, where one is configured, forget old versions that are gone; its failure undoes nothing."""
    if not names:
        return
    from zoo import registry

    try:
        if client := registry.connect(store):
            for name in sorted(names):
                registry.bring_in_line(client, store, name, every=True)
    except RegistryError as failure:
        log.warning(f"MLflow still shows versions that are gone: {failure} Then run `zoo registry rebuild`.")


def _collect(store: Store, item: Garbage, grace_s: float) -> str:
    """Take one thing away, if that is still right; its new state."""
    if item.kind == "hold":
        store.delete(item.key)
        return "gone"
    if item.kind == "unknown":
        holding.begin_grace(store, item.name, item.digest)
        return "its grace period begins now"
    tombstone = holding.entomb(store, item.name, item.digest, grace_s)
    if tombstone is None:
        return "kept: it is in use"
    try:
        if item.kind == "tombstone":  # it was another's, and is gone with ours
            return "gone"
        if not _is_free(store, item):
            return "kept: it was published or promoted meanwhile"
        return _sweep(store, item.key, tombstone)
    finally:
        tombstone.remove()


def _is_free(store: Store, item: Garbage) -> bool:
    """Whether a version under our tombstone is garbage still; an old version gets its mark here."""
    if item.digest in garbage.ever_held(store, item.name):
        return False
    number = item.number or numbering.find(store, item.name, item.digest)
    if number is None:
        return True
    key = layout.number_key(item.name, number)
    blob = store.get(key)
    record = parse_json(blob.read(), key)
    if record.get("collected"):
        return True
    if item.number is None:
        return False
    try:
        store.put_if(key, to_json({**record, "collected": signature()}), blob.tag)
    except Conflict:
        return False
    return True


def _sweep(store: Store, folder: str, tombstone: holding.Tombstone) -> str:
    """Delete a version's objects while the tombstone lasts."""

    def delete(key: str) -> bool:
        if not tombstone.may_delete():
            return False
        store.delete(key)
        return True

    manifest = folder + bundle.MANIFEST
    files = [key for key in store.list(folder) if key != manifest]
    done = delete(manifest)
    with ThreadPoolExecutor(DELETIONS) as pool:
        done = all(list(pool.map(delete, files))) and done
    return "gone" if done else "gone in part, it took too long: run `zoo gc` again"
