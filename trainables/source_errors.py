"""What can be wrong with the files of a foreign data set. Each error names the file, the field and the remedy.

An importer that meets one in a single recording drops that recording and reports the sentence; one that meets it in
what all recordings need stops.
"""

from __future__ import annotations

import os

from trainables.clip_format import ClipsError


class SourceError(ClipsError):
    """A foreign file that cannot be used as it is.

    Args:
        file: the file, or the folder.
        why: what is wrong and what to do, one sentence.
        field: the field, array or line of the file, where one is to blame.
    """

    def __init__(self, file: str | os.PathLike[str], why: str, *, field: str = "") -> None:
        super().__init__(f"{os.fspath(file)}{f', field {field}' if field else ''}: {why}")
        self.file, self.field, self.why = os.fspath(file), field, why

    def __reduce__(self) -> tuple[object, ...]:  # it travels from worker processes
        return _again, (type(self), self.file, self.why, self.field)


def _again(kind: type[SourceError], file: str, why: str, field: str) -> SourceError:
    return kind(file, why, field=field)


class MissingFile(SourceError):
    """The file is not there."""


class DamagedFile(SourceError):
    """Truncated, bit-flipped, or of another format than its name says."""


class HostileFile(SourceError):
    """Holds something that would run code when read. Nothing of it was run."""


class OutsidePath(SourceError):
    """A name in the data leads out of the data set's folder."""


class MissingField(SourceError):
    """The file lacks a field."""


class WrongShape(SourceError):
    """The field has another shape, or another length than the fields that belong to it."""


class WrongType(SourceError):
    """The field holds another kind of value."""


class WrongValue(SourceError):
    """Not finite, out of range, or in another unit."""


class TooShort(WrongValue):
    """A recording without an unbroken second; it is dropped."""
