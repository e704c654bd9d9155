"""Archives that `zoo export` did not write: each is refused with its kind of error, and nothing is written."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from zoo_bundles import write_bundle

import zoo
from zoo import archive_reader, tar_members
from zoo.archive import export_archive, import_archive
from zoo.errors import (
    ArchiveRefused,
    BundleError,
    DamagedArchive,
    DamagedBundle,
    FileRefused,
    ManifestRefused,
    PathRefused,
    PickleRefused,
    SchemaTooNew,
    TooLarge,
)
from zoo.store import open_store, to_json

OBJECTS = "latentact-world-objects"
Members = list[tuple[str, bytes]]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """What a good archive of one version holds."""
    place = tmp_path_factory.mktemp("good")
    store = open_store(f"file://{place}/zoo")
    zoo.publish(OBJECTS, write_bundle(place / "bundle"), store=store)
    export_archive(f"{OBJECTS}@1", place / "good.tar", store=store)
    with tarfile.open(place / "good.tar") as tar:
        return [(entry.name, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]


def tar_of(members: Members) -> bytes:
    return b"".join(
        tar_members.header(name, len(data)) + data + tar_members.padding(len(data)) for name, data in members
    ) + tar_members.end()  # fmt: skip


def contents(data: bytes) -> tuple[str, bytes]:
    return archive_reader.index_name(data), data


def refused(tmp_path: Path, data: bytes, error: type[BundleError], match: str = ".") -> None:
    """Importing `data` raises `error`, exactly, and leaves no trace in store, cache or folder."""
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_ZOO_CACHE", str(tmp_path / "cache"))
        store = open_store(f"file://{tmp_path}/there")
        with pytest.raises(error, match=match) as caught:
            import_archive(path, store=store)
    assert type(caught.value) is error
    assert not list(store.list("models/"))
    written = {
        path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "there" not in path.parents
    }
    assert written == {tmp_path / "x.tar"}


def rebuilt(members: Members, change: Callable[[dict, dict[str, dict], dict[str, bytes]], None]) -> bytes:
    """An archive whose digests are all right again after `change` (of index, manifests and blobs)."""
    index = json.loads(members[0][1])
    manifests = {n: json.loads(d) for n, d in members if n.startswith("manifests/")}
    blobs = {n.removeprefix("blobs/"): d for n, d in members if n.startswith("blobs/")}
    change(index, manifests, blobs)
    written = {}
    for old, manifest in manifests.items():
        data = to_json(manifest)
        digest = hashlib.sha256(data).hexdigest()
        written[f"manifests/{digest}.json"] = data
        for entry in [*index["versions"], *index["aliases"]]:
            if f"manifests/{entry['digest']}.json" == old:
                entry["digest"] = digest
    named = {f"blobs/{hashlib.sha256(data).hexdigest()}": data for data in blobs.values()}
    return tar_of([contents(to_json(index)), *sorted(written.items()), *sorted(named.items())])


def test_the_archive_is_good_before_it_is_changed(members: Members, tmp_path: Path) -> None:
    for number, data in enumerate((tar_of(members), rebuilt(members, lambda index, manifests, blobs: None))):
        (tmp_path / "x.tar").write_bytes(data)
        assert import_archive(tmp_path / "x.tar", store=open_store(f"file://{tmp_path}/{number}"))[0].new


@pytest.mark.parametrize(
    ("kind", "link", "error"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", FileRefused),
        (tarfile.LNKTYPE, "contents", FileRefused),
        (tarfile.CHRTYPE, "", FileRefused),
        (tarfile.BLKTYPE, "", FileRefused),
        (tarfile.FIFOTYPE, "", FileRefused),
        (tarfile.DIRTYPE, "", FileRefused),
        (tarfile.XHDTYPE, "", FileRefused),  # extended headers could rename and resize what follows
        (tarfile.XGLTYPE, "", FileRefused),
        (tarfile.GNUTYPE_LONGNAME, "", FileRefused),
        (tarfile.GNUTYPE_SPARSE, "", FileRefused),
        (tarfile.CONTTYPE, "", FileRefused),
        (b"Q", "", FileRefused),
    ],
)
def test_anything_but_plain_files(
    members: Members, tmp_path: Path, kind: bytes, link: str, error: type[BundleError]
) -> None:
    for position in (0, 1, len(members) - 1):
        entry = tarfile.TarInfo(members[position][0])
        entry.type, entry.linkname = kind, link
        odd = entry.tobuf(tarfile.GNU_FORMAT)
        refused(
            tmp_path,
            tar_of(members[:position])[: -len(tar_members.end())] + odd + tar_of(members[position:]),
            error,
        )


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "blobs/../../x", "a//b", "./a", "C:\\x", "a\x1b[2J", "blobs/..", "a b", ".ssh/x"],
)
def test_names_that_lead_elsewhere(members: Members, tmp_path: Path, name: str) -> None:
    for position in (0, 1, len(members)):
        refused(tmp_path, tar_of([*members[:position], (name, b"x"), *members[position:]]),
                DamagedArchive if position == len(members) else PathRefused)  # fmt: skip


def test_what_is_missing_doubled_moved_or_added(members: Members, tmp_path: Path) -> None:
    for wrong in (
        members[1:],
        members[:1] + members[2:],
        [*members[:3], members[2], *members[3:]],
        [members[0], *reversed(members[1:])],
        [*members, ("extra", b"x")],
        [*members, members[-1]],
        [*members[:-1]],
        [],
    ):
        refused(tmp_path, tar_of(wrong), DamagedArchive)
    good = tar_of(members)
    for wrong_bytes in (
        good + b"more",
        good + bytes(20_000),
        good[:-1024],
        good[:-2000],
        good[:700],
        good[:3],
        b"",
    ):
        refused(tmp_path, wrong_bytes, DamagedArchive)


def test_flipped_bytes(members: Members, tmp_path: Path) -> None:
    """Wherever a byte is wrong, it is found out: in headers, contents, manifests, blobs, padding, or at the end."""
    good = tar_of(members)
    store = open_store(f"file://{tmp_path}/there")
    for position in range(0, len(good), 397):
        data = bytearray(good)
        data[position] ^= 0x55
        (tmp_path / "x.tar").write_bytes(data)
        with pytest.raises(BundleError):
            import_archive(tmp_path / "x.tar", store=store)
    assert not list(store.list("models/"))


def test_wrong_digests_and_sizes(members: Members, tmp_path: Path) -> None:
    names = [name for name, _ in members]
    largest = max(range(2, len(members)), key=lambda i: len(members[i][1]))
    for data in (members[largest][1][:-1] + b"?", members[largest][1] + b"?", members[largest][1][:-1], b""):
        refused(
            tmp_path,
            tar_of([*members[:largest], (names[largest], data), *members[largest + 1 :]]),
            DamagedBundle,
        )
    other = to_json(json.loads(members[1][1]) | {"schema": 2})
    refused(tmp_path, tar_of([members[0], (names[1], other), *members[2:]]), SchemaTooNew)
    refused(tmp_path, tar_of([members[0], (names[1], b"[" * 5000), *members[2:]]), ManifestRefused)


def test_sizes_that_the_file_does_not_have(members: Members, tmp_path: Path) -> None:
    """A size is believed only as far as the file reaches: no memory and no disk is given away for it."""
    for claimed in (1 << 33, 1 << 62, -1):
        entry = tarfile.TarInfo(members[2][0])
        entry.size = claimed
        head = entry.tobuf(tarfile.GNU_FORMAT)
        refused(tmp_path, tar_of(members[:2])[:-1024] + head + tar_of(members[2:]), DamagedArchive)
    refused(tmp_path, tar_of([contents(b" " * (9 << 20)), *members[1:]]), TooLarge)
    refused(tmp_path, tar_of([members[0], (members[1][0], b" " * (2 << 20)), *members[2:]]), TooLarge)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../etc"), ("name", "latentact-world"), ("name", 3), ("number", 0), ("number", -1),
        ("number", True), ("number", 1.5), ("number", 10**30), ("digest", "../" + "a" * 61), ("digest", "A" * 64),
        ("digest", None), ("tags", {"a": 1}), ("tags", []), ("origin", {"by": "\x1b[2J"}), ("origin", {"at": 5}),
        ("origin", {"digest": "x"}),
    ],
)  # fmt: skip
def test_an_index_that_says_what_no_index_says(
    members: Members, tmp_path: Path, field: str, value: object
) -> None:
    index = json.loads(members[0][1])
    index["versions"][0][field] = value
    refused(tmp_path, tar_of([contents(json.dumps(index).encode()), *members[1:]]), DamagedArchive)


def test_an_index_that_is_none(members: Members, tmp_path: Path) -> None:
    index = json.loads(members[0][1])
    for wrong in (
        b"", b"{}", b"[]", b"null", b"\x80\x04.", b'{"a":1,"a":2}', b"[" * 100_000,
        json.dumps(index | {"kind": "other"}).encode(),
        json.dumps(index | {"versions": []}).encode(),
        json.dumps(index | {"versions": index["versions"] * 2}).encode(),
        json.dumps(index | {"versions": [*index["versions"], index["versions"][0] | {"number": 2}]}).encode(),
        json.dumps(index | {"aliases": [{"name": OBJECTS, "alias": "champion", "number": 2, "digest": "a" * 64,
                                         "log": []}]}).encode(),
        json.dumps(index | {"aliases": [{"name": OBJECTS, "alias": "../x", "number": 1,
                                         "digest": index["versions"][0]["digest"], "log": []}]}).encode(),
    ):  # fmt: skip
        refused(tmp_path, tar_of([contents(wrong), *members[1:]]), DamagedArchive)
    refused(tmp_path, tar_of([contents(json.dumps(index | {"schema": 2}).encode())]), SchemaTooNew)


def test_bundles_that_publishing_would_refuse(members: Members, tmp_path: Path) -> None:
    """All digests are right: what is wrong is the bundle."""

    def with_file(path: str, data: bytes) -> bytes:
        def change(index: dict, manifests: dict[str, dict], blobs: dict[str, bytes]) -> None:
            (manifest,) = manifests.values()
            sha256 = hashlib.sha256(data).hexdigest()
            kept = [file for file in manifest["files"] if file["path"] != path]
            manifest["files"] = sorted(
                [*kept, {"path": path, "sha256": sha256, "size": len(data)}], key=lambda file: file["path"]
            )
            blobs[sha256] = data
            used = {file["sha256"] for file in manifest["files"]}
            for other in set(blobs) - used:
                del blobs[other]

        return rebuilt(members, change)

    refused(tmp_path, with_file("../../x", b"x"), PathRefused)
    refused(tmp_path, with_file("/tmp/x", b"x"), PathRefused)
    refused(tmp_path, with_file("x.pkl", b"cos\nsystem\n(S'true'\ntR."), PickleRefused)
    refused(tmp_path, with_file("run.sh", b"#!/bin/sh\n"), FileRefused)
    config = json.dumps({"schema": 1, "model": {"data": "world", "setting": "scenes"}}).encode()
    refused(tmp_path, with_file("config.json", config), BundleError, match="config.json says")
    path = tmp_path / "x.tar"
    path.write_bytes(with_file("model.safetensors", b"\x80\x04}."))
    with pytest.raises(BundleError):
        import_archive(path, store=open_store(f"file://{tmp_path}/there"))
    assert not list(open_store(f"file://{tmp_path}/there").list("models/"))


def test_compressed_ones_are_not_unpacked(members: Members, tmp_path: Path) -> None:
    refused(tmp_path, gzip.compress(tar_of(members)), ArchiveRefused, match="compressed")
    refused(tmp_path, gzip.compress(bytes(50 << 20)), ArchiveRefused)
    refused(tmp_path, b"PK\x03\x04" + bytes(100), ArchiveRefused)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, error in (
        ("pipe", FileRefused),
        ("folder", BundleError),
        ("none", DamagedArchive),
        ("a\0b", DamagedArchive),
    ):
        with pytest.raises(error):
            import_archive(tmp_path / name, store=open_store(f"file://{tmp_path}/there"))


def test_memory_is_bounded(members: Members, tmp_path: Path) -> None:
    """300 MB of index by its header, and 300 MB of a blob: read in little memory, in a process that has no more."""
    for number, entry in enumerate((members[0][0], members[2][0])):
        path = tmp_path / f"{number}.tar"
        size = 300 << 20
        with open(path, "wb") as out:
            before = [] if number == 0 else members[:2]
            out.write(tar_of(before)[:-1024] + tar_members.header(entry, size))
            out.truncate(out.tell() + size)
        script = f"""
import re
from pathlib import Path
from zoo.archive import import_archive
from zoo.errors import BundleError
from zoo.store import open_store
def peak_kib():  # getrusage begins with the peak of the process that started this one
    return int(re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
before = peak_kib()
try:
    import_archive({str(path)!r}, store=open_store("file://{tmp_path}/there"))
except BundleError as error:
    print(type(error).__name__, peak_kib() - before)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        error, grown_kb = done.stdout.split()
        assert error in ("TooLarge", "DamagedBundle") and int(grown_kb) < 30_000
