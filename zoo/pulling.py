"""Pull a model into the cache of this machine (`zoo.cache` says how that is laid out)."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from zoo import bundle, layout, settings
from zoo.cache import (
    blob_path,
    is_verified,
    is_whole,
    recall,
    remember,
    staging,
    stamp_use,
    version_path,
)
from zoo.download import download
from zoo.errors import CacheError, DamagedBundle, ObjectMissing, Offline
from zoo.names import Reference, parse_reference
from zoo.store import Store, open_store

ATTEMPTS = 20  # beside prunes that take away again what a pull brings


def pull(reference: str, *, store: Store | None = None) -> Path:
    """The folder of `name[@version|@alias]` (by default the champion), downloaded and verified where needed.

    A version that is in the cache costs one request, for an alias, or none, for a number; with
    LATENTACT_OFFLINE=1 always none. A download that breaks is taken up by the next pull. The folder is shared:
    read it, do not write to it; `zoo cache prune` leaves it alone for ten minutes after each pull.

    Raises BadName, UnknownModel, DamagedBundle, StoreError (CacheError for the disk of this machine), Offline.
    """
    wanted = parse_reference(reference)
    digest = _cached_digest(wanted, store)
    if digest is None:
        if settings.offline():
            raise Offline(
                f"{wanted} is not in the cache, and LATENTACT_OFFLINE forbids downloading it: unset that, pull once, "
                "and set it again."
            )
        store = store or open_store()
        number, digest = layout.resolve(store, wanted)
        remember(store.url, wanted, number, digest)
        remember(store.url, Reference(wanted.name, version=number), number, digest)
    stamp_use(digest)  # first, so that a prune that looks between these two lines knows
    if is_whole(digest):
        return version_path(digest)
    if settings.offline():
        raise Offline(
            f"{wanted} is incomplete in the cache, and LATENTACT_OFFLINE is set: unset it and pull again."
        )
    return _bring(store or open_store(), wanted.name, digest)


def _cached_digest(wanted: Reference, store: Store | None) -> str | None:
    """What the reference meant last time, where that is still good: a number for ever, an alias only
    offline.
    """
    if wanted.alias is not None and not settings.offline():
        return None
    return recall(store.url if store else settings.zoo_url().rstrip("/"), wanted)


def _bring(store: Store, name: str, digest: str) -> Path:
    """Fetch what is missing of a version and put its folder together."""
    try:
        manifest = layout.read_manifest(store, name, digest)
    except ObjectMissing:
        raise DamagedBundle(
            f"Version {digest[:12]} of {name} has no manifest in {store.url}: publish it again."
        ) from None
    for _ in range(ATTEMPTS):
        wanted = [file for file in manifest.files if not is_verified(blob_path(file.sha256), file)]
        download(store, layout.version_folder(name, digest), wanted)
        with suppress(FileNotFoundError):  # a prune took a blob between these two lines: fetch it again
            _assemble(manifest)
        if is_whole(digest):
            stamp_use(digest)
            return version_path(digest)
    raise CacheError(
        f"'{version_path(digest)}' does not stay in the cache: is something else deleting files there? Stop it, and "
        "pull again."
    )


def _assemble(manifest: bundle.Manifest) -> None:
    """Make a version's folder out of blobs. Raises FileNotFoundError where one of them is gone."""
    folder = version_path(manifest.digest)
    with staging() as temporary:
        for file in manifest.files:
            path = temporary / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(blob_path(file.sha256), path)
            bundle.check_file(path, file.path)
        (temporary / bundle.MANIFEST).write_bytes(manifest.to_bytes())
        folder.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            # The name may be taken, by another process that was faster, or by a damaged folder.
            with suppress(OSError):
                os.rename(temporary, folder)
            if is_whole(manifest.digest):
                return
            shutil.rmtree(folder, ignore_errors=True)


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copy2(blob, path)
