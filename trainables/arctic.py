"""Import ARCTIC (Fan et al., CVPR 2023) as clips: two hands that use and grab articulated objects, seen from the head.

    MANO_PATH=~/mano python -m trainables.prepare arctic SOURCE DEST

One hand of one sequence is one clip, `<subject>/<sequence>/<side>`, in the egocentric camera of each frame. Right hands
keep ARCTIC's own MANO parameters. Left hands are mirrored; their parameters are kept where MANO's right hand gives the
mirrored joints with them, and found by inverse kinematics where it does not (it does not with MANO's left file as
published, whose shape directions are not mirrored: zc-alexfan/arctic issue 50). Contact is the signed distance of the
skin to the object's two parts.
"""

from __future__ import annotations

import functools
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

from trainables.arctic_object import PARTS, read_parts
from trainables.arctic_pictures import Pictures, read_pictures
from trainables.arctic_sequence import TRIMMED, hand_recording, read_camera, read_object
from trainables.arctic_source import Found, Sequence, find_sequences
from trainables.hand import Hand, load_hand
from trainables.import_run import ImportPlan, Made, Summed, Unit, median_p95, run_import
from trainables.mano_sides import SIDES, ManoSides
from trainables.recorded_clips import Fitted, fit_recordings
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S, steady_run
from trainables.signed_distance import Mesh
from trainables.source_errors import SourceError
from trainables.splits import held_out_settings
from trainables.square_picture import PICTURE_EVERY, PICTURE_PX

VERSION = 1  # raised when the same source would give other clips
SHORT = f"shorter than {MIN_FRAMES} frames without a jump and without the first and last {TRIMMED}"


def import_arctic(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    workers: int | None = None,
    show_progress: bool = True,
    mano_path: str | os.PathLike[str] | None = None,
    contact_radius_m: float = 0.005,
) -> dict[str, Any]:
    """Convert ARCTIC's folder `source` (arctic_data/data) into the clips folder `dest`.

    mano_path: the folder with MANO_RIGHT and MANO_LEFT, else $MANO_PATH; ARCTIC stores no joints, so nothing can be
    made of it without them. A vertex touches where its signed distance to a part of the object is below
    `contact_radius_m`. Returns the report that also stands in the manifest. An equal data set that lies at `dest`
    already is left alone. Raises ClipsError.
    """
    found = find_sequences(Path(source))
    sides = ManoSides(source, mano_path)
    mano_stamp = sides.stamp()
    plan = ImportPlan(
        name="arctic",
        hand=load_hand(sides.file("right")).name,
        source=_source_record(found, mano_stamp),
        contact_radius_m=contact_radius_m,
        units=[_unit(sequence) for sequence in found.sequences],
        convert=partial(
            convert_sequence,
            mano_path=os.fspath(sides.path.resolve()),
            mano_stamp=mano_stamp,
            radius_m=contact_radius_m,
        ),
        settings=lambda summed: held_out_settings(summed.groups),
        report=report_of,
        dropped=found.dropped,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def convert_sequence(unit: Unit, *, mano_path: str, mano_stamp: str, radius_m: float) -> Made:
    """The clips of both hands of one sequence."""
    sequence: Sequence = unit.work
    sides, hand = _hands(mano_path, mano_stamp)
    parts = _parts(sequence.template, sequence.template_key)
    meshes = {f"{sequence.names.object}/{part}": parts[part] for part in PARTS}
    camera = read_camera(sequence.files["egocam"])
    if len(camera.rotation) < MIN_FRAMES + 2 * TRIMMED:
        return Made(dropped=dict.fromkeys(unit.recordings, SHORT))
    bodies = read_object(sequence.files["object"], sequence.names.object, camera)
    frames, pictures = len(camera.rotation), Pictures()
    if sequence.pictures is not None:
        pictures = read_pictures(sequence.pictures, TRIMMED, frames - TRIMMED, sequence.picture_offset)
    made = Made(counts=pictures.counts)
    for side in SIDES:
        name = sequence.names.of(side)
        try:
            whole = hand_recording(
                sequence.names, side, sequence.files, sides[side], camera, bodies, pictures
            )
        except SourceError as error:  # the other hand may be whole
            made.dropped[name] = str(error)
            continue
        recording = steady_run(whole, SPEED_LIMIT_M_PER_S)
        if len(recording) < MIN_FRAMES:
            made.dropped[name] = SHORT
            continue
        made.counts["cut"] += len(recording) < len(whole)
        # Each by itself: the two hands of a person do not have one shape in ARCTIC.
        for fitted in fit_recordings(hand, [recording], meshes, radius_m):
            _tally(made, fitted)
            made.clips.append(fitted.clip)
    return made


def report_of(summed: Summed) -> dict[str, Any]:
    """Figures for the manifest, rounded: what hand parameters are worth, by where they come from, and contact."""
    counts = summed.counts
    report: dict[str, Any] = {}
    for side in SIDES:
        report[f"{side}_hands"] = {
            origin: counts[f"{side} {origin}"] for origin in ("kept_parameters", "inverse_kinematics")
        }
    for origin in ("kept_parameters", "inverse_kinematics"):
        names = [f"{origin} {what}" for what in ("joint_error_mm", "bone_length_change_mm")]
        report[origin] = {
            name.split(" ")[1]: median_p95(summed.samples[name]) for name in names if name in summed.samples
        }
    frames = max(sum(summed.frames), 1)
    return report | {
        "cut_to_their_longest_part_without_a_jump": counts["cut"],
        "share_of_frames_with_contact": round(counts["frames with contact"] / frames, 3),
        "pictures": {
            "in_clips": counts["pictures in clips"],
            "missing": counts["pictures missing"],
            "unreadable": counts["pictures unreadable"],
        },
    }


def _tally(made: Made, fitted: Fitted) -> None:
    origin = "kept_parameters" if fitted.kept_parameters else "inverse_kinematics"
    joint_mm, bone_mm = fitted.errors_mm()
    made.sample(f"{origin} joint_error_mm", joint_mm)
    made.sample(f"{origin} bone_length_change_mm", bone_mm)
    made.counts[f"{fitted.recording.side} {origin}"] += 1
    made.counts["frames with contact"] += int(fitted.clip.contact_bits.any(axis=1).sum())
    made.counts["pictures in clips"] += len(fitted.clip.image_frame)


def _unit(sequence: Sequence) -> Unit:
    recordings = [sequence.names.of(side) for side in SIDES]
    name = f"{sequence.names.subject}/{sequence.names.sequence}"
    return Unit(name=name, key=sequence.key, work=sequence, recordings=recordings)


def _source_record(found: Found, mano_stamp: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    for sequence in found.sequences:
        digest.update(sequence.key.encode())
    return {
        "importer": "arctic",
        "version": VERSION,
        "sha256": digest.hexdigest(),
        "mano_sha256": mano_stamp,
        "speed_limit_m_per_s": SPEED_LIMIT_M_PER_S,
        "min_frames": MIN_FRAMES,
        "trimmed_frames_at_either_end": TRIMMED,
        "left_hands": "mirrored",
        "camera": "egocentric, undistorted",
        "text": "the sequence's verb and object",
        "pictures": f"egocentric, every {PICTURE_EVERY}th frame, {PICTURE_PX} px square, distorted as they were taken",
    }


# One process converts many sequences; their hands and objects are few. Content digests keep the caches honest.
@functools.lru_cache(maxsize=2)
def _hands(mano_path: str, mano_stamp: str) -> tuple[ManoSides, Hand]:
    sides = ManoSides(mano_path, mano_path)
    return sides, load_hand(sides.file("right"))


@functools.lru_cache(maxsize=16)
def _parts(template: Path, template_key: str) -> dict[str, Mesh]:
    return read_parts(template)
