"""Archives: versions of models in one file, to be carried to a place that has no way to the store.

    contents/<sha256>.json    what is in it (`zoo.archive_index`); its digest covers all that follows
    manifests/<digest>.json   of each version, ordered by digest
    blobs/<sha256>            the bytes of each file, once for all versions that share it, ordered by digest

It is an uncompressed tar file (`zoo.tar_members`) in which nothing may be missing, added, or in another order. Equal
content makes equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo import alias_log, bundle, layout, tar_members
from zoo.archive_index import ORIGIN, ArchivedAlias, ArchivedVersion, Index, is_plain
from zoo.archive_reader import MAX_MANIFESTS_BYTES, index_name
from zoo.errors import DamagedBundle, ExportError, ObjectMissing, TooLarge
from zoo.importing import Imported, import_archive
from zoo.names import parse_reference
from zoo.progress import transfer_bar
from zoo.store import Store, open_store, read_json

__all__ = ["Exported", "Imported", "export_archive", "import_archive"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What `export_archive` wrote: versions as name@number, aliases as name@alias; `size` in bytes.

    Equal `sha256`, equal content: told apart from the file, it proves to a receiver that nobody has replaced it.
    """

    path: Path
    versions: tuple[str, ...]
    aliases: tuple[str, ...]
    size: int
    sha256: str


def export_archive(
    references: str | Sequence[str],
    path: str | os.PathLike[str],
    *,
    all_versions: bool = False,
    store: Store | None = None,
) -> Exported:
    """Write versions (`name[@version|@alias]`, by default the champion) with their records to one file.

    With `all_versions`, every version of the names given. Aliases that stand for an exported version come along, with
    their history. Every byte is verified on its way; the file appears when it is whole, in place of any other.

    Raises BadName, UnknownModel, DamagedBundle, TooLarge, ExportError, StoreError.
    """
    store = store or open_store()
    path = Path(path)
    index = _index(store, [references] if isinstance(references, str) else references, all_versions)
    data = index.to_bytes()
    manifests, sources = _content(store, index)
    with (
        _appearing(path) as out,
        transfer_bar("export", sum(size for _, size in sources.values())) as advance,
    ):
        _write(out, index_name(data), data)
        for digest, manifest in sorted(manifests.items()):
            _write(out, f"manifests/{digest}.json", manifest.to_bytes())
        for sha256, (key, size) in sorted(sources.items()):
            out.write(tar_members.header(f"blobs/{sha256}", size))
            for chunk in _verified(store, key, sha256, size):
                out.write(chunk)
                advance(len(chunk))
            out.write(tar_members.padding(size))
        out.write(tar_members.end())
    return Exported(
        path=path,
        versions=tuple(f"{version.name}@{version.number}" for version in index.versions),
        aliases=tuple(f"{alias.name}@{alias.alias}" for alias in index.aliases),
        size=path.stat().st_size,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _index(store: Store, references: Sequence[str], all_versions: bool) -> Index:
    wanted: dict[str, dict[int, str]] = {}  # name -> number -> digest
    for text in references:
        reference = parse_reference(text)
        numbers = wanted.setdefault(reference.name, {})
        if all_versions:
            for record in layout.records(store, reference.name):
                if not record.get("collected"):
                    numbers[int(record["number"])] = str(record["digest"])
        if not numbers or not all_versions:
            number, digest = layout.resolve(store, reference)
            numbers[number] = digest
    versions, aliases = [], []
    for name, numbers in sorted(wanted.items()):
        for number, digest in sorted(numbers.items()):
            record = read_json(store, layout.number_key(name, number))
            origin = {key: record[key] for key in ORIGIN if is_plain(record.get(key))}
            tags = {str(key): str(value) for key, value in record.get("tags", {}).items()}
            versions.append(
                ArchivedVersion(name=name, number=number, digest=digest, tags=tags, origin=origin)
            )
        for alias, state in sorted(layout.aliases(store, name).items()):
            number, digest = int(state["number"]), str(state["digest"])
            if numbers.get(number) == digest:
                log = alias_log.history(name, alias, store=store)
                aliases.append(ArchivedAlias(name=name, alias=alias, number=number, digest=digest, log=log))
    return Index(tuple(versions), tuple(aliases))


def _content(store: Store, index: Index) -> tuple[dict[str, bundle.Manifest], dict[str, tuple[str, int]]]:
    """The manifests by digest, and for each blob a key where it lies, and its size."""
    manifests: dict[str, bundle.Manifest] = {}
    sources: dict[str, tuple[str, int]] = {}
    for version in index.versions:
        try:
            manifest = layout.read_manifest(store, version.name, version.digest)
        except ObjectMissing as error:
            raise DamagedBundle(
                f"{version.name}@{version.number} has no manifest in {store.url}: publish its folder again."
            ) from error
        manifests[version.digest] = manifest
        for file in manifest.files:
            key = f"{layout.version_folder(version.name, version.digest)}/{file.path}"
            sources.setdefault(file.sha256, (key, file.size))
    if sum(len(manifest.to_bytes()) for manifest in manifests.values()) > MAX_MANIFESTS_BYTES:
        raise TooLarge(f"{len(manifests)} versions are too many for one archive: export fewer at once.")
    return manifests, sources


def _verified(store: Store, key: str, sha256: str, size: int) -> Iterator[bytes]:
    """The bytes of a blob. Raises DamagedBundle at their end, or where there are too many."""
    digest, count = hashlib.sha256(), 0
    try:
        for chunk in store.get(key).chunks:
            count += len(chunk)
            if count > size:
                break
            digest.update(chunk)
            yield chunk
    except ObjectMissing:
        count = -1
    if count != size or digest.hexdigest() != sha256:
        raise DamagedBundle(
            f"{store.url}/{key} does not have the bytes its manifest promises: publish the bundle again, or export "
            "another version."
        )


def _write(out: BinaryIO, name: str, data: bytes) -> None:
    out.write(tar_members.header(name, len(data)) + data + tar_members.padding(len(data)))


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block has ended well, and is on disk then."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ExportError(
            f"'{path}' cannot be written ({error.strerror or error}): choose a folder that exists, can be written, and "
            "has room."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
