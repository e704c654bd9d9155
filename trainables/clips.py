"""Clips: the one format every importer writes and everything else reads.

A data set is a folder (local or s3://) of `shard-00000.parquet`, `shard-00001.parquet`, ... and a
`manifest.json` that is written last, so that a data set is whole or absent. One row of a shard is one clip;
its columns are the fields of `Clip`, lists flattened. The manifest holds the schema version, the sha256 of
every shard, counts, the parts of every setting and the statistics of its train part; the sha256 of the
manifest names the data everywhere.

    with write_clips("data/mine", name="mine", hand="mano", source={"recorded": "2026"}) as writer:
        writer.add(Clip(clip_id="a", ...))
        writer.settings = {"objects": {"group": "object", "parts": {"train": ["mug"], "val": ["bowl"], ...}}}
    clips = read_clips("data/mine")
"""

from trainables.clip_format import (
    GROUPS,
    JOINTS,
    VERTICES,
    WINDOW_FPS,
    Clip,
    ClipsError,
    encode_png,
    manifest_digest,
)
from trainables.clip_reader import read_clips, read_manifest
from trainables.clip_set import Clips
from trainables.clip_writer import ClipWriter, write_clips

__all__ = [
    "GROUPS",
    "JOINTS",
    "VERTICES",
    "WINDOW_FPS",
    "Clip",
    "ClipWriter",
    "Clips",
    "ClipsError",
    "encode_png",
    "manifest_digest",
    "read_clips",
    "read_manifest",
    "write_clips",
]
