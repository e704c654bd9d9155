"""The manifest of a bundle: its files with their digests and sizes. Its own sha256 is the bundle's digest.

    manifest.json       {"schema": 1, "files": [{"path", "sha256", "size"}, ...]}

Whoever can write to a store can write a manifest: everything in it is checked before it is used.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from zoo import bundle_paths, strict_json
from zoo.errors import BundleError, DamagedBundle, ManifestRefused, SchemaTooNew, TooLarge
from zoo.store import to_json

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One line of a manifest. `path` is relative, with `/`."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The files of a bundle, ordered by path."""

    files: tuple[File, ...]

    def to_bytes(self) -> bytes:
        return to_json({"schema": SCHEMA, "files": [vars(file) for file in self.files]})

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest: the bundle's identity."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def parse_manifest(data: bytes, digest: str | None = None, *, required: tuple[str, ...] = ()) -> Manifest:
    """Read a manifest that may come from anywhere; `required` are paths that it must list.

    Raises ManifestRefused for one that cannot be read, SchemaTooNew, PathRefused, FileRefused, PickleRefused and
    TooLarge for what it lists, BundleError where something is missing, and DamagedBundle if it is not the manifest
    with `digest`.
    """
    try:
        value = strict_json.parse(data, limit=MAX_MANIFEST_BYTES)
    except strict_json.NotStrict as error:
        raise ManifestRefused(f"{MANIFEST} is damaged: {error}. Publish the bundle again.") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is int and schema > SCHEMA:  # whatever else a newer one holds
        raise SchemaTooNew(
            f"{MANIFEST} has schema {schema}, and this version reads up to {SCHEMA}: upgrade latentact-zoo."
        )
    if (
        not isinstance(value, dict)
        or set(value) != {"schema", "files"}
        or not isinstance(value["files"], list)
    ):
        raise ManifestRefused(f"{MANIFEST} is damaged: it needs schema and files. Publish the bundle again.")
    if type(schema) is not int or schema < 1:
        raise ManifestRefused(f"{MANIFEST} has the schema {str(schema)[:20]!r}: publish the bundle again.")
    files = tuple(_file(entry) for entry in value["files"])
    bundle_paths.check_paths(file.path for file in files)
    for file in files:
        bundle_paths.check_kind(file.path, file.size)
    manifest = Manifest(files)
    if manifest.size > bundle_paths.MAX_BUNDLE_BYTES:
        raise TooLarge(
            f"{MANIFEST} claims {manifest.size} bytes, and a bundle may have {bundle_paths.MAX_BUNDLE_BYTES}: publish less."
        )
    if missing := set(required) - {file.path for file in files}:
        raise BundleError(f"{MANIFEST} lacks {', '.join(sorted(missing))}: the bundle is incomplete.")
    if digest is not None and manifest.digest != digest:
        raise DamagedBundle(
            f"{MANIFEST} has digest {manifest.digest[:12]}, not {digest[:12]}: publish the bundle again."
        )
    return manifest


def _file(entry: Any) -> File:
    if not isinstance(entry, dict) or set(entry) != {"path", "sha256", "size"}:
        raise ManifestRefused(
            f"{MANIFEST} has a file without exactly path, sha256 and size: publish the bundle again."
        )
    path, sha256, size = entry["path"], entry["sha256"], entry["size"]
    if not isinstance(path, str):
        raise ManifestRefused(f"{MANIFEST} has a file whose path is no text: publish the bundle again.")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256) or type(size) is not int or size < 0:
        raise ManifestRefused(
            f"{MANIFEST} gives {path[:100]!r} no valid digest or size: publish the bundle again."
        )
    return File(path, sha256, size)
