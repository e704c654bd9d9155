"""Doing damage to the files of a data set, by named kinds: to whole files, and to single fields inside them.

A field is a path of keys and indices into a file's content: ("right", "pose") of a pickled dict, ("joints",) of an
archive, (3,) of the fourth line of a text.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trainables.plain_pickle import read_npy_plainly, read_pickle_plainly

Key = tuple[Any, ...]
CANARY = "canary"  # what a hostile pickle would make


class Hostile:
    """Makes a file when it is unpickled by Python's own loader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


# --- whole files -------------------------------------------------------------------------------------------------


def truncate(path: Path, where: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(0.97 * where * len(data))])  # a last line's end may go unnoticed


def flip(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes())
    place = int(where * len(data) * 8)
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(bytes(data))


def remove(path: Path, where: float) -> None:
    path.unlink()


def empty(path: Path, where: float) -> None:
    path.write_bytes(b"")


def other_format(path: Path, where: float) -> None:
    path.write_bytes(b"<!DOCTYPE html><title>404 Not Found</title>" * (1 + int(20 * where)))


def hostile(path: Path, where: float) -> None:
    """A pickle that makes the canary, in whatever the file's format admits; for others its plain bytes."""
    bad = Hostile(path.with_name(CANARY))
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, np.array({"right": bad}, dtype=object))
    elif path.suffix == ".npz":
        np.savez(buffer, joints=np.array([bad], dtype=object))
    else:
        pickle.dump({"joints": bad, "frames": [bad]}, buffer)
    path.write_bytes(buffer.getvalue())


FILE_DAMAGES: dict[str, Callable[[Path, float], None]] = {
    "truncated": truncate,
    "bit-flipped": flip,
    "missing file": remove,
    "empty file": empty,
    "other format": other_format,
    "hostile pickle": hostile,
}


# --- fields ------------------------------------------------------------------------------------------------------


def read_content(path: Path) -> Any:
    """The file's content as Python values; the damage is done by tests alone, to files that they have made."""
    if path.suffix == ".pkl":
        return read_pickle_plainly(path)
    if path.suffix == ".npy":
        return read_npy_plainly(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix in (".yml", ".yaml"):
        return yaml.safe_load(path.read_text())
    return [line.split() for line in path.read_text().splitlines()]


def write_content(path: Path, content: Any) -> None:
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    elif path.suffix == ".npy":
        array = content if isinstance(content, np.ndarray) else np.array(content, dtype=object)
        np.save(path, array, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".json":
        path.write_text(json.dumps(_plain(content)))
    elif path.suffix in (".yml", ".yaml"):
        path.write_text(yaml.safe_dump(_plain(content)))
    else:
        lines = [" ".join(map(str, line)) if isinstance(line, list) else str(line) for line in content]
        path.write_text("\n".join(lines) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def drop_field(value: Any, where: float) -> Any:
    raise KeyError


def wrong_shape(value: Any, where: float) -> Any:
    """One entry less along an axis that is not the first, or an axis more."""
    array = np.asarray(value)
    if array.ndim >= 1 and array.shape[-1] > 1 and where < 0.5:
        return array[..., :-1]
    return np.stack([array, array])


def wrong_type(value: Any, where: float) -> Any:
    return {"a": "text"} if where < 0.5 else "nothing at all"


def not_finite(value: Any, where: float) -> Any:
    array = np.array(value, dtype=np.float64)
    array.reshape(-1)[int(where * array.size)] = np.nan if where < 0.7 else np.inf
    return array


def wrong_unit(value: Any, where: float) -> Any:
    return np.asarray(value, dtype=np.float64) * (1000.0 if where < 0.5 else 1e-3)


def path_escape(value: Any, where: float) -> Any:
    ways = ("../../../../etc/passwd", "/etc/passwd", "..", "a/../../../b", "..\\..\\x", "nul\0byte")
    name = ways[int(where * len(ways))]
    return [name] if isinstance(value, list) else name


FIELD_DAMAGES: dict[str, Callable[[Any, float], Any]] = {
    "missing field": drop_field,
    "wrong shape": wrong_shape,
    "wrong type": wrong_type,
    "not finite": not_finite,
    "wrong unit": wrong_unit,
    "path escape": path_escape,
}


def damage_field(path: Path, key: Key, kind: str, where: float) -> None:
    """Replace the value at `key` of the file by what the kind makes of it, or take it away."""
    content = copy.deepcopy(read_content(path))
    inner = content
    for step in key[:-1]:
        inner = inner[step]
    try:
        if not key:
            content = FIELD_DAMAGES[kind](content, where)
        else:
            inner[key[-1]] = FIELD_DAMAGES[kind](inner[key[-1]], where)
    except KeyError:
        del inner[key[-1]]
    if path.suffix == ".npz" and any(np.asarray(v).dtype == object for v in content.values()):
        # An archive can hold no such thing without a pickle, and that is what it then holds.
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=True)
                archive.writestr(f"{name}.npy", buffer.getvalue())
        return
    write_content(path, content)
