"""Parts of a setting: which held-out groups train, select (val), gate (promotion) and test.

A setting holds out whole groups (all clips of an object, a subject, ...), never single clips. A fold of a
setting is written `objects:2/6`: the groups of `objects` cut into 6, the second of them (from 1) as test.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.clip_format import ClipsError

if TYPE_CHECKING:
    from trainables.clip_set import Clips

PARTS = ("train", "val", "gate", "test")
Parts = dict[str, list[str]]


def make_split(values: Mapping[str, int], shares: Mapping[str, float], seed: int) -> Parts:
    """Deals the groups (name -> number of clips) out to the parts so that clips come close to `shares`.

    Shuffled by `seed`, then each group goes to the part that lacks most; every part with a share gets a
    group. Raises ClipsError where there are fewer groups than parts.
    """
    wanted = {part: share for part, share in shares.items() if share > 0}
    unknown = set(wanted) - set(PARTS)
    if unknown:
        raise ClipsError(f"unknown part {min(unknown)!r}; parts are {', '.join(PARTS)}.")
    if len(values) < len(wanted):
        raise ClipsError(
            f"{len(values)} groups cannot fill {len(wanted)} parts; record more groups or ask fewer parts."
        )
    order = sorted(values)
    random.Random(seed).shuffle(order)
    clips, total = sum(values.values()), sum(wanted.values())
    lack = {part: clips * share / total for part, share in wanted.items()}
    parts: Parts = {part: [] for part in PARTS if part in wanted}
    for i, name in enumerate(order):
        empty = [part for part in parts if not parts[part]]
        candidates = empty if len(order) - i <= len(empty) else list(parts)
        part = max(candidates, key=lambda candidate: lack[candidate])
        parts[part].append(name)
        lack[part] -= values[name]
    return {part: sorted(names) for part, names in parts.items()}


# What each setting of the paper holds out, and what data sets hold out that know people but not places.
SETTING_GROUPS = {
    "objects": "object", "actions": "action", "tasks": "task", "scenes": "scene", "subjects": "subject",
}  # fmt: skip
SHARES = {"train": 0.7, "val": 0.1, "gate": 0.1, "test": 0.1}


def held_out_settings(
    groups: Mapping[str, Sequence[str | None]], *, shares: Mapping[str, float] = SHARES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """The settings that the clips' groups allow: each with enough distinct values to fill every part.

    groups: column (object, action, ...) -> its value for every clip, None where it has none; such clips are in no part.
    """
    settings = {}
    for name, group in SETTING_GROUPS.items():
        values = Counter(value for value in groups.get(group, ()) if value is not None)
        if len(values) >= len(shares):
            settings[name] = {"group": group, "parts": make_split(values, shares, seed)}
    return settings


def k_fold(values: Iterable[str], fold: int, folds: int) -> Parts:
    """Parts of fold `fold` (1 to `folds`): every group is test in exactly one fold.

    The groups are ordered by the sha256 of their name, so no seed enters, and cut into `folds` runs that
    differ by at most one group. Run `fold` is test; the groups that follow it (as many as the next run, at
    least two, around the end) are val and gate, val taking the odd one; the rest train.
    """
    order = by_hash(values)
    count = len(order)
    if count < 4 or not 3 <= folds <= count:
        raise ClipsError(
            f"{count} groups cannot make {folds} folds; needs at least 4 groups and 3 to {count} folds."
        )
    if not 1 <= fold <= folds:
        raise ClipsError(f"there is no fold {fold} of {folds}; folds are counted from 1.")
    cuts = [round(count * i / folds) for i in range(folds + 1)]
    sizes = [after - before for before, after in pairwise(cuts)]
    test, held = sizes[fold - 1], max(2, sizes[fold % folds])
    if test + held >= count:
        raise ClipsError(f"{count} groups in {folds} folds leave none to train on; ask for {count} folds.")
    turned = order[cuts[fold - 1] :] + order[: cuts[fold - 1]]
    val = test + (held + 1) // 2
    parts = {
        "test": turned[:test],
        "val": turned[test:val],
        "gate": turned[val : test + held],
        "train": turned[test + held :],
    }
    return {part: sorted(parts[part]) for part in PARTS}


def fold_settings(setting: str, folds: int) -> list[str]:
    """The names of all folds of a setting: objects:1/6 ... objects:6/6."""
    return [f"{setting}:{fold}/{folds}" for fold in range(1, folds + 1)]


def setting_group(clips: Clips, setting: str) -> str:
    """The column (object, subject, ...) whose values a setting holds out."""
    return _declared(clips, setting)[0]


def setting_parts(clips: Clips, setting: str) -> Parts:
    """The groups of each part of a setting or of a fold of it; `gate` is half of `val` if there is none."""
    _, parts, fold = _declared(clips, setting)
    if fold is not None:
        return k_fold([name for names in parts.values() for name in names], *fold)
    if not parts.get("gate"):
        val = by_hash(parts.get("val", []))
        if len(val) < 2:
            raise ClipsError(
                f"setting {setting!r} of {clips.name!r} has no gate part and {len(val)} group(s) in val, "
                f"too few to halve; use folds, such as {setting}:1/4."
            )
        half = (len(val) + 1) // 2
        parts = parts | {"val": sorted(val[:half]), "gate": sorted(val[half:])}
    return {part: parts.get(part, []) for part in PARTS}


def part_clips(clips: Clips, setting: str, part: str) -> Tensor:
    """Indices (int64, ascending) of the clips in one part. Proves each time that the parts share nothing."""
    if part not in PARTS:
        raise ClipsError(f"unknown part {part!r}; parts are {', '.join(PARTS)}.")
    parts = setting_parts(clips, setting)
    column = clips.groups[setting_group(clips, setting)]
    index = {name: _rows(column, parts[name]) for name in PARTS}
    _prove_disjoint(clips, setting, parts, index)
    if len(index[part]) == 0:
        raise ClipsError(
            f"part {part!r} of setting {setting!r} of {clips.name!r} holds no clip; choose another setting."
        )
    return torch.from_numpy(index[part]).to(clips.device)


def prove_settings(clips: Clips) -> None:
    """Raises ClipsError unless in every setting all groups are there, and no clip and no group lies in two parts."""
    for setting in clips.manifest["settings"]:
        group, parts, _ = _declared(clips, setting)
        absent = {name for names in parts.values() for name in names} - set(clips.groups[group])
        if absent:
            raise ClipsError(
                f"setting {setting!r} of {clips.name!r} in manifest.json names {min(absent)!r}, but no clip's {group} is "
                "that; prepare it again."
            )
        index = {name: _rows(clips.groups[group], names) for name, names in parts.items()}
        _prove_disjoint(clips, setting, parts, index)


def _rows(column: Sequence[str | None], names: Iterable[str]) -> np.ndarray:
    """Which clips have one of the groups. A set: numpy's isin compares objects pair by pair."""
    wanted = set(names)
    return np.flatnonzero(np.fromiter((value in wanted for value in column), dtype=bool, count=len(column)))


def by_hash(values: Iterable[str]) -> list[str]:
    """Distinct names in the order of their sha256: arbitrary, but the same everywhere."""
    return sorted(set(values), key=lambda name: hashlib.sha256(name.encode()).digest())


def _declared(clips: Clips, setting: str) -> tuple[str, Parts, tuple[int, int] | None]:
    match = re.fullmatch(r"([^:]+)(?::(\d+)/(\d+))?", setting)
    settings = clips.manifest["settings"]
    if match is None or match[1] not in settings:
        raise ClipsError(
            f"{clips.name!r} has no setting {setting!r}; it has {', '.join(sorted(settings)) or 'none'}, "
            "and folds of them, written like objects:1/6."
        )
    entry = settings[match[1]]
    return entry["group"], dict(entry["parts"]), (int(match[2]), int(match[3])) if match[2] else None


def _prove_disjoint(clips: Clips, setting: str, parts: Parts, index: dict[str, np.ndarray]) -> None:
    groups = [name for names in parts.values() for name in names]
    if len(set(groups)) != len(groups):
        twice = sorted({name for name in groups if groups.count(name) > 1})
        raise ClipsError(
            f"setting {setting!r} of {clips.name!r}: group {twice[0]!r} lies in two parts; prepare it again."
        )
    taken = [clips.clip_ids[i] for rows in index.values() for i in rows]
    if len(set(taken)) != len(taken):
        raise ClipsError(
            f"setting {setting!r} of {clips.name!r}: a clip lies in two parts; prepare it again."
        )
