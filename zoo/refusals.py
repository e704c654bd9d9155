"""Refuse a file that a bundle must not hold, by its kind and by its content. Files are looked at, never run.

The order: pickles and archives by what they are, whatever they are called; then kinds that are not on the list; then
what is malformed. Content that is read into memory is at most 32 MiB.
"""

from __future__ import annotations

import io
import os
import pickletools
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

from zoo import bundle_paths, contents
from zoo.bundle_json import parse_json_file
from zoo.errors import ArchiveRefused, FileRefused, PickleRefused, WeightsRefused
from zoo.safetensors_header import read_header

_SNIFFED_BYTES = 1 << 20
_MAX_OPCODES = 200_000
_ARCHIVES = (
    b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf",
    b"Rar!", b"\x1f\x9d", b"\x1f\xa0", b"\x04\x22\x4d\x18", b"MSCF", b"\x89HDF", b"LZIP", b"\x93NUMPY",
)  # fmt: skip


def check_file(path: Path, shown: str) -> None:
    """Look at one file on disk, called `shown` in the bundle.

    Raises FileRefused, PickleRefused, ArchiveRefused, WeightsRefused, ContentRefused, SchemaTooNew, TooLarge.
    """
    with open_plain(path, shown) as file:
        check_content(file, os.fstat(file.fileno()).st_size, shown)


def check_content(file: BinaryIO, size: int, shown: str) -> None:
    """Look at one file, open for reading at its start; of weights the header alone is needed. Raises as `check_file`."""
    kind = bundle_paths.suffix(shown)
    if kind == ".safetensors":
        bundle_paths.check_kind(shown, size)
        try:
            read_header(file, size, shown)
        except WeightsRefused:
            refuse_code(file, shown)
            raise
        return
    if kind in bundle_paths.PICKLE_SUFFIXES:
        bundle_paths.check_kind(shown, size)
    refuse_code(file, shown)
    bundle_paths.check_kind(shown, size)
    file.seek(0)
    data = file.read(size)
    if shown == "MLmodel":
        contents.check_mlmodel(data, shown)
    elif shown in ("config.json", "metrics.json"):
        parse_json_file(data, shown)
    else:
        contents.CHECKS[kind](data, shown)


def refuse_code(file: BinaryIO, shown: str) -> None:
    """Raise PickleRefused or ArchiveRefused where the content is that, whatever the file is called."""
    file.seek(0)
    data = file.read(_SNIFFED_BYTES)
    if data.startswith(_ARCHIVES) or data[257:262] == b"ustar" or zipfile.is_zipfile(file):
        raise ArchiveRefused(
            f"'{shown}' is an archive or compressed, which may hold anything: put plain files into the bundle."
        )
    if _is_pickle(data):
        raise PickleRefused(
            f"'{shown}' has the content of a pickle: the zoo stores no pickles, since loading one runs its code. Save "
            "the weights with safetensors."
        )


def open_plain(path: Path, shown: str) -> BinaryIO:
    """Open a plain file for reading: no link is followed, no pipe waited for. Raises FileRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise FileRefused(
            f"'{shown}' is a link or cannot be read ({error.strerror}): put a plain file there."
        ) from None
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise FileRefused(f"'{shown}' is not a plain file: a bundle holds plain files only.")
    return file


def _is_pickle(data: bytes) -> bool:
    """Whether bytes are a pickle, or the beginning of one that already calls something.

    Any other file soon has a byte that is no opcode. Two opcodes, such as those of the text "N.", call nothing.
    """
    seen: set[str] = set()
    count = 0
    try:
        for count, (opcode, _, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            seen.add(opcode.name)
            if count > _MAX_OPCODES:
                break
    except (ValueError, UnicodeError, OverflowError, MemoryError):
        calls = {"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"} & seen and {"GLOBAL", "STACK_GLOBAL"} & seen
        return bool(calls) or {"MARK", "INST"} <= seen
    return count >= 2
