"""Reading a foreign pickle of numpy arrays and builtin containers, and nothing else: no code of it can run.

Pickles are how several projects publish their annotations. Loading one as Python does runs whatever it names; here
the few names that arrays need are admitted, each as an exact (module, name) pair, and any other is refused unread.
"""

from __future__ import annotations

import io
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from trainables.source_errors import DamagedFile, HostileFile, MissingFile

# Builtin containers and numbers have opcodes of their own and need no name, except these.
_ADMITTED = {
    *((module, name) for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("ndarray", "dtype", "_reconstruct", "scalar")),
    ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "complex"),
    ("builtins", "bytearray"), ("builtins", "slice"), ("builtins", "range"), ("_codecs", "encode"),
    ("__builtin__", "set"), ("__builtin__", "frozenset"),
}  # fmt: skip


class Refused(pickle.UnpicklingError):
    """The pickle names something that is no array and no plain container."""


class ArraysOnly(pickle.Unpickler):
    """An unpickler that knows numpy's arrays and builtin containers. `admitted` may grow in a subclass."""

    admitted = frozenset(_ADMITTED)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise Refused(f"{module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("a persistent id")


def read_pickle_plainly(path: str | os.PathLike[str], unpickler: type[ArraysOnly] = ArraysOnly) -> Any:
    """The content of a pickle of arrays and builtin containers, bytes of Python 2 as latin-1 text.

    unpickler: one that admits more, as plain data.
    Raises MissingFile, HostileFile (it names anything else), DamagedFile.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, "is missing; restore it from the data set's distribution.")
    return plain_pickle(path.read_bytes(), path, unpickler)


def plain_pickle(data: bytes, path: str | os.PathLike[str], unpickler: type[ArraysOnly] = ArraysOnly) -> Any:
    """As read_pickle_plainly, of bytes; `path` names them in errors."""
    try:
        return unpickler(io.BytesIO(data), encoding="latin1").load()
    except Refused as error:
        raise HostileFile(
            path,
            f"its pickle names {error}, which no annotation needs; nothing was run, fetch the file again.",
        ) from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise DamagedFile(path, f"is no readable pickle ({error}); fetch the file again.") from error


def read_npy_plainly(path: str | os.PathLike[str]) -> Any:
    """The content of a .npy file, also one whose single object is a pickled dict of arrays (as ARCTIC writes them).

    Raises MissingFile, HostileFile, DamagedFile.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, "is missing; restore it from the data set's distribution.")
    data = path.read_bytes()
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, dtype = read_header[version](stream)
        if not dtype.hasobject:
            return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, KeyError, EOFError, OSError, zlib.error, MemoryError) as error:
        raise DamagedFile(path, f"is no readable .npy file ({error}); fetch the file again.") from error
    content = plain_pickle(data[stream.tell() :], path)
    return content.item() if isinstance(content, np.ndarray) and shape == () else content
