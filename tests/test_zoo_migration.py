"""Older schemas are read as the present one, newer ones are refused, and no stored byte changes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from zoo_bundles import write_bundle

import zoo
from trainables.latentact import LatentActConfig
from trainables.model_folder import SCHEMA as CONFIG_SCHEMA
from zoo import bundle, layout, migration
from zoo.errors import ContentRefused, SchemaTooNew
from zoo.store import Store, to_json

OBJECTS = "latentact-world-objects"
# As the version wrote it that had schema 1: all fields, values that differ from the defaults of today.
CONFIG_1 = {
    "schema": 1,
    "model": {
        "data": "world", "data_digest": "d" * 64, "setting": "objects", "hand": "standin-1", "mode": "forecast",
        "protocol": "first", "window": 24,
        "codebook": {"width": 64, "quantizer": {"codes": 50, "width": 64, "quantizers": 1}},
        "indexer": {"width": 64, "depth": 2}, "predictor": {"width": 64, "depth": 3},
    },
}  # fmt: skip


def test_config_1_is_read_as_2() -> None:
    before = copy.deepcopy(CONFIG_1)
    now = migration.migrated(CONFIG_1, "config.json")
    assert CONFIG_1 == before
    assert now["schema"] == 2 == migration.current("config.json")
    assert {"encoders", "diffusion", "oracle_codes"} == set(now["model"]) - set(CONFIG_1["model"])
    assert {field: now["model"][field] for field in CONFIG_1["model"]} == CONFIG_1["model"]
    assert migration.migrated(now, "config.json") is now


def test_the_fields_of_schema_2_are_those_that_training_writes() -> None:
    """Whoever raises the schema of a model's config.json is led to the migration that must come with it."""
    assert migration.current("config.json") == CONFIG_SCHEMA
    written = LatentActConfig(
        data="world", data_digest="d" * 64, setting="objects", hand="standin-1"
    ).to_json()
    # Models that were trained before it was written down which words they know leave that out.
    assert set(migration.migrated(CONFIG_1, "config.json")["model"]) == set(written) - {"words"}


def test_several_steps_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it will be: what was one field becomes another, step by step, from whatever schema it is in."""

    def renamed(old: dict[str, Any]) -> dict[str, Any]:
        return {**{key: value for key, value in old.items() if key != "error"}, "error_cm": old["error"]}

    def in_metres(old: dict[str, Any]) -> dict[str, Any]:
        return {"error_m": old["error_cm"] / 100}

    monkeypatch.setattr(migration, "STEPS", {"metrics.json": (renamed, in_metres)})
    expected = {"schema": 3, "error_m": 0.03}
    for old in ({"error": 3.0}, {"schema": 1, "error": 3.0}, {"schema": 2, "error_cm": 3.0}, expected):
        kept = copy.deepcopy(old)
        assert migration.migrated(old, "metrics.json") == expected
        assert old == kept
    with pytest.raises(
        SchemaTooNew, match="has schema 4, and this version reads up to 3: upgrade latentact-zoo"
    ):
        migration.migrated({"schema": 4}, "metrics.json")


@pytest.mark.parametrize("schema", [0, -1, "1", 1.0, True, None, [1]])
def test_no_schema(schema: object) -> None:
    with pytest.raises(ContentRefused, match="which is none"):
        migration.migrated({"schema": schema}, "metrics.json")


@pytest.mark.parametrize("file", ["config.json", "metrics.json"])
def test_a_newer_schema_is_refused_at_every_door(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    folder = write_bundle(tmp_path / "bundle")
    manifest = zoo.publish(OBJECTS, folder, store=store)
    newer = json.dumps(
        {**json.loads((folder / file).read_bytes()), "schema": 9, "unheard": {"of": 1}}
    ).encode()
    (folder / file).write_bytes(newer)
    with pytest.raises(SchemaTooNew, match=f"{file} has schema 9.*upgrade"):
        zoo.publish(OBJECTS, folder, store=store)
    # A newer version has published it: the record is sound, the digests agree.
    files = layout.read_manifest(store, OBJECTS, manifest.digest).files
    changed = tuple(
        bundle.File(f.path, bundle.file_digest(folder / file), len(newer)) if f.path == file else f
        for f in files
    )
    forward = bundle.Manifest(changed)
    top = layout.version_folder(OBJECTS, forward.digest)
    for entry in files:
        source = store.get(f"{layout.version_folder(OBJECTS, manifest.digest)}/{entry.path}").read()
        store.put(f"{top}/{entry.path}", newer if entry.path == file else source)
    store.put(f"{top}/manifest.json", forward.to_bytes())
    store.put(
        layout.number_key(OBJECTS, 2),
        to_json({"schema": 1, "number": 2, "digest": forward.digest, "tags": {}, "by": "x", "at": "x"}),
    )
    for door in (zoo.pull, zoo.show, zoo.load):
        with pytest.raises(SchemaTooNew, match="upgrade latentact-zoo"):
            door(f"{OBJECTS}@2", store=store)
    assert [problem.error for problem in zoo.verify(f"{OBJECTS}@2", store=store).problems] == ["SchemaTooNew"]
    assert zoo.show(f"{OBJECTS}@1", store=store)["version"] == 1


def test_an_old_bundle_keeps_its_bytes_and_digest(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published by an older version, with its MLmodel of that time: shown, pulled, compared, published again."""
    from zoo.mlmodel import WITHOUT_SIGNATURE

    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    folder = write_bundle(tmp_path / "old")
    (folder / "config.json").write_text(json.dumps(CONFIG_1))
    (folder / "MLmodel").write_bytes(WITHOUT_SIGNATURE)
    published = zoo.publish(OBJECTS, folder, store=store)
    before = {key: store.get(key).read() for key in store.list("models/") if "/versions/" in key}
    assert sorted(key.rsplit("/", 1)[1] for key in before) == [
        "MLmodel", "card.md", "config.json", "manifest.json", "metrics.json", "model.safetensors",
    ]  # fmt: skip
    shown = zoo.show(f"{OBJECTS}@1", store=store)["config"]
    assert shown["schema"] == 2 and shown["model"]["oracle_codes"] is False and shown["model"]["window"] == 24
    pulled = zoo.pull(f"{OBJECTS}@1", store=store)
    assert json.loads((pulled / "config.json").read_bytes()) == CONFIG_1
    again = zoo.publish(OBJECTS, pulled, store=store)
    assert (again.version, again.digest) == (1, published.digest)
    assert zoo.verify(f"{OBJECTS}@1", store=store).sound
    assert {key: store.get(key).read() for key in store.list("models/") if "/versions/" in key} == before
