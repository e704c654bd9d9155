"""An import from its plan to a data set: parallel, resumable, with progress, and every recording accounted for.

    plan = ImportPlan(name="dexycb", ..., units=[Unit(...), ...], convert=convert_subject, ...)
    report = run_import(plan, dest, workers=2)

A *unit* is what is converted at once: a recording, or all of a person's where they share one fitted shape. What a unit
becomes is kept under $LATENTACT_CACHE by the digest of all it depends on, so that an import that was interrupted goes
on where it was, and is deleted when the data set is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.clip_format import GROUPS, Clip, ClipsError, check_clip
from trainables.clip_table import motion_digests, to_table
from trainables.clip_writer import ClipWriter, write_clips
from trainables.feature_cache import cache_folder
from trainables.import_parts import keep_part, read_part
from trainables.import_pool import map_unordered, progress_over


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One piece of work. `key` is a digest of all that its result depends on beside the plan's `source`."""

    name: str
    key: str
    work: Any  # what `convert` is given; it travels to another process
    recordings: Sequence[str] = ()  # names of what is in it, each of which becomes a clip or is dropped


@dataclass(kw_only=True)
class Made:
    """What a unit became.

    dropped: recording or clip -> why. counts: add up over units. samples: pooled over units, for median and p95.
    """

    clips: list[Clip] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)

    def sample(self, name: str, values: NDArray[Any]) -> None:
        self.samples.setdefault(name, []).append(np.asarray(values, dtype=np.float32).ravel())


@dataclass(frozen=True, kw_only=True)
class Summed:
    """All units together: what the plan's `report` and `settings` are told."""

    groups: dict[str, list[str | None]]  # column -> its value for every clip, in the order of the clips
    frames: list[int]
    counts: Counter[str]
    samples: dict[str, NDArray[np.float32]]
    dropped: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What an importer has found out about a source, before any of it is converted.

    source: whatever changes the clips, for the manifest. convert: Unit -> Made; a module's function (or a partial of
    one), for it runs in other processes. A SourceError in it drops the unit with its sentence as the reason.
    """

    name: str
    hand: str
    source: dict[str, Any]
    contact_radius_m: float
    units: Sequence[Unit]
    convert: Callable[[Unit], Made]
    settings: Callable[[Summed], dict[str, dict[str, Any]]]
    report: Callable[[Summed], dict[str, Any]] = lambda summed: {}
    dropped: Mapping[str, str] = field(default_factory=dict)  # before conversion: name -> why
    features: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # see ClipWriter


def run_import(
    plan: ImportPlan, dest: str, *, workers: int | None = None, show_progress: bool = True
) -> dict[str, Any]:
    """Convert all units and publish the data set; returns the report, which also stands in the manifest.

    The report holds `recordings` (how many there were), `clips`, `dropped` (name -> why) and what the plan adds.
    `workers` is the number of processes (all cores by default), or of tasks at once on a Ray cluster (RAY_ADDRESS).
    An equal data set that lies at `dest` already is left alone. Raises ClipsError.
    """
    writer = write_clips(
        dest,
        name=plan.name,
        hand=plan.hand,
        source=plan.source,
        contact_radius_m=plan.contact_radius_m,
        features=dict(plan.features),
    )
    parts = _parts_folder(plan)
    with writer:
        if not writer.finished:
            left = [unit for unit in plan.units if not (parts / unit.key).is_dir()]
            converted = map_unordered(_Convert(plan.convert), left, workers=workers)
            progress = progress_over(
                converted, done=len(plan.units) - len(left), total=len(plan.units), show=show_progress
            )
            for unit, (rows, made) in progress:
                keep_part(parts / unit.key, rows, made.dropped, made.counts, made.samples)
            summed = _merge(plan, parts, writer)
            if not summed.frames:
                raise ClipsError(_nothing(summed.dropped))
            writer.settings = plan.settings(summed)
            writer.report = _report(plan, summed)
    shutil.rmtree(parts, ignore_errors=True)
    return writer.manifest["report"]


class _Convert:
    """`convert`, then the clips as checked rows; runs in a worker."""

    def __init__(self, convert: Callable[[Unit], Made]) -> None:
        self._convert = convert

    def __call__(self, unit: Unit) -> tuple[pa.Table | None, Made]:
        try:
            made = self._convert(unit)
        except ClipsError as error:
            return None, Made(dropped={name: str(error) for name in unit.recordings or [unit.name]})
        whole = []
        for clip in made.clips:
            try:
                check_clip(clip)
            except ClipsError as error:
                made.dropped[clip.clip_id] = str(error)
            else:
                whole.append(clip)
        made.clips = []
        return to_table(whole) if whole else None, made


def _parts_folder(plan: ImportPlan) -> Path:
    about = json.dumps(
        [plan.name, plan.hand, plan.contact_radius_m, plan.source], sort_keys=True, default=str
    )
    return cache_folder() / "imports" / f"{plan.name}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"


def _merge(plan: ImportPlan, parts: Path, writer: ClipWriter) -> Summed:
    """Hands the parts to the writer in the units' order, without what is there twice."""
    groups: dict[str, list[str | None]] = {group: [] for group in GROUPS}
    frames: list[int] = []
    counts: Counter[str] = Counter()
    samples: dict[str, list[NDArray[np.float32]]] = {}
    dropped = dict(plan.dropped)
    ids: set[str] = set()
    motions: dict[bytes, str] = {}
    for unit in plan.units:
        part = read_part(parts / unit.key)
        counts.update(part.counts)
        for name, values in part.samples.items():
            samples.setdefault(name, []).append(values)
        dropped |= part.dropped
        if part.rows is None:
            continue
        keep = []
        for row, (clip_id, digest) in enumerate(
            zip(part.rows["clip_id"].to_pylist(), motion_digests(part.rows), strict=True)
        ):
            if clip_id in ids:
                dropped[f"{clip_id} ({unit.name})"] = (
                    f"a second clip of the name {clip_id!r}; rename its recording."
                )
            elif digest in motions:
                dropped[clip_id] = (
                    f"holds the same motion as {motions[digest]!r}: the recording is there twice."
                )
            else:
                keep.append(row)
                ids.add(clip_id)
                motions[digest] = clip_id
        if not keep:  # an empty list has no type to take by
            continue
        rows = part.rows.take(keep)
        writer.add_rows(rows)
        for group in GROUPS:
            groups[group] += rows[group].to_pylist()
        frames += [len(values) // 3 for values in rows["transl_m"]]
    return Summed(
        groups=groups,
        frames=frames,
        counts=counts,
        samples={name: np.concatenate(values) for name, values in samples.items()},
        dropped=dropped,
    )


def _nothing(dropped: Mapping[str, str]) -> str:
    reasons = sorted(_by_reason(dropped).items(), key=lambda item: -len(item[1]))
    told = "".join(f"\n  {len(names)}: {reason}" for reason, names in reasons[:5])
    return f"none of {len(dropped)} recordings can be used, so there is no data set:{told or ' the source is empty.'}"


def _report(plan: ImportPlan, summed: Summed) -> dict[str, Any]:
    names = {name for unit in plan.units for name in (unit.recordings or [unit.name])}
    return {
        "recordings": len(names | set(plan.dropped)),
        "clips": len(summed.frames),
        "dropped": dict(sorted(summed.dropped.items())),
        **plan.report(summed),
    }


def median_p95(values: NDArray[Any]) -> dict[str, float]:
    """Median and 95th percentile, two decimals."""
    return {"median": round(float(np.median(values)), 2), "p95": round(float(np.percentile(values, 95)), 2)}


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines for people: what was kept, and every reason with how often and one example."""
    dropped = report["dropped"]
    lines = [f"{report['recordings']} recordings: {report['clips']} clips kept, {len(dropped)} dropped"]
    for reason, names in sorted(_by_reason(dropped).items(), key=lambda item: -len(item[1])):
        lines.append(f"  dropped {len(names):>6}  {reason}  (such as {names[0]})")
    for name, values in report.items():
        if name not in ("recordings", "clips", "dropped"):
            lines.append(f"  {name.replace('_', ' ')}: {_plain(values)}")
    return lines


def _by_reason(dropped: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _plain(values: Any) -> str:
    if isinstance(values, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in values.items())
    if isinstance(values, list):
        return f"{len(values)}" + (f" ({values[0]}, ...)" if values else "")
    return f"{values:g}" if isinstance(values, float) else str(values)
