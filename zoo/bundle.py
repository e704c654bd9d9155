"""A bundle: what the zoo stores for one version of one model, as a folder.

    model.safetensors   the weights
    config.json         {"schema": 2, "model": {"data", "data_digest", "setting", "mode", "protocol", "window", ..}}
    metrics.json        {"schema": 1, "metric_version", "val": {..}, "test": {..},
                        "gate": {"clips": [{"clip", "group", "mpjpe_cm", "windows"}]}};
                        val and test as `Evaluation.summary()` gives them
    card.md             what a reader must know
    MLmodel, *input_example.json    make the folder an MLflow model, loaded by `zoo.flavor`; added by publishing
    manifest.json       see `zoo.manifest`; written last, by publishing

The digest of a bundle is the sha256 of its canonical manifest: equal bytes, equal digest, whoever publishes them.
What else a bundle may hold, and what is refused: `zoo.bundle_paths` for names, `zoo.refusals` for content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo import bundle_paths, manifest, mlmodel, refusals
from zoo.bundle_json import parse_json_file
from zoo.errors import BundleError, ContentRefused, DamagedBundle, FileRefused
from zoo.manifest import MANIFEST, MAX_MANIFEST_BYTES, File, Manifest
from zoo.mlmodel import MLMODEL
from zoo.names import Name, parse_name
from zoo.refusals import check_file
from zoo.store import read_bounded

__all__ = [
    "CARD", "CONFIG", "MANIFEST", "MAX_MANIFEST_BYTES", "METRICS", "MLMODEL", "REQUIRED", "WEIGHTS", "File", "Manifest", "added",
    "check_file", "check_name", "file_digest", "files_in", "make_manifest", "parse_json_file", "parse_manifest", "read_bounded",
    "read_json_file", "unlisted", "verify",
]  # fmt: skip

WEIGHTS, CONFIG, METRICS, CARD = "model.safetensors", "config.json", "metrics.json", "card.md"
REQUIRED = (WEIGHTS, CONFIG, METRICS, CARD)


def parse_manifest(data: bytes, digest: str | None = None) -> Manifest:
    """Read the manifest of a bundle, which may come from anywhere. Raises as `zoo.manifest.parse_manifest`."""
    return manifest.parse_manifest(data, digest, required=REQUIRED)


def make_manifest(folder: Path) -> Manifest:
    """Describe a folder that is to be published, after checking every file in it. Raises BundleError.

    What `added` gives is part of every manifest, whether the folder holds it or not.
    """
    if not folder.is_dir():
        raise BundleError(
            f"There is no folder '{folder}': give the folder that holds {WEIGHTS} and {CONFIG}."
        )
    paths = files_in(folder)
    for path in REQUIRED:
        if path not in paths:
            raise BundleError(f"'{folder}' holds no {path}: a bundle needs {', '.join(REQUIRED)}.")
    bundle_paths.check_paths(paths)
    for path in paths:
        check_file(folder / path, path)
    additions = added(folder)
    files = []
    for path in sorted({*paths, *additions}):
        if path in additions:
            files.append(File(path, hashlib.sha256(additions[path]).hexdigest(), len(additions[path])))
        else:
            files.append(File(path, file_digest(folder / path), (folder / path).stat().st_size))
    return parse_manifest(Manifest(tuple(files)).to_bytes())


def added(folder: Path) -> dict[str, bytes]:
    """What publishing adds to a folder that is no whole MLflow model: path -> content. Raises BundleError.

    A bundle that was pulled keeps the files it has, also those that an older version wrote: its digest stays.
    """
    if (folder / MLMODEL).is_file() and (folder / MLMODEL).read_bytes() == mlmodel.WITHOUT_SIGNATURE:
        return {}
    try:
        files = mlmodel.files(read_json_file(folder, CONFIG), read_json_file(folder, METRICS))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ContentRefused(
            f"'{METRICS}', field example, makes no example for MLflow ({error}): give text, and contact_point as three "
            "numbers."
        ) from error
    for path, content in files.items():
        if (folder / path).is_file() and (folder / path).read_bytes() != content:
            raise ContentRefused(
                f"'{folder / path}' is not the zoo's own: remove it, publishing adds the right one."
            )
    return files


def verify(folder: Path, *, also: Iterable[str] = ()) -> Manifest:
    """Check every byte of a bundle on disk against its manifest, and every file against what a bundle may hold.

    Raises DamagedBundle for a wrong or missing file, FileRefused for one that the manifest does not list (`also`
    names exceptions), and what `zoo.refusals.check_file` raises.
    """
    found = read_manifest_file(folder)
    listed = {file.path for file in found.files}
    for path in files_in(folder):
        if path not in listed and path not in also:
            refusals.check_file(folder / path, path)
            raise unlisted(folder, path)
    for file in found.files:
        verify_file(folder, file)
    return found


def unlisted(folder: Path, path: str) -> FileRefused:
    """The error for a file that lies in a bundle's folder and is not in its manifest."""
    return FileRefused(f"'{folder}' holds {path}, which its manifest does not list: remove it.")


def verify_file(folder: Path, file: File) -> None:
    """Check one file of a bundle on disk. Raises as `verify`."""
    local = folder / file.path
    if not local.is_file() or local.stat().st_size != file.size or file_digest(local) != file.sha256:
        raise DamagedBundle(f"{local} does not have the bytes its manifest promises: pull the model again.")
    check_file(local, file.path)


def read_manifest_file(folder: Path) -> Manifest:
    """The manifest of a bundle on disk. Raises BundleError, also where there is none."""
    try:
        with refusals.open_plain(folder / MANIFEST, MANIFEST) as file:
            return parse_manifest(file.read(MAX_MANIFEST_BYTES + 1))
    except FileRefused:
        if os.path.lexists(folder / MANIFEST):
            raise
        raise BundleError(
            f"'{folder}' holds no {MANIFEST}: it is not a whole bundle; pull it again."
        ) from None


def check_name(name: str, config: dict[str, Any]) -> Name:
    """The parsed name, if it says the same as config.json about data, setting and mode. Raises
    BundleError.
    """
    parsed, model = parse_name(name), config["model"]
    said = {"data": parsed.data, "setting": parsed.setting, "mode": parsed.mode}
    if parsed.codebook:
        del said["mode"]
    for field, expected in said.items():
        actual = str(model.get(field, "nothing"))[:100]
        if field == "setting":
            actual = actual.partition(":")[0]  # a fold, objects:2/6, goes under its setting's name
        if actual != expected:
            raise BundleError(
                f"The name {name} says {field} = {expected}, but {CONFIG} says {actual}: publish it under its own name."
            )
    return parsed


def read_json_file(folder: Path, file: str) -> dict[str, Any]:
    """config.json or metrics.json of a bundle on disk, in the present schema. Raises ContentRefused,
    SchemaTooNew."""
    with refusals.open_plain(folder / file, file) as opened:
        return parse_json_file(opened.read(bundle_paths.limit(file) + 1), file)


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> list[str]:
    """Relative paths of all files but the manifest, in order. Raises FileRefused for links and odd files."""
    paths: list[str] = []
    waiting = [folder]
    while waiting:
        inside = waiting.pop()
        with os.scandir(inside) as entries:
            for entry in entries:
                relative = Path(entry.path).relative_to(folder).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise FileRefused(
                        f"'{relative}' is not a plain file: a bundle holds plain files only, no links."
                    )
                elif relative != MANIFEST:
                    paths.append(relative)
                if len(paths) + len(waiting) > bundle_paths.MAX_FILES:
                    raise FileRefused(
                        f"'{folder}' holds more than {bundle_paths.MAX_FILES} files: keep only what a reader needs."
                    )
    return sorted(paths)
