"""Where things are in a store. Numbers and versions are written once; only alias objects change.

models/<name>/versions/<digest>/...         a bundle, its manifest.json last
models/<name>/numbers/<n>.json              version n -> digest, tags, who and when
models/<name>/aliases/<alias>.json          the present state of an alias, moved by compare-and-swap
models/<name>/log/<alias>-<sequence>.json   every state an alias has had

A name's folder is `zoo.names.flat` of it: team--latentact-world-objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zoo import bundle
from zoo.errors import DamagedBundle, ObjectMissing, UnknownModel
from zoo.names import Reference, flat, unknown_model
from zoo.store import Store, parse_json, read_json

NUMBER = re.compile(r"(\d+)\.json")


def model_folder(name: str) -> str:
    return f"models/{flat(name)}"


def version_folder(name: str, digest: str) -> str:
    return f"{model_folder(name)}/versions/{digest}"


def number_key(name: str, number: int) -> str:
    return f"{model_folder(name)}/numbers/{number}.json"


def alias_key(name: str, alias: str) -> str:
    return f"{model_folder(name)}/aliases/{alias}.json"


def log_key(name: str, alias: str, sequence: int) -> str:
    return f"{model_folder(name)}/log/{alias}-{sequence:08d}.json"


def names(store: Store) -> list[str]:
    """All model names in the store."""
    folders = [key.split("/")[1] for key in store.list("models/", deep=False) if key.endswith("/")]
    return [folder.replace("--", "/", 1) for folder in folders]


def numbers(store: Store, name: str) -> list[int]:
    """The version numbers of a model, ascending; empty for an unknown one."""
    found = (NUMBER.fullmatch(key.rsplit("/", 1)[1]) for key in store.list(f"{model_folder(name)}/numbers/"))
    return sorted(int(match[1]) for match in found if match)


def aliases(store: Store, name: str) -> dict[str, dict[str, Any]]:
    """The aliases of a model and their records."""
    keys = [key for key in store.list(f"{model_folder(name)}/aliases/") if key.endswith(".json")]
    return {key.rsplit("/", 1)[1].removesuffix(".json"): read_json(store, key) for key in keys}


def records(store: Store, name: str) -> Iterator[dict[str, Any]]:
    """The records of all versions, ascending: {"number", "digest", "tags", "published_at", "by"}."""
    with ThreadPoolExecutor(8) as pool:
        yield from pool.map(lambda number: read_json(store, number_key(name, number)), numbers(store, name))


def resolve(store: Store, reference: Reference) -> tuple[int, str]:
    """Version number and digest that a reference means now. Raises UnknownModel, which names what there
    is.
    """
    if reference.version is not None:
        key = number_key(reference.name, reference.version)
    else:
        key = alias_key(reference.name, str(reference.alias))
    try:
        record = read_json(store, key)
    except ObjectMissing:
        raise _unknown(store, reference) from None
    return int(record["number"]), str(record["digest"])


def read_manifest(store: Store, name: str, digest: str) -> bundle.Manifest:
    """The verified manifest of a version."""
    data = store.get(f"{version_folder(name, digest)}/{bundle.MANIFEST}").read()
    return bundle.parse_manifest(data, digest)


def read_bundle_file(store: Store, name: str, digest: str, path: str) -> bytes:
    """One small file of a version, verified. Raises DamagedBundle."""
    import hashlib

    listed = {file.path: file for file in read_manifest(store, name, digest).files}
    data = store.get(f"{version_folder(name, digest)}/{path}").read()
    if hashlib.sha256(data).hexdigest() != listed[path].sha256:
        raise DamagedBundle(
            f"{store.url}/{version_folder(name, digest)}/{path} does not have the bytes its manifest promises: "
            "publish the bundle again."
        )
    return data


def read_bundle_json(store: Store, name: str, digest: str, path: str) -> dict[str, Any]:
    """config.json or metrics.json of a version, verified."""
    return parse_json(read_bundle_file(store, name, digest, path), f"{path} of {name}")


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
