"""Results of a data engine's stages, kept by the content of what they were made from.

A stage that was interrupted, or whose inputs and options are the same as before, is not computed again: its arrays lie
in $LATENTACT_CACHE/stages/<stage>/<sha256>.npz. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainables.feature_cache import cache_folder
from trainables.whole_file import written_whole

Arrays = dict[str, np.ndarray]
logger = logging.getLogger(__name__)


def stage_key(stage: str, key_parts: Sequence[Any]) -> str:
    """sha256 (hex) of a stage's name and of all that its result depends on: versions, input stamps, options."""
    return hashlib.sha256(json.dumps([stage, *key_parts], sort_keys=True).encode()).hexdigest()


def cached_arrays(
    stage: str, key_parts: Sequence[Any], compute: Callable[[], Mapping[str, np.ndarray]]
) -> Arrays:
    """The arrays kept for these `key_parts` (JSON values), else what `compute` gives, which is kept.

    A file that cannot be read is computed again; a cache that cannot be written costs a warning.
    """
    path = cache_folder() / "stages" / stage / f"{stage_key(stage, key_parts)}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("%s: cannot be read (%s); computed again", path, error)
    arrays = dict(compute())
    try:
        with written_whole(path) as file, file.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        logger.warning("%s: cannot be written (%s); set LATENTACT_CACHE to a folder that can", path, error)
    return arrays
