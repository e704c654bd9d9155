"""Pull a model into the cache of this machine.

    $LATENTACT_HOME/cache/blobs/<sha256>                    a file's bytes, once for all versions that share them
    $LATENTACT_HOME/cache/versions/<digest>/...             a bundle, hard links to its blobs
    $LATENTACT_HOME/cache/refs/<store>/<name>/<ref>.json    what a version number or an alias meant last

Many processes share it without locks: everything is made under a unique temporary name and then renamed, and
every name but an alias's is the name of its content.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo import bundle, layout, settings
from zoo.errors import DamagedBundle, ObjectMissing, Offline, StoreError, ZooError
from zoo.names import Reference, parse_reference
from zoo.store import Store, open_store, parse_json, to_json

DOWNLOADS = 4
# A verified blob gets this modification time; whatever writes to it later moves the time, and it is read again.
VERIFIED_NS = 1_000_000_000


def pull(reference: str, *, store: Store | None = None) -> Path:
    """The folder of `name[@version|@alias]` (by default the champion), downloaded and verified where needed.

    A version that is in the cache costs one request, for an alias, or none, for a number; with
    LATENTACT_OFFLINE=1 always none. The folder is shared: read it, do not write to it.

    Raises BadName, UnknownModel, DamagedBundle, StoreError, Offline.
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
        _remember(store.url, wanted, number, digest)
        _remember(store.url, Reference(wanted.name, version=number), number, digest)
    folder = cache() / "versions" / digest
    if _is_whole(folder, digest):
        return folder
    if settings.offline():
        raise Offline(
            f"{wanted} is incomplete in the cache, and LATENTACT_OFFLINE is set: unset it and pull again."
        )
    return _download(store or open_store(), wanted.name, digest, folder)


def cache() -> Path:
    """The cache folder."""
    return settings.home() / "cache"


def _cached_digest(wanted: Reference, store: Store | None) -> str | None:
    """What the reference meant last time, where that is still good: a number for ever, an alias only
    offline.
    """
    if wanted.alias is not None and not settings.offline():
        return None
    path = _ref_path(store.url if store else settings.zoo_url().rstrip("/"), wanted)
    try:
        return str(parse_json(path.read_bytes(), str(path))["digest"])
    except (OSError, StoreError, KeyError):
        return None


def _ref_path(url: str, reference: Reference) -> Path:
    place = f"{settings.environment().get('AWS_ENDPOINT_URL', '')} {url}"
    store_id = hashlib.sha256(place.encode()).hexdigest()[:16]
    return cache() / "refs" / store_id / reference.name / f"{str(reference).partition('@')[2]}.json"


def _remember(url: str, reference: Reference, number: int, digest: str) -> None:
    path = _ref_path(url, reference)
    with _staging() as temporary:
        temporary.write_bytes(to_json({"number": number, "digest": digest}))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)


def _is_whole(folder: Path, digest: str) -> bool:
    """Whether the cached bundle is complete and unchanged since it was verified."""
    try:
        manifest = bundle.parse_manifest((folder / bundle.MANIFEST).read_bytes(), digest)
        return all(_is_verified(folder / file.path, file) for file in manifest.files)
    except (OSError, ZooError):
        return False


def _is_verified(path: Path, file: bundle.File) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return state.st_size == file.size and (
        state.st_mtime_ns == VERIFIED_NS or bundle.file_digest(path) == file.sha256
    )


def _download(store: Store, name: str, digest: str, folder: Path) -> Path:
    """Fetch what is missing of a version and put its folder together."""
    try:
        manifest = layout.read_manifest(store, name, digest)
    except ObjectMissing:
        raise DamagedBundle(
            f"Version {digest[:12]} of {name} has no manifest in {store.url}: publish it again."
        ) from None
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        list(pool.map(lambda file: _fetch(store, layout.version_folder(name, digest), file), manifest.files))
    with _staging() as temporary:
        for file in manifest.files:
            path = temporary / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(cache() / "blobs" / file.sha256, path)
            bundle.refuse_pickle(path, file.path)
        (temporary / bundle.MANIFEST).write_bytes(manifest.to_bytes())
        folder.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            with suppress(
                OSError
            ):  # the name is taken: by another process that was faster, or by a damaged folder
                os.rename(temporary, folder)
            if _is_whole(folder, digest):
                return folder
            shutil.rmtree(folder, ignore_errors=True)
    raise StoreError(f"'{folder}' cannot be written: check the permissions and the free space of the cache.")


def _fetch(store: Store, top: str, file: bundle.File) -> None:
    """Bring one blob into the cache, verified."""
    blob = cache() / "blobs" / file.sha256
    if _is_verified(blob, file):
        return
    digest, size = hashlib.sha256(), 0
    with _staging() as temporary:
        with open(temporary, "wb") as out:
            for chunk in store.get(f"{top}/{file.path}").chunks:
                digest.update(chunk)
                size += len(chunk)
                if size > file.size:
                    break
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if size != file.size or digest.hexdigest() != file.sha256:
            raise DamagedBundle(
                f"{store.url}/{top}/{file.path} does not have the bytes its manifest promises; nothing was kept. "
                "Publish the bundle again, or pull another version."
            )
        temporary.chmod(0o444)
        os.utime(temporary, ns=(VERIFIED_NS, VERIFIED_NS))
        blob.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, blob)


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except OSError:  # a file system without hard links
        shutil.copy2(blob, path)


@contextmanager
def _staging() -> Iterator[Path]:
    """A unique path inside the cache, gone afterwards if it was not renamed."""
    temporary = cache() / "tmp" / uuid.uuid4().hex
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        raise StoreError(
            f"The cache '{cache()}' cannot be written ({error.strerror}): check space and permissions."
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
