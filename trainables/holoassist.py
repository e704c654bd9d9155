"""Import HoloAssist (Wang et al., ICCV 2023) from its raw recordings: the data engine of LatentAct's paper, as stages.

    python -m trainables.prepare holoassist SOURCE DEST --hamer RESULTS --sam2 MASKS --inpainted FRAMES

SOURCE holds a folder a recording (`R007-7July-DSLR/Export_py/...`) and the label file, or lies beside it. One fine action
that the paper selects is one clip, of the frames in which the right hand is seen without a break; it keeps the video's
frame rate. Hands are HaMeR's where results are given, else those of the headset by inverse kinematics, one shape a
recording. Contact follows from SAM2's masks where given, else is unknown. Every stage's result is kept by its content
(stage_cache.py), so that an import that was interrupted, or is made again with masks, does not begin anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.clip_format import VERTICES, Clip
from trainables.hand import Hand, load_hand
from trainables.holoassist_actions import action_frames, selected
from trainables.holoassist_clips import Sources, contacts_stage, hands_stage, tracks_stage
from trainables.holoassist_hands import FILLED_FRAMES
from trainables.holoassist_labels import LABEL_FILE, FineAction, read_labels
from trainables.holoassist_pictures import hand_free_stage, pictures_stage, wanted_frames
from trainables.holoassist_report import report_of, tally
from trainables.holoassist_tracks import EXPORT, NEAREST_S
from trainables.import_run import ImportPlan, Made, Unit, run_import
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S
from trainables.source_errors import MissingFile, SourceError
from trainables.source_fields import file_stamp
from trainables.splits import held_out_settings

VERSION = 1  # raised when the same source would give other clips
NO_CLIP = "none of its selected actions became a clip"
NO_ACTION = "none of its actions is selected"
_ENDS = 1 << 16


class HoloAssistError(SourceError):
    """The source folder or an option lacks what all recordings need; says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Work:
    sources: Sources
    actions: Sequence[FineAction]


def import_holoassist(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    hamer: str | os.PathLike[str] | None = None,
    sam2: str | os.PathLike[str] | None = None,
    inpainted: str | os.PathLike[str] | None = None,
    image_px: int = 224,
    image_every: int = 10,
    workers: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Convert HoloAssist's recordings below `source` into the clips folder `dest`.

    labels: the official label file or its condensed form; in or beside `source` by default. hamer, sam2, inpainted:
    folders of saved results (see hamer_results.py, sam2_results.py, inpainted_frames.py). image_px: side of the square
    pictures, of which a clip has one every `image_every` frames. Returns the report that also stands in the manifest:
    what was kept, dropped and why. An equal data set that lies at `dest` already is left alone. Raises ClipsError.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise HoloAssistError(
            folder, f"no such folder; give the one that holds the recordings (<recording>/{EXPORT}/)."
        )
    results = {"hamer": hamer, "sam2": sam2, "inpainted": inpainted}
    given = {name: Path(path) for name, path in results.items() if path is not None}
    for name, path in given.items():
        if not path.is_dir():
            raise HoloAssistError(path, f"no such folder; give that of the results, or leave out --{name}.")
    label_file = Path(labels) if labels is not None else _label_file(folder)
    read = read_labels(label_file)
    there = {entry.name for entry in folder.iterdir() if (entry / EXPORT).is_dir()}
    units, dropped = [], dict(read.unreadable_videos)
    for video in read.videos:
        if video.video not in there:
            continue
        if actions := selected(video):
            sources = Sources(
                video=video.video, task=video.task, folder=folder / video.video, image_px=image_px,
                image_every=image_every, **given,
            )  # fmt: skip
            units.append(Work(sources=sources, actions=actions))
        else:
            dropped[video.video] = NO_ACTION
    if not units:
        names = f"{len(there)} recordings there, {len(read.videos)} in {label_file.name}"
        raise HoloAssistError(folder, f"no recording with a selected action ({names}); check both paths.")
    with ThreadPoolExecutor(max_workers=16) as pool:  # many small reads, perhaps over a network
        keys = list(pool.map(_unit_key, units))
    hand = load_hand()
    plan = ImportPlan(
        name="holoassist",
        hand=hand.name,
        source={
            "importer": "holoassist",
            "version": VERSION,
            "sha256": hashlib.sha256("\0".join([file_stamp(label_file), *keys]).encode()).hexdigest(),
            "hands": "HaMeR" if hamer is not None else "HoloLens joints, inverse kinematics",
            "contact": "SAM2 masks" if sam2 is not None else "unknown",
            "hand_free": inpainted is not None,
            "image_px": image_px,
            "image_every": image_every,
            "speed_limit_m_per_s": SPEED_LIMIT_M_PER_S,
            "window_frames": MIN_FRAMES,
            "filled_frames": FILLED_FRAMES,
            "nearest_s": NEAREST_S,
            "shape": "one per clip, the mean of HaMeR's" if hamer is not None else "one per recording",
            "text": "verb and noun",
        },
        contact_radius_m=0.0,  # contact is seen in masks, not measured
        units=[
            Unit(name=work.sources.video, key=key, work=work, recordings=[work.sources.video])
            for work, key in zip(units, keys, strict=True)
        ],
        convert=convert_recording,
        settings=lambda summed: held_out_settings(summed.groups),
        report=partial(report_of, read, len(there)),
        dropped=dropped,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def convert_recording(unit: Unit, *, hand: Hand | None = None) -> Made:
    """One recording's clips. Raises SourceError where the recording is damaged."""
    hand = hand or load_hand()
    sources: Sources = unit.work.sources
    made = Made()
    tracks, tracks_key = tracks_stage(sources)
    actions, lost = action_frames(unit.work.actions, tracks.fps)
    runs, hands_key = hands_stage(sources, tracks, tracks_key, actions, hand, _hand_key(hand))
    contacts = contacts_stage(sources, tracks, runs, hands_key, hand)
    frames = wanted_frames(runs.runs, sources.image_every)
    pictures, hand_free = pictures_stage(sources, frames), hand_free_stage(sources, frames)
    for number, run in enumerate(runs.runs):
        at = runs.frames(number)
        shown, free = (
            [i for i in range(run.begin, run.end, sources.image_every) if i in pngs]
            for pngs in (pictures, hand_free)
        )
        action = actions[run.action]
        made.clips.append(
            Clip(
                clip_id=f"{sources.video}/{action.first:06d}-{action.last:06d}",
                fps=run.fps,
                object=action.noun,
                action=action.verb,
                task=sources.task,
                scene=sources.video,
                text_start=[0],
                text=[action.text],
                global_orient=runs.arrays["global_orient"][at],
                hand_pose=runs.arrays["hand_pose"][at],
                transl_m=runs.arrays["transl_m"][at],
                camera_to_first=runs.arrays["camera_to_first"][at],
                joints_m=runs.arrays["joints_m"][at],
                betas=runs.arrays["betas"][number],
                contact_bits=np.unpackbits(contacts["bits"][at], axis=1, count=VERTICES).astype(bool),
                contact_known=contacts["known"][at],
                contact_point_m=contacts["point_m"][at],
                image_frame=[i - run.begin for i in shown],
                image_png=[pictures[i] for i in shown],
                hand_free_frame=[i - run.begin for i in free],
                hand_free_png=[hand_free[i] for i in free],
            )
        )
    tally(made, runs, contacts, actions, lost + runs.lost)
    made.counts["recordings without masks"] += sources.sam2 is not None and sources.masks_file is None
    if not made.clips:
        made.dropped[sources.video] = NO_CLIP
    return made


def _label_file(folder: Path) -> Path:
    for place in (folder / LABEL_FILE, folder.parent / LABEL_FILE):
        if place.is_file():
            return place
    raise MissingFile(
        folder / LABEL_FILE,
        "is neither in the source folder nor beside it; name the label file with --labels.",
    )


def _unit_key(work: Work) -> str:
    """Names a recording's inputs by their size and both ends: the stages read and name all of their bytes."""
    sources = work.sources
    files = sources.files.read(hand=sources.hamer is None)
    files += [path for path in (sources.hamer_file, sources.masks_file) if path is not None]
    stamps = [f"{path.name} {_ends(path)}" for path in files]
    if sources.inpainted is not None:
        from trainables.inpainted_frames import inpainted_file

        stamps.append(_ends(inpainted_file(sources.inpainted, sources.video, 0).parent))
    about = [sources.video, sources.task, [list(action) for action in work.actions], stamps]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _ends(path: Path) -> str:
    if path.is_dir():
        return " ".join(sorted(f"{p.relative_to(path)} {p.stat().st_size}" for p in path.rglob("*")))
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(_ENDS))
        stream.seek(max(size - _ENDS, 0))
        digest.update(stream.read(_ENDS))
    return digest.hexdigest()


def _hand_key(hand: Hand) -> str:
    arrays = (hand.v_template, hand.shapedirs, hand.posedirs, hand.J_regressor, hand.lbs_weights)
    digest = hashlib.sha256(hand.name.encode())
    for array in arrays:
        digest.update(array.contiguous().numpy().tobytes())
    return digest.hexdigest()
