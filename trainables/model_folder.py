"""A model in a folder: tensors and config, from which it is built again anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import load_file, save_file

from trainables.hand import Hand, load_hand
from trainables.latentact import LatentAct, LatentActConfig, ModelError

SCHEMA = 2
MODEL_FILES = ("model.safetensors", "config.json")


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
                f"{folder}/config.json has schema {record['schema']}, this version reads {SCHEMA}: "
                "train the model again, or load it with the version that wrote it"
            )
        model = LatentAct(LatentActConfig.from_json(record["model"]), hand or load_hand())
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (FileNotFoundError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not a readable model folder: {error}; pull or save it again"
        ) from error
    return model.to(device).eval()


def fetch_model(url: str, folder: Path) -> None:
    """Copy the model at `url` (a folder or s3:// address) into `folder`, without what only a resumed training needs.

    Raises:
        FileNotFoundError: a file of it is not there.
    """
    from trainables.clip_folder import open_folder  # pulling and loading a model do without pyarrow

    source = open_folder(url)
    for file in MODEL_FILES:
        data = source.read(file)
        if data is None:
            raise FileNotFoundError(
                f"{url}/{file} is gone; train the trial again under another sweep name, or choose another model"
            )
        (folder / file).write_bytes(data)
