"""A bundle: what the zoo stores for one version of one model, as a folder.

    model.safetensors   the weights
    config.json         {"schema": 1, "model": {"data", "data_digest", "setting", "mode", "protocol", "window", ..}}
    metrics.json        {"schema": 1, "metric_version", "val": {..}, "test": {..},
                        "gate": {"clips": [{"clip", "group", "mpjpe_cm", "windows"}]}};
                        val and test as `Evaluation.summary()` gives them
    card.md             what a reader must know
    MLmodel             makes the folder an MLflow model, loaded by `zoo.flavor`; added by publishing
    manifest.json       {"schema": 1, "files": [{"path", "sha256", "size"}, ...]}; written last, by publishing

The digest of a bundle is the sha256 of its canonical manifest: equal bytes, equal digest, whoever publishes
them.
"""

from __future__ import annotations

import hashlib
import json
import pickletools
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.errors import BundleError, DamagedBundle, PickleRefused
from zoo.names import Name, parse_name
from zoo.store import to_json

SCHEMA = 1
MANIFEST = "manifest.json"
WEIGHTS, CONFIG, METRICS, CARD, MLMODEL = (
    "model.safetensors",
    "config.json",
    "metrics.json",
    "card.md",
    "MLmodel",
)
REQUIRED = (WEIGHTS, CONFIG, METRICS, CARD)
MAX_FILES = 1000
PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy", ".npz"}
SHA256 = re.compile(r"[0-9a-f]{64}")

# The documented layout of an MLflow model whose loader is an importable module. Fixed text and not
# mlflow.models.Model, which stamps times and random ids: the same weights must keep the same digest.
MLMODEL_TEXT = """\
flavors:
  python_function:
    loader_module: zoo.flavor
    data: .
    python_version: "3.11"
"""


@dataclass(frozen=True)
class File:
    """One line of a manifest. `path` is relative, with `/`."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The files of a bundle, ordered by path."""

    files: tuple[File, ...]

    def to_bytes(self) -> bytes:
        return to_json({"schema": SCHEMA, "files": [vars(file) for file in self.files]})

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest: the bundle's identity."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def parse_manifest(data: bytes, digest: str | None = None) -> Manifest:
    """Read a manifest that may come from anywhere. Raises BundleError, PickleRefused, or DamagedBundle if it
    is not the manifest with `digest`."""
    try:
        value = json.loads(data)
        if value["schema"] != SCHEMA:
            raise BundleError(
                f"The manifest has schema {value['schema']}, this zoo reads {SCHEMA}: upgrade latentact-zoo."
            )
        files = tuple(File(str(f["path"]), str(f["sha256"]), int(f["size"])) for f in value["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedBundle(f"{MANIFEST} is damaged ({error}): publish the bundle again.") from error
    for file in files:
        _check_path(file.path)
        if not SHA256.fullmatch(file.sha256) or file.size < 0:
            raise DamagedBundle(
                f"{MANIFEST} gives {file.path} no valid digest or size: publish the bundle again."
            )
    paths = [file.path for file in files]
    if len(set(map(str.casefold, paths))) != len(paths) or len(paths) > MAX_FILES:
        raise BundleError(f"{MANIFEST} names a file twice, or more than {MAX_FILES} files.")
    if missing := set(REQUIRED) - set(paths):
        raise BundleError(f"{MANIFEST} lacks {', '.join(sorted(missing))}: the bundle is incomplete.")
    manifest = Manifest(files)
    if digest is not None and manifest.digest != digest:
        raise DamagedBundle(
            f"{MANIFEST} has digest {manifest.digest[:12]}, not {digest[:12]}: publish the bundle again."
        )
    return manifest


def make_manifest(folder: Path) -> Manifest:
    """Describe a folder that is to be published, after checking every file in it. Raises BundleError.

    MLmodel is part of every manifest, with the content MLMODEL_TEXT, whether the folder holds it or not.
    """
    if not folder.is_dir():
        raise BundleError(
            f"There is no folder '{folder}': give the folder that holds {WEIGHTS} and {CONFIG}."
        )
    for path in REQUIRED:
        if not (folder / path).is_file():
            raise BundleError(f"'{folder}' holds no {path}: a bundle needs {', '.join(REQUIRED)}.")
    files = []
    for path in sorted({*_files(folder), MLMODEL}):
        if path == MLMODEL:
            content = MLMODEL_TEXT.encode()
            if (folder / path).is_file() and (folder / path).read_bytes() != content:
                raise BundleError(
                    f"'{folder / path}' is not the zoo's own: remove it, publishing adds the right one."
                )
            files.append(File(path, hashlib.sha256(content).hexdigest(), len(content)))
            continue
        refuse_pickle(folder / path, path)
        files.append(File(path, file_digest(folder / path), (folder / path).stat().st_size))
    _check_safetensors(folder / WEIGHTS)
    return parse_manifest(Manifest(tuple(files)).to_bytes())


def verify(folder: Path, *, also: Iterable[str] = ()) -> Manifest:
    """Check every byte of a bundle on disk against its manifest.

    Raises DamagedBundle for a wrong or missing file, BundleError for one that the manifest does not list
    (`also` names exceptions), PickleRefused for a pickle.
    """
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BundleError(
            f"'{folder}' holds no {MANIFEST}: it is not a whole bundle; pull it again."
        ) from None
    unlisted = set(_files(folder)) - {file.path for file in manifest.files} - {MANIFEST, *also}
    for path in sorted(unlisted):
        refuse_pickle(folder / path, path)
        raise BundleError(f"'{folder}' holds {path}, which its manifest does not list: remove it.")
    for file in manifest.files:
        local = folder / file.path
        if not local.is_file() or local.stat().st_size != file.size or file_digest(local) != file.sha256:
            raise DamagedBundle(
                f"{local} does not have the bytes its manifest promises: pull the model again."
            )
        refuse_pickle(local, file.path)
    return manifest


def check_name(name: str, config: dict[str, Any]) -> Name:
    """The parsed name, if it says the same as config.json about data, setting and mode. Raises
    BundleError.
    """
    parsed, model = parse_name(name), config["model"]
    said = {"data": parsed.data, "setting": parsed.setting, "mode": parsed.mode}
    if parsed.codebook:
        del said["mode"]
    for field, expected in said.items():
        actual = str(model.get(field, "nothing"))
        if field == "setting":
            actual = actual.partition(":")[0]  # a fold, objects:2/6, goes under its setting's name
        if actual != expected:
            raise BundleError(
                f"The name {name} says {field} = {expected}, but {CONFIG} says {actual}: publish it under its own name."
            )
    return parsed


def read_json_file(folder: Path, file: str) -> dict[str, Any]:
    """config.json or metrics.json of a bundle on disk. Raises BundleError."""
    try:
        value = json.loads((folder / file).read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{folder / file} cannot be read ({error}): write it again as a JSON object."
        ) from error
    if not isinstance(value, dict) or (file == CONFIG and not isinstance(value.get("model"), dict)):
        raise BundleError(
            f"{folder / file} must be a JSON object{' with the field model' if file == CONFIG else ''}."
        )
    return value


def refuse_pickle(path: Path, shown: str) -> None:
    """Raise PickleRefused if a file is a pickle or an archive with one, by its suffix or by its content.

    Array files of NumPy are refused too: they can hold pickled objects. The content is only looked at, never
    run.
    """
    reason = ""
    with open(path, "rb") as file:
        head = file.read(4096)
    if PurePosixPath(shown).suffix.lower() in PICKLE_SUFFIXES:
        reason = f"has the suffix {PurePosixPath(shown).suffix}"
    elif zipfile.is_zipfile(path) or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")):
        reason = "is an archive or compressed, which may hold a pickle"
    elif _is_pickle(path):
        reason = "has the content of a pickle"
    if reason:
        raise PickleRefused(
            f"'{shown}' {reason}: the zoo stores no pickles, since loading one runs its code. Save the weights with "
            "safetensors."
        )


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_pickle(path: Path) -> bool:
    """Whether a file's content is a whole pickle, or the beginning of one that already calls something.

    Any other file soon has a byte that is no opcode. (The mark of newer pickles, 0x80, says little by itself:
    a safetensors file may begin with it.)
    """
    seen = set()
    with open(path, "rb") as file:
        try:
            for opcode, _, _ in pickletools.genops(file):
                seen.add(opcode.name)
        except (ValueError, UnicodeError, OverflowError):
            calls = {"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"} & seen and {
                "GLOBAL",
                "STACK_GLOBAL",
            } & seen
            return bool(calls) or {"MARK", "INST"} <= seen
    return True


def _files(folder: Path) -> list[str]:
    """Relative paths of all files but the manifest, in order. Raises BundleError for links and odd files."""
    paths = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink() or relative == MANIFEST:
            continue
        if not path.is_file():
            raise BundleError(f"'{relative}' is not a plain file: a bundle holds plain files only.")
        paths.append(relative)
    return paths


def _check_path(path: str) -> None:
    pure = PurePosixPath(path)
    plain = all(character.isprintable() and character not in '\\:*?"<>|' for character in path)
    if (
        path != str(pure)
        or pure.is_absolute()
        or ".." in pure.parts
        or path in ("", ".", MANIFEST)
        or not plain
    ):
        raise BundleError(
            f"The manifest names the file {path!r}, which leads out of the bundle or is no plain name."
        )
    if pure.suffix.lower() in PICKLE_SUFFIXES:
        raise PickleRefused(
            f"The manifest lists '{path}': the zoo stores no pickles, since loading one runs its code."
        )


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as weights:
            names = list(weights.keys())
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{path} is no safetensors file ({error}): save the weights with safetensors."
        ) from error
    if not names:
        raise BundleError(f"{path} holds no tensor: save the model's weights into it.")
