"""The weights of frozen encoders: where they lie, reading them without running what they hold, and their digest."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

DIGEST_LENGTH = 16


class EncoderError(ValueError):
    """A frozen encoder cannot be had; the text says which, why and what to do."""


def weights_file(variable: str, *, repository: str, names: Sequence[str], instead: str) -> Path:
    """The file of weights that the environment variable points to, else the hub's, kept in the hub's own cache.

    Args:
        variable: holds a file, or a folder with one of `names` in it.
        repository: on the hub, which has `names[0]`.
        instead: what to choose where no weights can be had; ends the error.

    Raises:
        EncoderError: the variable points to nothing of the kind, or is not set and the hub cannot be reached.
    """
    if given := os.environ.get(variable):
        return _given_file(Path(given).expanduser(), variable, names)
    from huggingface_hub import constants, hf_hub_download

    told = os.environ.get("LATENTACT_OFFLINE", "").lower()
    offline = constants.HF_HUB_OFFLINE or told in ("1", "true", "yes", "on")
    try:
        try:
            return Path(hf_hub_download(repository, names[0], local_files_only=True))
        except FileNotFoundError:
            if offline:
                raise
            return Path(hf_hub_download(repository, names[0]))
    except (OSError, ValueError) as error:  # all that the hub raises is one of these
        raise EncoderError(
            f"the weights {repository} are not here and cannot be fetched from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]}): "
            f"set {variable} to a file of them ({names[0]}), or {instead}"
        ) from error


def _given_file(path: Path, variable: str, names: Sequence[str]) -> Path:
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    what = f"holds none of {', '.join(names)}" if path.is_dir() else "does not exist"
    raise EncoderError(
        f"{variable} is {path}, which {what}: set it to a file of weights, or unset it to ask the hub"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of one that torch.save wrote (loaded as tensors alone).

    Raises:
        EncoderError: it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise EncoderError(
            f"{path} is no file of weights ({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
            "give a .safetensors file, or a state_dict written by torch.save"
        ) from error
    for key in ("model", "state_dict"):  # as the authors of DeiT and of OpenCLIP publish theirs
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise EncoderError(
            f"{path} holds no state_dict: give a .safetensors file, or a state_dict written by torch.save"
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def fill(network: nn.Module, weights: dict[str, Tensor], *, path: Path, variable: str, what: str) -> None:
    """Put weights into a network, each of its tensors and nothing else.

    Raises:
        EncoderError: they are another network's.
    """
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise EncoderError(
            f"{path} holds no weights of {what}: {lines[0][:160]} (set {variable} to the right file, or unset it)"
        ) from error


def weights_digest(network: nn.Module) -> str:
    """sha256 (16 hex) of a network's tensors, whatever file they came in."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:DIGEST_LENGTH]
