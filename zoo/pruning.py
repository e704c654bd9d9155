"""Look into the cache, and keep it small: what has not been pulled for longest goes first.

Safe beside pulls and loads. A version disappears by a rename, whole; one that was pulled within the last ten
minutes is left alone, since its puller may be reading it; and a pull whose blob is taken away fetches it again.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo import bundle
from zoo.cache import blob_path, cache, unwritable, used_path, version_path
from zoo.errors import ZooError
from zoo.store import parse_json

GRACE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A version in the cache. `references` are what it was pulled as; times are in seconds since 1970."""

    digest: str
    references: tuple[str, ...]
    used_at: float
    blobs: dict[str, int]  # sha256 -> bytes

    @property
    def size(self) -> int:
        """Bytes, those shared with other versions included."""
        return sum(self.blobs.values())


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What `prune` took away, or with `dry_run` would have taken away; sizes in bytes."""

    versions: tuple[Cached, ...]
    freed: int  # bytes
    left: int  # bytes still in the cache
    kept_recent: int  # versions that should have gone, but were pulled within the last ten minutes


def cached() -> list[Cached]:
    """The versions in the cache, the one that was used last first. Damaged ones are among them, without a size."""
    references = _references()
    found = []
    for folder in _children(cache() / "versions"):
        try:
            files = bundle.parse_manifest((folder / bundle.MANIFEST).read_bytes()).files
        except (OSError, ZooError):
            files = ()
        found.append(
            Cached(
                digest=folder.name,
                references=tuple(sorted(references.get(folder.name, ()))),
                used_at=_used_at(folder.name),
                blobs={file.sha256: file.size for file in files},
            )
        )
    return sorted(found, key=lambda version: (-version.used_at, version.digest))


def size() -> int:
    """Bytes that the cache holds: blobs, each once, and what broken downloads left."""
    return sum(_blobs().values()) + sum(_size(folder) for folder in _children(cache() / "partial"))


def prune(
    *, max_bytes: int | None = None, older_than_s: float | None = None, dry_run: bool = False
) -> Pruned:
    """Remove the versions not used for `older_than_s`, then the longest unused ones until at most `max_bytes` are
    left; then the blobs that no version needs, and broken downloads that nobody has touched for ten minutes.

    Raises CacheError where the cache cannot be written.
    """
    now, before = time.time(), size()
    versions = cached()
    stale = {
        version.digest
        for version in versions
        if not version.blobs or (older_than_s is not None and now - version.used_at > older_than_s)
    }
    needed = _needed([version for version in versions if version.digest not in stale])
    if max_bytes is not None:
        for version in reversed(versions):
            if sum(needed.values()) <= max_bytes:
                break
            stale.add(version.digest)
            needed = _needed([other for other in versions if other.digest not in stale])

    gone, recent = [], 0
    for version in versions:
        if version.digest not in stale:
            continue
        if now - version.used_at < GRACE_S:
            recent += 1
        elif dry_run or _remove_version(version):
            gone.append(version)
    left = [version for version in versions if version not in gone]
    freed = _remove_blobs(_needed(left), _needed(gone), now, dry_run) + _remove_leftovers(now, dry_run)
    return Pruned(versions=tuple(gone), freed=freed, left=before - freed, kept_recent=recent)


def _needed(versions: list[Cached]) -> dict[str, int]:
    return {sha256: size for version in versions for sha256, size in version.blobs.items()}


def _remove_version(version: Cached) -> bool:
    """Whether it is gone; not where somebody has pulled it since we looked."""
    folder = version_path(version.digest)
    aside = cache() / "tmp" / uuid.uuid4().hex
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, aside)
    except FileNotFoundError:
        return True  # another prune's
    except OSError as error:
        raise unwritable(error) from error
    if _used_at(version.digest) != version.used_at:
        with suppress(OSError):  # else the puller has made it anew
            os.rename(aside, folder)
        shutil.rmtree(aside, ignore_errors=True)
        return False
    shutil.rmtree(aside, ignore_errors=True)
    used_path(version.digest).unlink(missing_ok=True)
    for path in _files(cache() / "refs"):
        if _digest_of(path) == version.digest:
            path.unlink(missing_ok=True)
    return True


def _remove_blobs(needed: dict[str, int], released: dict[str, int], now: float, dry_run: bool) -> int:
    """Remove the blobs that the versions taken away needed, and those of no version at all unless they came lately:
    they may belong to a pull going on. Returns the bytes."""
    freed = 0
    for sha256, size in _blobs().items():
        path = blob_path(sha256)
        with suppress(FileNotFoundError):
            if sha256 not in needed and (sha256 in released or now - path.stat().st_ctime > GRACE_S):
                freed += size
                if not dry_run:
                    path.unlink()
    return freed


def _remove_leftovers(now: float, dry_run: bool) -> int:
    """Remove what broken downloads and killed processes left. Returns the bytes of the downloads."""
    freed = 0
    for path in [*_children(cache() / "partial"), *_children(cache() / "tmp")]:
        if now - _newest(path) > GRACE_S:
            freed += _size(path) if path.parent.name == "partial" else 0
            if dry_run:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return freed


def _blobs() -> dict[str, int]:
    """sha256 -> bytes on disk."""
    found = {}
    for path in _children(cache() / "blobs"):
        with suppress(FileNotFoundError):
            found[path.name] = path.stat().st_size
    return found


def _references() -> dict[str, set[str]]:
    """Digest -> the references, of whatever store, that it was pulled as."""
    found: dict[str, set[str]] = {}
    top = cache() / "refs"
    for path in _files(top):
        name = "/".join(path.relative_to(top).parts[1:-1])
        found.setdefault(_digest_of(path), set()).add(f"{name}@{path.stem}")
    return found


def _digest_of(ref: Path) -> str:
    with suppress(OSError, ZooError):
        return str(parse_json(ref.read_bytes(), str(ref)).get("digest", ""))
    return ""


def _used_at(digest: str) -> float:
    """When a version was pulled last; of one that an earlier zoo cached, when it was made."""
    for path in (used_path(digest), version_path(digest)):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    """All files below a folder; what disappears meanwhile is left out."""
    return [Path(inside, name) for inside, _, names in os.walk(folder) for name in names]


def _size(folder: Path) -> int:
    """Bytes that the files below a folder really take up: a file that is being downloaded has holes."""
    total = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def _newest(path: Path) -> float:
    """When anything in it was last changed."""
    times = [0.0]
    for each in [path, *_files(path)]:
        with suppress(FileNotFoundError):
            times.append(each.stat().st_ctime)
    return max(times)
