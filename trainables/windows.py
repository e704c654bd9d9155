"""Windows: every run of W consecutive frames of the chosen clips, gathered into batches on the device.

The camera of a window's first frame is its *reference*: the contact point and the targets `camera_*` and
`joints_ref` are expressed in it, everything else in the frame's own camera. Suffixes: B windows, T frames, J
joints, V vertices.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from trainables.clip_format import ClipsError

if TYPE_CHECKING:
    from trainables.clip_reader import Clips

Protocol = Literal["first", "goal"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a network that forecasts may see: it takes this and not Batch, so it cannot reach a target."""

    texts: list[str]  # what text_B points into
    text_B: Tensor  # int64, the text of the first frame
    image_BHW3: Tensor  # uint8, the latest image at or before the first frame; black where unknown
    image_known_B: Tensor  # bool
    point_B3: Tensor  # metres, reference camera; zero where unknown
    point_known_B: Tensor  # bool

    def __len__(self) -> int:
        return len(self.text_B)


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


class Windows:
    """All windows of `length` frames of the clips `clip_index`; n frames have n - length + 1 (stride 1).

    protocol: which contact point is given as input. "first": the contact centroid of the first frame, else
    unknown. "goal": that of the window's first frame with contact, moved into the reference camera; a
    declared look ahead. Raises ClipsError where no clip is long enough.
    """

    def __init__(
        self,
        clips: "Clips",
        clip_index: Tensor,
        *,
        length: int = 30,
        stride: int = 1,
        protocol: Protocol = "first",
    ) -> None:
        if protocol not in get_args(Protocol):
            raise ClipsError(
                f"unknown contact protocol {protocol!r}; protocols are {', '.join(get_args(Protocol))}."
            )
        if length < 1 or stride < 1:
            raise ClipsError(f"a window's length ({length}) and stride ({stride}) must be at least 1.")
        self.clips, self.length, self.stride, self.protocol = clips, length, stride, protocol
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

        image_B = clips.image_F[first_B]
        image_known_B = image_B >= 0
        if len(clips.images_I):
            image_BHW3 = clips.images_I[image_B.clamp(min=0)] * image_known_B[:, None, None, None]
        else:
            image_BHW3 = clips.images_I.new_zeros(len(index), *clips.images_I.shape[1:])
        point_B3, point_known_B = self._point(frame_BT, rot_BT33, transl_BT3, known_BT)
        return Batch(
            texts=self.texts,
            text_B=clips.text_F[first_B],
            image_BHW3=image_BHW3,
            image_known_B=image_known_B,
            point_B3=point_B3,
            point_known_B=point_known_B,
            global_orient_BT3=take(clips.global_orient_F3),
            hand_pose_BT45=take(clips.hand_pose_F45),
            betas_BT10=clips.betas_C10[clip_B][:, None].repeat(1, self.length, 1),
            transl_BT3=take(clips.transl_F3),
            camera_rot_BT33=rot_BT33,
            camera_transl_BT3=transl_BT3,
            camera_known_BT=known_BT,
            joints_BTJ3=joints_BTJ3,
            joints_ref_BTJ3=joints_BTJ3 @ rot_BT33.mT + transl_BT3[:, :, None],
            contact_BTV=take(clips.contact_FV).float(),
            contact_known_BT=take(clips.contact_known_F),
            clip_B=clip_B,
            start_B=start_B,
        )

    def _point(
        self, frame_BT: Tensor, rot_BT33: Tensor, transl_BT3: Tensor, known_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The prompt, (B, 3) metres in the reference camera, and whether it is known, (B,)."""
        clips = self.clips
        touches_BT = clips.point_known_F[frame_BT]
        if self.protocol == "first":
            return clips.point_F3[frame_BT[:, 0]], touches_BT[:, 0]
        # argmax of 0/1 is the first 1. A later point needs its camera to be moved, the first does not.
        when_B = touches_BT.int().argmax(1)
        row_B = torch.arange(len(when_B), device=clips.device)
        point_B3 = clips.point_F3[frame_BT[row_B, when_B]]
        point_B3 = (rot_BT33[row_B, when_B] @ point_B3[..., None])[..., 0] + transl_BT3[row_B, when_B]
        given_B = touches_BT[row_B, when_B] & (known_BT[row_B, when_B] | (when_B == 0))
        return torch.where(given_B[:, None], point_B3, 0.0), given_B
