"""Frozen image and text encoders: networks trained elsewhere, whose features stand in for pixels and words.

    images = load_image_encoder("deit")    # weights: $DEIT_WEIGHTS, else the hub
    texts = load_text_encoder("clip")      # weights: $CLIP_WEIGHTS, else the hub
    texts = load_text_encoder("minilm")    # weights: $MINILM_WEIGHTS, else its package
    tables = feature_tables(clips, image="deit", text="minilm")   # of a whole data set, computed once

Nothing heavy is imported before an encoder is loaded. Suffixes: I images, X texts, F features.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.encoder_weights import EncoderError
from trainables.feature_cache import cached_rows, content_key, encode_in_batches

if TYPE_CHECKING:
    from trainables.clip_set import Clips

__all__ = [
    "IMAGE_WIDTHS",
    "TEXT_WIDTHS",
    "EncoderError",
    "FeatureTables",
    "ImageFeatures",
    "TextFeatures",
    "feature_tables",
    "load_image_encoder",
    "load_text_encoder",
]

# In place of a digest of weights: the features came with the data, so that nobody here has seen the weights.
CAME_WITH_THE_DATA = "came with the data"
IMAGE_WIDTHS = {"deit": 768}
TEXT_WIDTHS = {"clip": 512, "minilm": 384}
_IMAGES_AT_ONCE, _TEXTS_AT_ONCE = 32, 64


class _Frozen:
    """A network whose features (N, width) are taken as they are. `digest` (16 hex) names its weights."""

    def __init__(self, name: str, network: nn.Module) -> None:
        self.name, self.width = name, (IMAGE_WIDTHS | TEXT_WIDTHS)[name]
        self.digest = str(network.digest)
        self._network = network.to("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def device(self) -> torch.device:
        return next(self._network.parameters()).device


class ImageFeatures(_Frozen):
    """A frozen image encoder."""

    def __call__(self, images: Sequence[NDArray[np.uint8]] | Tensor) -> Tensor:
        """Features (N, width), float32 on the CPU, of RGB images: uint8 arrays (H, W, 3), or one tensor (N, H, W, 3).

        Raises:
            EncoderError: they are something else.
        """
        rows = list(images.cpu().numpy()) if isinstance(images, Tensor) else images
        for image in rows:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise EncoderError(
                    f"an image is {image.dtype} {image.shape}; give RGB pixels as uint8 (H, W, 3)"
                )
        what = f"images through {self.name}"
        return encode_in_batches(self._network, rows, batch=_IMAGES_AT_ONCE, width=self.width, what=what)


class TextFeatures(_Frozen):
    """A frozen text encoder, whose features have unit length."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Features (N, width), float32 on the CPU."""
        what = f"texts through {self.name}"
        return encode_in_batches(self._network, texts, batch=_TEXTS_AT_ONCE, width=self.width, what=what)


@functools.cache
def load_image_encoder(name: str) -> ImageFeatures:
    """The image encoder of that name, loaded once a process.

    Raises:
        EncoderError: there is none of that name, its library is not installed, or its weights cannot be had.
    """
    if name not in IMAGE_WIDTHS:
        raise EncoderError(f"unknown frozen image encoder {name!r}; there are {', '.join(IMAGE_WIDTHS)}")
    from trainables.deit import DeiT

    return ImageFeatures(name, _built(DeiT, name, "image_encoder=conv"))


@functools.cache
def load_text_encoder(name: str) -> TextFeatures:
    """The text encoder of that name, loaded once a process. Raises EncoderError as load_image_encoder does."""
    if name not in TEXT_WIDTHS:
        raise EncoderError(f"unknown frozen text encoder {name!r}; there are {', '.join(TEXT_WIDTHS)}")
    if name == "clip":
        from trainables.clip_text import ClipText

        return TextFeatures(name, _built(ClipText, name, "text_encoder=words"))
    from trainables.minilm import MiniLM

    return TextFeatures(name, _built(MiniLM, name, "text_encoder=words"))


def _built(network: Callable[[], nn.Module], name: str, instead: str) -> nn.Module:
    try:
        return network()
    except ImportError as error:
        raise EncoderError(
            f"the encoder {name} needs libraries that are not here ({error}): "
            f"pip install 'latentact-zoo[encoders]', or choose {instead}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class FeatureTables:
    """Frozen features of a data set, in the order of its own images and texts.

    image_IF: of `images_I`, and after them, where asked for, of `hand_free_I`; None where images are not encoded.
    text_XF: of `texts`; None where texts are not encoded.
    digests: encoder name -> the digest of its weights.
    """

    image_IF: Tensor | None
    text_XF: Tensor | None
    digests: dict[str, str]

    def to(self, device: str | torch.device) -> FeatureTables:
        """The same tables on `device`."""
        return replace(
            self,
            image_IF=None if self.image_IF is None else self.image_IF.to(device),
            text_XF=None if self.text_XF is None else self.text_XF.to(device),
        )


def feature_tables(
    clips: Clips, *, image: str | None, text: str | None, hand_free: bool = False
) -> FeatureTables:
    """Features of all images and texts of a data set by the encoders named (None = not encoded), on the CPU.

    Features that came with the data, by the encoder named, are taken as they are. Others are kept in $LATENTACT_CACHE
    (~/.cache/latentact), named after the encoder's weights and what was encoded.
    Raises EncoderError where an encoder cannot be had, or a data set has features alone, by another encoder.
    """
    digests: dict[str, str] = {}
    image_IF = text_XF = None
    if image is not None and stored_features(clips, "image") == image:
        digests[image] = CAME_WITH_THE_DATA
        image_IF = torch.cat([clips.image_IF, clips.hand_free_IF]) if hand_free else clips.image_IF
    elif image is not None:
        of_image = load_image_encoder(image)
        digests[image] = of_image.digest
        tables = [clips.images_I, clips.hand_free_I] if hand_free else [clips.images_I]
        image_IF = torch.cat([_image_rows(of_image, pictures) for pictures in tables])
    if text is not None and stored_features(clips, "text") == text:
        digests[text] = CAME_WITH_THE_DATA
        text_XF = clips.text_XF
    elif text is not None:
        of_text = load_text_encoder(text)
        digests[text] = of_text.digest
        text_XF = _text_rows(of_text, clips.texts)
    return FeatureTables(image_IF=image_IF, text_XF=text_XF, digests=digests)


def stored_features(clips: Clips, kind: str) -> str | None:
    """The encoder whose features of `kind` ("image" or "text") came with the data, None where none did."""
    return clips.manifest.get("features", {}).get(kind, {}).get("encoder")


def weights_here(name: str) -> str:
    """The digest of the weights that this machine has of an encoder, "" where it has none.

    Without weights features can only come with the data, whose own digest speaks for them.
    """
    try:
        return (load_image_encoder if name in IMAGE_WIDTHS else load_text_encoder)(name).digest
    except EncoderError:
        return ""


def _image_rows(encoder: ImageFeatures, images_I: Tensor) -> Tensor:
    pixels = images_I.cpu().contiguous().numpy()
    key = content_key(*_of(encoder), repr(pixels.shape).encode(), pixels.reshape(-1).data)
    return cached_rows(key, (len(images_I), encoder.width), lambda: encoder(images_I))


def _text_rows(encoder: TextFeatures, texts: list[str]) -> Tensor:
    key = content_key(*_of(encoder), json.dumps(texts).encode())
    return cached_rows(key, (len(texts), encoder.width), lambda: encoder(texts))


def _of(encoder: _Frozen) -> tuple[bytes, bytes, bytes]:
    # A GPU's sums differ from a CPU's in the last digits; runs on one kind of device must not depend on another's.
    return encoder.name.encode(), encoder.digest.encode(), encoder.device.type.encode()
