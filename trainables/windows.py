"""Windows: every run of W consecutive frames of the chosen clips, gathered into batches on the device.

The camera of a window's first frame is its *reference*: the contact point and the targets `camera_*` and
`joints_ref` are expressed in it, everything else in the frame's own camera. Suffixes: B windows, T frames, J
joints, V vertices.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from trainables.clip_format import ClipsError
from trainables.clip_set import unpack_contact

if TYPE_CHECKING:
    from trainables.clip_set import Clips
    from trainables.frozen_encoders import FeatureTables

Protocol = Literal["first", "goal"]
Mode = Literal["forecast", "interpolate"]
HIDEABLE = ("text", "image", "contact")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a network that predicts may see: it takes this and not Batch, so it cannot reach a target.

    S are the given frames: the first, and when interpolating the last too.
    """

    texts: list[str]  # what text_B points into
    text_B: Tensor  # int64, the text of the first frame
    text_BF: Tensor | None  # its feature by a frozen encoder, where the model has one
    text_known_B: Tensor  # bool
    # uint8 pixels (B,S,H,W,3), or a frozen encoder's features (B,S,F), of the latest image at or before each given
    # frame; zero where unknown
    image_BSX: Tensor
    image_known_BS: Tensor  # bool
    point_BS3: Tensor  # metres, reference camera; zero where unknown
    point_known_BS: Tensor  # bool

    def __len__(self) -> int:
        return len(self.text_B)

    @property
    def point_B3(self) -> Tensor:
        """The contact point of the first given frame, or the one that the protocol declares."""
        return self.point_BS3[:, 0]

    @property
    def point_known_B(self) -> Tensor:
        return self.point_known_BS[:, 0]


@dataclass(frozen=True, kw_only=True)
class Batch(Inputs):
    """A batch of windows: the inputs, and what they are scored against."""

    global_orient_BT3: Tensor  # axis-angle, own camera
    hand_pose_BT45: Tensor  # axis-angle
    betas_BT10: Tensor
    transl_BT3: Tensor  # metres, own camera
    camera_rot_BT33: Tensor  # camera of frame t -> reference camera; identity where unknown
    camera_transl_BT3: Tensor  # metres; zero where unknown
    camera_known_BT: Tensor  # bool
    joints_BTJ3: Tensor  # metres, own camera
    joints_ref_BTJ3: Tensor  # metres, reference camera; meaningful where camera_known
    contact_BTV: Tensor  # float, 0 or 1
    contact_known_BT: Tensor  # bool
    clip_B: Tensor  # int64, index of the clip in the data set
    start_B: Tensor  # int64, first frame, counted within the clip
    row_B: Tensor  # int64, index of the window in its Windows


class Windows:
    """All windows of `length` frames of the clips `clip_index`; n frames have n - length + 1 (stride 1).

    Args:
        protocol: which contact point the first frame is given with. "first": the contact centroid of the first frame,
            else unknown. "goal": that of the window's first frame with contact, moved into the reference camera; a
            declared look ahead.
        mode: "forecast" gives the first frame, "interpolate" the last frame's image and contact point too.
        hand_free: images from which the hand was removed, where there are such.
        features: of frozen encoders, in place of pixels and words.
        hidden: an input of HIDEABLE that is unknown everywhere; "" for none.

    Raises:
        ClipsError: no clip is long enough, or an option is unknown.
    """

    def __init__(
        self,
        clips: Clips,
        clip_index: Tensor,
        *,
        length: int = 30,
        stride: int = 1,
        protocol: Protocol = "first",
        mode: Mode = "forecast",
        hand_free: bool = False,
        features: FeatureTables | None = None,
        hidden: str = "",
    ) -> None:
        _check_option("contact protocol", protocol, get_args(Protocol))
        _check_option("mode", mode, get_args(Mode))
        _check_option("hidden input", hidden, ("", *HIDEABLE))
        if length < 1 or stride < 1:
            raise ClipsError(f"a window's length ({length}) and stride ({stride}) must be at least 1.")
        self.clips, self.length, self.stride, self.protocol = clips, length, stride, protocol
        self.hand_free, self.hidden = hand_free, hidden
        self.features = features.to(clips.device) if features else None
        self._images_IX, self._hand_free_IX = clips.images_I, clips.hand_free_I
        if self.features is not None and self.features.image_IF is not None:
            own = max(len(clips.images_I), len(clips.image_IF))
            self._images_IX, self._hand_free_IX = self.features.image_IF.tensor_split([own])
        self._given_S = torch.tensor([0] if mode == "forecast" else [0, length - 1], device=clips.device)
        clip_index = clip_index.to(clips.device)
        frames = clips.offsets_C1.diff()[clip_index]
        count = torch.where(frames >= length, (frames - length) // stride + 1, 0)
        if int(count.sum()) == 0:
            longest = int(frames.max()) if len(frames) else 0
            raise ClipsError(
                f"none of these {len(frames)} clips of {clips.name!r} is long enough for a window of "
                f"{length} frames (the longest has {longest}); choose a shorter window or another part."
            )
        self.clip_N = torch.repeat_interleave(clip_index, count)
        before = torch.repeat_interleave(count.cumsum(0) - count, count)
        self.start_N = (torch.arange(len(self.clip_N), device=clips.device) - before) * stride
        self._steps_T = torch.arange(length, device=clips.device)

    def __len__(self) -> int:
        return len(self.clip_N)

    def with_every_frame_given(self) -> Windows:
        """The same windows, whose inputs hold image and contact point of all T frames: for the codebook alone.

        The first point stays the one that the protocol declares: motion is measured from it.
        """
        other = copy.copy(self)
        other._given_S = self._steps_T
        return other

    @property
    def texts(self) -> list[str]:
        return self.clips.texts

    def gather(self, index: Tensor) -> Batch:
        """The windows `index` (int64 (B,)), each with all its frames, on the clips' device."""
        clips = self.clips
        index = index.to(clips.device)
        clip_B, start_B = self.clip_N[index], self.start_N[index]
        first_B = clips.offsets_C1[clip_B] + start_B
        frame_BT = first_B[:, None] + self._steps_T
        frames = frame_BT.flatten()

        def take(values_F: Tensor) -> Tensor:  # values_F[frame_BT], which is several times slower on a CPU
            return values_F.index_select(0, frames).unflatten(0, frame_BT.shape)

        # frame t -> clip's first -> window's first: inv(M_s) M_t, with inv([R|t]) = [R'|-R't].
        known_BT = take(clips.camera_known_F) & clips.camera_known_F[first_B][:, None]
        back_B133 = clips.camera_rot_F33[first_B].mT[:, None]
        shift_BT3 = take(clips.camera_transl_F3) - clips.camera_transl_F3[first_B][:, None]
        rot_BT33 = back_B133 @ take(clips.camera_rot_F33)
        rot_BT33 = torch.where(known_BT[..., None, None], rot_BT33, torch.eye(3, device=clips.device))
        transl_BT3 = torch.where(known_BT[..., None], (back_B133 @ shift_BT3[..., None])[..., 0], 0.0)
        joints_BTJ3 = take(clips.joints_FJ3)

        given_BS = frame_BT[:, self._given_S]
        image_BSX, image_known_BS = self._images(given_BS)
        point_BS3, point_known_BS = self._points(frame_BT, rot_BT33, transl_BT3, known_BT)
        text_B = clips.text_F[first_B]
        text_XF = self.features.text_XF if self.features else None
        return Batch(
            texts=self.texts,
            text_B=text_B,
            text_BF=None if text_XF is None else text_XF[text_B],
            text_known_B=torch.full_like(text_B, self.hidden != "text", dtype=torch.bool),
            image_BSX=image_BSX,
            image_known_BS=image_known_BS,
            point_BS3=point_BS3,
            point_known_BS=point_known_BS,
            global_orient_BT3=take(clips.global_orient_F3),
            hand_pose_BT45=take(clips.hand_pose_F45),
            betas_BT10=clips.betas_C10[clip_B][:, None].repeat(1, self.length, 1),
            transl_BT3=take(clips.transl_F3),
            camera_rot_BT33=rot_BT33,
            camera_transl_BT3=transl_BT3,
            camera_known_BT=known_BT,
            joints_BTJ3=joints_BTJ3,
            joints_ref_BTJ3=joints_BTJ3 @ rot_BT33.mT + transl_BT3[:, :, None],
            contact_BTV=unpack_contact(clips.contact_FX.index_select(0, frames))
            .unflatten(0, frame_BT.shape)
            .float(),
            contact_known_BT=take(clips.contact_known_F),
            clip_B=clip_B,
            start_B=start_B,
            row_B=index,
        )

    def _images(self, given_BS: Tensor) -> tuple[Tensor, Tensor]:
        """(B,S,...) pixels or features of the given frames, and which are known."""
        row_BS = self.clips.image_F[given_BS]
        # A data set of features alone has no pixels to show.
        known_BS = (row_BS >= 0) & (len(self._images_IX) > 0)
        image_BSX = self._take_rows(self._images_IX, row_BS, known_BS)
        if self.hand_free and len(self._hand_free_IX):  # as the release: else the original image
            free_BS = self.clips.hand_free_F[given_BS]
            image_BSX[free_BS >= 0] = self._hand_free_IX[free_BS[free_BS >= 0]]
            known_BS = known_BS | (free_BS >= 0)
        if self.hidden == "image":
            return torch.zeros_like(image_BSX), torch.zeros_like(known_BS)
        return image_BSX, known_BS

    def _take_rows(self, table_IX: Tensor, row_BS: Tensor, known_BS: Tensor) -> Tensor:
        """Rows of a table of pictures or features, zero where unknown."""
        if not known_BS.any():
            return table_IX.new_zeros(*row_BS.shape, *table_IX.shape[1:])
        image_BSX = table_IX.index_select(0, row_BS.clamp(min=0).flatten()).unflatten(0, row_BS.shape)
        if not known_BS.all():
            image_BSX[~known_BS] = 0
        return image_BSX

    def _points(
        self, frame_BT: Tensor, rot_BT33: Tensor, transl_BT3: Tensor, known_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contact points of the given frames, (B,S,3) metres in the reference camera, and which are known, (B,S)."""
        clips, given_S = self.clips, self._given_S
        frame_BS = frame_BT[:, given_S]
        moved_BS3 = (rot_BT33[:, given_S] @ clips.point_F3[frame_BS][..., None])[..., 0] + transl_BT3[
            :, given_S
        ]
        # A later point needs its camera to be moved, the first does not.
        movable_BS = known_BT[:, given_S] | (given_S == 0)
        given_BS = clips.point_known_F[frame_BS] & movable_BS
        if self.protocol == "goal":
            moved_BS3[:, 0], given_BS[:, 0] = self._goal(frame_BT, rot_BT33, transl_BT3, known_BT)
        given_BS = given_BS & (self.hidden != "contact")
        return torch.where(given_BS[..., None], moved_BS3, 0.0), given_BS

    def _goal(
        self, frame_BT: Tensor, rot_BT33: Tensor, transl_BT3: Tensor, known_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The window's first contact point, (B,3) in the reference camera, and whether there is one."""
        clips = self.clips
        touches_BT = clips.point_known_F[frame_BT]
        # argmax of 0/1 is the first 1.
        when_B = touches_BT.int().argmax(1)
        row_B = torch.arange(len(when_B), device=clips.device)
        point_B3 = clips.point_F3[frame_BT[row_B, when_B]]
        point_B3 = (rot_BT33[row_B, when_B] @ point_B3[..., None])[..., 0] + transl_BT3[row_B, when_B]
        return point_B3, touches_BT[row_B, when_B] & (known_BT[row_B, when_B] | (when_B == 0))


def _check_option(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ClipsError(f"unknown {what} {value!r}; there are {', '.join(name for name in known if name)}.")
