"""Read an archive (`zoo.archive`) that may come from anyone: all of it is verified before any of it is used."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo import bundle, tar_members
from zoo.archive_index import MAX_INDEX_BYTES, Index, parse_index
from zoo.errors import DamagedArchive, DamagedBundle, FileRefused, TooLarge
from zoo.progress import transfer_bar
from zoo.tar_members import Member

INDEX = re.compile(r"contents/[0-9a-f]{64}\.json")
MAX_MANIFESTS_BYTES = 32 << 20  # of all manifests, which are held in memory


@dataclass(frozen=True)
class Archive:
    """An open archive, every byte of which had the digest that it should have."""

    file: BinaryIO
    index: Index
    manifests: dict[str, bundle.Manifest]  # by digest
    blobs: dict[str, Member]  # by sha256

    def unpack(self, digest: str, folder: Path) -> None:
        """Write the bundle `digest` into the new folder `folder`, with its manifest."""
        manifest = self.manifests[digest]
        for file in manifest.files:
            path = folder / file.path  # plain and relative: `parse_manifest` saw to that
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as out:
                out.writelines(tar_members.chunks(self.file, self.blobs[file.sha256]))
        (folder / bundle.MANIFEST).write_bytes(manifest.to_bytes())


def index_name(data: bytes) -> str:
    """The name of the first member: its digest covers the digests of all versions, and so all bytes."""
    return f"contents/{hashlib.sha256(data).hexdigest()}.json"


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at `path`, verified from end to end; nothing is written anywhere.

    Raises DamagedArchive, and for hostile ones FileRefused, PathRefused, ArchiveRefused, TooLarge, SchemaTooNew,
    DamagedBundle and what `bundle.parse_manifest` raises: all of them BundleErrors.
    """
    try:
        # A pipe would wait for its writer.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise DamagedArchive(f"'{path}' cannot be read ({error}): give a file of `zoo export`.") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileRefused(f"'{path}' is no plain file: give a file of `zoo export`.")
        yield _verified(file)


def _verified(file: BinaryIO) -> Archive:
    tar_members.check_plain(file)
    member, position = tar_members.next_member(file, 0)
    if not INDEX.fullmatch(member.name):
        raise DamagedArchive(
            f"'{file.name}' does not begin with a table of contents: give a file of `zoo export`."
        )
    data = _read_small(file, member, member.name, MAX_INDEX_BYTES)
    if index_name(data) != member.name:
        raise DamagedArchive(
            f"The table of contents of '{file.name}' does not have the digest in its name: copy it again."
        )
    index = parse_index(data, file.name)

    manifests: dict[str, bundle.Manifest] = {}
    room = MAX_MANIFESTS_BYTES
    for digest in sorted({version.digest for version in index.versions}):
        member, position = tar_members.next_member(file, position)
        most = min(room, bundle.MAX_MANIFEST_BYTES)
        data = _read_small(file, member, f"manifests/{digest}.json", most)
        room -= len(data)
        manifests[digest] = bundle.parse_manifest(data, digest)

    sizes: dict[str, int] = {}
    for manifest in manifests.values():
        for listed in manifest.files:
            if sizes.setdefault(listed.sha256, listed.size) != listed.size:
                raise DamagedArchive(f"'{file.name}' gives {listed.path} two sizes: export it again.")
    blobs: dict[str, Member] = {}
    with transfer_bar("verify", sum(sizes.values())) as advance:
        for sha256, size in sorted(sizes.items()):
            member, position = tar_members.next_member(file, position)
            _expect(file, member, f"blobs/{sha256}")
            if member.size != size:
                raise DamagedBundle(
                    f"'{file.name}' has {member.size} bytes of {member.name}, and its manifest promises {size}: export it "
                    "again."
                )
            digest_of = hashlib.sha256()
            for chunk in tar_members.chunks(file, member):
                digest_of.update(chunk)
                advance(len(chunk))
            if digest_of.hexdigest() != sha256:
                raise DamagedBundle(
                    f"'{file.name}' does not have the bytes of {member.name} that its name promises: copy it again, or "
                    "export it again."
                )
            blobs[sha256] = member
    tar_members.check_end(file, position)
    return Archive(file, index, manifests, blobs)


def _read_small(file: BinaryIO, member: Member, name: str, most: int) -> bytes:
    _expect(file, member, name)
    if member.size > most:
        raise TooLarge(
            f"{name} in '{file.name}' has {member.size} bytes, and may have {most}: export less at once."
        )
    return tar_members.read(file, member)


def _expect(file: BinaryIO, member: Member, name: str) -> None:
    if member.name != name:
        raise DamagedArchive(
            f"'{file.name}' holds {member.name[:200]!r} where {name} belongs: it was put together by something else. "
            "Export it again."
        )
