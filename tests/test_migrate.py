"""Older data sets become current ones: equal bit for bit, whole at every moment, finished by the same command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_up_clips import random_clip, some_clips, write

from trainables import migrate as command
from trainables.clip_folder import Folder, open_folder
from trainables.clip_reader import shard_tables
from trainables.clip_table import SCHEMA_1, SCHEMA_2
from trainables.clips import Clip, ClipsError, manifest_digest, read_clips, read_manifest
from trainables.migrate import main, migrate


def as_schema(folder: Path, schema: int) -> None:
    """Rewrite a data set, in two shards, as the version that had this schema wrote it."""
    columns = {1: SCHEMA_1, 2: SCHEMA_2}[schema].names
    manifest = json.loads((folder / "manifest.json").read_text())
    [shard] = manifest["shards"]
    table = pq.read_table(folder / shard["file"]).select(columns)
    (folder / shard["file"]).unlink()
    manifest["shards"] = []
    for number, rows in enumerate((table.slice(0, 9), table.slice(9))):
        file = folder / f"shard-{number:05d}.parquet"
        pq.write_table(rows.combine_chunks(), file)
        frames = sum(len(values) for values in rows["contact_known"])
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = {"file": file.name, "sha256": digest, "clips": len(rows), "frames": frames}
        manifest["shards"].append(entry)
    manifest["schema"] = schema
    if schema == 1:
        del manifest["counts"]["hand_free_images"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def clips_to_move() -> list[Clip]:
    """Clips at two rates, one with numbers whose bits are easily lost."""
    clips = [*some_clips(15), random_clip("odd", 41, seed=15, fps=17.0)]
    still = np.zeros((40, 3), dtype=np.float32)
    still[::2] = -0.0
    still[1] = np.float32(1e-42)  # denormal
    return [replace(clips[0], transl_m=still), *clips[1:]]


@pytest.fixture(params=[1, 2])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path / "data", clips_to_move())
    as_schema(tmp_path / "data", request.param)
    return tmp_path / "data"


def bits(place: Path | str) -> dict[str, list[object]]:
    """Every column of every clip, floats as bytes; read from the shards, which are verified, and not from a cache."""
    table = pa.concat_tables(shard_tables(open_folder(place), read_manifest(place)))
    columns: dict[str, list[object]] = {}
    for field in table.schema:
        if field.type == pa.list_(pa.float32()):
            columns[field.name] = [
                row.values.to_numpy(zero_copy_only=False).tobytes() for row in table[field.name]
            ]
        else:
            columns[field.name] = table[field.name].to_pylist()
    return columns


def test_every_clip_stays_equal_bit_for_bit(old: Path) -> None:
    manifest, before, clips = read_manifest(old), bits(old), read_clips(old)
    result = CliRunner().invoke(main, [str(old)])
    assert result.exit_code == 0, result.output
    after = read_manifest(old)
    assert bits(old) == before
    assert after["schema"] == 3
    assert after["migrated_from"] == {"schema": manifest["schema"], "digest": clips.digest}
    for kept in ("name", "hand", "fps", "source", "settings", "report", "contact_radius_m"):
        assert after[kept] == manifest[kept], kept
    assert after["counts"] == manifest["counts"] | {"hand_free_images": 0}
    assert f"digest {clips.digest} -> {manifest_digest(after)}" in result.output
    assert f"keep naming {clips.digest[:12]}" in result.output
    now = read_clips(old)
    assert now.digest != clips.digest
    for name, tensor in vars(clips).items():
        if hasattr(tensor, "shape"):
            assert np.array_equal(tensor.numpy(), getattr(now, name).numpy()), name
    # The shards are what the current version writes: their columns, not only their rows, are those of schema 3.
    assert pq.read_schema(old / after["shards"][0]["file"]).names[-1] == "text_feature"
    assert {path.name for path in old.iterdir()} == {"manifest.json", *(s["file"] for s in after["shards"])}


def test_the_same_command_again_changes_nothing(old: Path) -> None:
    migrate(str(old))
    files = {path: path.read_bytes() for path in old.iterdir()}
    [line] = migrate(str(old))
    assert "already at schema 3" in line and "deleted" not in line
    assert {path: path.read_bytes() for path in old.iterdir()} == files
    write(old, clips_to_move())  # and the importer takes it for its own
    assert {path: path.read_bytes() for path in old.iterdir()} == files


class Killed(BaseException):
    """The process ends here; nothing catches it."""


def on_call(number: int, then: Callable) -> Callable:
    """`then`, which is killed before its call of this number (from 0)."""
    calls = iter(range(100))

    def step(*args: object) -> object:
        if next(calls) == number:
            raise Killed
        return then(*args)

    return step


def half_written(folder: Folder, name: str, data: bytes) -> None:
    (Path(folder.path) / name).write_bytes(data[: len(data) // 2])
    raise Killed


STEPS = {
    "before the first shard": lambda patch: patch.setattr(Folder, "write", on_call(0, Folder.write)),
    "in the middle of a shard": lambda patch: patch.setattr(Folder, "write", half_written),
    "between two shards": lambda patch: patch.setattr(Folder, "write", on_call(1, Folder.write)),
    "before the shards are on the disk": lambda patch: patch.setattr(command.os, "fsync", on_call(0, command.os.fsync)),
    "before the manifest is on the disk": lambda patch: patch.setattr(command.os, "fsync", on_call(2, command.os.fsync)),
    "before the manifest is replaced": lambda patch: patch.setattr(command.os, "replace", on_call(0, command.os.replace)),
    "before the first old shard goes": lambda patch: patch.setattr(command, "_delete", on_call(0, command._delete)),
    "between two old shards": lambda patch: patch.setattr(command, "_delete", on_call(1, command._delete)),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_whole_and_goes_on(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(write(tmp_path / "data", clips_to_move()))
    as_schema(old, 2)
    before, digest = bits(old), manifest_digest(read_manifest(old))
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(Killed):
            migrate(str(old))
    swapped = "old shard" in step
    assert read_manifest(old)["schema"] == (3 if swapped else 2)
    assert bits(old) == before
    lines = migrate(str(old))
    assert ("already at schema 3" in lines[0]) == swapped
    if swapped:
        assert "left by an interrupted migration deleted" in lines[0]
    after = read_manifest(old)
    assert after["migrated_from"] == {"schema": 2, "digest": digest} and bits(old) == before
    assert {path.name for path in old.iterdir()} == {"manifest.json", *(s["file"] for s in after["shards"])}


def test_elsewhere_the_old_one_stays(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path: path.read_bytes() for path in old.iterdir()}
    new = tmp_path / "new"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", on_call(0, Path.rename))
        with pytest.raises(Killed):
            migrate(str(old), str(new))
    assert not new.exists() and [path.name for path in tmp_path.iterdir()] == ["data"]
    migrate(str(old), str(new))
    assert bits(new) == bits(old) and read_manifest(new)["schema"] == 3
    assert {path: path.read_bytes() for path in old.iterdir()} == files
    assert "already there" in migrate(str(old), str(new))[0]
    with pytest.raises(ClipsError, match="is at schema 3 already; copy it"):
        migrate(str(new), str(tmp_path / "third"))
    other = write(tmp_path / "other", some_clips(), source={"seed": 1})
    with pytest.raises(ClipsError, match="holds another data set"):
        migrate(str(old), str(other))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(ClipsError, match="holds files but no manifest.json"):
        migrate(str(old), str(tmp_path / "full"))
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"


def test_what_is_damaged_is_left_alone(old: Path) -> None:
    shard = old / "shard-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9] + b"x" + whole[-8:])
    manifest = (old / "manifest.json").read_bytes()
    result = CliRunner().invoke(main, [str(old)])
    assert result.exit_code == 1 and "shard-00001.parquet: damaged" in result.output
    assert (old / "manifest.json").read_bytes() == manifest and (old / "shard-00000.parquet").exists()
    shard.write_bytes(whole)
    assert CliRunner().invoke(main, [str(old)]).exit_code == 0


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    data = Path(write(tmp_path / "data", some_clips()))
    manifest = json.loads((data / "manifest.json").read_text())
    (data / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))
    with pytest.raises(ClipsError, match="field schema: is 99"):
        migrate(str(data))


def test_on_s3(old: Path, object_store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in object_store.env.items():
        monkeypatch.setenv(name, value)
    schema, before = read_manifest(old)["schema"], bits(old)
    place = f"s3://zoo/migrate-{schema}"
    folder = open_folder(place)
    for path in sorted(old.iterdir(), reverse=True):
        folder.write(path.name, path.read_bytes())
    for broken in ("write", "_delete"):
        with monkeypatch.context() as patch:
            owner = Folder if broken == "write" else command
            patch.setattr(owner, broken, on_call(1, getattr(owner, broken)))
            with pytest.raises(Killed):
                migrate(place)
        assert bits(place) == before
    assert "left by an interrupted migration deleted" in migrate(place)[0]
    after = read_manifest(place)
    assert bits(place) == before and after["schema"] == 3
    assert set(command._names(folder)) == {"manifest.json", *(shard["file"] for shard in after["shards"])}
    copied = f"{place}-copy"
    migrate(str(old), copied)
    assert bits(copied) == before and "already there" in migrate(str(old), copied)[0]
