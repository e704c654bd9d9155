"""The split lists of LatentAct's release (settings.json), and the order of files that they count clips through.

    {"categories": {"train": [clip, ...], "val": [...], "test": [...]}, "actions": ..., "tasks": ..., "instances": ...}

A number is a clip's place in all contact files end to end, in an order that was never written down (release_layout). It
shows in the lists: under the right order an object, an action, a pair of both or a recording lies in one part, whole;
under a wrong one it straddles. Beside the two sorted orders a third is tried, in which file by file the one comes next
that straddles least. `excludes` and `scalegap`, which name a part of the clips and are documented nowhere, are not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.release_layout import sorted_orders
from trainables.source_errors import DamagedFile, WrongValue
from trainables.source_fields import field, numbers, read_bytes

LIST_PARTS = ("train", "val", "test")
RELEASE_NAMES = {"objects": "categories", "actions": "actions", "tasks": "tasks", "scenes": "instances"}
Lists = dict[str, NDArray[np.int64]]  # setting -> part of every clip, an index into LIST_PARTS
# Groups of every clip of a file, by setting; the files in lexicographic order.
FileGroups = Sequence[Mapping[str, Sequence[str | None]]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Files in the order that the lists count them. straddling: setting -> share of clips outside their group's part."""

    name: str
    files: list[int]
    straddling: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.straddling.values())


def read_lists(path: Path) -> Lists:
    """The four lists of settings.json. Raises SourceError, also where a clip is in two parts or in none."""
    data = read_bytes(path)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is no readable JSON ({error}); fetch it again.") from error
    lists: Lists = {}
    for setting, name in RELEASE_NAMES.items():
        parts = field(content, name, path)
        ids = {}
        for part in LIST_PARTS:
            where = f"{name}.{part}"
            values = numbers(field(parts, part, path), where, path, shape=(None,), low=0, high=1e7)
            if (values != np.floor(values)).any():
                raise WrongValue(path, "holds a number that counts no clip; fetch it again.", field=where)
            ids[part] = values.astype(np.int64)
        every = np.concatenate(list(ids.values()))
        if len(np.unique(every)) != len(every):
            why = "names a clip in two parts, or twice; fetch it again."
            raise WrongValue(path, why, field=name)
        if len(every) == 0 or every.max() != len(every) - 1:
            why = f"names {len(every)} clips but leaves out some below the last; fetch it again."
            raise WrongValue(path, why, field=name)
        lists[setting] = np.empty(len(every), dtype=np.int64)
        for index, part in enumerate(LIST_PARTS):
            lists[setting][ids[part]] = index
    if len({len(parts) for parts in lists.values()}) != 1:
        counted = ", ".join(f"{RELEASE_NAMES[name]} {len(parts)}" for name, parts in lists.items())
        raise WrongValue(path, f"its settings count different clips ({counted}); fetch it again.")
    return lists


def find_order(names: Sequence[str], groups: FileGroups, lists: Lists) -> Order:
    """The order of files (by `names`) under which fewest clips straddle: a sorted one unless the third is better."""
    coded = {name: _codes([file[name] for file in groups]) for name in lists}
    orders = sorted_orders(names) | {"recovered": _recover(coded, lists)}
    found = []
    for name, files in orders.items():
        straddling = {
            setting: _stray(_table(np.concatenate([codes[i] for i in files]), lists[setting]))
            / max(len(lists[setting]), 1)
            for setting, codes in coded.items()
        }
        found.append(Order(name=name, files=files, straddling=straddling))
    return min(found, key=lambda order: order.total)  # the first of equals


def straddling(values: Sequence[str | None], parts: NDArray[np.int64]) -> float:
    """Share of clips that lie in another part than most clips of their group do."""
    return _stray(_table(_codes([values])[0], parts)) / max(len(parts), 1)


def _codes(files: Sequence[Sequence[str | None]]) -> list[NDArray[np.int64]]:
    """A number for each value, -1 for none."""
    code: dict[str | None, int] = {None: -1}
    for value in (value for values in files for value in values):
        code.setdefault(value, len(code) - 1)
    return [np.array([code[value] for value in values], dtype=np.int64) for values in files]


def _table(codes: NDArray[np.int64], parts: NDArray[np.int64], rows: int | None = None) -> NDArray[np.int64]:
    """Clips by group and part, (groups, 3)."""
    known = codes >= 0
    rows = int(codes.max(initial=-1)) + 1 if rows is None else rows
    flat = codes[known] * len(LIST_PARTS) + parts[: len(codes)][known]
    return np.bincount(flat, minlength=rows * len(LIST_PARTS)).reshape(rows, len(LIST_PARTS))


def _stray(table: NDArray[np.int64]) -> int:
    return int(table.sum() - table.max(1, initial=0).sum())


def _recover(coded: Mapping[str, list[NDArray[np.int64]]], lists: Lists) -> list[int]:
    """File by file the one that adds fewest straddling clips, for its length."""
    sizes = [len(codes) for codes in next(iter(coded.values()))]
    rows = {name: max(int(c.max(initial=-1)) for c in codes) + 1 for name, codes in coded.items()}
    tables = {name: np.zeros((rows[name], len(LIST_PARTS)), dtype=np.int64) for name in coded}
    left, order, offset = list(range(len(sizes))), list[int](), 0

    def grown(file: int) -> dict[str, NDArray[np.int64]]:
        return {
            name: tables[name] + _table(codes[file], lists[name][offset:], rows[name])
            for name, codes in coded.items()
        }

    while left:
        found = {file: grown(file) for file in left}
        best = min(left, key=lambda file: sum(map(_stray, found[file].values())) / max(sizes[file], 1))
        tables = found[best]
        offset += sizes[best]
        order.append(best)
        left.remove(best)
    return order
