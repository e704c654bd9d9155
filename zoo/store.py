"""The storage seam: five operations, which `zoo.s3` and `zoo.files` provide and one conformance suite tests.

Keys are relative paths with `/`, no key is a folder of another. An object is written whole or not at all; `put_if`
is the only operation that correctness under concurrency rests on (`zoo.store_probe` tries whether it works).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from zoo import settings
from zoo.errors import StoreError, TooLarge

# What S3 and the common file systems both take.
LONGEST_KEY_BYTES, LONGEST_PART_BYTES = 900, 200
Sent = Callable[[int], object]  # told of so many bytes more
MAX_JSON_BYTES = 64 << 20  # of a record, or of what a sweep keeps


class Blob:
    """An object, or a range of it, being read. `chunks` streams it once; `tag` names this state of it for `put_if`.

    `tag` may be a function: where finding it out costs a pass over the bytes, it waits until somebody asks.
    """

    def __init__(self, tag: str | Callable[[], str], size: int, chunks: Iterator[bytes]) -> None:
        self._tag, self.size, self.chunks = tag, size, chunks

    @property
    def tag(self) -> str:
        if not isinstance(self._tag, str):
            self._tag = self._tag()
        return self._tag

    def read(self) -> bytes:
        """All of it, for small ones."""
        return b"".join(self.chunks)


class Store(Protocol):
    """A flat namespace of objects."""

    url: str

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        """Read an object, or its bytes from `start` up to (without) `end`; `size` is that of what is read.

        Raises ObjectMissing, or StoreError where the object has no byte in that range.
        """

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        """Write an object, replacing what was there. A path is streamed; repeated after a failure, `put` of a large
        one goes on where the store allows it. `sent` is told of bytes as they go, by any thread.
        """

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        """Write an object if it is still in the state `tag`, or, with None, if it does not exist.

        Raises Conflict otherwise, except where the object already holds exactly `data`: then this write, or
        its twin, was done before.
        """

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """Keys that begin with `prefix` (a folder, ending in /), in order; not deep: one level, folders with
        a /.
        """

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


def sweep(store: Store, older_than_s: float, folder: str = "models/") -> list[str]:
    """Remove what uploads into `folder` that broke off have left behind in `store`, where they began longer ago than
    `older_than_s`: long enough that nobody goes on with them. Returns what they were, for the log.

    Only `models/` is the zoo's; others keep things in the same bucket.
    """
    remove = getattr(store, "sweep", None)
    return list(remove(older_than_s, folder)) if remove else []


def check_key(key: str) -> None:
    """Raise StoreError unless `key` is one that every store can hold and none reads as something else."""
    printable = (
        key.isprintable() and "\\" not in key
    )  # half a surrogate pair is not printable: encode() is safe
    parts = [part.encode() for part in key.split("/")] if printable else []
    bad_part = any(part in (b"", b".", b"..") or len(part) > LONGEST_PART_BYTES for part in parts)
    if not printable or bad_part or len(key.encode()) > LONGEST_KEY_BYTES:
        raise StoreError(
            f"{key!a:.200} is not a key: keys are relative paths of parts between /, none of them empty, '.' or "
            f"'..', printable and without backslashes, of at most {LONGEST_KEY_BYTES} bytes ({LONGEST_PART_BYTES} each)."
        )


def check_folder(prefix: str) -> None:
    """Raise StoreError unless `prefix` is a folder, ending in /, or empty for everything."""
    if prefix:
        if not prefix.endswith("/"):
            raise StoreError(f"'{prefix}' cannot be listed: it is no folder; end it with a /.")
        check_key(prefix[:-1])


def check_range(start: int, end: int | None) -> None:
    """Raise StoreError where no byte can be between them."""
    if start < 0 or (end is not None and end <= start):
        raise StoreError(f"There is no range of bytes from {start} to {end}.")


def open_store(url: str | None = None) -> Store:
    """The store at `url` (`s3://bucket[/prefix]` or `file:///folder`), by default the one of
    `zoo.settings`.
    """
    url = (url or settings.zoo_url()).rstrip("/")
    if url.startswith("file:///"):
        from zoo.files import FileStore

        return FileStore(Path(url.removeprefix("file://")))
    if url.startswith("s3://"):
        from zoo.s3 import S3Store

        return S3Store(url, settings.environment())
    raise StoreError(
        f"'{url}' is not a zoo's address: set LATENTACT_ZOO to s3://bucket or to file:///folder."
    )


def read_json(store: Store, key: str) -> dict[str, Any]:
    """A JSON object from the store. Raises ObjectMissing, TooLarge, or StoreError where it does not parse."""
    where = f"{store.url}/{key}"
    return parse_json(read_bounded(store.get(key), MAX_JSON_BYTES, where), where)


def read_bounded(blob: Blob, limit: int, shown: str) -> bytes:
    """All of a small object, whatever size is really there. Raises TooLarge beyond `limit` bytes."""
    parts, size = [], 0
    for chunk in blob.chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(
                f"'{shown}' has more than the {limit} bytes that it may have: publish the bundle again."
            )
        parts.append(chunk)
    return b"".join(parts)


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object from bytes; `where` names them in the error."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{where} is not JSON ({error}): restore it from a copy, or publish again."
        ) from error
    if not isinstance(value, dict):
        raise StoreError(f"{where} holds no JSON object: restore it from a copy, or publish again.")
    return value


def to_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON: equal values give equal bytes, so that digests and retries can be compared."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
