"""A window to look at: the hand that was predicted and the true one, as numbers from which their skin is made again.

What is kept are parameters of the hand model and no vertex of it, so that a file of them holds nothing of MANO.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import roma
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trainables.clip_format import VERTICES, encode_png
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS, feature_tables
from trainables.hand import Hand
from trainables.latentact import LatentAct, check_encoders
from trainables.motion import Pose, joints_first, to_first, vertices_first
from trainables.windows import Windows

if TYPE_CHECKING:
    from trainables.clip_set import Clips

Array = NDArray[np.float32]
_LARGEST = 1e5  # of any number of a file: metres, radians, pixels
_DECIMALS = 5  # of metres and radians in a file: a hundredth of a millimetre


@dataclass(frozen=True, kw_only=True)
class HandMotion:
    """One hand over T frames, in the camera of the first of them: metres, rotations as axis-angle."""

    orientation_T3: Array
    hand_pose_T45: Array
    betas_10: Array
    wrist_T3: Array

    @classmethod
    def of(cls, pose: Pose) -> HandMotion:
        """The first window of `pose`."""
        return cls(
            orientation_T3=_array(roma.rotmat_to_rotvec(pose.orientation_first_BT33[0])),
            hand_pose_T45=_array(pose.hand_pose_BT45[0]),
            betas_10=_array(pose.betas_BT10[0].mean(0)),
            wrist_T3=_array(pose.wrist_first_BT3[0]),
        )

    @torch.no_grad()
    def posed(self, hand: Hand) -> tuple[Array, Array]:
        """Skin (T,778,3) and joints (T,21,3), metres in the first camera. `hand` is on the CPU."""
        frames = len(self.wrist_T3)
        pose = Pose(
            orientation_first_BT33=roma.rotvec_to_rotmat(torch.from_numpy(self.orientation_T3))[None],
            hand_pose_BT45=torch.from_numpy(self.hand_pose_T45)[None],
            betas_BT10=torch.from_numpy(self.betas_10).expand(1, frames, 10),
            wrist_first_BT3=torch.from_numpy(self.wrist_T3)[None],
            camera_rot_BT33=torch.eye(3).expand(1, frames, 3, 3),
            camera_transl_BT3=torch.zeros(1, frames, 3),
        )
        return _array(vertices_first(hand, pose)[0]), _array(joints_first(hand, pose)[0])

    def to_json(self) -> dict[str, Any]:
        return {name: np.round(value.astype(float), _DECIMALS).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, Any], frames: int) -> HandMotion:
        """Raises ValueError where a field is missing or has another shape than `frames` frames have."""
        return cls(
            orientation_T3=_numbers(record, "orientation_T3", (frames, 3)),
            hand_pose_T45=_numbers(record, "hand_pose_T45", (frames, 45)),
            betas_10=_numbers(record, "betas_10", (10,)),
            wrist_T3=_numbers(record, "wrist_T3", (frames, 3)),
        )


@dataclass(frozen=True, kw_only=True)
class ShownWindow:
    """What a model predicted for one window, and what happened."""

    predicted: HandMotion
    true: HandMotion | None  # None where the camera's own motion is not known in every frame
    contact_TV: Array  # probability, in steps of 1/255
    contact_threshold: float
    contact_point_3: Array | None  # that the model was given; metres, first camera
    picture: bytes | None  # PNG of the first frame
    focal_px: float | None  # of that picture, where the data say

    def to_json(self) -> dict[str, Any]:
        steps = np.rint(self.contact_TV * 255).astype(np.uint8)
        return {
            "predicted": self.predicted.to_json(),
            "true": self.true.to_json() if self.true else None,
            "contact_255": base64.b64encode(steps.tobytes()).decode(),
            "contact_threshold": round(self.contact_threshold, 6),
            "contact_point_m": None
            if self.contact_point_3 is None
            else np.round(self.contact_point_3.astype(float), _DECIMALS).tolist(),
            "picture_png": base64.b64encode(self.picture).decode() if self.picture else None,
            "focal_px": self.focal_px,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], frames: int) -> ShownWindow:
        """Raises ValueError where a field is missing or of another kind; what the picture holds is not looked at."""
        if not isinstance(record, dict) or not isinstance(record.get("predicted"), dict):
            raise ValueError("predicted is missing")  # noqa: TRY004 what is wrong with a file is one error
        true, point, picture = (record.get(name) for name in ("true", "contact_point_m", "picture_png"))
        steps = np.frombuffer(base64.b64decode(str(record.get("contact_255", "")), validate=True), np.uint8)
        if steps.size != frames * VERTICES:
            raise ValueError(f"contact_255 has {steps.size} bytes, {frames} frames have {frames * VERTICES}")
        focal = record.get("focal_px")
        return cls(
            predicted=HandMotion.from_json(record["predicted"], frames),
            true=HandMotion.from_json(true, frames) if isinstance(true, dict) else None,
            contact_TV=(steps.reshape(frames, VERTICES) / 255).astype(np.float32),
            contact_threshold=float(_numbers(record, "contact_threshold", ())),
            contact_point_3=None if point is None else _numbers(record, "contact_point_m", (3,)),
            picture=None if picture is None else base64.b64decode(str(picture), validate=True),
            focal_px=None if focal is None else float(_numbers(record, "focal_px", ())),
        )

    @property
    def camera_K(self) -> Array | None:
        """Intrinsics (3,3) in the picture's pixels, of a camera that looks through its middle."""
        if self.picture is None or self.focal_px is None:
            return None
        width, height = Image.open(io.BytesIO(self.picture)).size
        f = self.focal_px
        return np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]], dtype=np.float32)


@torch.no_grad()
def show_window(model: LatentAct, windows: Windows, row: int) -> ShownWindow:
    """Predict one window, end to end, and put it beside what happened."""
    batch = windows.gather(torch.tensor([row]))
    prediction = model.eval().forecast(batch)
    whole = bool(batch.camera_known_BT.all())
    point = _array(batch.point_B3[0]) if bool(batch.point_known_B[0]) else None
    picture = first_picture(windows, int(batch.clip_B[0]), int(batch.start_B[0]))
    source = windows.clips.manifest.get("source", {})
    return ShownWindow(
        predicted=HandMotion.of(prediction.pose),
        true=HandMotion.of(to_first(batch, model.hand)) if whole else None,
        contact_TV=_array(prediction.contact_logits_BTV[0].sigmoid()),
        contact_threshold=float(model.contact_threshold),
        contact_point_3=point,
        picture=None if picture is None else encode_png(picture),
        focal_px=source.get("focal_px"),
    )


def model_windows(
    model: LatentAct, clips: Clips, clip_index: Tensor, *, protocol: str, hand_free: bool, hidden: str
) -> Windows:
    """Every window of the clips `clip_index` as the model sees it; clips that are too short have none.

    Raises:
        ClipsError: no clip is long enough.
        EncoderError: a frozen encoder of the model cannot be had, or has other weights here.
    """
    told = model.config.predictor.conditions
    image = told.image_encoder if told.image_encoder in IMAGE_WIDTHS else None
    text = told.text_encoder if told.text_encoder in TEXT_WIDTHS else None
    features = None
    if image or text:
        check_encoders(model.config.encoders)
        features = feature_tables(clips, image=image, text=text, hand_free=hand_free)
    return Windows(
        clips,
        clip_index,
        length=model.config.window,
        protocol=protocol,  # type: ignore[arg-type]
        mode=model.config.mode,  # type: ignore[arg-type]
        hand_free=hand_free,
        features=features,
        hidden=hidden,
    )


def first_picture(windows: Windows, clip: int, start: int) -> NDArray[np.uint8] | None:
    """RGB pixels (H,W,3) of the picture that was known at a window's first frame, without the hand where the model sees it
    so; None where none was, or the model was shown none."""
    clips = windows.clips
    frame = int(clips.offsets_C1[clip]) + start
    free, seen = int(clips.hand_free_F[frame]), int(clips.image_F[frame])
    if windows.hidden == "image":
        return None
    if windows.hand_free and len(clips.hand_free_I) and free >= 0:
        return clips.hand_free_I[free].cpu().numpy()
    return clips.images_I[seen].cpu().numpy() if len(clips.images_I) and seen >= 0 else None


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().float().numpy().astype(np.float32)


def _numbers(record: dict[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    try:
        value = np.asarray(record[name], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name} is missing or no array of numbers") from None
    if value.shape != shape or not (np.abs(value) <= _LARGEST).all():
        raise ValueError(
            f"{name} has shape {value.shape} where {shape} is due, or a number beyond all reason"
        )
    return value
