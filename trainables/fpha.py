"""Import FPHA (Garcia-Hernando et al., CVPR 2018): 45 actions by six people, seen from the head.

    python -m trainables.prepare fpha SOURCE DEST

The layout is that of guiggh/hand_pose_action (README.md, load_example.py), see fpha_source.py and fpha_sequence.py.
A repetition of an action becomes one clip, its folder's name the label. Joints were measured by magnetic sensors on
right hands, so that hand parameters come from inverse kinematics, one shape a person. Contact is known where the object
has a model and a pose (juice bottle, milk, salt, liquid soap). The camera on the head moves unrecorded: unknown after
the first frame. data_split_action_recognition.txt is not read: it splits repetitions, which holds nothing out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import Clip
from trainables.fitted_report import fit_report, tally_fit
from trainables.fpha_labels import LABELS
from trainables.fpha_sequence import (
    Place,
    Posed,
    read_sequence,
)
from trainables.fpha_source import Source, find_fpha, read_models, stamp
from trainables.hand import Hand, load_hand
from trainables.import_run import ImportPlan, Made, Summed, Unit, run_import
from trainables.recorded_clips import fit_recordings
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S
from trainables.source_errors import SourceError, TooShort
from trainables.source_fields import file_stamp
from trainables.splits import held_out_settings
from trainables.square_picture import PICTURE_EVERY, PICTURE_PX

VERSION = 1  # raised when the same source would give other clips
SHORT = f"no {MIN_FRAMES} frames in a row without a jump"
COUNTED = (
    "recordings cut to their longest run", "frames without joints", "frames outside the longest run",
    "recordings with an object's pose and model", "pictures",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """All sequences of one person, fitted with one shape."""

    places: Sequence[Place]
    models: dict[str, Path]


def import_fpha(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    workers: int | None = None,
    show_progress: bool = True,
    mano_path: str | os.PathLike[str] | None = None,
    contact_radius_m: float = 0.005,
) -> dict[str, Any]:
    """Convert the FPHA folder `source` into the clips folder `dest`; returns the report.

    mano_path: MANO's files, else $MANO_PATH, else the stand-in hand. A vertex touches where its signed distance to the
    object is below `contact_radius_m`. An equal data set that lies at `dest` already is left alone. Raises ClipsError.
    """
    found = find_fpha(Path(source))
    read_models(found.models)  # damaged models stop the import here, not in every worker
    stamps = {place.name: stamp(place) for place in found.places}
    model_stamps = {name: file_stamp(path) for name, path in found.models.items()}
    hand = load_hand(mano_path)
    plan = ImportPlan(
        name="fpha",
        hand=hand.name,
        source=_source_record(stamps, model_stamps),
        contact_radius_m=contact_radius_m,
        units=_units(found, stamps),
        convert=partial(convert_subject, mano_path=mano_path, radius_m=contact_radius_m),
        settings=lambda summed: held_out_settings(summed.groups),
        report=partial(_report, models=sorted(found.models)),
        dropped=found.dropped,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def convert_subject(
    unit: Unit, *, mano_path: str | os.PathLike[str] | None = None, radius_m: float, hand: Hand | None = None
) -> Made:
    """One person's clips."""
    hand = hand or load_hand(mano_path)
    made = Made()
    read: list[Posed] = []
    for place in unit.work.places:
        name = LABELS[place.action].object
        try:
            posed = read_sequence(place, name if name in unit.work.models else None)
        except TooShort:
            made.dropped[place.name] = SHORT
            continue
        except SourceError as error:
            made.dropped[place.name] = str(error)
            continue
        made.counts.update(posed.counts)
        made.counts["recordings with an object's pose and model"] += bool(posed.recording.bodies)
        read.append(posed)
    meshes = read_models(unit.work.models)
    for posed, fitted in zip(
        read, fit_recordings(hand, [p.recording for p in read], meshes, radius_m), strict=True
    ):
        fitted = replace(fitted, clip=_where_known(fitted.clip, posed.object_known))
        tally_fit(made, fitted)
        made.clips.append(fitted.clip)
    return made


def _where_known(clip: Clip, known: NDArray[np.bool_]) -> Clip:
    """The clip with its contact unknown in frames whose object has no pose of its own."""
    return replace(
        clip,
        contact_bits=clip.contact_bits & known[:, None],
        contact_known=clip.contact_known & known,
        contact_point_m=np.where(known[:, None], clip.contact_point_m, np.nan),
    )


def _units(found: Source, stamps: dict[str, str]) -> list[Unit]:
    units = []
    for subject in sorted({place.subject for place in found.places}):
        own = [place for place in found.places if place.subject == subject]
        key = hashlib.sha256("\0".join(stamps[place.name] for place in own).encode()).hexdigest()
        work = Work(places=own, models=found.models)
        units.append(Unit(name=subject, key=key, work=work, recordings=[place.name for place in own]))
    return units


def _source_record(stamps: dict[str, str], model_stamps: dict[str, str]) -> dict[str, Any]:
    return {
        "importer": "fpha",
        "version": VERSION,
        "sha256": hashlib.sha256("\n".join(f"{n} {stamps[n]}" for n in sorted(stamps)).encode()).hexdigest(),
        "models": model_stamps,
        "speed_limit_m_per_s": SPEED_LIMIT_M_PER_S,
        "min_frames": MIN_FRAMES,
        "shape": "one per subject",
        "text": "the label's words",
        "camera": "unknown after the first frame",
        "pictures": f"every {PICTURE_EVERY} frames, {PICTURE_PX} px",
    }


def _report(summed: Summed, *, models: list[str]) -> dict[str, Any]:
    counted = {name.replace(" ", "_"): summed.counts[name] for name in COUNTED}
    return {**fit_report(summed), **counted, "object_models": models}
