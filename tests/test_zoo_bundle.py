"""What a bundle may hold: everything else is refused, and nothing in it is ever run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from zoo_bundles import write_bundle

from zoo import bundle
from zoo.errors import ArchiveRefused, BundleError, DamagedBundle, FileRefused, PickleRefused, WeightsRefused
from zoo.store import to_json

FIRED = "a pickle was run"


class Bomb:
    """Unpickling this leaves a trace in the environment."""

    def __reduce__(self) -> tuple:
        return exec, (f"import os; os.environ[{FIRED!r}] = '1'",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def seal(folder: Path) -> bundle.Manifest:
    """Make the folder a whole bundle on disk."""
    for path, content in bundle.added(folder).items():
        (folder / path).write_bytes(content)
    manifest = bundle.make_manifest(folder)
    (folder / bundle.MANIFEST).write_bytes(manifest.to_bytes())
    return manifest


def test_the_digest_is_of_the_content_alone(folder: Path, tmp_path: Path) -> None:
    digest = bundle.make_manifest(folder).digest
    assert seal(folder).digest == digest
    assert bundle.make_manifest(write_bundle(tmp_path / "twin")).digest == digest
    assert bundle.make_manifest(write_bundle(tmp_path / "other", seed=1)).digest != digest
    assert bundle.verify(folder).digest == digest


def test_the_bomb_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FIRED, "not yet")
    call, arguments = Bomb().__reduce__()
    call(*arguments)
    assert os.environ[FIRED] == "1"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("file", ["extra.pkl", "weights.pt", "model.BIN", "notes.md", "figures/curve.png"])
def test_pickles_are_refused(folder: Path, file: str, protocol: int) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(PickleRefused, match=Path(file).name):
        bundle.make_manifest(folder)
    assert FIRED not in os.environ


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_cut_short_is_refused(folder: Path, protocol: int) -> None:
    """Its calls would run before the missing end is noticed."""
    (folder / "notes.md").write_bytes(pickle.dumps(Bomb(), protocol)[:-1] + b"\xff")
    with pytest.raises(PickleRefused):
        bundle.make_manifest(folder)


def test_archives_are_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.dat", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    with pytest.raises(ArchiveRefused, match="archive"):
        bundle.make_manifest(folder)


def test_weights_must_be_safetensors(folder: Path) -> None:
    (folder / bundle.WEIGHTS).write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(WeightsRefused, match="no safetensors file"):
        bundle.make_manifest(folder)


def test_a_safetensors_header_that_looks_like_the_mark_of_a_pickle(folder: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(0x480)
    (folder / bundle.WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    assert (folder / bundle.WEIGHTS).read_bytes()[:2] == b"\x80\x04"
    bundle.make_manifest(folder)


@pytest.mark.parametrize("file", bundle.REQUIRED)
def test_incomplete_folders(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(BundleError, match=file):
        bundle.make_manifest(folder)


def test_links_and_foreign_mlmodels(folder: Path, tmp_path: Path) -> None:
    (folder / bundle.MLMODEL).write_text("flavors: {python_function: {loader_module: evil}}")
    with pytest.raises(BundleError, match="not the zoo's own"):
        bundle.make_manifest(folder)
    (folder / bundle.MLMODEL).unlink()
    (folder / "link.md").symlink_to(tmp_path)
    with pytest.raises(BundleError, match="link.md"):
        bundle.make_manifest(folder)


def test_verify_finds_every_change(folder: Path) -> None:
    seal(folder)
    bundle.verify(folder)
    card = (folder / bundle.CARD).read_bytes()
    (folder / bundle.CARD).write_bytes(card[:-1] + b"!")
    with pytest.raises(DamagedBundle, match="card.md"):
        bundle.verify(folder)
    (folder / bundle.CARD).write_bytes(card)
    (folder / "stowaway.txt").write_text("hello")
    with pytest.raises(FileRefused, match="stowaway.txt, which its manifest does not list"):
        bundle.verify(folder)
    bundle.verify(folder, also=["stowaway.txt"])
    (folder / "stowaway.txt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(PickleRefused):
        bundle.verify(folder)
    (folder / "stowaway.txt").unlink()
    (folder / bundle.MANIFEST).unlink()
    with pytest.raises(BundleError, match="not a whole bundle"):
        bundle.verify(folder)


@pytest.mark.parametrize(
    "path",
    [
        "../up",
        "/etc/x",
        "a/../../x",
        "a//b",
        "./a",
        "",
        ".",
        "a\\b",
        "C:x",
        "a\0b",
        "manifest.json",
        "x\u202egnp.md",
    ],
)
def test_manifest_paths_that_lead_elsewhere(folder: Path, path: str) -> None:
    value = json.loads(bundle.make_manifest(folder).to_bytes())
    value["files"].append({"path": path, "sha256": "0" * 64, "size": 1})
    with pytest.raises(BundleError):
        bundle.parse_manifest(to_json(value))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"null", b"{}", b'{"schema":1}', b'{"schema":2,"files":[]}', b'{"schema":1,"files":[]}', b"[" * 10**5],
)  # fmt: skip
def test_malformed_manifests(data: bytes) -> None:
    with pytest.raises(BundleError):
        bundle.parse_manifest(data)


def test_manifest_entries_are_checked(folder: Path) -> None:
    def changed(**fields: object) -> bytes:
        value = json.loads(bundle.make_manifest(folder).to_bytes())
        value["files"][0] |= fields
        return to_json(value)

    for fields in ({"sha256": "xyz"}, {"size": -1}, {"size": None}, {"path": "CARD.md"}, {"path": "a.pkl"}):
        with pytest.raises(BundleError):
            bundle.parse_manifest(changed(**fields))
    with pytest.raises(DamagedBundle, match="has digest"):
        bundle.parse_manifest(bundle.make_manifest(folder).to_bytes(), "0" * 64)


def test_the_name_must_say_what_the_config_says() -> None:
    config = {"model": {"data": "world", "setting": "objects:2/6", "mode": "forecast"}}
    bundle.check_name("latentact-world-objects", config)
    for wrong in (
        "latentact-dexycb-objects",
        "latentact-world-scenes",
        "latentact-world-objects-interpolate",
    ):
        with pytest.raises(BundleError, match="but config.json says"):
            bundle.check_name(wrong, config)
