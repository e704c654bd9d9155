"""Publish a folder as the next version of a model."""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo import bundle, gate, layout
from zoo.errors import Conflict, DamagedBundle, ObjectMissing, RegistryError, StoreError
from zoo.store import Store, open_store, read_json, to_json

log = logging.getLogger("zoo")
UPLOADS = 4  # files at once; each large one uses several connections of its own


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
    failure does not undo the version, and `zoo register NAME` repairs it.

    Raises BadName, BundleError (PickleRefused among them), StoreError.
    """
    folder = Path(folder)
    manifest = bundle.make_manifest(folder)
    bundle.check_name(name, bundle.read_json_file(folder, bundle.CONFIG))
    metrics = bundle.read_json_file(folder, bundle.METRICS)
    gate.check_clips(metrics)
    store = store or open_store()

    digest = manifest.digest
    top = layout.version_folder(name, digest)
    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(lambda file: _upload(store, top, folder, file), manifest.files))
    store.put(f"{top}/{bundle.MANIFEST}", manifest.to_bytes())  # the same bytes, whoever writes them
    record = {
        "digest": digest,
        "tags": {key: str(value) for key, value in (tags or {}).items()},
        "figures": _figures(metrics),
    }
    version = _allocate(store, name, record)

    error = ""
    try:
        from zoo import registry

        registry.mirror(store, name)
    except RegistryError as failure:
        error = f"{name}@{version} is published, but MLflow does not show it: {failure} Then run `zoo register {name}`."
        log.warning(error)
    return Published(
        name=name, version=version, digest=digest, url=f"{store.url}/{top}", registry_error=error
    )


def signature() -> dict[str, str]:
    """Who does something now, for the records in the store."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        user = "unknown"
    return {"by": user, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}


def _upload(store: Store, top: str, folder: Path, file: bundle.File) -> None:
    """Upload one file unless it is there, and read it back: some servers store a damaged body without a
    word.
    """
    key = f"{top}/{file.path}"
    if _stored_digest(store, key) == file.sha256:
        return
    store.put(key, bundle.MLMODEL_TEXT.encode() if file.path == bundle.MLMODEL else folder / file.path)
    if _stored_digest(store, key) != file.sha256:
        raise DamagedBundle(
            f"{store.url}/{key} came back with other bytes than '{folder / file.path}': if the file is still being "
            "written, wait; else publish again."
        )


def _stored_digest(store: Store, key: str) -> str | None:
    digest = hashlib.sha256()
    try:
        for chunk in store.get(key).chunks:
            digest.update(chunk)
    except ObjectMissing:
        return None
    return digest.hexdigest()


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
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


def _allocate(store: Store, name: str, record: dict[str, Any]) -> int:
    """The version number of a digest: the one it has, else the next free one.

    Numbers are given in order and never taken back, so whoever finds a number taken looks at who has it and
    goes on by one; two publishers of one digest meet at the same number.
    """
    last = 0
    for known in layout.records(store, name):
        last = int(known["number"])
        if known["digest"] == record["digest"]:
            return last
    for number in range(last + 1, last + 10_000):
        key = layout.number_key(name, number)
        try:
            store.put_if(key, to_json({"schema": 1, "number": number, **record, **signature()}), None)
            return number
        except Conflict:
            if read_json(store, key)["digest"] == record["digest"]:
                return number
    raise StoreError(
        f"No free version number for {name} was found in {store.url}: is something publishing in a loop?"
    )
