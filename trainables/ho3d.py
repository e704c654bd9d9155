"""Import HO-3D (Hampali et al., CVPR 2020), versions 2 and 3: a right hand that handles a YCB object.

    python -m trainables.prepare ho3d SOURCE DEST

    SOURCE/train/ABF10/meta/0000.pkl    see ho3d_frame.py
                       rgb/0000.png     .jpg in version 3
    SOURCE/models/021_bleach_cleanser/textured_simple.obj    see ho3d_models.py

The layout is that of the README that comes with the data and of the authors' reader (shreyashampali/ho3d). A sequence
becomes one clip: its longest unbroken annotated run, for frame numbers have gaps. Cameras stand still, and all views of
one recording are one scene, so that no setting takes them apart. MANO's parameters are kept where MANO is loaded.
Contact comes from the object's mesh; without it, from the distances that version 3 stores (for MANO's own vertices);
without these it is unknown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.clip_format import Clip
from trainables.fitted_report import fit_report, tally_fit
from trainables.hand import Hand, load_hand
from trainables.ho3d_models import FILE, HOW_TO, find_models, read_model
from trainables.ho3d_sequence import (
    Place,
    Sequenced,
    read_sequence,
    scene_of,
)
from trainables.import_run import ImportPlan, Made, Summed, Unit, run_import
from trainables.recorded_clips import Fitted, centroid, fit_recordings, hand_vertices
from trainables.recording import MIN_FRAMES, SPEED_LIMIT_M_PER_S, HandParameters
from trainables.signed_distance import Mesh
from trainables.source_errors import MissingFile, SourceError, TooShort
from trainables.source_fields import file_stamp, read_bytes
from trainables.splits import held_out_settings
from trainables.square_picture import PICTURE_EVERY, PICTURE_PX

VERSION = 1  # raised when the same source would give other clips
EVALUATION = "evaluation part: its hand annotation is withheld, the root joint alone is there"
NO_META = "no annotation: it has no meta/0000.pkl and the like; fetch the sequence again"
SHORT = f"no {MIN_FRAMES} annotated frames in a row without a jump"
COUNTED = (
    "recordings cut to their longest run", "frames without annotation", "frames outside the longest run",
    "recordings whose object has no model", "recordings with the contact that the source stores",
    "recordings whose shape changes", "pictures",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """All views of one recording, fitted with one shape."""

    places: Sequence[Place]
    models: Path | None


def import_ho3d(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    workers: int | None = None,
    show_progress: bool = True,
    mano_path: str | os.PathLike[str] | None = None,
    contact_radius_m: float = 0.005,
) -> dict[str, Any]:
    """Convert the HO-3D folder `source` (it holds train/) into the clips folder `dest`; returns the report.

    mano_path: MANO's files, else $MANO_PATH, else the stand-in hand, onto which joints are fitted. A vertex touches
    where its signed distance to the object is below `contact_radius_m`. An equal data set that lies at `dest` already
    is left alone. Raises ClipsError.
    """
    folder = Path(source)
    places, dropped = find_sequences(folder)
    models = find_models(folder)
    stamps = _stamps(places, workers)
    model_stamp = _model_stamp(models)
    hand = load_hand(mano_path)
    plan = ImportPlan(
        name="ho3d",
        hand=hand.name,
        source=_source_record(stamps, model_stamp),
        contact_radius_m=contact_radius_m,
        units=_units(places, stamps, models),
        convert=partial(convert_scene, mano_path=mano_path, radius_m=contact_radius_m),
        settings=lambda summed: held_out_settings(summed.groups),
        report=partial(_report, models=models is not None),
        dropped=dropped,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def find_sequences(folder: Path) -> tuple[list[Place], dict[str, str]]:
    """The train part's sequences, and what is left out: name -> why. Raises MissingFile."""
    if not (folder / "train").is_dir():
        raise MissingFile(
            folder, "holds no train/ folder; give the folder into which HO-3D (v2 or v3) was unpacked."
        )
    places, dropped = [], {}
    for sequence in sorted(path for path in (folder / "train").iterdir() if path.is_dir()):
        metas = _numbered(sequence / "meta", ".pkl")
        if not metas:
            dropped[sequence.name] = NO_META
            continue
        pictures = _numbered(sequence / "rgb", ".png") | _numbered(sequence / "rgb", ".jpg")
        places.append(
            Place(name=sequence.name, metas=[metas[number] for number in sorted(metas)], pictures=pictures)
        )
    if (folder / "evaluation").is_dir():
        for sequence in sorted(path for path in (folder / "evaluation").iterdir() if path.is_dir()):
            dropped[f"evaluation/{sequence.name}"] = EVALUATION
    if not places:
        raise MissingFile(folder / "train", "holds no <sequence>/meta/0000.pkl; fetch HO-3D again.")
    return places, dropped


def convert_scene(
    unit: Unit, *, mano_path: str | os.PathLike[str] | None = None, radius_m: float, hand: Hand | None = None
) -> Made:
    """The clips of all views of one recording."""
    hand = hand or load_hand(mano_path)
    made = Made()
    read: list[Sequenced] = []
    meshes: dict[str, Mesh] = {}
    for place in unit.work.places:
        try:
            sequence = read_sequence(place, hand)
            mesh = read_model(unit.work.models, sequence.body.mesh, sequence.box_m, str(place.metas[0]))
        except TooShort:
            made.dropped[place.name] = SHORT
            continue
        except SourceError as error:
            made.dropped[place.name] = str(error)
            continue
        made.counts.update(sequence.counts)
        if mesh is None:
            made.counts["recordings whose object has no model"] += 1
        else:
            meshes[sequence.body.mesh] = mesh
            sequence = replace(sequence, recording=replace(sequence.recording, bodies=(sequence.body,)))
        read.append(sequence)
    for sequence, fitted in zip(
        read, fit_recordings(hand, [s.recording for s in read], meshes, radius_m), strict=True
    ):
        if not fitted.recording.bodies and fitted.kept_parameters and sequence.vertex_distance_m is not None:
            fitted = replace(fitted, clip=_with_stored_contact(hand, fitted, sequence, radius_m))
            made.counts["recordings with the contact that the source stores"] += 1
        tally_fit(made, fitted)
        made.clips.append(fitted.clip)
    return made


def _with_stored_contact(hand: Hand, fitted: Fitted, sequence: Sequenced, radius_m: float) -> Clip:
    """Contact by the distances that the source stores for MANO's vertices, which are the loaded hand's."""
    assert sequence.vertex_distance_m is not None and fitted.recording.parameters is not None
    parameters: HandParameters = fitted.recording.parameters
    bits = sequence.vertex_distance_m < radius_m
    return replace(
        fitted.clip,
        contact_bits=bits,
        contact_known=np.ones(len(bits), dtype=bool),
        contact_point_m=centroid(bits, hand_vertices(hand, parameters)),
    )


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    return {
        int(path.stem): path for path in folder.iterdir() if path.suffix == suffix and path.stem.isdigit()
    }


def _stamps(places: list[Place], workers: int | None) -> dict[str, str]:
    """sha256 of each sequence: the bytes of its annotations, names and sizes of its pictures."""
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        return dict(zip((place.name for place in places), pool.map(_stamp, places), strict=True))


def _stamp(place: Place) -> str:
    digest = hashlib.sha256(place.name.encode())
    for path in place.metas:
        digest.update(f"\0{path.name}\0".encode())
        digest.update(hashlib.sha256(read_bytes(path)).digest())
    for number in sorted(place.pictures):
        digest.update(f"\0{place.pictures[number].name} {place.pictures[number].stat().st_size}".encode())
    return digest.hexdigest()


def _model_stamp(models: Path | None) -> str:
    digest = hashlib.sha256()
    for path in sorted(models.glob(f"*/{FILE}")) if models else ():
        digest.update(f"{path.parent.name} {file_stamp(path)}\n".encode())
    return digest.hexdigest() if models else "none"


def _units(places: list[Place], stamps: dict[str, str], models: Path | None) -> list[Unit]:
    units = []
    for scene in sorted({scene_of(place.name) for place in places}):
        own = [place for place in places if place.scene == scene]
        key = hashlib.sha256("\0".join(stamps[place.name] for place in own).encode()).hexdigest()
        work = Work(places=own, models=models)
        units.append(Unit(name=scene, key=key, work=work, recordings=[place.name for place in own]))
    return units


def _source_record(stamps: dict[str, str], model_stamp: str) -> dict[str, Any]:
    return {
        "importer": "ho3d",
        "version": VERSION,
        "sha256": hashlib.sha256("\n".join(f"{n} {stamps[n]}" for n in sorted(stamps)).encode()).hexdigest(),
        "models": model_stamp,
        "speed_limit_m_per_s": SPEED_LIMIT_M_PER_S,
        "min_frames": MIN_FRAMES,
        "shape": "one per recording, over its cameras, where parameters are not kept",
        "text": "the object's name; HO-3D labels no actions",
        "subject": "initial of the sequence's name",
        "pictures": f"every {PICTURE_EVERY} frames, {PICTURE_PX} px",
    }


def _report(summed: Summed, *, models: bool) -> dict[str, Any]:
    counted = {name.replace(" ", "_"): summed.counts[name] for name in COUNTED}
    return {**fit_report(summed), **counted, "object_models": "found" if models else f"none: {HOW_TO}"}
