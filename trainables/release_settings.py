"""The settings of LatentAct's published clips: those of the authors' lists where these fit the files, else our own.

A setting here names whole groups, so nothing that is held out can lie in train. A group that straddles the authors' parts
goes to the first of train, val and test that has any of its clips: what is tested is then a part of what they test, and
nothing that they train on is in val or test. The release has no gate part; a loader takes half of val for it, and where
val has a single group a group of train becomes the gate.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.release_lists import LIST_PARTS, RELEASE_NAMES
from trainables.splits import SETTING_GROUPS, by_hash, held_out_settings

# Under a wrong order 10 to 40 % of the clips straddle; a few do where the authors counted a group otherwise.
FITS_BELOW = 0.05
Settings = dict[str, dict[str, Any]]
Column = Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class ListedSetting:
    """A setting as the authors list it: the part of each clip beside the group of each clip, in the lists' order."""

    name: str  # objects, actions, tasks or scenes
    groups: Column
    parts: Sequence[int]  # index into LIST_PARTS

    def assigned(self) -> dict[str, str]:
        """Group -> the one part that it goes to."""
        first: dict[str, int] = {}
        for group, part in zip(self.groups, self.parts, strict=True):
            if group is not None:
                first[group] = min(part, first.get(group, part))
        return {group: LIST_PARTS[part] for group, part in first.items()}

    def moved(self) -> dict[str, int]:
        """What became of clips that are not where the list has them: "test to train" -> clips."""
        where = self.assigned()
        moved: Counter[str] = Counter()
        for group, part in zip(self.groups, self.parts, strict=True):
            goes = where[group] if group is not None else "no part"
            if goes != LIST_PARTS[part]:
                moved[f"{LIST_PARTS[part]} to {goes}"] += 1
        return dict(sorted(moved.items()))


def listed_setting(listed: ListedSetting, kept: Column) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The setting over the clips that were kept (their groups), None where a part is empty; and what to report."""
    group = SETTING_GROUPS[listed.name]
    clips = Counter(value for value in kept if value is not None)
    parts: dict[str, list[str]] = defaultdict(list)
    for value, part in sorted(listed.assigned().items()):
        if value in clips:
            parts[part].append(value)
    said: dict[str, Any] = {"from": f"the release's list {RELEASE_NAMES[listed.name]!r}"}
    if moved := listed.moved():
        said["clips moved"] = moved
    if not all(parts[part] for part in LIST_PARTS):
        empty = next(part for part in LIST_PARTS if not parts[part])
        return None, {"from": f"own split: the release's list leaves no group in {empty}"}
    if len(parts["val"]) == 1 and len(parts["train"]) > 1:
        gate = _gate(parts["train"], clips, clips[parts["val"][0]])
        parts["train"].remove(gate)
        parts["gate"] = [gate]
        said["gate"] = f"{gate!r} of train, for val has one group"
    return {"group": group, "parts": {part: parts[part] for part in sorted(parts)}}, said


def _gate(train: Sequence[str], clips: Mapping[str, int], wanted: int) -> str:
    """The group of train that has most nearly as many clips as val."""
    return min(train, key=lambda value: (abs(clips[value] - wanted), value))


def all_settings(
    listed: Sequence[ListedSetting], kept: Mapping[str, Column], why_not: Mapping[str, str]
) -> tuple[Settings, dict[str, Any]]:
    """Every setting that the clips allow, and where each comes from. `why_not`: setting -> why no list serves."""
    own = held_out_settings(kept)
    settings, said = {}, {}
    for one in listed:
        made, said[one.name] = listed_setting(one, kept[SETTING_GROUPS[one.name]])
        if made is not None:
            settings[one.name] = made
    for name in own.keys() - settings.keys():
        settings[name] = own[name]
        said.setdefault(name, {"from": f"own split: {why_not.get(name, 'the release has no such list')}"})
    return settings, dict(sorted(said.items()))


def recordings_by_file(kept: Mapping[str, Column], part_of: Mapping[str, str]) -> dict[str, Any] | None:
    """ARCTIC's setting `scenes`: recordings of the train file train; those of the val file, which the release uses for
    both, are halved into val and test. None where there are too few. part_of: recording -> "train" or "val".
    """
    held = by_hash({value for value in kept["scene"] if value is not None and part_of.get(value) == "val"})
    train = sorted({value for value in kept["scene"] if value is not None and part_of.get(value) == "train"})
    if len(held) < 3 or not train:
        return None
    val = (2 * len(held) + 2) // 3  # a loader takes half of val for the gate
    return {
        "group": "scene",
        "parts": {"train": train, "val": sorted(held[:val]), "test": sorted(held[val:])},
    }
