"""Where the weights that a stage has trained lie for every other trial that needs them."""

from __future__ import annotations

import hashlib
import json

from safetensors.torch import load, save
from torch import Tensor

from trainables.checkpoints import PATIENCE_S
from trainables.clip_folder import open_folder


class Shelf:
    """A folder (local or s3://) of one finished stage: `weights.safetensors` and, written last, `weights.json`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def get(self) -> dict[str, Tensor] | None:
        """The stage's state dict; None where it is absent, unfinished or damaged."""
        folder = open_folder(self.url, patience_s=PATIENCE_S)
        record = folder.read("weights.json")
        blob = folder.read("weights.safetensors") if record else None
        if record is None or blob is None or hashlib.sha256(blob).hexdigest() != json.loads(record)["sha256"]:
            return None
        return load(blob)

    def put(self, state: dict[str, Tensor]) -> None:
        folder = open_folder(self.url, patience_s=PATIENCE_S)
        if folder.is_local:
            folder.system.create_dir(folder.path, recursive=True)
        blob = save({key: value.detach().cpu().contiguous() for key, value in state.items()})
        folder.write("weights.safetensors", blob)
        folder.write("weights.json", json.dumps({"sha256": hashlib.sha256(blob).hexdigest()}).encode())
