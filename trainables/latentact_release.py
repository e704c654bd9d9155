"""Import the annotations that LatentAct's authors published (CC BY-NC 4.0) as clips.

    python -m trainables.prepare latentact-release downloads data/release --settings settings.json

One action is one clip; its layout is release_pickles', its camera release_camera's, its contact and shape release_clip's.
Every pickle is read by an unpickler that admits arrays and plain containers alone. Known defects of the release and what
becomes of them:

- frames in which no hand was found are left out of the motion, and nothing says which: such a clip keeps its motion, so
  that "30 frames" may span more than a second, and loses its frame features (release_features);
- the camera's axes (release_camera) and the unknown order of the split lists (release_lists) are found from the data;
- the loaders' windows leave out the last one of each clip (n-W for n-W+1), drop clips by how far the hand is from the
  mean of their own part, and treat every recording as 30 fps: nothing of this is done here. Rates come from HoloAssist's
  label file where it is given.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from trainables.hand import load_hand
from trainables.holoassist_labels import LabelledVideo, read_labels
from trainables.import_run import ImportPlan, Made, Summed, Unit, median_p95, run_import
from trainables.recorded_clips import fit_recordings
from trainables.recording import Recording
from trainables.release_camera import AxisEvidence, choose_reading, total
from trainables.release_clip import MIN_FRAMES, ClipReader
from trainables.release_features import FeaturePlan, Rows, plan_features, read_rows
from trainables.release_index import ContactIndex, index_contacts, index_features
from trainables.release_layout import ReleaseFiles, find_release
from trainables.release_pickles import ClipKey, read_contact_lists
from trainables.release_split import SplitPlan, plan_split
from trainables.source_errors import HostileFile, SourceError
from trainables.source_fields import file_stamp

VERSION = 1  # raised when the same source would give other clips
CONTACT_RADIUS_M = 0.005  # of the format; the release tells contact itself


@dataclass(frozen=True, kw_only=True)
class Work:
    """One contact file, and what its clips need from elsewhere."""

    path: Path
    part: str
    reading: str
    images: dict[ClipKey, Path]
    hand_free: dict[ClipKey, Path]
    texts: dict[str, Rows]
    labels: dict[str, LabelledVideo]
    task_of_label: bool


def import_latentact_release(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    part: str = "holoassist",
    settings: Path | None = None,
    labels: Path | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Convert one part of the release in the folder `source` (its `downloads`, or what holds that) into clips at `dest`.

    part: "holoassist" or "arctic". settings: the authors' settings.json, by default the one in `source`; without one the
    settings are our own splits. labels: HoloAssist's label file, for the frame rate and the task of each recording.
    Hands are MANO's where $MANO_PATH says that it lies; the stand-in is fitted to the joints.
    Returns the report that also stands in the manifest. Raises ClipsError.
    """
    files = find_release(Path(source), part)
    label_of = {} if labels is None else {video.video: video for video in read_labels(labels).videos}
    contacts, unread = index_contacts(files.contact, workers=workers, show_progress=show_progress)
    _stop_on_hostile(unread)
    if not contacts:
        raise next(iter(unread.values()))
    images, no_images = index_features(files.images, workers=workers, show_progress=show_progress)
    hand_free, no_hand_free = index_features(files.hand_free, workers=workers, show_progress=show_progress)
    indices = list(contacts.values())
    features = plan_features(indices, list(images.values()), list(hand_free.values()))
    reading = choose_reading(part, evidence := total(index.axes for index in indices))
    split = plan_split(
        part, indices, label_of, settings or files.settings, unread=[path.name for path in unread]
    )
    stamps = {index.path: index.stamp for index in (*images.values(), *hand_free.values())}
    plan = ImportPlan(
        name=f"{part}_release",
        hand=load_hand().name,
        source=_source_record(files, settings or files.settings, labels),
        contact_radius_m=CONTACT_RADIUS_M,
        units=[_unit(index, part, reading, features, label_of, split, stamps) for index in indices],
        convert=convert_file,
        settings=split.settings,
        report=partial(
            _report,
            split=split,
            features=features,
            reading=reading,
            evidence=evidence,
            unread=no_images | no_hand_free,
        ),
        dropped={path.name: str(error) for path, error in unread.items()},
        features=features.encoders,
    )
    return run_import(plan, os.fspath(dest), workers=workers, show_progress=show_progress)


def convert_file(unit: Unit) -> Made:
    """The clips of one contact file. Those of one recording share a fitted shape where the hand is fitted."""
    work: Work = unit.work
    made = Made()
    lists = read_contact_lists(work.path)
    images, hand_free = read_rows(work.images), read_rows(work.hand_free)
    reader = ClipReader(
        path=work.path,
        lists=lists,
        part=work.part,
        reading=work.reading,
        labels=work.labels,
        task_of_label=work.task_of_label,
        texts=work.texts,
        made=made,
    )
    by_person: dict[str, list[Recording]] = {}
    for clip, name in enumerate(unit.recordings):
        try:
            recording = reader.recording(clip, images, hand_free)
        except SourceError as error:
            made.dropped[name] = str(error)
        else:
            by_person.setdefault(recording.person, []).append(recording)
    hand = load_hand()
    for recordings in by_person.values():
        for fitted in fit_recordings(hand, recordings, {}, CONTACT_RADIUS_M):
            made.counts["clips with the stored parameters"] += fitted.kept_parameters
            made.sample("joint_error_mm", fitted.errors_mm()[0])
            made.clips.append(fitted.clip)
    return made


def _stop_on_hostile(errors: Mapping[Path, SourceError]) -> None:
    for error in errors.values():
        if isinstance(error, HostileFile):
            raise error


def _unit(
    index: ContactIndex,
    part: str,
    reading: str,
    features: FeaturePlan,
    labels: Mapping[str, LabelledVideo],
    split: SplitPlan,
    stamps: Mapping[Path, str],
) -> Unit:
    keys = {entry.key for entry in index.clips if entry.key is not None}
    texts = {entry.text for entry in index.clips if entry.text is not None}
    work = Work(
        path=index.path,
        part=part,
        reading=reading,
        images={key: features.images[key] for key in keys & features.images.keys()},
        hand_free={key: features.hand_free[key] for key in keys & features.hand_free.keys()},
        texts={name: features.texts[name] for name in texts & features.texts.keys()},
        labels={v: replace(labels[v], actions=()) for v in {key[0] for key in keys} & labels.keys()},
        task_of_label=split.task_of_label,
    )
    used = sorted(stamps[path] for path in {*work.images.values(), *work.hand_free.values()})
    about = [index.stamp, used, reading, split.task_of_label, bool(features.texts)]
    names = [entry.name or f"{index.path.name}, clip {i}" for i, entry in enumerate(index.clips)]
    return Unit(
        name=index.path.name,
        key=hashlib.sha256(json.dumps(about).encode()).hexdigest(),
        work=work,
        recordings=names,
    )


def _source_record(files: ReleaseFiles, settings: Path | None, labels: Path | None) -> dict[str, Any]:
    read = [*files.contact, *files.images, *files.hand_free]
    digest = hashlib.sha256("".join(f"{path.name} {file_stamp(path)}\n" for path in read).encode())
    return {
        "importer": "latentact-release",
        "version": VERSION,
        "part": files.part,
        "sha256": digest.hexdigest(),
        "settings": None if settings is None else file_stamp(settings),
        "labels": None if labels is None else file_stamp(labels),
        "min_frames": MIN_FRAMES,
        "shape": "the release's where one a clip, else the median of its frames",
        "contact": "the release's; unknown where it has no points",
    }


def _report(
    summed: Summed,
    *,
    split: SplitPlan,
    features: FeaturePlan,
    reading: str,
    evidence: AxisEvidence,
    unread: Mapping[Path, SourceError],
) -> dict[str, Any]:
    axes = {name: round(value, 3) for name, value in asdict(evidence).items()}
    samples = {name: median_p95(values) for name, values in sorted(summed.samples.items()) if len(values)}
    report: dict[str, Any] = {
        "counts": dict(sorted(summed.counts.items())),
        "median_and_p95": samples,
        "camera_axes": {"taken": reading, **axes},
        "split": split.report(summed),
    }
    if features.missing_texts:
        report["texts_without_feature"] = f"{features.missing_texts}; so no text feature is kept"
    if unread:
        report["feature_files_left_out"] = sorted(str(error) for error in unread.values())
    return report
