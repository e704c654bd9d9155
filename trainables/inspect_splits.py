"""A data set's settings, parts and groups in tables, and what is odd about them and about its manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import GROUPS
from trainables.inspect_figures import Figures
from trainables.inspect_findings import MOST_EXAMPLES, Finding
from trainables.splits import PARTS, SHARES, by_hash

Array = NDArray[Any]
Row = dict[str, Any]
_FAR_SHARE = 2.0  # a part with less than half, or more than twice, of its usual share of clips
UNPLACED = "(in no part)"


def parts_of(setting: dict[str, Any]) -> dict[str, list[str]]:
    """The groups of every part as `splits.setting_parts` gives them; `gate` is half of `val` where there is none."""
    parts = {part: list(setting.get("parts", {}).get(part, [])) for part in PARTS}
    val = by_hash(parts["val"])
    if not parts["gate"] and len(val) > 1:
        half = (len(val) + 1) // 2
        parts |= {"val": sorted(val[:half]), "gate": sorted(val[half:])}
    return parts


def totals(figures: Figures, rows: Array | slice = slice(None)) -> Row:
    """Clips, frames, seconds, windows; shares of frames with contact (of those known) and of windows that start in it."""
    known, windows = figures.sum("contact_known", rows), int(figures.sum("windows", rows))
    return {
        "clips": len(figures.by_clip["frames"][rows]),
        "frames": int(figures.sum("frames", rows)),
        "seconds": figures.sum("seconds", rows),
        "windows": windows,
        "contact_frames": figures.sum("touching", rows) / known if known else None,
        "contact_windows": figures.sum("windows_in_contact", rows) / windows if windows else None,
    }


def split_table(figures: Figures, manifest: dict[str, Any]) -> list[Row]:
    """A row for every setting and part, and one for the clips of a setting that are in none."""
    table = []
    for name, setting in sorted(manifest["settings"].items()):
        column = np.asarray(figures.groups.get(setting.get("group", ""), []), dtype=object)
        left = np.ones(len(column), dtype=np.bool_)
        for part, groups in parts_of(setting).items():
            inside = np.isin(column, np.asarray(groups, dtype=object))
            left &= ~inside
            row = {"setting": name, "group": setting.get("group"), "part": part, "groups": len(groups)}
            table.append(row | totals(figures, np.flatnonzero(inside)))
        if left.any():
            row = {"setting": name, "group": setting.get("group"), "part": UNPLACED, "groups": 0}
            table.append(row | totals(figures, np.flatnonzero(left)))
    return table


def group_table(figures: Figures, manifest: dict[str, Any], group: str, most: int) -> tuple[list[Row], int]:
    """The `most` groups with the most clips of a column, and how many groups there are."""
    column = np.asarray(figures.groups[group], dtype=object)
    clips = Counter(value for value in figures.groups[group] if value is not None)
    placed: dict[str, list[str]] = {}
    for name, setting in sorted(manifest["settings"].items()):
        if setting.get("group") == group:
            for part, groups in parts_of(setting).items():
                for value in groups:
                    placed.setdefault(value, []).append(f"{name}: {part}")
    table = [
        {"name": value, "parts": ", ".join(placed.get(value, []))}
        | totals(figures, np.flatnonzero(column == value))
        for value, _ in sorted(clips.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]
    return table, len(clips)


def split_findings(figures: Figures, manifest: dict[str, Any]) -> Iterator[Finding]:
    """Settings whose parts are empty, overlap, name what is not there or are far from their share; lone groups."""
    if not manifest["settings"]:
        yield Finding(
            severity="warning", check="no setting", field="settings", what="there is no split, so nothing can be trained on it",
            remedy="record at least four groups (objects, subjects, ...) and name them",
        )  # fmt: skip
    for name, setting in sorted(manifest["settings"].items()):
        yield from _setting_findings(figures, name, setting)
    held = {setting.get("group") for setting in manifest["settings"].values()}
    for group in GROUPS:
        clips = Counter(value for value in figures.groups[group] if value is not None)
        single = sorted(value for value, count in clips.items() if count == 1)
        if single and group in held:
            yield Finding(
                severity="note", check="single clip", field=group, count=len(single),
                what=f"{group} groups have a single clip (of {len(clips)} groups)",
                remedy="intervals resample groups and clips in them: record more of each, or merge spellings",
                examples=[(value, "1 clip") for value in single[:MOST_EXAMPLES]],
            )  # fmt: skip


def _setting_findings(figures: Figures, name: str, setting: dict[str, Any]) -> Iterator[Finding]:
    group, where = setting.get("group", ""), f"settings.{name}"
    parts = parts_of(setting)
    of = Counter(value for groups in parts.values() for value in set(groups))
    overlap = sorted(value for value, count in of.items() if count > 1)
    if overlap:
        yield Finding(
            severity="error", check="split overlap", field=where, what=f"{group} groups lie in two parts",
            remedy="a held-out group belongs to one part alone: prepare it again", count=len(overlap),
            examples=[(value, "in two parts") for value in overlap[:MOST_EXAMPLES]],
        )  # fmt: skip
    clips = Counter(value for value in figures.groups[group] if value is not None)
    absent = sorted(set(of) - set(clips))
    if absent:
        yield Finding(
            severity="error", check="absent group", field=where, what=f"names {group} groups that no clip has",
            remedy="prepare it again", count=len(absent), examples=[(value, "no clip") for value in absent[:MOST_EXAMPLES]],
        )  # fmt: skip
    counts = {part: sum(clips[value] for value in groups) for part, groups in parts.items()}
    empty = [part for part, count in counts.items() if not count]
    if empty:
        yield Finding(
            severity="error", check="empty part", field=where, what="parts hold no clip", count=len(empty),
            remedy="give the part a group; where there are too few, use folds such as " + f"{name}:1/4",
            examples=[(part, "0 clips") for part in empty],
        )  # fmt: skip
    total = sum(counts.values())
    far = [
        (part, f"{count / total:.0%} of the clips, usually {SHARES[part]:.0%}")
        for part, count in counts.items()
        if count and not 1 / _FAR_SHARE <= count / total / SHARES[part] <= _FAR_SHARE
    ]
    if far:
        yield Finding(
            severity="note", check="share of a part", field=where, what="parts are far from their usual share",
            remedy="nothing, if that is meant; else deal the groups out again (another seed, or folds)",
            count=len(far), examples=far,
        )  # fmt: skip
    unplaced = [i for i, value in enumerate(figures.groups[group]) if value not in of]
    if unplaced:
        yield Finding(
            severity="note", check="in no part", field=where, what=f"clips are in no part of {name}",
            remedy=f"they have no {group}, or it is named in no part; nothing, if that is meant", count=len(unplaced),
            examples=[(figures.ids[i], str(figures.groups[group][i])) for i in unplaced[:MOST_EXAMPLES]],
        )  # fmt: skip


def manifest_findings(figures: Figures, manifest: dict[str, Any]) -> Iterator[Finding]:
    """Counts that the shards contradict, and what the import dropped, by reason."""
    counts = manifest.get("counts", {})
    found = {"frames": int(figures.sum("frames"))}  # that of clips is proven when the manifest is read
    wrong = [
        (name, f"{count}, the manifest says {counts[name]}")
        for name, count in found.items()
        if counts.get(name, count) != count
    ]
    if wrong:
        yield Finding(
            severity="error", check="counts", field="counts", what="the manifest's counts are not those of the shards",
            remedy="prepare it again", count=len(wrong), examples=wrong,
        )  # fmt: skip
    report = manifest.get("report") or {}
    dropped: dict[str, str] = report.get("dropped") or {}
    recordings = report.get("recordings") or len(dropped) + len(figures)
    reasons = Counter(_reason(name, reason) for name, reason in dropped.items())
    if reasons:
        share = len(dropped) / max(recordings, 1)
        yield Finding(
            severity="warning" if share > 0.5 else "note", check="dropped at import", field="report.dropped",
            what=f"recordings or clips were dropped, of {recordings} ({share:.1%}); {len(reasons)} reason(s)",
            remedy="see the reasons; mend the source and import again where they can be mended", count=len(dropped),
            examples=[(reason, f"{count} dropped") for reason, count in reasons.most_common(MOST_EXAMPLES)],
        )  # fmt: skip


def _reason(name: str, reason: str) -> str:
    """The reason without what is particular to one recording: its name, paths and figures."""
    plain = re.sub(r"\S*/\S+", "...", reason.replace(name, "..."))
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "n", plain) if len(plain) > 60 else plain
