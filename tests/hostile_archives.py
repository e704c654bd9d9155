"""Files that look like archives of `zoo export`, and what else an import may be given."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import zipfile
from typing import Any

from hostile_bundles import HONEST, NAME, Hostile, Refusal, manifest_of, word

from zoo import errors
from zoo.archive_reader import index_name

Member = tuple[tarfile.TarInfo, bytes]


def file(name: str, data: bytes, **fields: Any) -> Member:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, data


def packed(members: list[Member], *, end: bytes = bytes(1024), form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar file; a member whose header claims another size keeps its claim."""
    parts = [
        entry.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)
        for entry, data in members
    ]
    return b"".join(parts) + end


def index_of(digest: str, **fields: Any) -> dict[str, Any]:
    version = {"name": NAME, "number": 1, "digest": digest, "tags": {}, "origin": {}}
    return {"schema": 1, "kind": "latentact-zoo-archive", "versions": [version], "aliases": [], **fields}


def members_of(
    manifest: bytes, content: dict[str, bytes], index: dict[str, Any] | bytes | None = None
) -> list[Member]:
    """The members of an archive of one bundle; `content` by path, as the manifest lists it or not."""
    digest = hashlib.sha256(manifest).hexdigest()
    told = index_of(digest) if index is None else index
    first = told if isinstance(told, bytes) else json.dumps(told).encode()
    promised = {}
    try:
        promised = {entry["path"]: str(entry["sha256"]) for entry in json.loads(manifest)["files"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    blobs = {promised.get(path, hashlib.sha256(data).hexdigest()): data for path, data in content.items()}
    return [
        file(index_name(first), first),
        file(f"manifests/{digest}.json", manifest),
        *[file(f"blobs/{sha256}", data) for sha256, data in sorted(blobs.items())],
    ]


def archive_of(hostile: Hostile) -> bytes:
    """A hostile bundle as an archive, which agrees with it where that is possible."""
    return packed(members_of(hostile.manifest_bytes(), hostile.content() | hostile.stored))


def _honest(index: dict[str, Any] | bytes | None = None) -> list[Member]:
    return members_of(manifest_of(HONEST), HONEST, index)


def _archive(data: bytes, refusal: Refusal, naming: str = "archive.tar") -> Hostile:
    return Hostile({"import": refusal}, naming, archive=data)


def compressed_archive(rng: random.Random) -> Hostile:
    good = packed(_honest())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive.json", b"\0" * (1 << 20))
    bomb = gzip.compress(b"\0" * ((rng.choice([1, 8]) << 20) + rng.randrange(10_000)))
    return _archive(
        rng.choice([gzip.compress(good), bomb, zipped.getvalue(), gzip.compress(gzip.compress(good))]),
        errors.ArchiveRefused,
    )


def member_path(rng: random.Random) -> Hostile:
    name = rng.choice(
        [
            "../../outside",
            "/tmp/outside",
            "blobs/../../outside",
            "./archive.json",
            "C:\\x",
            "a\x1b[2J",
            "x/",
            "~/x y",
            "b\u00fc",
        ]
    )
    odd, members = file(name, word(rng).encode()), _honest()
    members.insert(rng.randrange(len(members) + 1) if rng.random() < 0.5 else 0, odd)
    at_end = members[-1] is odd
    refusal: Refusal = errors.DamagedArchive if at_end or "\u00fc" in name else errors.PathRefused
    return _archive(packed(members), refusal)


def member_kind(rng: random.Random) -> Hostile:
    kind = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE,
                       tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE])  # fmt: skip
    members = _honest()
    place = rng.randrange(len(members))
    link = f"../../{word(rng)}" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    members.insert(place, file("blobs/" + "0" * 64, b"", type=kind, linkname=link))
    return _archive(packed(members), errors.FileRefused)


def member_size(rng: random.Random) -> Hostile:
    """A header that claims far more than there is."""
    members = _honest()
    place = rng.randrange(len(members))
    entry, data = members[place]
    entry.size = rng.choice([10**18, 1 << 62, 1 << 40, len(data) + 10**6, (8 << 30) - 1])
    return _archive(packed(members), errors.DamagedArchive)


def cut_archive(rng: random.Random) -> Hostile:
    good = packed(_honest(), end=bytes(512 * rng.choice([2, 4, 20])))
    data = rng.choice(
        [
            good[: rng.randrange(512, len(good) - 11_000)],
            good[: rng.randrange(512)],
            b"",
            bytes(10240),
            good[:-10240],
        ]
    )
    return _archive(data if len(data) < len(packed(_honest())) - 1024 else data[:700], errors.DamagedArchive)


def other_members(rng: random.Random) -> Hostile:
    """Something is added, doubled, missing or in another order."""
    members = _honest()
    place = rng.randrange(2, len(members))
    change = rng.choice(["add", "double", "drop", "swap", "tail", "second"])
    if change == "add":
        members.append(file("blobs/" + "f" * 64, word(rng).encode()))
    elif change == "double":
        members.insert(place, members[place])
    elif change == "drop":
        del members[place]
    elif change == "swap":
        members[0], members[place] = members[place], members[0]
    end = {
        "tail": bytes(1024) + word(rng).encode().ljust(512, b"\n"),
        "second": bytes(1024) + packed(_honest()),
    }.get(change, bytes(1024))
    return _archive(packed(members, end=end), errors.DamagedArchive)


def archive_index(rng: random.Random) -> Hostile:
    digest = hashlib.sha256(manifest_of(HONEST)).hexdigest()
    good = index_of(digest)
    version = good["versions"][0]

    def with_version(**fields: Any) -> dict[str, Any]:
        return {**good, "versions": [{**version, **fields}]}

    index: dict[str, Any] | bytes = rng.choice(
        [b"", b"[]", b"{", b"[" * 100_000, {**good, "kind": "tar"}, {**good, "versions": []}, {**good, "versions": {}}, {**good, "schema": "1"},
         with_version(name="../../x"), with_version(name=word(rng)), with_version(number=-rng.randint(1, 10**9)), with_version(digest=word(rng)),
         {**good, "kind": word(rng)}, with_version(origin={word(rng): "x"}), word(rng).encode(), with_version(name=7), with_version(number=-1), with_version(number=True),
         with_version(number=10**30), with_version(digest="../../outside"), with_version(digest=None), with_version(tags=[]),
         with_version(tags={"a": 7}), with_version(origin={"by": "\x1b[2J"}), with_version(origin={"code": "x"}),
         {**good, "versions": [version, version]}, {**good, "aliases": [{**version, "alias": "../x", "log": []}]},
         {**good, "aliases": [{**version, "alias": "champion", "log": [7]}]}, {**good, "aliases": 7},
         json.dumps(good).replace('"schema"', '"schema":1,"schema"').encode()]
    )  # fmt: skip
    return _archive(packed(_honest(index)), errors.DamagedArchive)


def newer_archive(rng: random.Random) -> Hostile:
    digest = hashlib.sha256(manifest_of(HONEST)).hexdigest()
    return _archive(packed(_honest(index_of(digest, schema=rng.randint(2, 10**9)))), errors.SchemaTooNew)


KINDS = (
    compressed_archive,
    member_path,
    member_kind,
    member_size,
    cut_archive,
    other_members,
    archive_index,
    newer_archive,
)
