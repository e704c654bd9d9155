"""One clip of LatentAct's published annotations as a Recording: checked, in one axis convention, with its features.

Contact: a frame without contact points is *unknown*, not free of contact. The authors' data engine stores nothing both
where the masks of hand and object do not meet and where there was no mask, so no frame of theirs says "nothing touches".
The contact point is the mean of a frame's points.

Shape: the release has ten shape numbers for every frame, a clip has one shape: theirs where it stays the same, else the
median of the frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.clip_format import VERTICES
from trainables.holoassist_labels import LabelledVideo
from trainables.import_run import Made
from trainables.recording import Contact, HandParameters, Recording, check_scale
from trainables.release_camera import READINGS, SAME_JOINTS_M, read_as, rebased, residual_m, stored_to_first
from trainables.release_features import FeatureRows, Rows, aligned, really_hand_free
from trainables.release_groups import groups_of
from trainables.release_pickles import ClipEntry, ClipKey, read_entry
from trainables.source_errors import SourceError, WrongShape, WrongValue
from trainables.source_fields import numbers, same_length

FPS = 30.0  # of both sources, where no label file says a recording's own
MIN_FRAMES = 16  # the shorter of the release's two windows
_FAR_M = 20.0  # no hand is further from a head-worn camera
_SAME_PLACE_M = 0.001  # joints_cam and joints + cam_t


@dataclass(frozen=True, kw_only=True)
class ClipReader:
    """How the clips of one contact file are read; counts of what was met go into `made`."""

    path: Path
    lists: Mapping[str, Sequence[Any]]
    part: str
    reading: str  # of the camera's axes, see release_camera
    labels: Mapping[str, LabelledVideo]
    task_of_label: bool  # `task` is the recording's, by its label; else the action's "verb noun"
    texts: Mapping[str, Rows]  # text -> its feature (512,), for all texts or for none
    made: Made

    def recording(self, clip: int, images: FeatureRows, hand_free: FeatureRows) -> Recording:
        """Clip number `clip` of the file. Raises SourceError."""
        entry = read_entry(self.lists, clip, self.path)
        assert entry.key is not None and entry.text is not None and entry.name is not None
        joints = self._numbers("joints_cam", clip, (None, 1, 21, 3))[:, 0]
        if len(joints) < MIN_FRAMES:
            raise WrongValue(
                self.path, f"a clip is shorter than {MIN_FRAMES} frames, the release's shorter window."
            )
        self._check_lengths(entry, clip)
        check_scale(joints, file=str(self.path), field=f"joints_cam[{clip}]")
        label = self.labels.get(entry.key[0])
        bare = Recording(
            name=entry.name,
            person=entry.key[0],
            side="right",
            fps=label.fps if label else FPS,
            text_start=[0],
            text=[entry.text],
            joints_m=joints,
            **groups_of(entry, self.part, self.labels if self.task_of_label else None),
            camera_to_first=self._camera(clip, joints),
            parameters=self._parameters(clip, joints),
            contact=self._contact(clip, len(joints)),
            text_feature=self.texts[entry.text][None] if self.texts else None,
        )
        self._tally_gap(entry)
        return self._with_features(bare, entry.key, images, hand_free)

    def _numbers(
        self, name: str, clip: int, shape: tuple[int | None, ...], *, limit: float = _FAR_M, nan: bool = False
    ) -> NDArray[np.float64]:
        field = f"{name}[{clip}]"
        return numbers(
            self.lists[name][clip], field, self.path, shape=shape, low=-limit, high=limit, may_be_nan=nan
        )

    def _check_lengths(self, entry: ClipEntry, clip: int) -> None:
        assert entry.key is not None
        names = ("joints_cam", "joints", "thetas", "betas", "cam_t", "contacts", "contact_maps")
        try:
            frames = same_length({f"{name}[{clip}]": self.lists[name][clip] for name in names}, self.path)
        except TypeError as error:
            raise WrongShape(self.path, f"clip {clip} lacks frames ({error}); fetch it again.") from error
        span = entry.key[2] - entry.key[1] + 1
        if frames > span:
            why = f"has {frames} frames of motion in a range of {span}; fetch the file again."
            raise WrongShape(self.path, why, field=f"ranges[{clip}]")

    def _parameters(self, clip: int, joints_m: NDArray[np.float64]) -> HandParameters | None:
        """MANO's parameters as stored; None, so that they are found anew, where they are not those of the joints."""
        count = len(joints_m)
        thetas = self._numbers("thetas", clip, (count, 16, 3), limit=4 * np.pi)
        betas = self._numbers("betas", clip, (count, 10))
        cam_t = self._numbers("cam_t", clip, (count, 1, 3))[:, 0]
        own = self._numbers("joints", clip, (count, 1, 21, 3))[:, 0]
        if np.median(np.abs(own + cam_t[:, None] - joints_m)) > _SAME_PLACE_M:
            self.made.counts["clips whose joints_cam is not joints + cam_t"] += 1
            return None
        same = bool((betas == betas[0]).all())
        self.made.counts["clips with one shape"] += same
        return HandParameters(
            global_orient=thetas[:, 0],
            hand_pose=thetas[:, 1:].reshape(count, 45),
            transl_m=cam_t,
            betas=betas[0] if same else np.median(betas, axis=0),
        )

    def _camera(self, clip: int, joints_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Frame to first camera (n, 3, 4), OpenCV axes; NaN where the release does not know it or contradicts itself."""
        count, counts = len(joints_m), self.made.counts
        unknown = np.full((count, 3, 4), np.nan)
        try:
            rel_c2c = self._numbers("rel_c2c", clip, (count, 4, 4), limit=1e4, nan=True)
            joints_ref = self._numbers("joints_ref", clip, (count, 1, 21, 3), limit=1e4, nan=True)[:, 0]
        except SourceError:  # which frames it would belong to is told nowhere
            counts["clips whose camera is malformed, taken as unknown"] += 1
            return unknown
        stored = stored_to_first(rel_c2c)
        counts["frames without a camera"] += int(np.isnan(stored).any((1, 2)).sum())
        off = {name: residual_m(read_as(name, stored), joints_m, joints_ref) for name in READINGS}
        known = [value for value in off.values() if not np.isnan(value)]
        for name, value in off.items():
            if known:
                self.made.sample(f"joints_ref_off_mm_{name}", np.array([1000 * value]))
        if not known:
            counts["clips whose camera nothing confirms"] += 1
        elif min(known) > SAME_JOINTS_M:
            counts["clips whose camera contradicts joints_ref, taken as unknown"] += 1
            return unknown
        return rebased(read_as(self.reading, stored))

    def _contact(self, clip: int, count: int) -> Contact:
        maps, name = self.lists["contact_maps"][clip], f"contact_maps[{clip}]"
        bits = numbers(maps, name, self.path, shape=(count, VERTICES), low=0, high=1).astype(bool)
        point = np.full((count, 3), np.nan)
        touched = np.zeros(count, dtype=np.int64)
        for t, points in enumerate(self.lists["contacts"][clip]):
            if points is None or np.size(points) == 0:
                continue
            name = f"contacts[{clip}][{t}]"
            found = numbers(points, name, self.path, shape=(None, 3), low=-_FAR_M, high=_FAR_M)
            touched[t], point[t] = len(found), found.mean(0)
        counts = self.made.counts
        known = (touched > 0) & bits.any(1)
        counts["frames"] += count
        counts["frames with contact"] += int(known.sum())
        counts["frames whose contact points and map disagree"] += int((touched != bits.sum(1)).sum())
        bits[~known], point[~known] = False, np.nan
        return Contact(bits=bits, known=known, point_m=point)

    def _tally_gap(self, entry: ClipEntry) -> None:
        assert entry.key is not None
        lost = entry.key[2] - entry.key[1] + 1 - entry.frames
        self.made.counts["clips with gaps"] += lost > 0
        self.made.counts["clips that lack exactly one frame"] += lost == 1
        if lost:  # of clips with gaps
            self.made.sample("lost_frames", np.array([lost]))

    def _with_features(
        self, recording: Recording, key: ClipKey, images: FeatureRows, hand_free: FeatureRows
    ) -> Recording:
        count, counts = len(recording), self.made.counts
        frames = np.arange(count)
        for name, read in (("image", images), ("hand-free image", hand_free)):
            counts[f"clips with damaged {name} features"] += key in read.damaged
            rows = read.rows.get(key)
            counts[f"clips whose {name} features have gaps"] += (
                rows is not None and aligned(rows, key, count) is None
            )
        image = aligned(images.rows.get(key), key, count)
        if image is not None:
            counts["clips with image features"] += 1
            recording = replace(recording, image_frame=frames.tolist(), image_feature=image)
        free = aligned(hand_free.rows.get(key), key, count)
        if free is not None:
            shown = really_hand_free(free, image)
            counts["hand-free features that still show the hand"] += int((~shown).sum())
            if shown.any():
                counts["clips with hand-free image features"] += 1
                recording = replace(
                    recording, hand_free_frame=frames[shown].tolist(), hand_free_feature=free[shown]
                )
        return recording
