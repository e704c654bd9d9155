"""Publish a folder as the next version of a model."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import bundle, gate, holding, layout, numbering, store_probe
from zoo.errors import DamagedBundle, ObjectMissing, RegistryError, StoreError
from zoo.progress import transfer_bar
from zoo.store import Store, open_store

log = logging.getLogger("zoo")
UPLOADS = 4  # files at once; each large one uses several connections of its own
ATTEMPTS = 5  # of a publisher whose hold `zoo gc` keeps removing


@dataclass(frozen=True, kw_only=True)
class Published:
    """What `publish` made, or found already there. `registry_error` is empty where MLflow shows it too."""

    name: str
    version: int
    digest: str
    url: str
    registry_error: str = ""


def publish(
    name: str,
    folder: str | os.PathLike[str],
    *,
    tags: Mapping[str, str] | None = None,
    store: Store | None = None,
) -> Published:
    """Publish the bundle in `folder` (model.safetensors, config.json, metrics.json, card.md) under `name`.

    Idempotent: the same bytes keep their version, and an interrupted publish is taken up again. The name must
    say what config.json says about data, setting and mode. MLflow, where one is configured, is told last; its
    failure does not undo the version, and `zoo registry rebuild NAME` repairs it.

    Raises BadName, BundleError (PickleRefused among them), StoreError.
    """
    folder = Path(folder)
    manifest = bundle.make_manifest(folder)
    bundle.check_name(name, bundle.read_json_file(folder, bundle.CONFIG))
    metrics = bundle.read_json_file(folder, bundle.METRICS)
    gate.check_clips(metrics)
    store = store or open_store()
    record = {
        "tags": {key: str(value) for key, value in (tags or {}).items()},
        "figures": listed_figures(metrics),
    }
    version = store_version(store, name, folder, manifest, record)
    if error := mirrored(store, name, f"{name}@{version} is published"):
        log.warning(error)
    return Published(
        name=name,
        version=version,
        digest=manifest.digest,
        registry_error=error,
        url=f"{store.url}/{layout.version_folder(name, manifest.digest)}",
    )


def mirrored(store: Store, name: str, done: str) -> str:
    """Show the versions in MLflow, where one is configured; what went wrong, after `done`, which stays, or nothing."""
    from zoo import registry

    try:
        registry.mirror(store, name)
    except (RegistryError, StoreError) as failure:
        return f"{done}, but MLflow does not show it: {failure} Then run `zoo registry rebuild {name}`."
    return ""


def store_version(
    store: Store, name: str, folder: Path, manifest: bundle.Manifest, record: Mapping[str, Any]
) -> int:
    """Put a checked bundle into the store and return its number: the one it has, else a new one.

    The files of `manifest`, in `folder`, first, each read back; the manifest last; then the number's record, which
    gets `record` ({"tags", "figures"}), the digest and the publisher's signature. What is there already is not
    sent again. Any number of publishers, of the same bytes or others, may do this at once, and `zoo gc` too.

    Raises DamagedBundle where a file does not arrive whole, UnsafeStore, StoreError.
    """
    store_probe.check(store)
    top = layout.version_folder(name, manifest.digest)
    for _ in range(ATTEMPTS):
        with holding.held(store, name, manifest.digest) as hold:
            _upload_all(store, top, folder, manifest, hold)
            if not hold.is_kept():
                continue
            number = numbering.take_number(store, name, {**record, "digest": manifest.digest})
            if hold.is_kept():
                return number
    raise StoreError(
        f"`zoo gc` took unfinished files of {name} away {ATTEMPTS} times while they were being published: compare the "
        "clocks of the machines, and give it a longer --grace."
    )


def _upload_all(store: Store, top: str, folder: Path, manifest: bundle.Manifest, hold: holding.Hold) -> None:
    """All files, several at once, then the manifest: the same bytes, whoever writes them."""
    # What publishing adds to a bundle may not be in the folder.
    whole = all((folder / file.path).is_file() for file in manifest.files)
    added = {} if whole else bundle.added(folder)
    with transfer_bar("upload and check", 2 * manifest.size) as advance, ThreadPoolExecutor(UPLOADS) as pool:

        def upload(file: bundle.File) -> None:
            _upload(store, top, folder, file, added, advance)
            hold.refresh()

        list(pool.map(upload, manifest.files))
    store.put(f"{top}/{bundle.MANIFEST}", manifest.to_bytes())


def _upload(
    store: Store,
    top: str,
    folder: Path,
    file: bundle.File,
    added: Mapping[str, bytes],
    advance: Callable[[int], None],
) -> None:
    """Upload one file unless it is there, and read it back: some servers store a damaged body without a
    word.
    """
    key, local = f"{top}/{file.path}", folder / file.path
    if _stored_digest(store, key) == file.sha256:
        advance(2 * file.size)
        return
    store.put(key, added.get(file.path, local), sent=advance)
    if _stored_digest(store, key, advance) != file.sha256:
        raise DamagedBundle(
            f"{store.url}/{key} came back with other bytes than '{local}': if the file is still being "
            "written, wait; else publish again."
        )


def _stored_digest(store: Store, key: str, advance: Callable[[int], None] = lambda count: None) -> str | None:
    digest = hashlib.sha256()
    try:
        for chunk in store.get(key).chunks:
            digest.update(chunk)
            advance(len(chunk))
    except ObjectMissing:
        return None
    return digest.hexdigest()


def listed_figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The few figures that a listing shows, out of the summaries of the parts."""
    figures = {}
    for part in ("val", "test"):
        values = metrics.get(part, {})
        for metric in ("mpjpe_cm", "contact_f1"):
            value = values.get("metrics", values).get(metric)
            value = value.get("estimate") if isinstance(value, dict) else value
            if isinstance(value, int | float):
                figures[f"{part}_{metric}"] = float(value)
    return figures
