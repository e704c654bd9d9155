"""Features of a whole data set, computed once: rows in batches, kept by their content on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.whole_file import written_whole

VERSION = "1"  # of what is computed from the same weights and the same input; part of every key
_SAY_AFTER_S, _SAY_EVERY_S = 4.0, 5.0
logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """$LATENTACT_CACHE, or ~/.cache/latentact."""
    return Path(os.environ.get("LATENTACT_CACHE") or Path.home() / ".cache" / "latentact").expanduser()


def content_key(*parts: bytes | memoryview) -> str:
    """sha256 (hex) of parts that cannot run into one another."""
    digest = hashlib.sha256()
    for part in (VERSION.encode(), *parts):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def cached_rows(key: str, shape: tuple[int, int], compute: Callable[[], Tensor]) -> Tensor:
    """The rows kept under `key`, else what `compute` gives, which is kept. float32, on the CPU.

    A file that cannot be read or has another shape is computed again; a cache that cannot be written costs a warning.
    """
    path = cache_folder() / "features" / f"{key}.safetensors"
    try:
        rows = load_file(path)["rows"]
        if tuple(rows.shape) == shape and rows.dtype == torch.float32:
            return rows
        logger.warning("%s: holds something else; computed again", path)
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError) as error:
        logger.warning("%s: cannot be read (%s); computed again", path, error)
    rows = compute()
    try:
        with written_whole(path) as file:
            save_file({"rows": rows.contiguous()}, file)
    except OSError as error:
        logger.warning("%s: cannot be written (%s); set LATENTACT_CACHE to a folder that can", path, error)
    return rows


def encode_in_batches(
    encode: Callable[[Any], Tensor], items: Sequence[Any] | Tensor, *, batch: int, width: int, what: str
) -> Tensor:
    """Rows (N, width), float32 on the CPU; where it takes more than a few seconds, says how long it will on stderr."""
    count, rows = len(items), [torch.zeros(0, width)]
    start = time.monotonic()
    said = start + _SAY_AFTER_S - _SAY_EVERY_S
    for first in range(0, count, batch):
        rows.append(encode(items[first : first + batch]).float().cpu())
        done, now = min(first + batch, count), time.monotonic()
        if now - said >= _SAY_EVERY_S and done < count:
            left_s = (now - start) / done * (count - done)
            print(f"{what}: {done} of {count}, {left_s:.0f} s left", file=sys.stderr, flush=True)
            said = now
    return torch.cat(rows)
