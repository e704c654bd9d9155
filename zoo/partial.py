"""A file being filled in any order, that remembers what is in it: a download can be broken off and taken up again.

<folder>/<unique>.data   a file of the full size, written by one process alone
<folder>/<unique>.done   lines `start end`: the ranges of it that are written, each line after its bytes
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

COPY_BYTES = 1 << 20
Range = tuple[int, int]  # start, and end without it


class Stopped(Exception):
    """The download was given up, for a reason that is told elsewhere."""


class Partial:
    """A new file of `size` bytes in `folder`, to be written by many threads and read in order by one.

    It is closed at the end of the block, and stays on disk for the next one to adopt unless it is discarded.
    """

    def __init__(self, folder: Path, size: int, stop: threading.Event) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size = folder, size
        self.path = folder / f"{uuid.uuid4().hex}.data"
        self._stop, self._changed = stop, threading.Condition()
        self._error: BaseException | None = None
        self._written: list[Range] = []
        new = os.O_CREAT | os.O_EXCL
        self._file = os.open(self.path, os.O_RDWR | new, 0o644)
        try:
            os.ftruncate(self._file, size)
            self._journal = os.open(_journal(self.path), os.O_WRONLY | os.O_APPEND | new, 0o644)
        except OSError:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._journal)
        os.close(self._file)

    def write(self, at: int, data: bytes) -> None:
        """Put bytes in place; from now on they count as written. Raises Stopped where that is in vain."""
        if self._error is not None or self._stop.is_set():
            raise Stopped
        rest, position = memoryview(data), at
        while rest:
            count = os.pwrite(self._file, rest, position)
            rest, position = rest[count:], position + count
        os.write(self._journal, f"{at} {position}\n".encode())
        with self._changed:
            self._written = merged([*self._written, (at, position)])
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the reading and all writing: the first error given is the one that `digest` raises."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def missing(self) -> list[Range]:
        """The ranges that nobody has written yet."""
        return gaps(self._written, self.size)

    def digest(self) -> str:
        """sha256 of the file, read behind those who write it; returns when all of it is written.

        Raises what `fail` was given, or Stopped.
        """
        digest, position = hashlib.sha256(), 0
        if self.size == 0:
            return digest.hexdigest()
        # Mapped, so that all that has come is hashed in one call, which lets the other threads run meanwhile.
        with mmap.mmap(self._file, self.size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            while position < self.size:
                end = self._wait_beyond(position)
                with view[position:end] as written:
                    digest.update(written)
                position = end
        return digest.hexdigest()

    def discard(self) -> None:
        """Remove both files, or the one that has not been renamed."""
        for path in (self.path, _journal(self.path)):
            path.unlink(missing_ok=True)

    def adopt(self, *, remove: bool) -> int:
        """Copy what other partial files in the folder have and this one lacks; the number of bytes copied.

        They are only read, so that their writers, should they be alive, are not disturbed; with `remove` they are
        known to be dead.
        """
        copied = 0
        for journal in self.folder.glob("*.done"):
            other = journal.with_suffix(".data")
            if other == self.path:
                continue
            with suppress(OSError):  # finished or removed meanwhile, or another user's
                copied += self._copy(other, _ranges(journal.read_text(), self.size))
            if remove:
                other.unlink(missing_ok=True)
                journal.unlink(missing_ok=True)
        return copied

    def _copy(self, other: Path, ranges: list[Range]) -> int:
        copied = 0
        with open(other, "rb") as file:
            for start, end in _both(ranges, self.missing()):
                for at in range(start, end, COPY_BYTES):
                    block = os.pread(file.fileno(), min(COPY_BYTES, end - at), at)
                    self.write(at, block)
                    copied += len(block)
        return copied

    def _wait_beyond(self, position: int) -> int:
        """The end of what is written without a gap from `position` on, once there is something."""
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self._stop.is_set():
                    raise Stopped
                for start, end in self._written:
                    if start <= position < end:
                        return end
                self._changed.wait(0.2)  # not for ever: `stop` does not notify


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes as the fewest ranges, in order."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def gaps(ranges: Iterable[Range], size: int) -> list[Range]:
    """What merged ranges leave out of `size` bytes."""
    found, position = [], 0
    for start, end in [*ranges, (size, size)]:
        if start > position:
            found.append((position, start))
        position = max(position, end)
    return found


def _both(some: Iterable[Range], others: list[Range]) -> list[Range]:
    """The ranges that are in both."""
    overlaps = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return [(start, end) for start, end in overlaps if start < end]


def _ranges(journal: str, size: int) -> list[Range]:
    """The ranges in a journal, whose last line may be torn; what makes no sense is left out."""
    found = []
    for line in journal.splitlines(keepends=True):
        words = line.split()
        if line.endswith("\n") and len(words) == 2 and all(word.isdecimal() for word in words):
            start, end = int(words[0]), int(words[1])
            if start < end <= size:
                found.append((start, end))
    return merged(found)


def _journal(path: Path) -> Path:
    return path.with_suffix(".done")
