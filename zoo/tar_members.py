"""Tar as `zoo export` writes it: plain files one after the other, uncompressed, the same bytes for the same content.

Any `tar` unpacks it. Only this much of the format is read: a header of one block, a plain file, a name of ASCII
letters. Links, devices, extended headers and whatever else tar can say are refused, so that nothing in an archive
has to be interpreted. Reading takes the same memory however large a member is, or says that it is.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from zoo.errors import ArchiveRefused, DamagedArchive, FileRefused, PathRefused

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1 << 20
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"PK\x03\x04", b"\x1f\x9d", b"7z\xbc\xaf")
NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Member:
    """A file in an archive: `size` bytes from `start` on."""

    name: str
    start: int
    size: int


def header(name: str, size: int) -> bytes:
    """The block before a member's bytes. Nothing in it depends on who writes it, or when."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def padding(size: int) -> bytes:
    """The zeros after a member's bytes."""
    return bytes(-size % BLOCK)


def end() -> bytes:
    """What ends an archive."""
    return bytes(2 * BLOCK)


def check_plain(file: BinaryIO) -> None:
    """Raise ArchiveRefused for a file that is compressed. Nothing is ever decompressed."""
    head = os.pread(file.fileno(), 8, 0)
    if head.startswith(COMPRESSED):
        raise ArchiveRefused(
            f"'{file.name}' is compressed, and archives of `zoo export` are not: unpack it to one .tar file first."
        )


def next_member(file: BinaryIO, position: int) -> tuple[Member, int]:
    """The member whose header is at `position`, and the position of the next header.

    Raises DamagedArchive, FileRefused for anything but a plain file, PathRefused for its name.
    """
    block = os.pread(file.fileno(), BLOCK, position)
    if len(block) < BLOCK or not any(block):
        raise DamagedArchive(f"'{file.name}' ends too early: copy it again, or export it again.")
    try:
        entry = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeError, ValueError) as error:
        raise DamagedArchive(
            f"'{file.name}' has a damaged header at byte {position} ({error}): copy it again, or export it again."
        ) from error
    name = entry.name if len(entry.name) <= 200 else f"{entry.name[:200]}.."
    if entry.type != tarfile.REGTYPE or entry.linkname:
        raise FileRefused(
            f"'{file.name}' holds {name!r}, which is no plain file: archives of `zoo export` hold nothing else. Export "
            "it again."
        )
    if not NAME.fullmatch(entry.name):
        raise PathRefused(
            f"'{file.name}' holds {name!r}, which leads out of it or is no plain name: export it again."
        )
    start = position + BLOCK
    if not 0 <= entry.size <= os.fstat(file.fileno()).st_size - start:
        raise DamagedArchive(
            f"'{file.name}' ends in the middle of {name!r}: copy it again, or export it again."
        )
    if block != header(entry.name, entry.size):
        raise DamagedArchive(
            f"'{file.name}' has a header for {name!r} that `zoo export` does not write: export it again."
        )
    return Member(entry.name, start, entry.size), start + entry.size + len(padding(entry.size))


def check_end(file: BinaryIO, position: int) -> None:
    """Raise DamagedArchive unless the archive ends at `position`: zeros, and not many of them."""
    rest = os.pread(file.fileno(), tarfile.RECORDSIZE + 1, position)
    if not 2 * BLOCK <= len(rest) <= tarfile.RECORDSIZE or any(rest):
        raise DamagedArchive(
            f"'{file.name}' does not end where it should: something was cut off or added. Copy it again, or export it "
            "again."
        )


def chunks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of a member. Raises DamagedArchive where something other than zeros fills its last block, or where the
    file became shorter meanwhile."""
    position, stop = member.start, member.start + member.size
    while position < stop:
        chunk = os.pread(file.fileno(), min(CHUNK_BYTES, stop - position), position)
        if not chunk:
            raise DamagedArchive(f"'{file.name}' became shorter while it was read: copy it again.")
        position += len(chunk)
        yield chunk
    if any(os.pread(file.fileno(), -member.size % BLOCK, stop)):
        raise DamagedArchive(
            f"'{file.name}' has bytes after {member.name!r} that belong to nothing: copy it again."
        )


def read(file: BinaryIO, member: Member) -> bytes:
    """All bytes of a small member, whose size the caller has checked."""
    return b"".join(chunks(file, member))
