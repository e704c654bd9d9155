"""Stores as dead publishers and collectors leave them, and whether what is left is whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from zoo_bundles import write_bundle

import zoo
from zoo import bundle, layout, numbering
from zoo.names import parse_name
from zoo.store import Store, read_json, to_json


def publish(store: Store, name: str, folder: Path, seed: int = 0) -> zoo.publishing.Published:
    """Publish small random weights; the folder is made where it is not there."""
    top = folder / f"bundle-{seed}"
    if not top.exists():
        write_bundle(top, seed=seed, data=parse_name(name).data)
    return zoo.publish(name, top, store=store)


def die_before_the_number(store: Store, name: str, folder: Path, seed: int = 0) -> str:
    """A publisher that is killed when everything is uploaded; the digest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbering, "take_number", _killed)
        with pytest.raises(KeyboardInterrupt):
            publish(store, name, folder, seed)
    return bundle.make_manifest(folder / f"bundle-{seed}").digest


def let_pass(store: Store, folder: str, *, hours: float) -> None:
    """Make everything that was signed in a folder of the store older."""
    for key in store.list(folder):
        record = read_json(store, key)
        then = datetime.fromisoformat(record["at"]) - timedelta(hours=hours)
        store.put(key, to_json({**record, "at": then.astimezone(UTC).isoformat()}))


def files(store: Store, name: str, digest: str) -> list[str]:
    """What the store holds of a version."""
    folder = layout.version_folder(name, digest) + "/"
    return [key.removeprefix(folder) for key in store.list(folder)]


def _killed(*args: object) -> int:
    raise KeyboardInterrupt
