"""The cache: what is in it, and how it is kept small beside pulls that go on."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

import zoo
from zoo import bundle, pruning
from zoo import cache as zoo_cache
from zoo.cache import VERIFIED_NS, blob_path, cache, recall, remember, used_path, version_path
from zoo.cli import main
from zoo.download import partial_folder
from zoo.names import parse_reference
from zoo.store import Store, open_store

OBJECTS, TEAM = "latentact-world-objects", "ourlab/latentact-world-scenes"
DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three versions of one model and one of a team's, all in the cache; version n was last used n days ago."""
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("LATENTACT_ZOO_CACHE", raising=False)
    for seed in range(3):
        zoo.publish(OBJECTS, write_bundle(tmp_path / str(seed), seed=seed))
        use(f"{OBJECTS}@{seed + 1}", days_ago=seed + 1)
    zoo.publish(TEAM, write_bundle(tmp_path / "team", setting="scenes"))
    use(f"{TEAM}@1", days_ago=10)
    return open_store()


def use(reference: str, *, days_ago: float) -> Path:
    folder = zoo.pull(reference)
    at = time.time() - days_ago * DAY_S
    os.utime(used_path(folder.name), (at, at))
    return folder


def names() -> list[str]:
    return [" ".join(version.references) for version in zoo.cached()]


def stored_bytes() -> int:
    return sum(path.stat().st_size for path in (cache() / "blobs").iterdir())


def test_what_is_in_it(store: Store) -> None:
    assert names() == [f"{OBJECTS}@1", f"{OBJECTS}@2", f"{OBJECTS}@3", f"{TEAM}@1"]
    first = zoo.cached()[0]
    assert first.size == sum(file["size"] for file in zoo.show(f"{OBJECTS}@1")["files"])
    assert abs(time.time() - first.used_at - DAY_S) < 60
    assert pruning.size() == stored_bytes() < sum(version.size for version in zoo.cached())


def test_what_was_not_used_for_longest_goes_first(store: Store) -> None:
    target = stored_bytes() - 1
    done = zoo.prune(max_bytes=target)
    assert names() == [f"{OBJECTS}@1", f"{OBJECTS}@2", f"{OBJECTS}@3"]
    assert done.left == stored_bytes() <= target and done.freed > 0
    assert zoo.prune(max_bytes=target).versions == ()
    use(f"{OBJECTS}@3", days_ago=0.5)
    zoo.prune(max_bytes=zoo.cached()[0].size)
    assert names() == [f"{OBJECTS}@3"]
    bundle.verify(version_path(zoo.cached()[0].digest))
    zoo.prune(max_bytes=0)
    assert names() == [] and stored_bytes() == 0
    assert zoo.pull(f"{TEAM}@1").is_dir()


def test_by_age_and_dry(store: Store) -> None:
    before = sorted(path for path in cache().rglob("*"))
    dry = zoo.prune(older_than_s=2.5 * DAY_S, dry_run=True)
    assert [version.references for version in dry.versions] == [(f"{OBJECTS}@3",), (f"{TEAM}@1",)]
    assert sorted(path for path in cache().rglob("*")) == before
    done = zoo.prune(older_than_s=2.5 * DAY_S)
    assert (done.versions, done.freed, done.left) == (dry.versions, dry.freed, dry.left)
    assert names() == [f"{OBJECTS}@1", f"{OBJECTS}@2"] and done.left == stored_bytes()
    for number in (1, 2):
        bundle.verify(zoo.pull(f"{OBJECTS}@{number}"))  # what they share with the others is there still
    gone = parse_reference(f"{OBJECTS}@3")
    assert recall(store.url, gone) is None and not list((cache() / "tmp").iterdir())


def test_what_was_pulled_just_now_stays(store: Store) -> None:
    zoo.pull(f"{OBJECTS}@2")
    done = zoo.prune(max_bytes=0)
    assert names() == [f"{OBJECTS}@2"] and done.kept_recent == 1
    bundle.verify(zoo.pull(f"{OBJECTS}@2"))


def test_a_pull_between_the_look_and_the_removal_keeps_its_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, digest = os.rename, zoo.cached()[-1].digest

    def late(source: Path, target: Path) -> None:
        if Path(source) == version_path(digest):
            zoo.pull(f"{TEAM}@1")
        rename(source, target)

    monkeypatch.setattr(pruning.os, "rename", late)
    done = zoo.prune(max_bytes=0)
    assert names() == [f"{TEAM}@1"] and len(done.versions) == 3
    bundle.verify(version_path(digest))


def test_leftovers_go_when_nobody_touches_them(store: Store) -> None:
    """Broken downloads, blobs of no version, folders of killed processes, versions that are damaged."""
    broken = partial_folder("a" * 64)
    broken.mkdir(parents=True)
    (broken / "x.data").write_bytes(bytes(50_000))
    blob_path("b" * 64).write_bytes(bytes(70_000))
    (cache() / "tmp" / "killed").mkdir(parents=True)
    (zoo.pull(f"{OBJECTS}@1") / "manifest.json").unlink()
    zoo.prune()
    assert broken.exists() and blob_path("b" * 64).exists() and len(zoo.cached()) == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "GRACE_S", -1.0)
        done = zoo.prune()
    assert not broken.exists() and not blob_path("b" * 64).exists() and len(zoo.cached()) == 3
    assert done.freed >= 120_000 and not list((cache() / "tmp").iterdir())
    assert zoo.pull(f"{OBJECTS}@1") and len(zoo.cached()) == 4


def test_prune_beside_pulls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that share blobs come and go all the time; a pull that returns has put all of its own there."""
    monkeypatch.setattr(pruning, "GRACE_S", 2.0)
    stop = threading.Event()

    def prune() -> int:
        gone = 0
        while not stop.is_set():
            gone += len(zoo.prune(max_bytes=0).versions)
        return gone

    with ThreadPoolExecutor(1) as pool:
        pruner = pool.submit(prune)
        try:
            for number in [1, 2, 3] * 6:
                bundle.verify(zoo.pull(f"{OBJECTS}@{number}"))
                use(f"{OBJECTS}@{number}", days_ago=1)
        finally:
            stop.set()
        assert pruner.result() > 3


def test_a_folder_of_ones_own(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_ZOO_CACHE", str(tmp_path / "elsewhere"))
    assert zoo.pull(f"{OBJECTS}@1").is_relative_to(tmp_path / "elsewhere")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_each_server_has_its_own_references(
    store: Store, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    first = parse_reference(f"{OBJECTS}@1")
    monkeypatch.setenv(variable, "http://127.0.0.1:9001")
    remember("s3://zoo", first, 1, "a" * 64)
    monkeypatch.setenv(variable, "http://127.0.0.1:9002")
    assert recall("s3://zoo", first) is None
    monkeypatch.setenv(variable, "http://127.0.0.1:9001")
    assert recall("s3://zoo", first) == "a" * 64


def command(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["cache", *args])
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands(store: Store) -> None:
    assert f"{TEAM}@1" in command("ls") and len(json.loads(command("ls", "--json"))) == 4
    assert json.loads(command("info", "--json"))["bytes"] == stored_bytes()
    assert str(cache()) in command("info")
    assert "Would free" in command("prune", "--older-than", "9d", "--dry-run")
    removed = json.loads(command("prune", "--older-than", "9 d", "--json"))["removed"]
    assert [each["references"] for each in removed] == [[f"{TEAM}@1"]]
    zoo.pull(f"{OBJECTS}@3")
    assert "within the last ten minutes" in command("prune", "--max-size", "0")
    for wrong in ("x", "-3GB", "5 miles"):
        assert "for example 20GB" in command("prune", "--max-size", wrong, code=2)
    assert "for example 30d" in command("prune", "--older-than", "30", code=2)


def test_a_boot_between_download_and_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not known to be on disk when the power failed is read again, once, and fetched where it is damaged."""
    monkeypatch.setattr("zoo.download.settle", lambda blobs: None)  # the power fails first
    zoo.prune(max_bytes=0)
    folder = zoo.pull(f"{OBJECTS}@1")
    files = [folder / "card.md", folder / "model.safetensors"]
    assert {file.stat().st_mtime_ns for file in files} == {zoo_cache._boot_ns()} != {VERIFIED_NS}
    stamp = files[0].stat().st_mtime_ns
    files[1].chmod(0o644)
    files[1].write_bytes(bytes(files[1].stat().st_size))
    os.utime(files[1], ns=(stamp, stamp))
    monkeypatch.setattr(zoo_cache, "_boot_ns", lambda: stamp + 10**9)
    bundle.verify(zoo.pull(f"{OBJECTS}@1"))
    assert files[0].stat().st_mtime_ns == VERIFIED_NS
    assert files[1].stat().st_mtime_ns == stamp + 10**9


def test_what_is_on_disk_is_known_to_be_so(store: Store) -> None:
    for thread in threading.enumerate():
        if thread.name.endswith("(settle)"):
            thread.join()
    for blob in (cache() / "blobs").iterdir():
        assert blob.stat().st_mtime_ns == VERIFIED_NS
