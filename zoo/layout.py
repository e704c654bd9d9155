"""Where things are in a store. Numbers and versions are written once; only alias objects change.

models/<name>/versions/<digest>/...         a bundle, its manifest.json last
models/<name>/digests/<digest>.json         the last number that was taken before this digest got its own
models/<name>/numbers/<n>.json              version n -> digest, tags, who and when
models/<name>/aliases/<alias>.json          the present state of an alias, moved by compare-and-swap
models/<name>/log/<alias>-<sequence>.json   every state an alias has had
models/<name>/gate/                         candidates compared with each holder of an alias: `zoo.gate_looks`
models/<name>/publishing/, collecting/      who makes or takes away a version now: `zoo.holding`

A name's folder is `zoo.names.flat` of it: team--latentact-world-objects.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zoo import bundle
from zoo.errors import CollectedVersion, DamagedBundle, ObjectMissing, UnknownModel
from zoo.names import ALIAS, NAME, Reference, flat, unknown_model
from zoo.records import read_record
from zoo.store import Store

NUMBER = re.compile(r"(\d+)\.json")


def model_folder(name: str) -> str:
    return f"models/{flat(name)}"


def version_folder(name: str, digest: str) -> str:
    return f"{model_folder(name)}/versions/{digest}"


def number_key(name: str, number: int) -> str:
    return f"{model_folder(name)}/numbers/{number}.json"


def claim_key(name: str, digest: str) -> str:
    return f"{model_folder(name)}/digests/{digest}.json"


def hold_key(name: str, digest: str, nonce: str) -> str:
    return f"{model_folder(name)}/publishing/{digest}-{nonce}.json"


def tombstone_key(name: str, digest: str) -> str:
    return f"{model_folder(name)}/collecting/{digest}.json"


def marked_digest(key: str) -> str:
    """The digest that a hold or a tombstone is about."""
    return key.rsplit("/", 1)[1].removesuffix(".json").split("-")[0]


def alias_key(name: str, alias: str) -> str:
    return f"{model_folder(name)}/aliases/{alias}.json"


def log_key(name: str, alias: str, sequence: int) -> str:
    return f"{model_folder(name)}/log/{alias}-{sequence:08d}.json"


def names(store: Store, pattern: str = "*") -> list[str]:
    """The model names in the store that match a shell pattern; a folder of another name is none of ours."""
    folders = [key.split("/")[1] for key in store.list("models/", deep=False) if key.endswith("/")]
    found = [folder.replace("--", "/", 1) for folder in folders]
    return [name for name in found if NAME.fullmatch(name) and fnmatch.fnmatchcase(name, pattern)]


def numbers(store: Store, name: str) -> list[int]:
    """The version numbers of a model, ascending; empty for an unknown one."""
    found = (NUMBER.fullmatch(key.rsplit("/", 1)[1]) for key in store.list(f"{model_folder(name)}/numbers/"))
    return sorted(int(match[1]) for match in found if match)


def alias_names(store: Store, name: str) -> list[str]:
    """The aliases of a model, in order."""
    keys = store.list(f"{model_folder(name)}/aliases/")
    found = [key.rsplit("/", 1)[1].removesuffix(".json") for key in keys if key.endswith(".json")]
    return [alias for alias in found if ALIAS.fullmatch(alias)]


def aliases(store: Store, name: str) -> dict[str, dict[str, Any]]:
    """The aliases of a model and their records."""
    return {alias: read_record(store, alias_key(name, alias)) for alias in alias_names(store, name)}


def records(store: Store, name: str) -> Iterator[dict[str, Any]]:
    """The records of all versions, ascending: {"number", "digest", "tags", "published_at", "by"}."""
    with ThreadPoolExecutor(8) as pool:
        yield from pool.map(lambda number: read_record(store, number_key(name, number)), numbers(store, name))


def resolve(store: Store, reference: Reference) -> tuple[int, str]:
    """Version number and digest that a reference means now. Raises UnknownModel, which names what there
    is.
    """
    if reference.version is not None:
        key = number_key(reference.name, reference.version)
    else:
        key = alias_key(reference.name, str(reference.alias))
    try:
        record = read_record(store, key)
    except ObjectMissing:
        raise _unknown(store, reference) from None
    refuse_collected(reference, record)
    return int(record["number"]), str(record["digest"])


def refuse_collected(reference: Reference | str, record: dict[str, Any]) -> None:
    """Raise CollectedVersion if a version's record says that its files are gone."""
    if record.get("collected"):
        raise CollectedVersion(
            f"{reference} was taken away by `zoo gc --keep-last` on {record['collected']['at'][:10]}: its number stays, "
            "its files are gone. Choose another version, or publish its folder again to bring it back."
        )


def read_manifest(store: Store, name: str, digest: str) -> bundle.Manifest:
    """The verified manifest of a version."""
    blob = store.get(f"{version_folder(name, digest)}/{bundle.MANIFEST}")
    return bundle.parse_manifest(
        bundle.read_bounded(blob, bundle.MAX_MANIFEST_BYTES, bundle.MANIFEST), digest
    )


def read_bundle_file(store: Store, name: str, digest: str, path: str) -> bytes:
    """One small file of a version, verified. Raises DamagedBundle."""
    return read_bundle_files(store, name, digest, path)[0]


def read_bundle_files(store: Store, name: str, digest: str, *paths: str) -> list[bytes]:
    """Small files of a version, verified, read at once. Raises DamagedBundle."""
    listed = {file.path: file for file in read_manifest(store, name, digest).files}

    def read(path: str) -> bytes:
        data = bundle.read_bounded(
            store.get(f"{version_folder(name, digest)}/{path}"), listed[path].size, path
        )
        if hashlib.sha256(data).hexdigest() != listed[path].sha256:
            raise DamagedBundle(
                f"{store.url}/{version_folder(name, digest)}/{path} does not have the bytes its manifest promises: "
                "publish the bundle again."
            )
        return data

    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(read, paths))


def read_bundle_json(store: Store, name: str, digest: str, path: str) -> dict[str, Any]:
    """config.json or metrics.json of a version, verified, in the present schema."""
    return bundle.parse_json_file(read_bundle_file(store, name, digest, path), path)


def _unknown(store: Store, reference: Reference) -> UnknownModel:
    known = numbers(store, reference.name)
    if not known:
        return unknown_model(reference.name, names(store))
    if reference.version is not None:
        return UnknownModel(f"{reference.name} has no version {reference.version}: it has 1 to {known[-1]}.")
    there = sorted(aliases(store, reference.name))
    return UnknownModel(
        f"{reference.name} has no alias '{reference.alias}': it has {', '.join(there) or 'none yet'}; ask for "
        f"{reference.name}@{known[-1]}, or run `zoo promote {reference.name}@{known[-1]} --alias {reference.alias}`."
    )
