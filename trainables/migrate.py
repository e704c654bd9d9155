"""Rewrite a data set of an older schema as the current one: python -m trainables.migrate DEST [--to NEWDEST]

New shards are written beside the old ones under other names, then the manifest is replaced in one step, then the old
shards are deleted. At every moment the folder holds one whole data set, the old one or the new one; the same command
again finishes what was interrupted. (Two folders cannot be swapped in one step everywhere, and not at all on s3://; a
manifest can.)
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from trainables.clip_folder import MANIFEST, Folder, explained, open_folder
from trainables.clip_format import SCHEMA_VERSION, ClipsError, manifest_digest
from trainables.clip_reader import read_manifest, shard_tables
from trainables.clip_table import list_values
from trainables.import_pool import progress_over

EXAMPLES = """
\b
Examples:
  python -m trainables.migrate data/dexycb
  python -m trainables.migrate s3://bucket/holoassist
  python -m trainables.migrate data/world --to data/world-schema-3

The clips stay equal bit for bit, but the digest that names the data changes with its files: models that were
trained before keep naming the old one, and the new manifest records it as migrated_from.
"""
# What this command and the writer call shards; nothing else is ever deleted.
_SHARD = re.compile(r"shard-\d{5,}(-v\d+)?\.parquet")


@click.command(
    epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.argument("dest")
@click.option("--to", help="Write the new data set there and leave DEST as it is.")
def main(dest: str, to: str | None) -> None:
    """Rewrite the data set at DEST (a folder or s3://bucket/prefix) in the current schema."""
    try:
        for line in migrate(dest, to):
            click.echo(line)
    except (ClipsError, OSError) as error:
        raise click.ClickException(str(error)) from error


def migrate(dest: str, to: str | None = None) -> list[str]:
    """Rewrite `dest` in the current schema, in place or as a new data set at `to`; says what was done.

    Raises ClipsError where `dest` is no whole readable data set, or `to` holds something else.
    """
    old, folder = read_manifest(dest), open_folder(dest)
    target = open_folder(to) if to else folder
    here = target.url == folder.url or (target.is_local and folder.is_local and target.path == folder.path)
    if old["schema"] == SCHEMA_VERSION:
        if not here:
            raise ClipsError(f"{dest}: is at schema {SCHEMA_VERSION} already; copy it as it is.")
        freed = _delete_others(folder, old) if "migrated_from" in old else 0
        left = f"; {freed} shards left by an interrupted migration deleted" if freed else ""
        return [f"{dest}: already at schema {SCHEMA_VERSION} (digest {manifest_digest(old)[:12]}){left}"]
    before = manifest_digest(old)
    if not here and (there := _already_at(target, before)):
        return [f"{target.url}: already there, at schema {SCHEMA_VERSION} (digest {there[:12]})"]
    with _written_to(target, here) as stage:
        new = _rewrite(folder, old, stage)
        _write_manifest(stage, new)
    if here:
        _delete_others(folder, new)
    counts = new["counts"]
    held = f"{counts['clips']} clips, {counts['frames']} frames, {len(new['shards'])} shards"
    return [
        f"{target.url}: schema {old['schema']} -> {SCHEMA_VERSION}, {held}",
        f"digest {before} -> {manifest_digest(new)}",
        f"models trained on it before keep naming {before[:12]}; the clips are the same.",
    ]


def _rewrite(folder: Folder, old: dict[str, Any], stage: Folder) -> dict[str, Any]:
    """Write all shards anew; returns the new manifest. Shards that an interrupted run has left whole are overwritten."""
    new = copy.deepcopy(old)
    shards = []
    total = len(old["shards"])
    tables = progress_over(shard_tables(folder, old), done=0, total=total, show=total > 3)
    for number, rows in enumerate(tables):
        file = f"shard-{number:05d}-v{SCHEMA_VERSION}.parquet"
        data = _shard_bytes(rows)
        _prove_equal(rows, data, f"{folder.url}/{old['shards'][number]['file']}")
        stage.write(file, data)
        digest = hashlib.sha256(data).hexdigest()
        shards.append({**old["shards"][number], "file": file, "sha256": digest})
    new |= {"schema": SCHEMA_VERSION, "shards": shards}
    new["migrated_from"] = {"schema": old["schema"], "digest": manifest_digest(old)}
    new.setdefault("report", {})
    new["counts"] = {"images": 0, "hand_free_images": 0} | new.get("counts", {})
    return new


def _shard_bytes(rows: pa.Table) -> bytes:
    """As the writer stores them."""
    buffer = io.BytesIO()
    pq.write_table(
        rows.combine_chunks(), buffer, compression="zstd", use_dictionary=False, write_statistics=False
    )
    return buffer.getvalue()


def _prove_equal(rows: pa.Table, data: bytes, where: str) -> None:
    """Raises ClipsError unless the written bytes read back as these rows, NaN and sign of zero included."""
    written = pq.read_table(pa.BufferReader(data), use_threads=False)
    same = written.schema.equals(rows.schema) and len(written) == len(rows)
    for field in rows.schema if same else ():
        a, b = rows[field.name], written[field.name]
        if pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type):
            lengths = [column.combine_chunks().value_lengths() for column in (a, b)]
            bits = [
                np.ascontiguousarray(list_values(table, field.name)).view(np.uint8)
                for table in (rows, written)
            ]
            same &= lengths[0].equals(lengths[1]) and np.array_equal(bits[0], bits[1])
        else:
            same &= a.equals(b)
    if not same:
        raise ClipsError(f"{where}: the rewritten rows are not those that were read; nothing was changed.")


@contextmanager
def _written_to(target: Folder, here: bool) -> Iterator[Folder]:
    """Where to write: the folder itself, or for a new local one a folder beside it that is renamed when whole."""
    if here or not target.is_local:
        yield target
        return
    final = Path(target.path)
    stage = final.parent / f".{final.name}.partial-migration"
    with explained(target, ""):
        shutil.rmtree(stage, ignore_errors=True)  # of an interrupted run
        stage.mkdir(parents=True)
    try:
        yield Folder(str(stage), target.system, str(stage))
        with explained(target, ""):
            stage.rename(final)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_manifest(folder: Folder, manifest: dict[str, Any]) -> None:
    """Replace the manifest in one step: whoever reads meets the old one or the new one."""
    data = (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    if not folder.is_local:
        folder.write(MANIFEST, data)  # an object of a store is replaced as a whole
        return
    with explained(folder, MANIFEST):
        _flush_files(folder, [shard["file"] for shard in manifest["shards"]])
        partial = Path(folder.path) / f".{MANIFEST}.partial"
        partial.write_bytes(data)
        _flush_files(folder, [partial.name])
        os.replace(partial, Path(folder.path) / MANIFEST)


def _flush_files(folder: Folder, names: list[str]) -> None:
    """What the manifest names must be on the disk before it, whatever happens to the machine."""
    for name in names:
        with open(Path(folder.path) / name, "rb") as file:
            os.fsync(file.fileno())


def _already_at(target: Folder, before: str) -> str | None:
    """The digest of the migrated data set at `target`, None where nothing is; ClipsError where something else is."""
    there = target.manifest()
    if there is not None:
        if there.get("migrated_from", {}).get("digest") == before and there.get("schema") == SCHEMA_VERSION:
            return manifest_digest(there)
        raise ClipsError(f"{target.url}: holds another data set; choose another folder for --to.")
    if not target.is_empty() and (target.is_local or not all(map(_SHARD.fullmatch, _names(target)))):
        raise ClipsError(
            f"{target.url}: holds files but no {MANIFEST}; choose an empty or new folder for --to."
        )
    return None


def _delete_others(folder: Folder, manifest: dict[str, Any]) -> int:
    """Delete the shards that the manifest does not name; returns how many there were."""
    listed = {shard["file"] for shard in manifest["shards"]}
    others = [name for name in _names(folder) if _SHARD.fullmatch(name) and name not in listed]
    for name in others:
        _delete(folder, name)
    return len(others)


def _delete(folder: Folder, name: str) -> None:
    with explained(folder, name):
        folder.system.delete_file(f"{folder.path}/{name}")


def _names(folder: Folder) -> list[str]:
    with explained(folder, ""):
        selector = fs.FileSelector(folder.path, allow_not_found=True)
        return [
            info.base_name for info in folder.system.get_file_info(selector) if info.type == fs.FileType.File
        ]


if __name__ == "__main__":
    main()
