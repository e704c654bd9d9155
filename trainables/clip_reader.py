"""Reading a data set: its shards verified once a node, then mapped into the memory of every process that trains on it."""

from __future__ import annotations

import collections
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from trainables.clip_assembly import assemble
from trainables.clip_folder import MANIFEST, Folder, open_folder
from trainables.clip_format import AGAIN, READABLE_SCHEMAS, ClipsError, manifest_digest
from trainables.clip_manifest import check_manifest
from trainables.clip_map import INDEX, LAYOUT, MapWriter, open_map
from trainables.clip_set import Clips
from trainables.clip_table import as_written_now
from trainables.feature_cache import cache_folder
from trainables.splits import prove_settings

# Shards on their way while one is converted: enough that the network does not wait for the one that comes next.
_FETCHING, _AHEAD = 6, 12
_SAY_EVERY_S = 5.0
FORGET_AFTER_DAYS = 30
logger = logging.getLogger(__name__)


def read_clips(path: str | os.PathLike[str], *, patience_s: float = 0.0) -> Clips:
    """The data set at `path` (local or s3://), at 30 fps, as memory-mapped tensors.

    The first reader on a node fetches the shards, verifies their sha256 and lays the tensors down in
    $LATENTACT_CACHE/clips (~/.cache/latentact/clips) under the data set's digest; others wait for it, then all map the
    same files. Where that folder cannot be written the tensors are held in memory. A copy that was not opened for 30 days
    is removed when another is made. `patience_s` is for a store that is away.

    Raises ClipsError where the folder or its manifest is missing, a shard is damaged, the schema is another
    one, the store does not let us in, or two parts of a setting share a clip or a held-out group.
    """
    folder = open_folder(path, patience_s=patience_s)
    manifest = _manifest(folder)
    clips = _mapped(folder, manifest)
    prove_settings(clips)
    return clips


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest alone: counts, settings, parts, statistics. Raises ClipsError like read_clips."""
    return _manifest(open_folder(path))


def _mapped(folder: Folder, manifest: dict[str, Any]) -> Clips:
    place = cache_folder() / "clips" / f"{manifest_digest(manifest)[:32]}-{LAYOUT}"
    if (clips := open_map(place, manifest)) is not None:
        return clips
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # The lock only spares the others the work: what makes a copy whole is the rename.
        with FileLock(f"{place}.lock"):
            if (clips := open_map(place, manifest)) is not None:
                return clips
            stage = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
            try:
                write_map(shard_tables(folder, manifest), manifest, stage, folder.url)
                shutil.rmtree(place, ignore_errors=True)  # what is there was not whole
                stage.rename(place)
                _forget_others(place)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        logger.warning(
            "%s: cannot be written (%s), so that every process holds its own copy of the data; set LATENTACT_CACHE "
            "to a folder on a local disk", place, error,
        )  # fmt: skip
        return assemble(list(shard_tables(folder, manifest)), manifest, folder.url)
    clips = open_map(place, manifest)
    if clips is None:
        raise ClipsError(
            f"{place}: was written and is not whole; check the disk, delete the folder, read again."
        )
    return clips


def _forget_others(place: Path) -> None:
    """Removes the copies that nobody has opened for FORGET_AFTER_DAYS. One that is still mapped stays readable."""
    oldest = time.time() - FORGET_AFTER_DAYS * 86_400
    for index in place.parent.glob(f"*/{INDEX}"):
        if index.stat().st_mtime < oldest:
            shutil.rmtree(index.parent, ignore_errors=True)


def write_map(
    tables: Iterator[pa.Table], manifest: dict[str, Any], folder: Path, where: str, *, pictures: bool = True
) -> None:
    """Lay a data set's tensors down in `folder`, one table at a time; says how far it is if that takes long."""
    total, done = len(manifest["shards"]), 0
    begun = said = time.monotonic()
    with MapWriter(folder, where) as writer:
        for table in tables:
            writer.add(assemble([table], manifest, where, pictures=pictures))
            done, now = done + 1, time.monotonic()
            if now - said >= _SAY_EVERY_S and done < total:
                left_s = (now - begun) / done * (total - done)
                print(
                    f"reading {where}: shard {done} of {total}, {left_s:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
                said = now


def shard_tables(folder: Folder, manifest: dict[str, Any]) -> Iterator[pa.Table]:
    """The rows of all shards in order, each verified against its sha256; the next ones are fetched meanwhile."""
    # Hashing, decompression and the network all release the GIL.
    waiting: collections.deque[Future[pa.Table]] = collections.deque()
    with ThreadPoolExecutor(max_workers=_FETCHING) as pool:
        try:
            for shard in manifest["shards"]:
                waiting.append(pool.submit(_read_shard, folder, shard))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _manifest(folder: Folder) -> dict[str, Any]:
    manifest = folder.manifest()
    if manifest is None:
        raise ClipsError(
            f"{folder.url}: nothing is there; check the path, or make a data set with "
            f"`python -m trainables.prepare world {folder.url}`."
            if folder.is_empty()
            else f"{folder.url}: holds no {MANIFEST}, so it is no data set or its writing was interrupted; "
            "delete it and prepare it again with `python -m trainables.prepare`."
        )
    check_manifest(manifest, f"{folder.url}/{MANIFEST}")
    return manifest


def _read_shard(folder: Folder, shard: dict[str, Any]) -> pa.Table:
    file = f"{folder.url}/{shard['file']}"
    data = folder.read(shard["file"])
    if data is None:
        raise ClipsError(f"{file}: the manifest lists this shard, but it is gone; {AGAIN}")
    found = hashlib.sha256(data).hexdigest()
    if found != shard["sha256"]:
        raise ClipsError(
            f"{file}: damaged (sha256 {found[:12]}..., the manifest says {shard['sha256'][:12]}...); {AGAIN}"
        )
    try:
        table = as_written_now(pq.read_table(pa.BufferReader(data), use_threads=False))
    except (pa.ArrowException, OSError) as error:
        raise ClipsError(f"{file}: is no parquet file ({error}); {AGAIN}") from error
    if table is not None and len(table) != shard["clips"]:
        raise ClipsError(f"{file}: holds {len(table)} clips, the manifest says {shard['clips']}; {AGAIN}")
    if table is None:
        raise ClipsError(f"{file}: its columns are not those of schema {READABLE_SCHEMAS[-1]}; {AGAIN}")
    return table
