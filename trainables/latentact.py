"""The whole model: from one image, an action text and a contact point to one second of hand motion and contact."""

from __future__ import annotations

import difflib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.codebook import Codebook, CodebookConfig
from trainables.conditions import ConditionsConfig
from trainables.decoder import DecoderConfig
from trainables.diffusion import Diffusion, DiffusionConfig
from trainables.frozen_encoders import (
    CAME_WITH_THE_DATA,
    IMAGE_WIDTHS,
    EncoderError,
    load_image_encoder,
    load_text_encoder,
)
from trainables.hand import Hand
from trainables.indexer import Indexer, IndexerConfig
from trainables.motion import MotionVector, Pose, joints_first, to_first, to_own
from trainables.photo import Picture
from trainables.predictor import Predictor, PredictorConfig
from trainables.prompt import Prompt, PromptError, ReadPrompt, inputs_of, read_prompt
from trainables.quantizer import QuantizerConfig
from trainables.text_encoder import words_of
from trainables.trajectory import Trajectory, trajectories_of
from trainables.windows import Batch, Inputs


class ModelError(ValueError):
    """A model folder or an input to a model is not usable; the text says which and what to do."""


class UnknownText(ModelError):
    """None of a text's words was in the model's training texts: another language, say."""


@dataclass(frozen=True, kw_only=True)
class LatentActConfig:
    """What a model is and what it was trained on.

    codebook and indexer are None in a model without codebook; diffusion is there in place of the plain predictor.
    """

    data: str
    data_digest: str
    setting: str
    hand: str
    mode: str = "forecast"
    protocol: str = "first"
    window: int = 30
    encoders: dict[str, str] = field(default_factory=dict)  # frozen encoder -> digest of its weights
    words: tuple[str, ...] = ()  # of the training texts, most used first; () where that is not known
    codebook: CodebookConfig | None = field(default_factory=CodebookConfig)
    indexer: IndexerConfig | None = field(default_factory=IndexerConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    diffusion: DiffusionConfig | None = None
    oracle_codes: bool = False  # predicts from true codes of the future: an ablation, no forecast

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> LatentActConfig:
        """Raises TypeError or KeyError where a field is unknown or missing."""
        parts = dict(record)
        parts["words"] = tuple(parts.get("words", ()))
        if codebook := parts["codebook"]:
            parts["codebook"] = CodebookConfig(
                **codebook
                | {
                    "quantizer": QuantizerConfig(**codebook["quantizer"]),
                    "conditions": ConditionsConfig(**codebook["conditions"]),
                }
            )
        if indexer := parts["indexer"]:
            parts["indexer"] = IndexerConfig(
                **indexer | {"conditions": ConditionsConfig(**indexer["conditions"])}
            )
        predictor = parts["predictor"]
        parts["predictor"] = PredictorConfig(
            **predictor
            | {
                "decoder": DecoderConfig(**predictor["decoder"]),
                "conditions": ConditionsConfig(**predictor["conditions"]),
            }
        )
        if parts["diffusion"]:
            parts["diffusion"] = DiffusionConfig(**parts["diffusion"])
        return cls(**parts)


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
        self.motion = MotionVector()
        self.codebook = Codebook(config.codebook) if config.codebook else None
        self.indexer = Indexer(config.indexer) if config.indexer else None
        # Either of the two; both are the stage "predictor".
        self.predictor: Predictor | Diffusion = (
            Diffusion(config.predictor, config.diffusion) if config.diffusion else Predictor(config.predictor)
        )
        self.register_buffer("contact_threshold", torch.tensor(0.5))
        # Not a submodule: MANO is licensed and must not reach a checkpoint.
        self._hand = [hand]

    @property
    def hand(self) -> Hand:
        return self._hand[0]

    def _apply(self, fn: Any, recurse: bool = True) -> LatentAct:
        self._hand[0] = self._hand[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def target(self, batch: Batch) -> Tensor:
        """True motion vectors (B,T,73)."""
        return self.motion.encode(to_first(batch, self.hand), self.motion.anchor(batch))

    def true_codes(self, batch: Batch) -> Tensor:
        """Code indices (B,T,Q) of what really happens."""
        assert self.codebook is not None
        return self.codebook.encode(self.target(batch), batch).index_BTQ

    def true_latent(self, index_BTQ: Tensor) -> Tensor:
        """Latents (B,T,D) of code indices, as the predictor reads them."""
        assert self.codebook is not None
        return self._scaled(self.codebook.quantizer.embed(index_BTQ))

    def expected_latent(self, logits_BTQK: Tensor) -> Tensor:
        """Latents (B,T,D) expected under the indexer's distribution over codes, as the predictor reads them.

        The expectation and not the most likely code: where the inputs leave the motion open, single most likely
        codes of independent frames and stages do not belong together, and their decoded motion is worse than the
        mean (docs/log.md has the comparison).
        """
        assert self.codebook is not None
        return self._scaled(self.codebook.quantizer.expect(logits_BTQK))

    def latent_scale(self) -> Tensor:
        """Root mean square of the first stage's codes, by which latents are divided for the predictor.

        Codes grow as the codebook trains, to tens of times the other inputs, which they would drown.
        """
        assert self.codebook is not None
        return self.codebook.quantizer.codes_QKD[0].square().mean().sqrt().clamp_min(1e-6)

    def _scaled(self, latent_BTD: Tensor) -> Tensor:
        return latent_BTD / self.latent_scale()

    def indexer_latent(self, inputs: Inputs) -> Tensor | None:
        """Expected latents (B,T,D); None where there is no codebook."""
        return self.expected_latent(self.indexer(inputs)) if self.indexer is not None else None

    def forecast(self, inputs: Inputs) -> Prediction:
        """Predict end to end: the indexer chooses the codes.

        Of a model with oracle codes it takes a Batch and is `forecast_oracle`.
        """
        if self.config.oracle_codes and isinstance(inputs, Batch):
            return self.forecast_oracle(inputs)
        return self._decode(self.indexer_latent(inputs), inputs)

    def forecast_oracle(self, batch: Batch) -> Prediction:
        """Predict with the true codes of the future: never a figure that selects a forecast."""
        return self._decode(self.true_latent(self.true_codes(batch)), batch)

    def pose(self, motion_BTC: Tensor, inputs: Inputs) -> Pose:
        """Pose of motion vectors, one shape a window: bones do not change length over a second."""
        pose = self.motion.decode(motion_BTC, self.motion.anchor(inputs))
        pose.betas_BT10 = pose.betas_BT10.mean(1, keepdim=True).expand_as(pose.betas_BT10)
        return pose

    def _decode(self, latent_BTD: Tensor | None, inputs: Inputs) -> Prediction:
        if isinstance(self.predictor, Diffusion):
            motion_BTC, logits_BTV = self.predictor.sample(latent_BTD, inputs)
        else:
            motion_BTC, logits_BTV = self.predictor(latent_BTD, inputs)
        pose = self.pose(motion_BTC, inputs)
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

    def predict(
        self,
        *,
        text: str,
        image: Picture = None,
        contact_point: Any = None,
        last_image: Picture = None,
        last_contact_point: Any = None,
    ) -> Trajectory:
        """Predict one trajectory. The arguments are those of `trainables.prompt.Prompt`.

        Warns (UserWarning) of words that were in no training text.

        Raises:
            ModelError: an input has the wrong type, shape or range, or none of the text's words is known.
            EncoderError: the frozen encoder that the model was trained with cannot be loaded, or is another one.
        """
        prompt = Prompt(
            text=text, image=image, contact_point=contact_point,
            last_image=last_image, last_contact_point=last_contact_point,
        )  # fmt: skip
        return self.predict_read([self.read(prompt)])[0]

    def predict_batch(
        self, prompts: Iterable[Prompt | Mapping[str, Any]], *, batch: int = 16
    ) -> Iterator[Trajectory]:
        """Predict a trajectory for each prompt (or dict of its fields), `batch` at a time, as they are asked for.

        Equal to one `predict` a prompt but for the last digits. Raises what `predict` does, at the prompt's turn.
        """
        asked = (prompt if isinstance(prompt, Prompt) else Prompt(**prompt) for prompt in prompts)
        while chunk := list(itertools.islice(asked, batch)):
            yield from self.predict_read([self.read(prompt) for prompt in chunk])

    def read(self, prompt: Prompt) -> ReadPrompt:
        """Open what a prompt names and judge it, before anything is computed. Raises and warns as `predict` does."""
        last_given = prompt.last_image is not None or prompt.last_contact_point is not None
        if last_given and self.config.mode != "interpolate":
            raise ModelError(
                "last_image and last_contact_point are for models whose name ends in -interpolate; this one forecasts"
            )
        if self.config.oracle_codes:
            raise ModelError(
                "this model needs the true codes of the future: it is an ablation and cannot predict"
            )
        try:
            read = read_prompt(self.config.predictor.conditions, prompt)
        except PromptError as error:
            raise ModelError(str(error)) from error
        known = self.config.words if self.config.predictor.conditions.text_encoder == "words" else ()
        asked = dict.fromkeys(words_of(prompt.text))
        unknown = [word for word in asked if known and word not in known]
        if unknown and len(unknown) == len(asked):
            raise UnknownText(
                f"none of the words of {prompt.text!r} was in the training texts of this model; say the action in their "
                f"words, such as {_nearest(unknown, known)}"
            )
        if unknown:
            warnings.warn(
                f"the training texts of this model had no {', '.join(map(repr, unknown))}; it goes by the other words",
                stacklevel=3,
            )
        return read

    @torch.no_grad()
    def predict_read(self, prompts: Sequence[ReadPrompt]) -> list[Trajectory]:
        """Predict for prompts that were read, all at once. Raises EncoderError."""
        check_encoders(self.config.encoders)
        inputs = inputs_of(self.config.predictor.conditions, prompts, self.contact_threshold.device)
        training = self.training
        prediction = self.eval().forecast(inputs)
        self.train(training)
        return trajectories_of(prediction, self.hand, float(self.contact_threshold))


def _nearest(unknown: Sequence[str], known: Sequence[str], most: int = 8) -> str:
    """Some known words: those that look like unknown ones, then the most used."""
    alike = [word for name in unknown for word in difflib.get_close_matches(name, known, 2)]
    return ", ".join(list(dict.fromkeys([*alike, *known]))[:most])


def check_encoders(digests: dict[str, str]) -> None:
    """Raises EncoderError where a frozen encoder here has other weights than the model was trained with."""
    for name, digest in digests.items():
        if digest == CAME_WITH_THE_DATA:  # then no weights are known to be the right ones
            continue
        found = (load_image_encoder if name in IMAGE_WIDTHS else load_text_encoder)(name).digest
        if found != digest:
            raise EncoderError(
                f"this model was trained on features of {name} with weights {digest}, here are weights {found}: "
                "let the encoder's variable point to the same weights"
            )
