"""Import DexYCB as clips: real hands that pick up a named object and hand it over.

    python -m trainables.prepare dexycb SOURCE DEST

One recording is one clip. Hand parameters come from inverse kinematics onto the hand model, contact maps from
the signed distance of the fitted skin to the posed object mesh; `joints_m` stay the measured ones.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainables.dexycb_official import is_official, read_official
from trainables.dexycb_pack import PACK_ARRAYS, PACK_INDEX, PACK_MESHES, is_pack, read_pack
from trainables.dexycb_recording import PHASES, DexYCBError, Source
from trainables.dexycb_report import report_of, tally
from trainables.hand import Hand, load_hand
from trainables.import_run import ImportPlan, Made, Summed, Unit, run_import
from trainables.recorded_clips import fit_recordings
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S, Recording, steady_run
from trainables.signed_distance import Mesh
from trainables.splits import make_split

VERSION = 2  # raised when the same source would give other clips
OBJECT_SHARES = {"train": 11, "val": 2, "gate": 2, "test": 3}  # of 18
SUBJECT_SHARES = {"train": 5, "val": 1, "gate": 1, "test": 1}  # of 8
SPLIT_SEED = 0
JUMP = "cut to the longest part without a jump"
SHORT = f"shorter than {MIN_FRAMES} frames without a jump"


@dataclass(frozen=True, kw_only=True)
class Work:
    """All recordings of one subject, of both hands, fitted with one shape; left ones mirrored first."""

    recordings: Sequence[Recording]
    meshes: dict[str, Mesh]


def import_dexycb(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sequences: list[str] | None = None,
    mano_path: str | os.PathLike[str] | None = None,
    contact_radius_m: float = 0.005,
    workers: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Convert the DexYCB folder `source` (the pack or the official layout) into the clips folder `dest`.

    sequences: names of the recordings to take, all by default. mano_path: MANO's files, else $MANO_PATH, else
    the stand-in hand. A vertex touches where its signed distance to the object is below `contact_radius_m`.
    Returns the report that also stands in the manifest: what was kept and dropped, inverse kinematics, contacts.
    An equal data set that lies at `dest` already is left alone. Raises ClipsError.
    """
    read = read_dexycb(source, sequences=sequences, mano_path=mano_path)
    hand = load_hand(mano_path)
    plan = ImportPlan(
        name="dexycb",
        hand=hand.name,
        source=_source_record(read, sequences),
        contact_radius_m=contact_radius_m,
        units=_units(read),
        convert=partial(convert_subject, mano_path=mano_path, radius_m=contact_radius_m),
        settings=_settings,
        report=report_of,
        dropped=read.dropped,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def read_dexycb(
    source: str | os.PathLike[str],
    *,
    sequences: list[str] | None = None,
    mano_path: str | os.PathLike[str] | None = None,
) -> Source:
    """Read a DexYCB folder: `sequences` (names such as "20200709-subject-01/20200709_141754") or all of it.

    The layout is told by its content: the pack's arrays, or the official subject folders with `calibration/`
    and `models/`, for which `mano_path` (or $MANO_PATH) must name the licensed MANO files. Raises SourceError.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise DexYCBError(
            folder, f"no such folder; give the one that holds {PACK_ARRAYS}, or DexYCB's subject folders."
        )
    if is_pack(folder):
        return read_pack(folder, sequences)
    if is_official(folder):
        return read_official(folder, sequences, mano_path)
    raise DexYCBError(
        folder,
        f"neither the pack ({PACK_ARRAYS}, {PACK_INDEX}, {PACK_MESHES}/) nor the official layout "
        "(20200709-subject-01/<sequence>/meta.yml, calibration/, models/); point at the right folder.",
    )


def convert_subject(
    unit: Unit, *, mano_path: str | os.PathLike[str] | None = None, radius_m: float, hand: Hand | None = None
) -> Made:
    """One subject's clips, without jumps and long enough."""
    hand = hand or load_hand(mano_path)
    made = Made()
    steady = []
    for whole in unit.work.recordings:
        recording = steady_run(whole, SPEED_LIMIT_M_PER_S)
        if len(recording) < MIN_FRAMES:
            made.dropped[whole.name] = SHORT
            continue
        made.counts[JUMP] += len(recording) < len(whole)
        made.counts["left hands mirrored"] += not recording.is_right
        # Mirrored already, so that both hands share one shape.
        steady.append(recording)
    for fitted in fit_recordings(hand, steady, unit.work.meshes, radius_m):
        tally(made, hand, fitted, window=MIN_FRAMES)
        made.clips.append(fitted.clip)
    return made


def _units(read: Source) -> list[Unit]:
    units = []
    for subject in sorted({str(recording.subject) for recording in read.recordings}):
        own = [recording for recording in read.recordings if recording.subject == subject]
        meshes = {body.mesh: read.meshes[body.mesh] for recording in own for body in recording.bodies}
        names = [recording.name for recording in own]
        key = hashlib.sha256("\0".join([read.digest, *names]).encode()).hexdigest()
        units.append(Unit(name=subject, key=key, work=Work(recordings=own, meshes=meshes), recordings=names))
    return units


def _source_record(read: Source, sequences: list[str] | None) -> dict[str, Any]:
    return {
        "importer": "dexycb",
        "version": VERSION,
        "layout": read.layout,
        "sha256": read.digest,
        "sequences": sorted(sequences) if sequences else "all",
        "speed_limit_m_per_s": SPEED_LIMIT_M_PER_S,
        "min_frames": MIN_FRAMES,
        "left_hands": "mirrored",
        "shape": "one per subject",
        "text": "derived phase at the frame, and the object's name",
        "phases": PHASES,
        "split_seed": SPLIT_SEED,
    }


def _settings(summed: Summed) -> dict[str, dict[str, Any]]:
    settings = {}
    for name, group, shares in (
        ("objects", "object", OBJECT_SHARES),
        ("subjects", "subject", SUBJECT_SHARES),
    ):
        values = Counter(value for value in summed.groups[group] if value)
        if len(values) >= len(shares):  # a few chosen sequences may not fill four parts
            settings[name] = {"group": group, "parts": make_split(values, shares, SPLIT_SEED)}
    return settings
