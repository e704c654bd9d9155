"""A data set that was damaged after it was written, or was never one, is refused by name when it is opened."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.damage import FIELD_DAMAGES, FILE_DAMAGES, damage_field
from tests.made_up_clips import SETTINGS, random_clip, some_clips
from trainables import clip_writer
from trainables.clip_format import ClipsError
from trainables.clips import read_clips, write_clips

CASES = 120
MANIFEST_FIELDS = [
    ("schema",), ("name",), ("hand",), ("shards",), ("settings",), ("shards", 0), ("shards", 1, "file"),
    ("shards", 0, "sha256"), ("shards", 0, "clips"), ("settings", "objects"), ("settings", "objects", "group"),
    ("settings", "objects", "parts"), ("settings", "objects", "parts", "train"),
]  # fmt: skip
QUIET = {("name",), ("hand",)}  # any text
WITHOUT_SETTING = (("settings", "objects"), "missing field")  # a data set with one setting less


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("whole") / "clips"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_writer, "CLIPS_PER_SHARD", 8)
        with write_clips(dest, name="made_up", hand="standin-1", source={}) as writer:
            for clip in some_clips():
                writer.add(clip)
            writer.settings = SETTINGS
    return dest


def opened(dest: Path) -> None:
    """Reads it with nothing kept on this machine, so that every byte is looked at."""
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_CACHE", cache)
        read_clips(dest)


FILES = [("manifest.json", kind) for kind in FILE_DAMAGES] + [
    ("shard-00001.parquet", kind) for kind in FILE_DAMAGES
]
FIELDS = [(key, kind) for key in MANIFEST_FIELDS for kind in ("missing field", "wrong type", "path escape")]


@settings(
    max_examples=CASES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(case=st.sampled_from([*FILES, *FIELDS]), where=st.floats(0, 1, exclude_max=True))
def test_damage_is_told(whole: Path, case: tuple[Any, str], where: float) -> None:
    target, kind = case
    with tempfile.TemporaryDirectory() as folder:
        dest = Path(folder) / "clips"
        shutil.copytree(whole, dest)
        if isinstance(target, str):
            FILE_DAMAGES[kind](dest / target, where)
        else:
            damage_field(dest / "manifest.json", target, kind, where)
        file = target if isinstance(target, str) else "manifest.json"
        try:
            opened(dest)
        except ClipsError as error:
            assert file in str(error) or "shard-" in str(error), error
            assert not (dest / "canary").exists()
        else:
            # A flipped bit inside a text of the manifest gives another data set, with another digest.
            flipped = (kind, file) == ("bit-flipped", "manifest.json")
            assert (
                flipped or (target in QUIET and kind != "missing field") or (target, kind) == WITHOUT_SETTING
            )


def test_a_shard_outside_the_folder_is_not_read(whole: Path, tmp_path: Path) -> None:
    dest = tmp_path / "clips"
    shutil.copytree(whole, dest)
    shutil.move(dest / "shard-00001.parquet", tmp_path / "shard-00001.parquet")
    manifest = json.loads((dest / "manifest.json").read_text())
    for name in (
        "../shard-00001.parquet",
        str(tmp_path / "shard-00001.parquet"),
        "a/../../shard-00001.parquet",
    ):
        manifest["shards"][1]["file"] = name  # its sha256 is right
        (dest / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(
            ClipsError, match=r"field shards\[1\].file: .*no file of the data set's own folder"
        ):
            opened(dest)


def rewritten(whole: Path, dest: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A copy with one shard changed and the manifest made to fit, as a careless or hostile hand would."""
    shutil.copytree(whole, dest)
    file = dest / "shard-00001.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    manifest = json.loads((dest / "manifest.json").read_text())
    manifest["shards"][1]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (dest / "manifest.json").write_text(json.dumps(manifest))
    return dest


def test_a_clip_that_is_there_twice_is_found(whole: Path, tmp_path: Path) -> None:
    taken = pq.read_table(whole / "shard-00000.parquet")["clip_id"][0].as_py()

    def rename(table: pa.Table) -> pa.Table:
        names = [taken, *table["clip_id"].to_pylist()[1:]]
        return table.set_column(0, table.schema.field("clip_id"), pa.array(names))

    with pytest.raises(ClipsError, match="field clip_id: two clips share a name"):
        opened(rewritten(whole, tmp_path / "clips", rename))


def test_columns_that_do_not_fit_each_other_are_found(whole: Path, tmp_path: Path) -> None:
    def shorten(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("hand_pose")
        rows = [values[:-45] for values in table["hand_pose"].to_pylist()]
        return table.set_column(
            place, table.schema.field("hand_pose"), pa.array(rows, type=table.schema.field(place).type)
        )

    with pytest.raises(ClipsError, match="field hand_pose: its length does not fit"):
        opened(rewritten(whole, tmp_path / "clips", shorten))


@pytest.mark.parametrize("part", ["val", "gate", "test"])
def test_a_held_out_group_that_trains_is_found(whole: Path, tmp_path: Path, part: str) -> None:
    dest = tmp_path / "clips"
    shutil.copytree(whole, dest)
    manifest = json.loads((dest / "manifest.json").read_text())
    overlapping = copy.deepcopy(manifest)
    overlapping["settings"]["objects"]["parts"]["train"] += manifest["settings"]["objects"]["parts"][part]
    (dest / "manifest.json").write_text(json.dumps(overlapping))
    with pytest.raises(ClipsError, match="setting 'objects' of 'made_up': group .* lies in two parts"):
        opened(dest)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"joints_m": None}, "field joints_m: has shape"),
        ({"joints_m": "nan"}, "field joints_m: holds a number that is not finite"),
        ({"betas": "short"}, "field betas: has shape"),
        ({"fps": float("nan")}, "field fps: must be positive"),
        ({"clip_id": ""}, "field clip_id: is empty"),
        ({"text": ()}, "field text"),
        ({"contact_bits": "float"}, "field contact_bits: must be bool"),
        ({"image_feature": "rows"}, "field image_feature: has shape"),
        ({"image_png": (b"\x89PNG\r\n", b"")}, "field image_png: holds something that is no picture"),
    ],
)
def test_a_clip_that_is_not_whole_is_refused_by_the_writer(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    clip = random_clip("one")
    made: dict[str, Any] = {}
    for name, change in changes.items():
        value = getattr(clip, name)
        if change is None:
            made[name] = value[:-1]
        elif change == "nan":
            made[name] = value.copy()
            made[name][3] = float("nan")
        elif change == "short":
            made[name] = value[:9]
        elif change == "float":
            made[name] = value.astype(float)
        elif change == "rows":
            made[name] = value if value is not None else [[1.0, 2.0]] * 5
        else:
            made[name] = change
    dest = tmp_path / "out"
    with (
        pytest.raises(ClipsError, match=says),
        write_clips(dest, name="made_up", hand="standin-1", source={}) as writer,
    ):
        writer.add(replace(clip, **made))
    assert os.listdir(tmp_path) == []


def test_field_damages_and_file_damages_have_names_of_their_own() -> None:
    assert not set(FIELD_DAMAGES) & set(FILE_DAMAGES) and len(FIELD_DAMAGES) + len(FILE_DAMAGES) == 12
