"""How the clips of LatentAct's release are split: planned from all clips, made from those that were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.holoassist_labels import LabelledVideo
from trainables.import_run import Summed
from trainables.release_groups import groups_of
from trainables.release_index import ContactIndex
from trainables.release_lists import Lists, Order, find_order, read_lists, straddling
from trainables.release_settings import FITS_BELOW, ListedSetting, Settings, all_settings, recordings_by_file
from trainables.splits import SETTING_GROUPS


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """listed: the authors' settings that fit the files; why_not: setting -> why theirs does not."""

    task_of_label: bool = False
    order: Order | None = None
    listed: Sequence[ListedSetting] = ()
    why_not: Mapping[str, str] = field(default_factory=dict)
    part_of_recording: Mapping[str, str] = field(default_factory=dict)  # ARCTIC's files

    def settings(self, summed: Summed) -> Settings:
        return self._made(summed)[0]

    def report(self, summed: Summed) -> dict[str, Any]:
        """Where each setting comes from, in which order the lists count the files, and what straddles."""
        said: dict[str, Any] = {"settings": self._made(summed)[1]}
        if self.order is not None:
            said["order"] = self.order.name
            shares = self.order.straddling.items()
            said["straddling_percent"] = {name: round(100 * share, 2) for name, share in shares}
        return said

    def _made(self, summed: Summed) -> tuple[Settings, dict[str, Any]]:
        settings, said = all_settings(self.listed, summed.groups, self.why_not)
        scenes = recordings_by_file(summed.groups, self.part_of_recording) if self.part_of_recording else None
        if scenes is not None:
            settings["scenes"] = scenes
            said["scenes"] = {
                "from": "the release's train and val files; it tests on val, here val is halved"
            }
        return settings, said


def plan_split(
    part: str,
    indices: Sequence[ContactIndex],
    labels: Mapping[str, LabelledVideo],
    settings: Path | None,
    *,
    unread: Sequence[str],
) -> SplitPlan:
    """indices: of the contact files that could be read, in lexicographic order; unread: names of the others.

    Raises SourceError where settings.json is not as it should be.
    """
    if part == "arctic":
        return SplitPlan(part_of_recording=_parts_by_file(indices))
    if settings is None:
        return _own("no settings.json was given", labels)
    lists = read_lists(settings)
    clips, listed = sum(len(index.clips) for index in indices), len(next(iter(lists.values())))
    if unread:
        return _own(f"{', '.join(unread)} could not be read, so the lists' numbers are lost", labels)
    if clips != listed:
        return _own(
            f"settings.json counts {listed} clips, the files hold {clips}: files are missing or others",
            labels,
        )
    return _fitting(indices, labels, lists)


def _fitting(indices: Sequence[ContactIndex], labels: Mapping[str, LabelledVideo], lists: Lists) -> SplitPlan:
    columns = [_columns(index, None) for index in indices]
    order = find_order([index.path.name for index in indices], columns, lists)
    ordered = {name: [v for i in order.files for v in columns[i][name]] for name in lists}
    task_of_label = False
    if labels:
        tasks = [v for i in order.files for v in _columns(indices[i], labels)["tasks"]]
        share = straddling(tasks, lists["tasks"])
        if None not in tasks and share < order.straddling["tasks"]:
            task_of_label, ordered["tasks"], order.straddling["tasks"] = True, tasks, share
    fits = {name for name, share in order.straddling.items() if share <= FITS_BELOW}
    return SplitPlan(
        task_of_label=task_of_label,
        order=order,
        listed=[
            ListedSetting(name=name, groups=ordered[name], parts=lists[name].tolist())
            for name in lists
            if name in fits
        ],
        why_not={
            name: f"{order.straddling[name]:.0%} of the clips straddle the list's parts: it counts other files"
            for name in lists.keys() - fits
        },
    )


def _own(why: str, labels: Mapping[str, LabelledVideo]) -> SplitPlan:
    return SplitPlan(task_of_label=bool(labels), why_not=dict.fromkeys(SETTING_GROUPS, why))


def _columns(index: ContactIndex, labels: Mapping[str, LabelledVideo] | None) -> dict[str, list[str | None]]:
    """The four settings' groups of every clip of a file."""
    rows = [groups_of(entry, "holoassist", labels) for entry in index.clips]
    return {
        name: [row[SETTING_GROUPS[name]] for row in rows]
        for name in ("objects", "actions", "tasks", "scenes")
    }


def _parts_by_file(indices: Sequence[ContactIndex]) -> dict[str, str]:
    """Recording -> "train" or "val", by its file; one that is in both trains."""
    parts: dict[str, str] = {}
    for index in indices:
        part = "val" if "_val_" in index.path.name else "train"
        for entry in index.clips:
            if entry.key is not None and parts.get(entry.key[0]) != "train":
                parts[entry.key[0]] = part
    return parts
