"""Publish, promote, pull: on files, and on a real S3 server."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from zoo_bundles import write_bundle

import zoo
from tests.named_zoo import named_zoo
from zoo import layout, publishing, pulling
from zoo.cache import cache
from zoo.errors import (
    BadName,
    BundleError,
    DamagedBundle,
    Offline,
    PickleRefused,
    StoreUnreachable,
    UnknownModel,
)
from zoo.store import Store

OBJECTS = "latentact-world-objects"


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty zoo, which is also the one that the environment names, and an empty cache."""
    return named_zoo(request, tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def test_publish_then_pull(store: Store, folder: Path) -> None:
    published = zoo.publish(OBJECTS, folder, tags={"trial": "abc"})
    assert (published.version, published.registry_error) == (1, "")
    assert zoo.promote(OBJECTS, 1).moved
    pulled = zoo.pull(OBJECTS)
    assert pulled == zoo.pull(f"{OBJECTS}@1") == zoo.pull(f"{OBJECTS}@champion")
    for file in ("model.safetensors", "config.json", "metrics.json", "card.md"):
        assert (pulled / file).read_bytes() == (folder / file).read_bytes()
    (entry,) = zoo.ls("latentact-*-objects")
    assert (entry.name, entry.latest, entry.aliases) == (OBJECTS, 1, {"champion": 1})
    assert entry.figures == {"val_mpjpe_cm": 3.25}
    assert zoo.ls("*-scenes") == []
    facts = zoo.show(OBJECTS)
    assert facts["tags"] == {"trial": "abc"} and facts["aliases"] == ["champion"] and facts["version"] == 1
    assert f"\n# {OBJECTS}\n" in zoo.card(OBJECTS)


def test_versions_count_up_and_the_same_bytes_keep_theirs(store: Store, folder: Path, tmp_path: Path) -> None:
    assert zoo.publish(OBJECTS, folder).version == 1
    other = write_bundle(tmp_path / "other", seed=1)
    assert zoo.publish(OBJECTS, other).version == 2
    assert zoo.publish(OBJECTS, folder).version == 1
    pulled = zoo.pull(f"{OBJECTS}@2")
    assert zoo.publish(OBJECTS, pulled).version == 2  # what was pulled can be published again
    assert layout.numbers(store, OBJECTS) == [1, 2]


def test_racing_publishers(store: Store, tmp_path: Path) -> None:
    folders = [write_bundle(tmp_path / str(i), seed=i) for i in range(3)] * 4
    with ThreadPoolExecutor(12) as pool:
        published = list(pool.map(lambda folder: zoo.publish(OBJECTS, folder), folders))
    assert len({(p.digest, p.version) for p in published}) == 3
    assert layout.numbers(store, OBJECTS) == [1, 2, 3]


def test_a_version_without_manifest_is_not_there(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that dies on the way leaves blobs that nobody sees, and the next publish completes them."""
    put = type(store).put

    def dying(self: Store, key: str, source: bytes | Path, **options: object) -> None:
        if key.endswith("manifest.json"):
            raise KeyboardInterrupt
        put(self, key, source, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put", dying)
        with pytest.raises(KeyboardInterrupt):
            zoo.publish(OBJECTS, folder)
    assert zoo.ls() == []
    with pytest.raises(UnknownModel):
        zoo.pull(f"{OBJECTS}@1")
    assert zoo.publish(OBJECTS, folder).version == 1
    zoo.pull(f"{OBJECTS}@1")


def test_progress_counts_every_byte_as_it_goes_and_as_it_is_read_back(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload in parts tells of each, so that a bar has something to show."""
    totals, told = [], []

    @contextmanager
    def bar(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        totals.append(total_bytes)
        yield told.append

    monkeypatch.setattr(publishing, "transfer_bar", bar)
    save_file({"weight": np.ones(5 << 20, np.float32)}, folder / "model.safetensors")
    zoo.publish(OBJECTS, folder)
    assert sum(told) == totals[0] > 40 << 20
    assert max(told) <= (8 << 20 if store.url.startswith("s3") else totals[0])
    told.clear()
    zoo.publish(OBJECTS, folder)
    assert sum(told) == totals[1] == totals[0]


def test_bad_bundles_are_not_published(store: Store, folder: Path) -> None:
    with pytest.raises(BundleError, match="but config.json says"):
        zoo.publish("latentact-world-scenes", folder)
    with pytest.raises(BadName):
        zoo.publish("my-model", folder)
    (folder / "weights.pth").write_bytes(pickle.dumps([1]))
    with pytest.raises(PickleRefused, match=r"weights\.pth"):
        zoo.publish(OBJECTS, folder)
    (folder / "weights.pth").unlink()
    (folder / "metrics.json").write_text(json.dumps({"gate": {"clips": [{"clip": "a"}]}}))
    with pytest.raises(BundleError, match=r"gate\.clips"):
        zoo.publish(OBJECTS, folder)
    assert zoo.ls() == []


def test_unknown_names_versions_and_aliases(store: Store, folder: Path) -> None:
    with pytest.raises(UnknownModel, match="It is empty"):
        zoo.pull(OBJECTS)
    zoo.publish(OBJECTS, folder)
    with pytest.raises(UnknownModel, match=f"Did you mean {OBJECTS}"):
        zoo.pull("latentact-word-objects@1")
    with pytest.raises(UnknownModel, match="has no version 7: it has 1 to 1"):
        zoo.pull(f"{OBJECTS}@7")
    with pytest.raises(UnknownModel, match="zoo promote"):
        zoo.pull(OBJECTS)


def test_a_damaged_blob_is_refused_and_repaired_by_publishing(store: Store, folder: Path) -> None:
    digest = zoo.publish(OBJECTS, folder).digest
    key = f"{layout.version_folder(OBJECTS, digest)}/model.safetensors"
    data = bytearray(store.get(key).read())
    data[-1] ^= 1
    store.put(key, bytes(data))
    with pytest.raises(DamagedBundle, match=r"model\.safetensors"):
        zoo.pull(f"{OBJECTS}@1")
    store.put(key, bytes(data) + b"more")
    with pytest.raises(DamagedBundle):
        zoo.pull(f"{OBJECTS}@1")
    assert not (cache() / "versions").exists() and not list((cache() / "tmp").iterdir())
    assert zoo.publish(OBJECTS, folder).version == 1
    assert zoo.pull(f"{OBJECTS}@1").name == digest


def test_a_pickle_smuggled_into_the_store_is_refused(store: Store, folder: Path) -> None:
    digest = zoo.publish(OBJECTS, folder).digest
    key = f"{layout.version_folder(OBJECTS, digest)}/manifest.json"
    manifest = json.loads(store.get(key).read())
    manifest["files"].append({"path": "x.pkl", "sha256": "0" * 64, "size": 4})
    store.put(key, json.dumps(manifest).encode())
    with pytest.raises(PickleRefused, match=r"x\.pkl"):
        zoo.pull(f"{OBJECTS}@1")


def test_a_damaged_cache_is_repaired(store: Store, folder: Path) -> None:
    zoo.publish(OBJECTS, folder)
    pulled = zoo.pull(f"{OBJECTS}@1")
    weights = pulled / "model.safetensors"
    weights.chmod(0o644)
    with open(weights, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    (pulled / "card.md").unlink()
    assert zoo.pull(f"{OBJECTS}@1") == pulled
    assert weights.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (pulled / "card.md").exists()


def test_versions_in_the_cache_need_no_network(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.publish(OBJECTS, folder)
    zoo.promote(OBJECTS, 1)
    pulled = zoo.pull(OBJECTS)

    def cut(*args: object) -> None:
        raise StoreUnreachable("the network is cut")

    monkeypatch.setattr(pulling, "open_store", cut)
    assert zoo.pull(f"{OBJECTS}@1") == pulled
    with pytest.raises(StoreUnreachable):
        zoo.pull(OBJECTS)  # an alias may have moved
    monkeypatch.setenv("LATENTACT_OFFLINE", "1")
    assert zoo.pull(OBJECTS) == pulled
    with pytest.raises(Offline, match="LATENTACT_OFFLINE"):
        zoo.pull(f"{OBJECTS}@2")


def test_many_pull_at_once(store: Store, folder: Path) -> None:
    zoo.publish(OBJECTS, folder)
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: zoo.pull(f"{OBJECTS}@1"), range(16)))
    assert len(folders) == 1
    assert not list((cache() / "tmp").iterdir())
