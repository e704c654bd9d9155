"""The stages that make clips of one HoloAssist recording, each kept by the content of what it was made from.

tracks     text files and the video's time stamps -> head pose and hand at every frame
hands      tracks, HaMeR's results -> runs of frames with a hand, hand parameters (inverse kinematics)
contacts   hands, SAM2's masks -> which vertices touch
pictures   hands, video -> square PNGs of every n-th frame
hand-free  hands, inpainted frames -> the same without the hand
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import VERTICES
from trainables.hand import Hand
from trainables.holoassist_actions import Action
from trainables.holoassist_axes import camera_to_first
from trainables.holoassist_hands import (
    VERSION as HANDS_VERSION,
)
from trainables.holoassist_hands import (
    HandFrames,
    Run,
    hamer_hands,
    hololens_hands,
    unbroken_runs,
)
from trainables.holoassist_tracks import VERSION as TRACKS_VERSION
from trainables.holoassist_tracks import RecordingFiles, Tracks, read_tracks
from trainables.recorded_clips import fit_recordings, hand_vertices
from trainables.recording import HandParameters, Recording
from trainables.saved_results import results_stamp
from trainables.stage_cache import Arrays, cached_arrays, stage_key

CONTACTS_VERSION = 1  # raised when the same hands and masks would give other contacts


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What one recording is made from, and how; travels to workers."""

    video: str
    task: str | None
    folder: Path
    hamer: Path | None = None
    sam2: Path | None = None
    inpainted: Path | None = None
    image_px: int = 224
    image_every: int = 10

    @property
    def files(self) -> RecordingFiles:
        return RecordingFiles(self.folder)

    @property
    def hamer_file(self) -> Path | None:
        if self.hamer is None:
            return None
        from trainables.hamer_results import hamer_file

        return hamer_file(self.hamer, self.video)

    @property
    def masks_file(self) -> Path | None:
        """None where this recording has no masks: its contact is unknown."""
        if self.sam2 is None:
            return None
        from trainables.sam2_results import masks_file

        path = masks_file(self.sam2, self.video)
        return path if path.exists() else None


def tracks_stage(sources: Sources) -> tuple[Tracks, str]:
    """The tracks and their key. Raises SourceError."""
    hand = sources.hamer is None
    key = [TRACKS_VERSION, hand, sources.files.stamps(hand=hand)]
    arrays = cached_arrays("tracks", key, lambda: read_tracks(sources.files, hand=hand).arrays())
    return Tracks.of(arrays), stage_key("tracks", key)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of a recording, and the hand in their frames end to end (F)."""

    runs: list[Run]
    lost: Counter[str]
    arrays: Arrays  # joints_m (F, 21, 3), camera_to_first (F, 3, 4), global_orient, hand_pose, transl_m, fitted_joints_m,
    # filled (F,), betas (R, 10), kept_parameters (R,)

    def frames(self, run: int) -> slice:
        """Where a run's frames lie in the arrays."""
        begin = sum(r.end - r.begin for r in self.runs[:run])
        return slice(begin, begin + self.runs[run].end - self.runs[run].begin)

    def parameters(self, run: int) -> HandParameters:
        at = self.frames(run)
        return HandParameters(
            global_orient=self.arrays["global_orient"][at],
            hand_pose=self.arrays["hand_pose"][at],
            transl_m=self.arrays["transl_m"][at],
            betas=self.arrays["betas"][run],
        )


def hands_stage(
    sources: Sources, tracks: Tracks, tracks_key: str, actions: Sequence[Action], hand: Hand, hand_key: str
) -> tuple[Runs, str]:
    """Runs with fitted hands, and their key. Raises SourceError."""
    results = sources.hamer_file
    stamp = results_stamp(results) if results else None
    key = [HANDS_VERSION, tracks_key, stamp, hand_key, [list(action[:2]) for action in actions]]

    def compute() -> Arrays:
        if results:
            from trainables.hamer_results import read_hamer

            # The release's files have their translation; others get it by the recording's own focal length.
            hands = hamer_hands(tracks, read_hamer(results, float(tracks.matrix[0, 0])), str(results))
        else:
            hands = hololens_hands(tracks, str(sources.files.right_hand))
        runs, lost = unbroken_runs(tracks, hands, actions)
        return _fitted(sources, tracks, hands, runs, lost, hand)

    arrays = cached_arrays("hands", key, compute)
    table = zip(arrays.pop("run").tolist(), arrays.pop("fps").tolist(), strict=True)
    reasons, counts = arrays.pop("lost_reason").tolist(), arrays.pop("lost_count").tolist()
    return (
        Runs(
            runs=[Run(action, begin, end, fps) for (action, begin, end), fps in table],
            lost=Counter(dict(zip(reasons, counts, strict=True))),
            arrays=arrays,
        ),
        stage_key("hands", key),
    )


def _fitted(
    sources: Sources, tracks: Tracks, hands: HandFrames, runs: list[Run], lost: Counter[str], hand: Hand
) -> Arrays:
    """Inverse kinematics where the hand model is another than the results', all runs of the recording at once."""
    recordings = []
    for run in runs:
        at = slice(run.begin, run.end)
        whole = hands.parameters
        parameters = None
        if whole is not None:
            parameters = HandParameters(
                global_orient=whole.global_orient[at],
                hand_pose=whole.hand_pose[at],
                transl_m=whole.transl_m[at],
                betas=whole.betas[at].mean(0),
            )
        recordings.append(
            Recording(
                name=f"{sources.video}/{run.begin}",
                person=sources.video,
                side="right",
                fps=run.fps,
                text_start=[0],
                text=["-"],
                joints_m=hands.joints_m[at],
                camera_to_first=camera_to_first(tracks.camera[at]),
                parameters=parameters,
            )
        )
    fits = fit_recordings(hand, recordings, {}, 0.0) if recordings else []

    def joined(values: Iterable[NDArray[Any]], *shape: int) -> NDArray[np.float32]:
        return np.concatenate([np.zeros((0, *shape)), *values]).astype(np.float32)

    return {
        "run": np.array([run[:3] for run in runs], dtype=np.int64).reshape(-1, 3),
        "fps": np.array([run.fps for run in runs], dtype=np.float64),
        "lost_reason": np.array(list(lost), dtype=np.str_),
        "lost_count": np.array(list(lost.values()), dtype=np.int64),
        "filled": np.concatenate(
            [np.zeros(0, dtype=bool), *(hands.filled[run.begin : run.end] for run in runs)]
        ),
        "joints_m": joined((fit.clip.joints_m for fit in fits), 21, 3),
        "camera_to_first": joined((fit.clip.camera_to_first for fit in fits), 3, 4),
        "global_orient": joined((fit.clip.global_orient for fit in fits), 3),
        "hand_pose": joined((fit.clip.hand_pose for fit in fits), 45),
        "transl_m": joined((fit.clip.transl_m for fit in fits), 3),
        "fitted_joints_m": joined((fit.joints_m for fit in fits), 21, 3),
        "betas": joined((np.asarray(fit.clip.betas)[None] for fit in fits), 10),
        "kept_parameters": np.array([fit.kept_parameters for fit in fits], dtype=bool),
    }


def contacts_stage(sources: Sources, tracks: Tracks, runs: Runs, hands_key: str, hand: Hand) -> Arrays:
    """bits (F, 98) packed, known (F,), point_m (F, 3) of all runs' frames, unknown where there are no masks."""
    count = len(runs.arrays["joints_m"])
    masks_path = sources.masks_file
    if masks_path is None:
        return {
            "bits": np.packbits(np.zeros((count, VERTICES), dtype=bool), axis=1),
            "known": np.zeros(count, dtype=bool),
            "point_m": np.full((count, 3), np.nan, dtype=np.float32),
        }

    def compute() -> Arrays:
        from trainables.mask_contact import mask_contacts
        from trainables.sam2_results import read_object_masks

        masks = read_object_masks(masks_path)
        given = set(masks.frames)
        faces = hand.faces.numpy()
        made = []
        for number, run in enumerate(runs.runs):
            pictures = [masks.mask(i) if i in given else None for i in range(run.begin, run.end)]
            size = next((picture.shape for picture in pictures if picture is not None), None)
            scale = [size[1], size[0]] / tracks.size_px if size else np.ones(2)
            matrix = tracks.matrix * np.append(scale, 1)[:, None]  # of the masks' pixels
            vertices = hand_vertices(hand, runs.parameters(number))
            made.append(mask_contacts(vertices, faces, pictures, matrix))
        return {
            "bits": np.packbits(
                np.concatenate([np.zeros((0, VERTICES), dtype=bool), *(c.bits for c in made)]), axis=1
            ),
            "known": np.concatenate([np.zeros(0, dtype=bool), *(c.known for c in made)]),
            "point_m": np.concatenate([np.zeros((0, 3)), *(c.point_m for c in made)]).astype(np.float32),
        }

    return cached_arrays("contacts", [CONTACTS_VERSION, hands_key, results_stamp(masks_path)], compute)
