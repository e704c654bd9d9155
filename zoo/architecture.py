"""Does config.json describe the tensors that model.safetensors holds? Asked before any memory is spent on either.

A config is a few hundred bytes that can ask for terabytes. So the model is first built on torch's meta device, where
tensors have a shape and no memory, and compared with the header of the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo import bundle
from zoo.errors import ContentRefused, WeightsRefused
from zoo.safetensors_header import check_weights

MAX_WIDTH = 1 << 16
MAX_REPEATS = 1000  # of what is built in a loop
REPEATED = ("depth", "quantizers", "heads", "given", "samples")


def check_architecture(folder: Path, hand: Any) -> None:
    """Raise ContentRefused or WeightsRefused unless the model of a verified bundle can be built, at the size of its
    weights. A config of another schema is left to the loader, which says so. Raises ModelError for another hand.
    """
    import torch

    from trainables.latentact import LatentAct, LatentActConfig, ModelError
    from trainables.model_folder import SCHEMA

    config = json.loads((folder / bundle.CONFIG).read_bytes())
    if config.get("schema") != SCHEMA:
        return
    _check_numbers(config["model"], "model")
    try:
        with torch.device("meta"):
            built = LatentAct(LatentActConfig.from_json(config["model"]), hand).state_dict()
    except ModelError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ContentRefused(
            f"{bundle.CONFIG} describes no model that can be built ({type(error).__name__}: {str(error)[:200]}): save the "
            "model again."
        ) from error
    declared = {
        name: tensor.shape for name, tensor in check_weights(folder / bundle.WEIGHTS, bundle.WEIGHTS).items()
    }
    wanted = {name: tuple(tensor.shape) for name, tensor in built.items()}
    for name in sorted(wanted.keys() | declared.keys()):
        if wanted.get(name) != declared.get(name):
            raise WeightsRefused(
                f"{bundle.WEIGHTS} has {declared.get(name, 'nothing')} for the tensor {name[:100]}, and {bundle.CONFIG} "
                f"needs {wanted.get(name, 'none')}: save the model again."
            )


def _check_numbers(value: Any, field: str) -> None:
    """Raise ContentRefused where a number in the config is beyond any model of this kind."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(inner, f"{field}.{name}")
    elif isinstance(value, int):
        most = MAX_REPEATS if field.endswith(REPEATED) else MAX_WIDTH
        if not -1 <= value <= most:
            raise ContentRefused(
                f"{bundle.CONFIG}, field {field[:100]}, is {value}, and may be {most}: save the model again."
            )
