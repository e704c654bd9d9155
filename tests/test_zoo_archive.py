"""Export and import: from one zoo to another by one file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

import zoo
from zoo import layout
from zoo.archive import export_archive, import_archive
from zoo.cache import cache
from zoo.cli import main
from zoo.errors import Conflict, DamagedBundle, ExportError, StoreUnreachable, UnknownModel
from zoo.store import Store, open_store

OBJECTS, TEAM = "latentact-world-objects", "ourlab/latentact-world-scenes"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def here(tmp_path: Path) -> Store:
    """A zoo with two versions of one model, the first its champion, and one of a team's."""
    here = open_store(f"file://{tmp_path}/here")
    for seed in (0, 1):
        zoo.publish(
            OBJECTS, write_bundle(tmp_path / str(seed), seed=seed), tags={"trial": "a\nb"}, store=here
        )
    zoo.publish(TEAM, write_bundle(tmp_path / "team", setting="scenes"), store=here)
    zoo.promote(OBJECTS, 1, store=here)
    return here


@pytest.fixture
def file(here: Store, tmp_path: Path) -> Path:
    """An archive of one version."""
    return export_archive(f"{OBJECTS}@1", tmp_path / "one.tar", store=here).path


def everything(store: Store) -> dict[str, bytes]:
    return {key: store.get(key).read() for key in store.list("models/")}


def test_to_another_zoo_and_back(here: Store, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    done = export_archive([OBJECTS, TEAM], path, all_versions=True, store=here)
    assert done.versions == (f"{OBJECTS}@1", f"{OBJECTS}@2", f"{TEAM}@1")
    assert done.aliases == (f"{OBJECTS}@champion",) and done.size == path.stat().st_size
    imported = import_archive(path, store=store)
    assert [(each.name, each.version, each.new) for each in imported] == [
        (OBJECTS, 1, True), (OBJECTS, 2, True), (TEAM, 1, True),
    ]  # fmt: skip
    for name, number in ((OBJECTS, 1), (OBJECTS, 2), (TEAM, 1)):
        ours, theirs = (zoo.show(f"{name}@{number}", store=place) for place in (here, store))
        for key in ("digest", "tags", "files", "config", "metrics", "figures"):
            assert ours[key] == theirs[key], key
        pulled = zoo.pull(f"{name}@{number}", store=store)
        assert (pulled / "model.safetensors").is_file()
    origin = next(layout.records(store, OBJECTS))["imported"]
    assert origin["number"] == 1 and origin["by"] == next(layout.records(here, OBJECTS))["by"]
    with pytest.raises(UnknownModel):
        zoo.pull(OBJECTS, store=store)  # aliases stay at home

    assert [each.new for each in import_archive(path, store=store)] == [False] * 3  # done twice is done once
    assert layout.numbers(store, OBJECTS) == [1, 2]
    moved = import_archive(path, aliases=True, store=store)
    assert [each.aliases for each in moved] == [("champion",), (), ()]
    assert not any(each.aliases for each in import_archive(path, aliases=True, store=store))
    (state,) = zoo.history(OBJECTS, store=store)
    assert state["how"] == "import" and state["imported"][0]["verdict"]["passed"]
    assert zoo.publish(OBJECTS, tmp_path / "1", store=store).version == 2
    assert zoo.publish(OBJECTS, write_bundle(tmp_path / "9", seed=9), store=store).version == 3


def test_equal_content_makes_equal_bytes_that_tar_can_read(here: Store, tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        done = export_archive([OBJECTS, f"{OBJECTS}@1", f"{OBJECTS}@2"], tmp_path / name, store=here)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    listed = subprocess.run(
        ["tar", "tf", str(tmp_path / "a.tar")], capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed[0] == f"contents/{done.sha256}.json" and listed[1:] == sorted(listed[1:3]) + sorted(
        listed[3:]
    )
    # Two versions share MLmodel, config.json and more: each is there once.
    assert (
        len(listed)
        == len(set(listed))
        < 3 + sum(len(zoo.show(f"{OBJECTS}@{n}", store=here)["files"]) for n in (1, 2))
    )
    with tarfile.open(tmp_path / "a.tar") as tar:
        for entry in tar:
            if entry.name.startswith("blobs/"):
                reader = tar.extractfile(entry)
                assert reader and hashlib.sha256(reader.read()).hexdigest() == entry.name.removeprefix(
                    "blobs/"
                )


def test_numbers_are_kept_where_they_are_free(here: Store, tmp_path: Path) -> None:
    there = open_store(f"file://{tmp_path}/there")
    second = export_archive(f"{OBJECTS}@2", tmp_path / "two.tar", store=here).path
    (only,) = import_archive(second, store=there)
    assert (only.version, only.note) == (2, "")
    assert layout.numbers(there, OBJECTS) == [2]
    assert zoo.publish(OBJECTS, write_bundle(tmp_path / "own", seed=7), store=there).version == 3
    (entry,) = zoo.ls(store=there)
    assert entry.latest == 3


def test_a_number_that_other_bytes_have(here: Store, file: Path, tmp_path: Path) -> None:
    there = open_store(f"file://{tmp_path}/there")
    zoo.publish(OBJECTS, write_bundle(tmp_path / "own", seed=7), store=there)
    before = everything(there)
    with pytest.raises(Conflict, match=rf"{OBJECTS}@1.*--renumber"):
        import_archive(file, store=there)
    assert everything(there) == before
    (renumbered,) = import_archive(file, renumber=True, store=there)
    assert renumbered.version == 2 and "version 1 in the archive" in renumbered.note
    (again,) = import_archive(file, store=there)  # the same bytes: no conflict any more
    assert (again.version, again.new) == (2, False)
    # Published here under another number before it came by archive: it keeps the number that it has here.
    both = export_archive(OBJECTS, tmp_path / "both.tar", all_versions=True, store=here).path
    zoo.publish(OBJECTS, tmp_path / "1", store=there)
    assert [each.version for each in import_archive(both, store=there)] == [2, 3]


def test_an_import_that_broke_off_is_taken_up(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, puts, cut = type(store).put, [], [True]

    def noting(self: Store, key: str, *args: object, **more: object) -> None:
        puts.append(key)
        if cut[0] and key.endswith("manifest.json"):
            raise StoreUnreachable("the network is cut")
        put(self, key, *args, **more)

    monkeypatch.setattr(type(store), "put", noting)
    with pytest.raises(StoreUnreachable):
        import_archive(file, store=store)
    assert layout.numbers(store, OBJECTS) == [] and zoo.ls(store=store) == []
    assert any(key.endswith("model.safetensors") for key in puts)
    cut[0] = False
    puts.clear()
    (done,) = import_archive(file, store=store)
    assert done.version == 1 and zoo.pull(f"{OBJECTS}@1", store=store).name == done.digest
    assert not any(key.endswith("model.safetensors") for key in puts)  # it was there
    assert not list((cache() / "tmp").iterdir())


def test_what_import_finds_damaged_it_puts_right(here: Store, file: Path, tmp_path: Path) -> None:
    there = open_store(f"file://{tmp_path}/there")
    (done,) = import_archive(file, store=there)
    there.delete(f"{layout.version_folder(OBJECTS, done.digest)}/card.md")
    (again,) = import_archive(file, store=there)
    assert again.new and again.version == 1
    assert zoo.verify(f"{OBJECTS}@1", store=there).sound


def test_a_damaged_store_is_not_exported(here: Store, tmp_path: Path) -> None:
    digest = zoo.show(f"{OBJECTS}@1", store=here)["digest"]
    key = f"{layout.version_folder(OBJECTS, digest)}/model.safetensors"
    data = here.get(key).read()
    path = tmp_path / "out.tar"
    for wrong in (data[:-1] + b"?", data + b"?", data[:-1]):
        here.put(key, wrong)
        with pytest.raises(DamagedBundle, match=r"model\.safetensors"):
            export_archive(OBJECTS, path, store=here)
    here.delete(key)
    with pytest.raises(DamagedBundle):
        export_archive(OBJECTS, path, store=here)
    assert not list(tmp_path.glob("*out.tar*")) and not list(tmp_path.glob(".*"))
    with pytest.raises(UnknownModel):
        export_archive(f"{OBJECTS}@7", path, store=here)
    with pytest.raises(ExportError, match="cannot be written"):
        export_archive(f"{OBJECTS}@2", tmp_path / "no" / "such" / "folder.tar", store=here)


def test_the_commands(here: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_ZOO", here.url)
    path = str(tmp_path / "x.tar")
    result = CliRunner().invoke(main, ["export", OBJECTS, f"{TEAM}@1", path])
    assert result.exit_code == 0 and f"{OBJECTS}@champion" in result.output, result.output
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/there")
    result = CliRunner().invoke(main, ["import", path, "--aliases"])
    assert result.exit_code == 0 and "imported, is 'champion'" in result.output, result.output
    result = CliRunner().invoke(main, ["import", path, "--json"])
    assert [each["new"] for each in json.loads(result.output)] == [False, False]
    result = CliRunner().invoke(main, ["import", str(tmp_path / "none.tar")])
    assert result.exit_code == 1 and "give a file of `zoo export`" in result.output
