"""The storage seam: five operations, which `zoo.s3` and `zoo.files` provide and one conformance suite tests.

Keys are relative paths with `/`. An object is written whole or not at all; `put_if` is the only operation
that correctness under concurrency rests on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zoo import settings
from zoo.errors import StoreError


@dataclass(frozen=True)
class Blob:
    """An object, or a range of it, being read. `chunks` streams it once; `tag` names this state of it for `put_if`."""

    tag: str
    size: int
    chunks: Iterator[bytes]

    def read(self) -> bytes:
        """The whole object, for small ones."""
        return b"".join(self.chunks)


class Store(Protocol):
    """A flat namespace of objects."""

    url: str

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        """Read an object, or its bytes from `start` up to (without) `end`; `size` is that of what is read.

        Raises ObjectMissing, or StoreError where the object ends before `start`.
        """

    def put(self, key: str, source: bytes | Path) -> None:
        """Write an object, replacing what was there. A path is streamed."""

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
    """A JSON object from the store. Raises ObjectMissing, or StoreError where it does not parse."""
    return parse_json(store.get(key).read(), f"{store.url}/{key}")


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object from bytes; `where` names them in the error."""
    try:
        value = json.loads(data)
    except ValueError as error:
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
