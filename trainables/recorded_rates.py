"""At which rates a data set's clips were recorded: reading brings all of them to 30 frames per second."""

from __future__ import annotations

import os
from collections import Counter

import pyarrow.parquet as pq

from trainables.clip_folder import explained, open_folder
from trainables.clip_format import ClipsError
from trainables.clip_reader import read_manifest


def recorded_rates(path: str | os.PathLike[str]) -> dict[float, int]:
    """Frames per second -> number of clips, from one column of the shards: the rest of them is not fetched.

    Raises ClipsError like read_clips.
    """
    folder, rates = open_folder(path), Counter[float]()
    for shard in read_manifest(path)["shards"]:
        name = shard["file"]
        try:
            with explained(folder, name), folder.system.open_input_file(f"{folder.path}/{name}") as file:
                rates.update(pq.read_table(file, columns=["fps"], use_threads=False)["fps"].to_pylist())
        except FileNotFoundError:
            raise ClipsError(f"{folder.url}/{name}: the manifest lists this shard, but it is gone") from None
    return dict(sorted(rates.items()))
