"""The whole model: from one image, an action text and a contact point to one second of hand motion and contact."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainables.codebook import Codebook, CodebookConfig
from trainables.hand import Hand, load_hand
from trainables.image_encoder import IMAGE_SIZE
from trainables.indexer import Indexer, IndexerConfig
from trainables.motion import Pose, joints_first, to_own
from trainables.predictor import Predictor, PredictorConfig
from trainables.quantizer import QuantizerConfig
from trainables.windows import Batch, Inputs

SCHEMA = 1
FRAMES_PER_SECOND = 30


class ModelError(ValueError):
    """A model folder or an input to a model is not usable; the text says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class LatentActConfig:
    data: str
    data_digest: str
    setting: str
    hand: str
    mode: str = "forecast"
    protocol: str = "first"
    window: int = 30
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    indexer: IndexerConfig = field(default_factory=IndexerConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> LatentActConfig:
        codebook = dict(record["codebook"])
        codebook["quantizer"] = QuantizerConfig(**codebook["quantizer"])
        parts = {
            "codebook": CodebookConfig(**codebook),
            "indexer": IndexerConfig(**record["indexer"]),
            "predictor": PredictorConfig(**record["predictor"]),
        }
        return cls(**{**record, **parts})


@dataclass
class Prediction:
    """Trajectories of B windows. Metres and radians; `ref` = in the window's first camera, else each frame's own."""

    global_orient_BT3: Tensor
    hand_pose_BT45: Tensor
    betas_BT10: Tensor
    transl_BT3: Tensor
    camera_rot_BT33: Tensor
    camera_transl_BT3: Tensor
    joints_BTJ3: Tensor
    joints_ref_BTJ3: Tensor
    contact_logits_BTV: Tensor
    pose: Pose


@dataclass
class Trajectory:
    """One predicted second (T frames at 30 per second), on the CPU.

    parameters: MANO `global_orient` (T,3), `hand_pose` (T,45), `betas` (T,10) and `transl_m` (T,3) in each frame's
    own camera, `camera_rotation` (T,3,3) and `camera_translation_m` (T,3) from it to the first camera.
    joints_m (T,21,3), vertices_m (T,778,3): in the first camera.
    contact_probability (T,778), to be cut at `contact_threshold`, which was chosen on validation windows.
    """

    parameters: dict[str, Tensor]
    joints_m: Tensor
    vertices_m: Tensor
    contact_probability: Tensor
    contact_threshold: float


class LatentAct(nn.Module):
    """Codebook, indexer and predictor. `state_dict` holds tensors alone; the hand model is never in it."""

    contact_threshold: Tensor

    def __init__(self, config: LatentActConfig, hand: Hand) -> None:
        super().__init__()
        if hand.name != config.hand:
            raise ModelError(
                f"this model was trained with the hand '{config.hand}' but '{hand.name}' is loaded: "
                + ("set MANO_PATH to your MANO file" if config.hand == "mano" else "unset MANO_PATH")
            )
        self.config = config
        self.codebook = Codebook(config.codebook)
        self.indexer = Indexer(config.indexer)
        self.predictor = Predictor(config.predictor)
        self.register_buffer("contact_threshold", torch.tensor(0.5))
        # Not a submodule: MANO is licensed and must not reach a checkpoint.
        self._hand = [hand]

    @property
    def hand(self) -> Hand:
        return self._hand[0]

    def _apply(self, fn: Any, recurse: bool = True) -> LatentAct:
        self._hand[0] = self._hand[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def indexer_latent(self, inputs: Inputs) -> Tensor:
        """Latents (B,T,D) expected under the indexer's distribution over codes.

        The expectation and not the most likely code: where the inputs leave the motion open, single most likely
        codes of independent frames and stages do not belong together, and their decoded motion is worse than the
        mean (docs/log.md has the comparison).
        """
        return self.codebook.quantizer.expect(self.indexer(inputs))

    def forecast(self, inputs: Inputs) -> Prediction:
        """Predict end to end: the indexer chooses the codes."""
        return self._decode(self.indexer_latent(inputs), inputs)

    def forecast_oracle(self, batch: Batch) -> Prediction:
        """Predict with the true codes of the future: an upper bound, never a figure that selects."""
        index_BTQ = self.codebook.encode(self.codebook.target(batch, self.hand), batch).index_BTQ
        return self._decode(self.codebook.quantizer.embed(index_BTQ), batch)

    def decode(self, motion_BTC: Tensor, inputs: Inputs) -> Pose:
        """Pose of motion vectors, one shape a window: bones do not change length over a second."""
        pose = self.codebook.motion.decode(motion_BTC, self.codebook.motion.anchor(inputs))
        pose.betas_BT10 = pose.betas_BT10.mean(1, keepdim=True).expand_as(pose.betas_BT10)
        return pose

    def _decode(self, latent_BTD: Tensor, inputs: Inputs) -> Prediction:
        motion_BTC, logits_BTV = self.predictor(latent_BTD, inputs)
        pose = self.decode(motion_BTC, inputs)
        joints_ref = joints_first(self.hand, pose)
        # Row vectors times R = R^T times column vectors: back into each frame's own camera.
        joints = (joints_ref - pose.camera_transl_BT3[:, :, None]) @ pose.camera_rot_BT33
        orient, transl = to_own(pose, self.hand)
        return Prediction(
            global_orient_BT3=orient,
            hand_pose_BT45=pose.hand_pose_BT45,
            betas_BT10=pose.betas_BT10,
            transl_BT3=transl,
            camera_rot_BT33=pose.camera_rot_BT33,
            camera_transl_BT3=pose.camera_transl_BT3,
            joints_BTJ3=joints,
            joints_ref_BTJ3=joints_ref,
            contact_logits_BTV=logits_BTV,
            pose=pose,
        )

    @torch.no_grad()
    def predict(
        self,
        *,
        text: str,
        image: Image.Image | np.ndarray | str | os.PathLike[str] | None = None,
        contact_point: Any = None,
    ) -> Trajectory:
        """Predict one trajectory.

        Args:
            text: the action, "verb noun", for example "lift the mug".
            image: RGB, as a PIL image, a uint8 array (H,W,3) or a path; padded to a square and resized. None = unknown.
            contact_point: (3,) metres in the image's camera (x right, y down, z forward). None = unknown.

        Raises:
            ModelError: an input has the wrong type, shape or range.
        """
        device = self.contact_threshold.device
        pixels = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8) if image is None else square(image)
        point = torch.zeros(3) if contact_point is None else contact_point_m(contact_point)
        inputs = Inputs(
            texts=[text],
            text_B=torch.zeros(1, dtype=torch.int64, device=device),
            image_BHW3=torch.from_numpy(pixels)[None].to(device),
            image_known_B=torch.tensor([image is not None], device=device),
            point_B3=point[None].to(device),
            point_known_B=torch.tensor([contact_point is not None], device=device),
        )
        training = self.training
        prediction = self.eval().forecast(inputs)
        self.train(training)
        return self._trajectory(prediction)

    def _trajectory(self, prediction: Prediction) -> Trajectory:
        vertices_m = self.hand.vertices(
            prediction.global_orient_BT3[0],
            prediction.hand_pose_BT45[0],
            prediction.betas_BT10[0],
            prediction.transl_BT3[0],
        )
        rotation, translation = prediction.camera_rot_BT33[0], prediction.camera_transl_BT3[0]
        parameters = {
            "global_orient": prediction.global_orient_BT3[0],
            "hand_pose": prediction.hand_pose_BT45[0],
            "betas": prediction.betas_BT10[0],
            "transl_m": prediction.transl_BT3[0],
            "camera_rotation": rotation,
            "camera_translation_m": translation,
        }
        return Trajectory(
            parameters={name: value.cpu() for name, value in parameters.items()},
            joints_m=prediction.joints_ref_BTJ3[0].cpu(),
            vertices_m=(vertices_m @ rotation.transpose(-1, -2) + translation[:, None]).cpu(),
            contact_probability=prediction.contact_logits_BTV[0].sigmoid().cpu(),
            contact_threshold=float(self.contact_threshold),
        )


def square(image: Image.Image | np.ndarray | str | os.PathLike[str]) -> np.ndarray:
    """Pixels (64,64,3) uint8 of an image, padded to a square with centred zeros and resized."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ModelError(f"image is {image.dtype} {image.shape}; pass RGB pixels as uint8 (H,W,3)")
        picture = Image.fromarray(image)
    elif isinstance(image, Image.Image):
        picture = image.convert("RGB")
    else:
        try:
            with Image.open(image) as opened:
                picture = opened.convert("RGB")
        except OSError as error:
            raise ModelError(
                f"image {os.fspath(image)} cannot be read: {error}; pass a PNG or JPEG file"
            ) from error
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.array(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))


def contact_point_m(value: Any) -> Tensor:
    point = torch.as_tensor(value, dtype=torch.float32)
    if point.shape != (3,) or not point.isfinite().all():
        raise ModelError(
            f"contact_point is {value!r}; pass three finite numbers, metres in the image's camera"
        )
    return point


def save_model(model: LatentAct, folder: Path) -> None:
    """Write `model.safetensors` and `config.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"schema": SCHEMA, "model": model.config.to_json()}, indent=1)
    )


def load_model(folder: str | os.PathLike[str], *, hand: Hand | None = None, device: str = "cpu") -> LatentAct:
    """Read what `save_model` wrote. The hand model comes from MANO_PATH, or is the stand-in.

    Raises:
        ModelError: a file is missing or has another schema, or the hand differs from the one trained with.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / "config.json").read_text())
        if record["schema"] != SCHEMA:
            raise ModelError(
                f"{folder}/config.json has schema {record['schema']}, this version reads {SCHEMA}"
            )
        model = LatentAct(LatentActConfig.from_json(record["model"]), hand or load_hand())
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (FileNotFoundError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not a readable model folder: {error}; pull or save it again"
        ) from error
    return model.to(device).eval()
