"""Import DexYCB as clips: real hands that pick up a named object and hand it over.

    python -m trainables.prepare dexycb SOURCE DEST

One recording is one clip. Hand parameters come from inverse kinematics onto the hand model, contact maps from
the signed distance of the fitted skin to the posed object mesh; `joints_m` stay the measured ones. DexYCB labels
no actions: the text names a *derived* phase and the object, from what has happened up to that frame and nothing
later.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainables.clips import Clip, ClipWriter, write_clips
from trainables.dexycb_official import is_official, read_official
from trainables.dexycb_pack import PACK_ARRAYS, PACK_INDEX, PACK_MESHES, is_pack, read_pack
from trainables.dexycb_recording import FPS, DexYCBError, Recording, Source, steady_run
from trainables.dexycb_report import Tally, report_lines
from trainables.hand import Hand, load_hand
from trainables.inverse_kinematics import STEPS, HandFit, fit_hand
from trainables.signed_distance import Mesh, contact_map
from trainables.splits import make_split

VERSION = 1  # raised when the same source would give other clips
SPEED_LIMIT_M_PER_S = 5.0  # a joint that is faster was tracked wrongly
MIN_FRAMES = 30  # one window of a second
LIFT_FRAMES = 15  # half a second after the object left its place, lifting becomes handing over
PHASES = {
    "reach": "until a joint comes within 10 mm of the object",
    "grasp": "from then until the object has moved more than 2 cm",
    "lift": f"the {LIFT_FRAMES} frames from then on",
    "hand over": "after that",
}
OBJECT_SHARES = {"train": 11, "val": 2, "gate": 2, "test": 3}  # of 18
SUBJECT_SHARES = {"train": 5, "val": 1, "gate": 1, "test": 1}  # of 8
SPLIT_SEED = 0


def import_dexycb(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sequences: list[str] | None = None,
    mano_path: str | os.PathLike[str] | None = None,
    contact_radius_m: float = 0.005,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Convert the DexYCB folder `source` (the pack or the official layout) into the clips folder `dest`.

    sequences: names of the recordings to take, all by default. mano_path: MANO's files, else $MANO_PATH, else
    the stand-in hand. A vertex touches where its signed distance to the object is below `contact_radius_m`.
    Returns the report that also stands in the manifest: what was kept and dropped, inverse kinematics, contacts.
    An equal data set that lies at `dest` already is left alone. Raises DexYCBError or ClipsError.
    """
    read = read_dexycb(source, sequences=sequences, mano_path=mano_path)
    hand = load_hand(mano_path)
    writer = write_clips(
        dest,
        name="dexycb",
        hand=hand.name,
        source=_source_record(read, sequences),
        contact_radius_m=contact_radius_m,
    )
    with writer, _progress(show_progress) as progress:
        if not writer.finished:
            _convert(read, hand, contact_radius_m, writer, progress)
    report = writer.manifest["report"]
    if show_progress:
        for line in report_lines(report):
            progress.console.print(line, highlight=False)
    return report


def _convert(read: Source, hand: Hand, radius_m: float, writer: ClipWriter, progress: Progress) -> None:
    kept, cleaned = clean(read.recordings)
    subjects = sorted({recording.subject for recording in kept})
    task = progress.add_task("fitting hands", total=len(subjects) * STEPS)

    def convert(subject: str) -> list[tuple[Recording, Clip, torch.Tensor]]:
        own = [recording for recording in kept if recording.subject == subject]
        return subject_clips(hand, own, read.meshes, radius_m, lambda: progress.advance(task))

    tally = Tally(hand, tuple(PHASES), MIN_FRAMES)
    # One thread of torch a subject: operations this small lose more than they gain when cores share them, and the
    # result does not depend on the number of cores.
    with ThreadPoolExecutor(os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for made in pool.map(convert, subjects):
            for recording, clip, fitted in made:
                tally.add(recording, clip, fitted)
                writer.add(clip)
    writer.settings = _settings(kept)
    writer.report = {**cleaned, **tally.summary()}


def read_dexycb(
    source: str | os.PathLike[str],
    *,
    sequences: list[str] | None = None,
    mano_path: str | os.PathLike[str] | None = None,
) -> Source:
    """Read a DexYCB folder: `sequences` (names such as "20200709-subject-01/20200709_141754") or all of it.

    The layout is told by its content: the pack's arrays, or the official subject folders with `calibration/`
    and `models/`, for which `mano_path` (or $MANO_PATH) must name the licensed MANO files. Raises DexYCBError.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise DexYCBError(
            f"{folder}: no such folder; give the one that holds {PACK_ARRAYS}, or DexYCB's subject folders."
        )
    if is_pack(folder):
        return read_pack(folder, sequences)
    if is_official(folder):
        return read_official(folder, sequences, mano_path)
    raise DexYCBError(
        f"{folder}: neither the pack ({PACK_ARRAYS}, {PACK_INDEX}, {PACK_MESHES}/) nor the official layout "
        "(20200709-subject-01/<sequence>/meta.yml, calibration/, models/); point at the right folder."
    )


def clean(recordings: list[Recording]) -> tuple[list[Recording], dict[str, Any]]:
    """Right hands only (left ones mirrored), without jumps, long enough; and what was cut or dropped."""
    kept, cut, short = [], [], []
    for whole in recordings:
        recording = steady_run(whole.mirrored() if whole.side == "left" else whole, SPEED_LIMIT_M_PER_S)
        if len(recording) < MIN_FRAMES:
            short.append(whole.name)
            continue
        if len(recording) < len(whole):
            cut.append(whole.name)
        kept.append(recording)
    return kept, {
        "recordings": len(recordings),
        "clips": len(kept),
        "mirrored": sum(recording.side == "left" for recording in kept),
        "cut_to_their_longest_part_without_a_jump": cut,
        "dropped_too_short": short,
    }


def phases(recording: Recording) -> tuple[list[int], list[str]]:
    """text_start and text of a clip: derived phase and object; frame t's phase uses frames up to t only."""
    frame = recording.start + np.arange(len(recording))
    phase = np.zeros(len(recording), dtype=np.int64)
    if recording.first_contact >= 0:
        phase[frame >= recording.first_contact] = 1
    if recording.first_lift >= 0:
        phase[frame >= recording.first_lift] = 2
        phase[frame >= recording.first_lift + LIFT_FRAMES] = 3
    start = [0, *(np.flatnonzero(np.diff(phase)) + 1).tolist()]
    names = list(PHASES)
    words = recording.object.split("_", 1)[-1].replace("_", " ")  # "006_mustard_bottle" -> "mustard bottle"
    return start, [f"{names[phase[index]]} the {words}" for index in start]


def subject_clips(
    hand: Hand,
    recordings: list[Recording],
    meshes: dict[str, Mesh],
    radius_m: float,
    on_step: Callable[[], None] | None = None,
) -> list[tuple[Recording, Clip, torch.Tensor]]:
    """One subject's clips, fitted with one shape: recording, clip, and the fitted joints (T, 21, 3) in metres."""
    joints = torch.from_numpy(np.concatenate([recording.joints_m for recording in recordings])).float()
    lengths = torch.tensor([len(recording) for recording in recordings])
    fit = fit_hand(hand, joints, torch.repeat_interleave(torch.arange(len(recordings)), lengths), on_step)
    made, begin = [], 0
    for recording in recordings:
        frames = slice(begin, begin := begin + len(recording))
        mesh = meshes[recording.object]
        mesh = mesh.mirrored if recording.side == "left" else mesh
        contact, point_m = recording_contacts(hand, fit, frames, recording, mesh, radius_m)
        made.append((recording, _clip(recording, fit, frames, contact, point_m), fit.joints_NJ3[frames]))
    return made


def _clip(
    recording: Recording, fit: HandFit, frames: slice, contact: np.ndarray, point_m: np.ndarray
) -> Clip:
    start, text = phases(recording)
    return Clip(
        clip_id=recording.name,
        fps=FPS,
        object=recording.object,
        subject=recording.subject,
        text_start=start,
        text=text,
        global_orient=fit.global_orient_N3[frames].numpy(),
        hand_pose=fit.hand_pose_N45[frames].numpy(),
        transl_m=fit.transl_N3[frames].numpy(),
        betas=fit.betas_10.numpy(),
        camera_to_first=np.broadcast_to(np.eye(3, 4), (len(recording), 3, 4)),  # the camera stands still
        joints_m=recording.joints_m,
        contact_bits=contact,
        contact_known=np.ones(len(recording), dtype=bool),
        contact_point_m=point_m,
    )


def recording_contacts(
    hand: Hand, fit: HandFit, frames: slice, recording: Recording, mesh: Mesh, radius_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Contact map (T, 778) bool and centroid of the touching vertices (T, 3), metres, NaN where none.

    `frames` are the recording's rows in the fit; `mesh` is mirrored already where the recording is.
    """
    with torch.no_grad():
        vertices = hand.vertices(
            fit.global_orient_N3[frames],
            fit.hand_pose_N45[frames],
            fit.betas_10.expand(len(recording), -1),
            fit.transl_N3[frames],
        )
    vertices_m = vertices.double().numpy()
    contact = contact_map(
        vertices_m, recording.object_rotation, recording.object_translation_m, mesh, radius_m
    )
    count = contact.sum(1)
    total = np.einsum("tv,tvc->tc", contact, vertices_m)
    point = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)
    return contact, point


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


def _settings(recordings: list[Recording]) -> dict[str, dict[str, Any]]:
    settings = {}
    for name, group, shares in (
        ("objects", "object", OBJECT_SHARES),
        ("subjects", "subject", SUBJECT_SHARES),
    ):
        values = Counter(getattr(recording, group) for recording in recordings)
        if len(values) >= len(shares):  # a few chosen sequences may not fill four parts
            settings[name] = {"group": group, "parts": make_split(values, shares, SPLIT_SEED)}
    return settings


def _progress(show: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not show)
