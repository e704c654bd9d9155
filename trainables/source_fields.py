"""Taking a field out of a foreign file: there, of the right type and shape, finite, in range; else an error by name."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.source_errors import (
    DamagedFile,
    HostileFile,
    MissingField,
    MissingFile,
    OutsidePath,
    SourceError,
    WrongShape,
    WrongType,
    WrongValue,
)

Where = str | os.PathLike[str]
_WHOLE_BELOW = 64 << 20
_ENDS = 1 << 20


def field(content: Any, name: str, file: Where) -> Any:
    """content[name]. Raises WrongType where content is no mapping, MissingField where it lacks the name."""
    if not isinstance(content, Mapping):
        raise WrongType(
            file, f"holds a {type(content).__name__} where fields are expected; fetch it again.", field=name
        )
    if name not in content:
        raise MissingField(file, "is missing; fetch the file again.", field=name)
    return content[name]


def numbers(
    value: Any,
    name: str,
    file: Where,
    *,
    shape: tuple[int | None, ...],
    low: float = -np.inf,
    high: float = np.inf,
    may_be_nan: bool = False,
) -> NDArray[np.float64]:
    """`value` as float64 of `shape` (None = any length), every number in [low, high].

    Raises WrongType, WrongShape, WrongValue; `name` and `file` are what they name.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{array.dtype}")
    except (ValueError, TypeError) as error:
        raise WrongType(
            file, f"is not an array of numbers ({error}); fetch the file again.", field=name
        ) from error
    if array.ndim != len(shape) or any(w not in (None, g) for w, g in zip(shape, array.shape, strict=True)):
        wanted = "(" + ", ".join("n" if w is None else str(w) for w in shape) + ")"
        raise WrongShape(file, f"has shape {array.shape}, not {wanted}; fetch the file again.", field=name)
    array = array.astype(np.float64)
    unknown = np.isnan(array)
    if not may_be_nan and unknown.any():
        raise WrongValue(
            file, f"holds NaN ({int(unknown.sum())} of {array.size}); fetch the file again.", field=name
        )
    inside = unknown | ((array >= low) & (array <= high))
    if np.isinf(array).any() or not inside.all():
        bad = array[~inside | np.isinf(array)].flat[0]
        raise WrongValue(
            file, f"holds {bad:g}, outside {low:g} to {high:g}; fetch the file again.", field=name
        )
    return array


def npz_arrays(path: Where, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz archive, those of `names` or all of them. Raises MissingFile, DamagedFile, MissingField, HostileFile."""
    data = read_bytes(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: _member(archive, name, path) for name in names or archive.files}
    except SourceError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen unrelated types on damaged archives
        raise DamagedFile(path, f"is a damaged archive ({error}); fetch it again.") from error


def _member(archive: Mapping[str, NDArray[Any]], name: str, path: Where) -> NDArray[Any]:
    if name not in archive:
        raise MissingField(path, "is missing; fetch the file again.", field=name)
    try:
        return archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise DamagedFile(path, f"is damaged ({error}); fetch the file again.", field=name) from error
        why = "is a pickle of objects, which no annotation needs; nothing was run, fetch the file again."
        raise HostileFile(path, why, field=name) from error


def text(value: Any, name: str, file: Where) -> str:
    """`value` as a string that is not empty. Raises WrongType or WrongValue."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, str):
        raise WrongType(file, f"is a {type(value).__name__}, not a text; fetch the file again.", field=name)
    if not value.strip():
        raise WrongValue(file, "is empty; fetch the file again.", field=name)
    return value


def same_length(parts: Mapping[str, Any], file: Where) -> int:
    """The common length of fields that belong together. Raises WrongShape."""
    lengths = {name: len(values) for name, values in parts.items()}
    if len(set(lengths.values())) != 1:
        first = next(iter(lengths))
        other = next(name for name, length in lengths.items() if length != lengths[first])
        why = f"has {lengths[other]} entries where {first} has {lengths[first]}; fetch the file again."
        raise WrongShape(file, why, field=other)
    return next(iter(lengths.values()))


def inside(folder: Where, name: str, *, file: Where, field: str) -> Path:
    """folder/name, for a `name` that was read from `file`. Raises OutsidePath where it leads out of the folder."""
    root, path = Path(folder), Path(name)
    strange = "\0" in name or "\\" in name or ".." in path.parts or path.is_absolute()
    if strange or not (root / name).resolve().is_relative_to(root.resolve()):
        raise OutsidePath(
            file, f"names {name!r}, which lies outside {root}; nothing there was read.", field=field
        )
    return root / name


def read_bytes(path: Where) -> bytes:
    """All bytes of a file. Raises MissingFile or DamagedFile."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingFile(path, "is missing; restore it from the data set's distribution.") from None
    except OSError as error:
        raise DamagedFile(
            path, f"cannot be read ({error.strerror}); check the disk and the permissions."
        ) from error


def file_stamp(path: Where) -> str:
    """sha256 (hex) that names a file's content: of all of it, or above 64 MB of its size and its two ends.

    Raises MissingFile.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, "is missing; restore it from the data set's distribution.")
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        if size <= _WHOLE_BELOW:
            digest.update(stream.read())
        else:
            digest.update(stream.read(_ENDS))
            stream.seek(-_ENDS, os.SEEK_END)
            digest.update(stream.read())
    return digest.hexdigest()
