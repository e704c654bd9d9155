"""Writing a data set so that it is whole or absent.

Shards are first written into a temporary folder and read back to compute the statistics. A local data set
then appears by one rename; on S3 the shards are sent first and the manifest, which makes them a data set,
last.
"""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.clip_folder import MANIFEST, explained, open_folder
from trainables.clip_format import (
    GROUPS,
    READABLE_SCHEMAS,
    SCHEMA_VERSION,
    WINDOW_FPS,
    Clip,
    ClipsError,
    check_clip,
    manifest_digest,
    picture_size,
)
from trainables.clip_map import open_map
from trainables.clip_reader import write_map
from trainables.clip_table import to_table
from trainables.splits import PARTS
from trainables.train_statistics import train_statistics

CLIPS_PER_SHARD = 256
DATA_NAME = re.compile(r"[a-z0-9][a-z0-9_.]*", re.ASCII)  # as in the zoo's grammar of model names
logger = logging.getLogger(__name__)


class ClipWriter:
    """Context manager that collects clips and publishes them at a clean exit, and nothing after a failure.

    Set `settings` before the exit: {"objects": {"group": "object", "parts": {"train": [...], ...}}}.
    `report`, what the importer has to say about the data (its errors, what it dropped), goes into the
    manifest as it is. Where an equal data set (same name, hand and source) lies at the destination already,
    `finished` is True from the start: an importer may skip its work, and whatever it adds is dropped.
    """

    def __init__(
        self,
        dest: str | os.PathLike[str],
        *,
        name: str,
        hand: str,
        source: dict[str, Any],
        contact_radius_m: float,
        features: dict[str, dict[str, Any]] | None = None,
    ):
        self.settings: dict[str, dict[str, Any]] = {}
        self.report: dict[str, Any] = {}  # what an importer measured on its way, kept in the manifest
        self.finished = False
        self.manifest: dict[str, Any] = {}
        if not DATA_NAME.fullmatch(name):
            raise ClipsError(
                f"data set {name!r}, field name: models that it trains are named after it; use lower-case letters, digits, "
                "'_' and '.', no '-'."
            )
        self._folder = open_folder(dest)
        source = json.loads(json.dumps(source))
        self._head = {
            "schema": SCHEMA_VERSION,
            "name": name,
            "hand": hand,
            "fps": WINDOW_FPS,
            "source": source,
        }
        self._head["contact_radius_m"] = contact_radius_m
        if features:
            self._head["features"] = features
        self._pending: list[Clip] = []
        self._rows: list[pa.Table] = []
        self._shards: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._values: dict[str, set[str]] = {group: set() for group in GROUPS}
        self._images = self._hand_free = 0
        self._size: tuple[int, int] | None = None  # of every picture

    def __enter__(self) -> Self:
        self.finished = self._already_there()
        if not self.finished:
            self._stage = self._make_stage()
        return self

    def add(self, clip: Clip) -> None:
        """Adds one clip. Raises ClipsError, naming clip and field, where it is not whole or its id taken."""
        if self.finished:
            return
        check_clip(clip)
        self._take_id(clip.clip_id)
        self._pending.append(clip)
        if len(self._pending) == CLIPS_PER_SHARD:
            self.add_rows(to_table(self._pending), ids_taken=True)
            self._pending = []

    def add_rows(self, rows: pa.Table, *, ids_taken: bool = False) -> None:
        """Adds clips that were checked, as rows of `to_table`. Raises ClipsError where an id is taken."""
        if self.finished or not len(rows):
            return
        if not ids_taken:
            for clip_id in rows["clip_id"].to_pylist():
                self._take_id(clip_id)
        for group, values in self._values.items():
            values.update(value for value in rows[group].to_pylist() if value is not None)
        self._images += pc.sum(pc.list_value_length(rows["image_png"])).as_py()
        self._hand_free += pc.sum(pc.list_value_length(rows["hand_free_png"])).as_py()
        for field in ("image_png", "hand_free_png"):
            self._check_size(rows, field)
        self._rows.append(rows)
        while sum(map(len, self._rows)) >= CLIPS_PER_SHARD:
            waiting = pa.concat_tables(self._rows)
            self._flush(waiting.slice(0, CLIPS_PER_SHARD))
            self._rows = [waiting.slice(CLIPS_PER_SHARD)]

    def _check_size(self, rows: pa.Table, field: str) -> None:
        for clip_id, pictures in zip(rows["clip_id"].to_pylist(), rows[field], strict=True):
            if not len(pictures):
                continue
            size = picture_size(pictures[0].as_py())
            self._size = self._size or size
            if size != self._size:
                raise ClipsError(
                    f"clip {clip_id!r}, field {field}: its pictures are {size[0]} pixels wide, others {self._size[0]}; "
                    "give both one size."
                )

    def _take_id(self, clip_id: str) -> None:
        if clip_id in self._ids:
            raise ClipsError(f"clip {clip_id!r}, field clip_id: used twice; give every clip its own name.")
        self._ids.add(clip_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.finished:
            return
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._stage, ignore_errors=True)

    def _flush(self, rows: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(
            rows.combine_chunks(), buffer, compression="zstd", use_dictionary=False, write_statistics=False
        )
        data = buffer.getvalue()
        file = f"shard-{len(self._shards):05d}.parquet"
        shard = {
            "file": file,
            "sha256": hashlib.sha256(data).hexdigest(),
            "clips": len(rows),
            "frames": pc.sum(pc.list_value_length(rows["contact_known"])).as_py(),
        }
        with explained(self._folder, file):
            (self._stage / file).write_bytes(data)
        self._shards.append(shard)
        written = sum(shard["clips"] for shard in self._shards)
        logger.info("%s: %d clips, %d frames written", self._folder.url, written, self._frames())

    def _frames(self) -> int:
        return sum(shard["frames"] for shard in self._shards)

    def _finish(self) -> None:
        if self._pending:
            self.add_rows(to_table(self._pending), ids_taken=True)
        if any(map(len, self._rows)):
            self._flush(pa.concat_tables(self._rows))
        if not self._shards:
            raise ClipsError(
                f"{self._folder.url}: no clip was written, so there is no data set; check the source."
            )
        self._check_settings()
        groups = {group: len(values) for group, values in self._values.items() if values}
        counts = {
            "clips": len(self._ids),
            "frames": self._frames(),
            "images": self._images,
            "hand_free_images": self._hand_free,
            "groups": groups,
        }
        manifest: dict[str, Any] = {
            **self._head,
            "shards": self._shards,
            "counts": counts,
            "settings": self.settings,
            "report": self.report,
        }
        # Normalised through JSON, so that what is digested here is what a reader will digest.
        manifest = json.loads(json.dumps(manifest))
        tables = (pq.read_table(self._stage / shard["file"], use_threads=False) for shard in self._shards)
        with tempfile.TemporaryDirectory(prefix="clips-") as place:
            write_map(tables, manifest, Path(place), self._folder.url, pictures=False)
            clips = open_map(Path(place), manifest)
            assert clips is not None
            for name, setting in manifest["settings"].items():
                setting["statistics"] = train_statistics(clips, name)
        self.manifest = manifest
        (self._stage / MANIFEST).write_text(
            json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        )
        self._publish()
        logger.info("%s: finished, digest %s", self._folder.url, manifest_digest(manifest))

    def _check_settings(self) -> None:
        for name, setting in self.settings.items():
            where = f"{self._folder.url}, setting {name!r}"
            if setting.get("group") not in GROUPS:
                raise ClipsError(
                    f"{where}: its group is {setting.get('group')!r}; it must be one of {', '.join(GROUPS)}."
                )
            parts = setting["parts"]
            strange = set(parts) - set(PARTS)
            if strange:
                raise ClipsError(f"{where}: has a part {min(strange)!r}; parts are {', '.join(PARTS)}.")
            absent = {value for values in parts.values() for value in values} - self._values[setting["group"]]
            if absent:
                raise ClipsError(f"{where}: names {min(absent)!r}, but no clip's {setting['group']} is that.")

    def _already_there(self) -> bool:
        """True where the destination holds this very data set; ClipsError where it holds anything else."""
        there = self._folder.manifest()
        if there is not None:
            # The same clips in an older schema that is still read are the same data set.
            asked = dict(self._head)
            if there.get("schema") in READABLE_SCHEMAS:
                asked["schema"] = there["schema"]
            if all(there.get(key) == value for key, value in asked.items()):
                self.manifest = there
                logger.info("%s: there already, left alone", self._folder.url)
                return True
            differs = next(key for key, value in asked.items() if there.get(key) != value)
            raise ClipsError(
                f"{self._folder.url}: holds another data set ({differs} is {there.get(differs)!r}, not "
                f"{self._head[differs]!r}); choose another DEST, or delete that folder first."
            )
        if self._folder.is_local and not self._folder.is_empty():
            raise ClipsError(
                f"{self._folder.url}: holds files but no {MANIFEST}; choose an empty or new folder as DEST."
            )
        return False

    def _make_stage(self) -> Path:
        if not self._folder.is_local:
            return Path(tempfile.mkdtemp(prefix="clips-"))
        final = Path(self._folder.path)
        with explained(self._folder, ""):
            final.parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f".{final.name}.partial-", dir=final.parent))

    def _publish(self) -> None:
        if not self._folder.is_local:
            for shard in self._shards:
                self._folder.write(shard["file"], (self._stage / shard["file"]).read_bytes())
            self._folder.write(MANIFEST, (self._stage / MANIFEST).read_bytes())
            return
        self._stage.chmod(0o755)  # mkdtemp makes it private; a data set is as readable as any folder
        try:
            self._stage.rename(self._folder.path)
        except OSError:
            # Another process may have finished the same data set meanwhile; then nothing is left to do.
            if not self._already_there():
                raise


def write_clips(
    dest: str | os.PathLike[str],
    *,
    name: str,
    hand: str,
    source: dict[str, Any],
    contact_radius_m: float = 0.005,
    features: dict[str, dict[str, Any]] | None = None,
) -> ClipWriter:
    """A writer for `dest` (local path or s3://). `hand` is the name of the hand model, `source` what the
    importer was given: whatever changes the clips must be in it, for it decides whether a data set already
    there is the same one. `features` names the frozen encoders of the clips' features, where they have any:
    {"image": {"encoder": "deit", "width": 768, "digest": "..."}, "text": ...}.
    """
    return ClipWriter(
        dest, name=name, hand=hand, source=source, contact_radius_m=contact_radius_m, features=features
    )
