"""Verify what is stored, or what lies in a folder: every byte against its digest, every file against what is allowed.

Nothing is kept of what is read from a store. All that is wrong is reported, not the first thing alone.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo import bundle, gate, layout, refusals
from zoo.errors import (
    BundleError,
    CollectedVersion,
    DamagedBundle,
    FileRefused,
    ObjectMissing,
    WeightsRefused,
)
from zoo.names import Reference, parse_reference
from zoo.progress import counted, transfer_bar
from zoo.safetensors_header import MAX_HEADER_BYTES
from zoo.store import Store, open_store

READERS = 4
Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong. `error` is the class out of `zoo.errors`; the sentence says what to do."""

    file: str
    error: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The outcome for one bundle. `what` is name@version or the folder; no problems: it is sound."""

    what: str
    where: str
    digest: str
    files: int
    size: int  # bytes
    problems: tuple[Problem, ...] = ()

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(target: str | os.PathLike[str], *, deep: bool = False, store: Store | None = None) -> Verified:
    """Verify `name[@version|@alias]` in the store, by reading all of it, or the bundle in a folder.

    A folder without manifest is examined as publishing would. `deep` also builds the model, which needs torch (and
    pulls it, where it is in a store), and looks at every weight. What is wrong is in the result; raises BadName,
    UnknownModel and StoreError where there is nothing to verify or it cannot be reached.
    """
    folder = Path(target).expanduser()
    if not isinstance(target, str) or folder.is_dir() or target.startswith((".", "/", "~")):
        return _verify_folder(folder, deep=deep)
    store = store or open_store()
    wanted = parse_reference(target)
    number, digest = layout.resolve(store, wanted)
    found = _verify_stored(store, wanted.name, number, digest)
    if deep and found.sound:
        from zoo.pulling import pull

        built = _problems_of(lambda: _build(pull(found.what, store=store)), bundle.WEIGHTS)
        found = replace(found, problems=tuple(built))
    return found


def verify_all(pattern: str = "*", *, deep: bool = False, store: Store | None = None) -> Iterator[Verified]:
    """Verify every version of every model whose name matches a shell pattern; those that `zoo gc` took are left out."""
    store = store or open_store()
    names = layout.names(store, pattern)
    for reference in counted(
        "verify", [f"{name}@{n}" for name in names for n in layout.numbers(store, name)]
    ):
        try:
            yield verify(reference, deep=deep, store=store)
        except CollectedVersion:
            continue


def _verify_stored(store: Store, name: str, number: int, digest: str) -> Verified:
    top = layout.version_folder(name, digest)
    what = str(Reference(name, version=number))
    facts: dict[str, Any] = {"what": what, "where": f"{store.url}/{top}", "digest": digest}
    try:
        manifest = layout.read_manifest(store, name, digest)
    except ObjectMissing:
        lost = Problem(
            file=bundle.MANIFEST, error="ObjectMissing", sentence=_remedy(bundle.MANIFEST, "is gone")
        )
        return Verified(**facts, files=0, size=0, problems=(lost,))
    except BundleError as error:
        return Verified(**facts, files=0, size=0, problems=(_problem(bundle.MANIFEST, error),))
    with transfer_bar(f"verify {what}", manifest.size) as advance, ThreadPoolExecutor(READERS) as pool:
        checks = [
            pool.submit(_problems_of, partial(_check_stored, store, top, file, advance), file.path)
            for file in manifest.files
        ]
        problems = [problem for check in checks for problem in check.result()]
    listed = {f"{top}/{file.path}" for file in manifest.files} | {f"{top}/{bundle.MANIFEST}"}
    problems += [
        Problem(
            file=key.removeprefix(f"{top}/"),
            error=FileRefused.__name__,
            sentence=f"{store.url}/{key} is in no manifest, and MLflow's client would download it: delete that object.",
        )
        for key in store.list(f"{top}/")
        if key not in listed
    ]
    if not problems:
        problems += _problems_of(
            partial(_check_meaning, partial(layout.read_bundle_json, store, name, digest), name),
            bundle.CONFIG,
        )
    return Verified(**facts, files=len(manifest.files), size=manifest.size, problems=tuple(problems))


def _check_stored(store: Store, top: str, file: bundle.File, advance: Advance) -> None:
    """Stream one file of a version: digest, size, and what it is. Raises BundleError."""
    kept, digest, size = bytearray(), hashlib.sha256(), 0
    weights = file.path.endswith(".safetensors")
    keep = 8 + MAX_HEADER_BYTES if weights else file.size
    try:
        for chunk in store.get(f"{top}/{file.path}").chunks:
            digest.update(chunk)
            size += len(chunk)
            advance(len(chunk))
            if size > file.size:
                break
            kept += chunk[: max(0, keep - len(kept))]
    except ObjectMissing:
        raise DamagedBundle(_remedy(file.path, "is gone")) from None
    if size != file.size or digest.hexdigest() != file.sha256:
        raise DamagedBundle(_remedy(file.path, "does not have the bytes its manifest promises"))
    refusals.check_content(io.BytesIO(bytes(kept)), file.size, file.path)


def _verify_folder(folder: Path, *, deep: bool) -> Verified:
    facts: dict[str, Any] = {"what": str(folder), "where": str(folder.absolute())}
    try:
        whole = os.path.lexists(folder / bundle.MANIFEST)
        manifest = bundle.read_manifest_file(folder) if whole else bundle.make_manifest(folder)
        unlisted = (
            sorted(set(bundle.files_in(folder)) - {file.path for file in manifest.files}) if whole else []
        )
    except BundleError as error:
        return Verified(**facts, digest="", files=0, size=0, problems=(_problem(bundle.MANIFEST, error),))
    problems = []
    if whole:
        with transfer_bar(f"verify {folder}", manifest.size) as advance:
            for file in manifest.files:
                problems += _problems_of(partial(bundle.verify_file, folder, file), file.path)
                advance(file.size)
    problems += [_problem(path, bundle.unlisted(folder, path)) for path in unlisted]
    if not problems:
        problems += _problems_of(
            partial(_check_meaning, partial(bundle.read_json_file, folder), None), bundle.CONFIG
        )
    if deep and not problems:
        problems += _problems_of(partial(_build, folder), bundle.WEIGHTS)
    return Verified(
        **facts,
        digest=manifest.digest,
        files=len(manifest.files),
        size=manifest.size,
        problems=tuple(problems),
    )


def _check_meaning(read: Callable[[str], dict[str, Any]], name: str | None) -> None:
    """config.json and metrics.json say what the name says and what the gate can read. Raises BundleError."""
    config, metrics = read(bundle.CONFIG), read(bundle.METRICS)
    if name is not None:
        bundle.check_name(name, config)
    gate.check_clips(metrics)


def _build(folder: Path) -> None:
    """Build the model of a bundle and look at every weight. Raises BundleError where one is no number."""
    import torch

    from trainables.latentact import ModelError
    from zoo.loading import load_folder

    try:
        model = load_folder(folder)
    except ModelError as error:
        raise WeightsRefused(f"The model cannot be built: {error}.") from error
    for tensor, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise WeightsRefused(
                f"The tensor {tensor} of {bundle.WEIGHTS} holds a value that is no number: train the model again."
            )


def _problems_of(check: Callable[[], object], file: str) -> list[Problem]:
    try:
        check()
    except BundleError as error:
        return [_problem(file, error)]
    return []


def _problem(file: str, error: BundleError) -> Problem:
    return Problem(file=file, error=type(error).__name__, sentence=str(error))


def _remedy(file: str, what: str) -> str:
    return (
        f"{file} {what}: publish the folder that it came from again, which puts the right bytes in their place, or "
        "restore that object from a copy."
    )
