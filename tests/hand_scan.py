"""Looks for the arrays of a hand model in the files of a folder: as bytes in any file, and by value in tensors and text.

As bytes: runs of 3 to 6 numbers of an array, evenly spread, in any order of its axes and with or without its zeros, as
16, 32 or 64 bits, at any place of any file. By value: runs of 24 numbers, in metres, centimetres or millimetres, each within about
2% of the run's spread, so that rounding, half precision and decimal text do not hide them.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

Array = np.ndarray[Any, Any]

RUN = 24
# How many numbers of each kind are enough to be no chance.
_KINDS = {"float64": 3, "float32": 3, "float16": 6, "bfloat16": 6, "int64": 3, "int32": 3, "uint16": 6}
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_MOST_RUNS = 5000  # of an order that are looked for as bytes
_ANCHORS = 24  # and by value
_COMMON = 1000
_TOLERANCE = 0.02


class HandSearch:
    """A search for the arrays of one hand model."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._needles = {kind: list(_needles(arrays, kind)) for kind in _KINDS}
        self._anchors = list(_value_runs(arrays))

    def found_in(self, folder: Path) -> list[str]:
        """One line for each array in each file under `folder`: "<file>: <array> ..."; empty where there is none."""
        known: dict[bytes, set[str]] = {}  # the zoo has the same file in several places
        found = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            key = hashlib.sha256(data).digest()
            if key not in known:
                known[key] = self._found_in_file(path, data)
            found += [f"{path.relative_to(folder)}: {name}" for name in sorted(known[key])]
        return found

    def _found_in_file(self, path: Path, data: bytes) -> set[str]:
        places = _Places(data)
        names = {f"{name} as {kind}" for kind, runs in self._needles.items() for name in places.of(runs)}
        return names | {f"{name} by value" for name in _values_in(_numbers(path, data), self._anchors)}


def _orders(array: Array) -> Iterator[Array]:
    """The array's numbers in every order of its axes, and those that are not zero."""
    for axes in itertools.permutations(range(array.ndim)):
        flat = array.transpose(axes).ravel()
        yield flat
        if (flat == 0).mean() > 0.2:
            yield flat[flat != 0]


def _needles(arrays: dict[str, Array], kind: str) -> Iterator[tuple[str, Array]]:
    """(array, its runs as rows of bytes), without runs that say little: few different numbers, or whole small ones."""
    length = _KINDS[kind]
    for name, array in arrays.items():
        if "int" in kind and array.dtype.kind not in "iu":
            continue
        for flat in _orders(array):
            runs = np.lib.stride_tricks.sliding_window_view(flat, length)
            ordered = np.sort(runs, axis=1)
            runs = runs[(np.diff(ordered, axis=1) != 0).sum(axis=1) >= min(length, 4) - 1]
            runs = runs[:: max(1, len(runs) // _MOST_RUNS)]
            if not len(runs):
                continue
            if kind == "bfloat16":
                packed = (np.ascontiguousarray(runs, np.float32).view(np.uint32) >> 16).astype(np.uint16)
            else:
                packed = np.ascontiguousarray(runs, kind)
            yield name, packed.view(np.uint8).reshape(len(packed), -1)


class _Places:
    """Where any 8 bytes stand in a file; all of a run then decide whether it is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        raw = np.frombuffer(data if len(data) >= 8 else data.ljust(8, b"\0"), np.uint8)
        keys = np.lib.stride_tricks.sliding_window_view(raw, 8).copy().view(np.uint64).ravel()
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def of(self, needles: list[tuple[str, Array]]) -> set[str]:
        """Names of the arrays of which a run stands in the file."""
        found = set()
        for name, runs in needles:
            heads = runs[:, :8].copy().view(np.uint64).ravel()
            first, last = (np.searchsorted(self._keys, heads, side) for side in ("left", "right"))
            # What stands everywhere, as zeros do, finds nothing; other runs of the array do.
            for run in np.flatnonzero((last > first) & (last - first < _COMMON)) if name not in found else ():
                wanted = runs[run].tobytes()
                places = self._order[first[run] : last[run]]
                if any(self._data[place : place + len(wanted)] == wanted for place in places):
                    found.add(name)
                    break
        return found


def _value_runs(arrays: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """(array, some of its runs as rows, float64), evenly spread over those that vary."""
    for name, array in arrays.items():
        for flat in _orders(array.astype(np.float64)):
            runs = np.lib.stride_tricks.sliding_window_view(flat, RUN)
            spread = runs.std(axis=1)
            varied = np.flatnonzero(spread > np.median(spread) * 0.5 + 1e-9)
            chosen = varied[np.linspace(0, len(varied) - 1, _ANCHORS).astype(int)] if len(varied) else []
            yield name, runs[chosen]


def _values_in(values: Array, anchors: list[tuple[str, Array]]) -> set[str]:
    """Names of the arrays of which a run stands among the values, at one of the scales. A run that is near another has
    nearly its spread and its mean, by which the few are found that are compared number by number.
    """
    if len(values) < RUN:
        return set()
    values = np.where(np.isfinite(values), values, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, RUN)
    mean, square = windows.mean(axis=1), (windows**2).mean(axis=1)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    order = np.argsort(spread)
    ordered = spread[order]
    found: set[str] = set()
    for (name, runs), scale in itertools.product(anchors, (1.0, 100.0, 1000.0)):
        for run in scale * runs if name not in found else ():
            near = _TOLERANCE * run.std()
            low, high = np.searchsorted(ordered, (run.std() - near, run.std() + near))
            some = order[low:high]
            some = some[np.abs(mean[some] - run.mean()) <= near]
            if len(some) and (((windows[some] - run) ** 2).mean(axis=1) <= near**2).any():
                found.add(name)
                break
    return found


def _numbers(path: Path, data: bytes) -> Array:
    """All numbers of a file: of its tensors, with a NaN between two, or those that its text has."""
    if path.suffix == ".safetensors":
        parts = []
        with safe_open(path, framework="torch") as weights:
            for name in weights.keys():  # noqa: SIM118 (not a dict)
                parts += [weights.get_tensor(name).to(torch.float64).numpy().ravel(), [np.nan]]
        return np.concatenate(parts)
    return np.array([float(number) for number in _NUMBER.findall(data)] if b"\0" not in data else [])
