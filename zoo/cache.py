"""The cache of this machine: verified bytes of models, shared by all its processes.

    <cache>/blobs/<sha256>                    a file's bytes, once for all versions that share them
    <cache>/versions/<digest>/...             a bundle, hard links to its blobs
    <cache>/refs/<store>/<name>/<ref>.json    what a version number or an alias meant last
    <cache>/used/<digest>                     empty; its modification time says when the version was last pulled
    <cache>/partial/<sha256>/                 downloads that are under way, or were broken off (`zoo.download`)

<cache> is $LATENTACT_ZOO_CACHE, else $LATENTACT_HOME/cache. It holds what was downloaded; what training computes
(features, clips in memory layout) lies in $LATENTACT_CACHE, apart from it, so that a cache of models can be shared
by a team, read-only for most of it.

Correctness rests on no lock: everything is made under a unique temporary name and then renamed, and every name
but an alias's is the name of its content.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo import bundle, settings
from zoo.errors import CacheError, StoreError, ZooError
from zoo.names import Reference
from zoo.store import parse_json, to_json

# A verified blob that is on disk gets this modification time; whatever writes to it later moves the time, and it is
# read again. Until it is on disk its time names this boot of the machine (`_boot_ns`): should the power fail in
# between, it is read again after the next boot.
VERIFIED_NS = 1_000_000_000


def cache() -> Path:
    """The cache folder."""
    own = os.environ.get("LATENTACT_ZOO_CACHE")
    return Path(own).expanduser() if own else settings.home() / "cache"


def blob_path(sha256: str) -> Path:
    return cache() / "blobs" / sha256


def version_path(digest: str) -> Path:
    return cache() / "versions" / digest


def used_path(digest: str) -> Path:
    return cache() / "used" / digest


def ref_path(url: str, reference: Reference) -> Path:
    """Where the cache keeps what `reference` meant in the store at `url`."""
    place = f"{settings.s3_endpoint(settings.environment()) or ''} {url}"
    store_id = hashlib.sha256(place.encode()).hexdigest()[:16]
    return cache() / "refs" / store_id / reference.name / f"{str(reference).partition('@')[2]}.json"


def recall(url: str, reference: Reference) -> str | None:
    """The digest that a reference meant last, or None."""
    path = ref_path(url, reference)
    try:
        return str(parse_json(path.read_bytes(), str(path))["digest"])
    except (OSError, StoreError, KeyError):
        return None


def remember(url: str, reference: Reference, number: int, digest: str) -> None:
    """Keep what a reference means. A cache that cannot be written keeps nothing, and that is no error here."""
    path, data = ref_path(url, reference), to_json({"number": number, "digest": digest})
    with suppress(OSError, CacheError):
        if path.is_file() and path.read_bytes() == data:
            return
        with staging() as temporary:
            temporary.write_bytes(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)


def stamp_use(digest: str) -> None:
    """Note that a version is being used now, for `zoo cache prune`. A read-only cache is left as it is."""
    path = used_path(digest)
    with suppress(OSError):
        try:
            os.utime(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def is_whole(digest: str) -> bool:
    """Whether a cached version is complete and unchanged since it was verified."""
    folder = version_path(digest)
    try:
        manifest = bundle.parse_manifest((folder / bundle.MANIFEST).read_bytes(), digest)
        return all(is_verified(folder / file.path, file) for file in manifest.files)
    except (OSError, ZooError):
        return False


def is_verified(path: Path, file: bundle.File) -> bool:
    """Whether `path` holds the bytes of `file`; they are read where its time says that it was written to."""
    try:
        state = path.stat()
        if state.st_size != file.size:
            return False
        if state.st_mtime_ns in (VERIFIED_NS, _boot_ns()):
            return True
        if bundle.file_digest(path) != file.sha256:
            return False
        if state.st_mtime_ns < 10**18 and path.stat().st_mtime_ns == state.st_mtime_ns:  # an earlier boot's
            with suppress(OSError):
                os.utime(path, ns=(VERIFIED_NS, VERIFIED_NS))
        return True
    except OSError:
        return False


def admit(temporary: Path, file: bundle.File) -> None:
    """Make a verified file a blob of the cache. `settle` is to follow."""
    if not _boot_ns():
        _flush(temporary)
    temporary.chmod(0o444)
    os.utime(temporary, ns=(_boot_ns() or VERIFIED_NS,) * 2)
    blob = blob_path(file.sha256)
    blob.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, blob)


def settle(blobs: Iterable[str]) -> None:
    """Wait until admitted blobs, given by their digests, are on disk, and note so. A pull need not wait for this; nor
    does anything go wrong if it never happens."""
    for sha256 in blobs:
        with suppress(OSError):
            _flush(blob_path(sha256))
            if blob_path(sha256).stat().st_mtime_ns == _boot_ns():
                os.utime(blob_path(sha256), ns=(VERIFIED_NS, VERIFIED_NS))


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@functools.cache
def _boot_ns() -> int:
    """A modification time, in whole seconds before 2001, that means: verified since this boot. 0 where the system does
    not tell one boot from another."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return 0
    seconds = 2 + int.from_bytes(hashlib.sha256(boot).digest()[:8], "big") % (10**9 - 10)
    return seconds * 10**9


def check_room(needed_bytes: int) -> None:
    """Raise CacheError if the disk has not `needed_bytes` free: better now than after an hour of download."""
    there = cache()
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free
    if needed_bytes > free:
        raise CacheError(
            f"The download needs {needed_bytes / 1e6:,.0f} MB, and the disk of the cache '{cache()}' has "
            f"{free / 1e6:,.0f} MB free: make room with `zoo cache prune --max-size 10GB`, or set "
            "LATENTACT_ZOO_CACHE to a folder on another disk."
        )


def unwritable(error: OSError) -> CacheError:
    """The error for a cache that the operating system did not let us write to."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = (
            "make room with `zoo cache prune --max-size 10GB`, and pull again: it goes on where it stopped"
        )
    else:
        remedy = "set LATENTACT_ZOO_CACHE to a folder of your own, or ask the cache's owner to pull the model"
    return CacheError(f"The cache '{cache()}' cannot be written ({error.strerror or error}): {remedy}.")


@contextmanager
def staging() -> Iterator[Path]:
    """A unique path inside the cache, gone afterwards if it was not renamed. Raises CacheError for an OSError,
    but for a missing file: `zoo cache prune` may take one away at any time."""
    temporary = cache() / "tmp" / uuid.uuid4().hex
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unwritable(error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink()
