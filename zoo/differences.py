"""Two versions side by side: what differs in config, figures, gate clips, files, tensors and card.

Nothing large is downloaded: of the weights only the headers are read, as a range of the file.
"""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from zoo import bundle, gate, layout, model_card
from zoo.errors import BundleError
from zoo.names import parse_reference
from zoo.safetensors_header import MAX_HEADER_BYTES, Tensor, read_header
from zoo.store import Store, open_store

FIRST_READ_BYTES = 64 << 10  # holds most headers whole

Pair = tuple[Any, Any]  # of the first and of the second version; None where one has nothing


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two versions, read from the store. `tensors` are those of all its weights files, by file."""

    name: str
    version: int
    digest: str
    files: dict[str, bundle.File]
    config: dict[str, Any]
    metrics: dict[str, Any]
    card: dict[str, Any]
    lacking: list[str]  # what the card does not say
    tensors: dict[str, dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between version `a` and version `b`; fields that are equal in both are left out.

    `figures` holds all of them: {"val_mpjpe_cm": {"a", "b", "difference"}}, the difference being b - a, and None for
    `test`, whose figures are reported and never compared. `gate` is the gate's verdict on b as a candidate against
    a, or None where a part of it is missing. `tensors`: name -> "F32 512x256" in each.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    config: dict[str, Pair]
    figures: dict[str, dict[str, float | None]]
    gate: dict[str, Any]
    files: dict[str, Pair]
    tensors: dict[str, Pair]
    parameters: tuple[int, int]
    card: dict[str, Pair]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diff(a: str, b: str, *, store: Store | None = None) -> Difference:
    """Compare two versions, each `name[@version|@alias]`.

    Raises BadName, UnknownModel, DamagedBundle, BundleError, StoreError.
    """
    store = store or open_store()
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda reference: _read(store, reference), (a, b))
    verdict = gate.decide((two.config, two.metrics), (one.config, one.metrics), lacking=two.lacking)
    shapes = [_shapes(side) for side in (one, two)]
    return Difference(
        a=_identity(one),
        b=_identity(two),
        config=_changed(_flat(one.config), _flat(two.config)),
        figures=_figures(one.metrics, two.metrics),
        gate=verdict.to_json(),
        files=_changed(*({path: _size(file) for path, file in side.files.items()} for side in (one, two))),
        tensors=_changed(*shapes),
        parameters=(_parameters(one), _parameters(two)),
        card=_changed(_flat(one.card), _flat(two.card)),
    )


def _read(store: Store, reference: str) -> Side:
    wanted = parse_reference(reference)
    number, digest = layout.resolve(store, wanted)
    files = {file.path: file for file in layout.read_manifest(store, wanted.name, digest).files}
    folder = layout.version_folder(wanted.name, digest)
    small = (bundle.CONFIG, bundle.METRICS, bundle.CARD)
    config, metrics, text = layout.read_bundle_files(store, wanted.name, digest, *small)
    try:
        card = model_card.metadata(text.decode())
    except BundleError as error:
        card = {"unreadable": str(error)}
    tensors = {
        path: _header(store, f"{folder}/{path}", file)
        for path, file in files.items()
        if path.endswith(".safetensors")
    }
    return Side(
        name=wanted.name, version=number, digest=digest, files=files, card=card, tensors=tensors,
        lacking=model_card.missing(text.decode(errors="replace")),
        config=bundle.parse_json_file(config, bundle.CONFIG), metrics=bundle.parse_json_file(metrics, bundle.METRICS),
    )  # fmt: skip


def _header(store: Store, key: str, file: bundle.File) -> dict[str, Tensor]:
    """The tensors that a weights file declares. Only the header is read: its digest cannot be checked so."""
    data = store.get(key, end=min(file.size, FIRST_READ_BYTES)).read()
    whole = 8 + int.from_bytes(data[:8], "little")
    if len(data) < whole <= file.size and whole - 8 <= MAX_HEADER_BYTES:
        data += store.get(key, start=len(data), end=whole).read()
    return read_header(io.BytesIO(data), file.size, file.path)


def _identity(side: Side) -> dict[str, Any]:
    return {"name": side.name, "version": side.version, "digest": side.digest}


def _size(file: bundle.File) -> str:
    return f"{file.sha256[:12]} {file.size} bytes"


def _shapes(side: Side) -> dict[str, str]:
    several = len(side.tensors) > 1
    return {
        f"{path}: {name}"
        if several
        else name: f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
        for path, tensors in side.tensors.items()
        for name, tensor in tensors.items()
    }


def _parameters(side: Side) -> int:
    return sum(math.prod(tensor.shape) for tensors in side.tensors.values() for tensor in tensors.values())


def _flat(value: dict[str, Any], top: str = "") -> dict[str, Any]:
    """Nested objects as one, their fields joined by dots."""
    flat: dict[str, Any] = {}
    for field, inner in value.items():
        flat |= _flat(inner, f"{top}{field}.") if isinstance(inner, dict) and inner else {top + field: inner}
    return flat


def _changed(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Pair]:
    fields = sorted(one.keys() | two.keys())
    return {field: (one.get(field), two.get(field)) for field in fields if one.get(field) != two.get(field)}


def _figures(one: dict[str, Any], two: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for part in ("val", "test"):
        ours, theirs = _estimates(one.get(part, {})), _estimates(two.get(part, {}))
        for metric in sorted(ours.keys() | theirs.keys()):
            a, b = ours.get(metric), theirs.get(metric)
            difference = b - a if part == "val" and a is not None and b is not None else None
            found[f"{part}_{metric}"] = {"a": a, "b": b, "difference": difference}
    return found


def _estimates(part: dict[str, Any]) -> dict[str, float]:
    """The figures of one part of metrics.json, without their intervals."""
    found = {}
    for metric, value in part.get("metrics", part).items():
        value = value.get("estimate") if isinstance(value, dict) else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[metric] = float(value)
    return found
