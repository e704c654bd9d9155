"""The shelf of trained codebooks, by identity, so that every trial that needs one finds it."""

from __future__ import annotations

import hashlib
import json

from safetensors.torch import load, save
from torch import Tensor

from trainables.clip_folder import open_folder


class Shelf:
    """A folder (local or s3://) with `<identity>/codebook.safetensors` and, written last, `codebook.json`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def get(self, identity: str) -> dict[str, Tensor] | None:
        """The state dict of a finished codebook; None where it is absent, unfinished or damaged."""
        folder = open_folder(f"{self.url}/{identity}")
        record = folder.read("codebook.json")
        blob = folder.read("codebook.safetensors") if record else None
        if record is None or blob is None or hashlib.sha256(blob).hexdigest() != json.loads(record)["sha256"]:
            return None
        return load(blob)

    def put(self, identity: str, state: dict[str, Tensor]) -> None:
        folder = open_folder(f"{self.url}/{identity}")
        if folder.is_local:
            folder.system.create_dir(folder.path, recursive=True)
        blob = save({key: value.detach().cpu().contiguous() for key, value in state.items()})
        folder.write("codebook.safetensors", blob)
        folder.write("codebook.json", json.dumps({"sha256": hashlib.sha256(blob).hexdigest()}).encode())
