"""The header of a safetensors file, checked by ourselves before any loader sees the file.

    8 bytes       N, length of the header, little-endian
    N bytes       JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, .., "__metadata__": {text: text}}
    the rest      tensors, one after another without gap, overlap or remainder

https://github.com/huggingface/safetensors#format. N is at most 8 MiB here, so that the first four bytes can be
neither those of a zip archive ("PK\\3\\4" would be 67 million) nor, with five zero bytes behind them, the start of a
pickle: a file that passes is nothing but weights to any reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from zoo import strict_json
from zoo.errors import WeightsRefused

MAX_HEADER_BYTES = 8 << 20
MAX_RANK = 8
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One entry: `begin` and `end` are bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def check_weights(path: Path, shown: str) -> dict[str, Tensor]:
    """The tensors that a file on disk declares. Raises WeightsRefused, naming the file as `shown`."""
    with open(path, "rb") as file:
        return read_header(file, path.stat().st_size, shown)


def read_header(file: BinaryIO, size: int, shown: str) -> dict[str, Tensor]:
    """Name -> Tensor out of the beginning of a file that has `size` bytes in all; reads no tensor.

    Raises WeightsRefused where anything but a sound header is found, or the tensors do not fill the file exactly.
    """
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        raise _refused(shown, "it is too short, or declares a header that it does not have")
    data = file.read(length)
    if len(data) != length or data[:1] != b"{":
        raise _refused(shown, "its header is cut short or is no JSON object")
    try:
        entries = strict_json.parse(data, limit=MAX_HEADER_BYTES)
    except strict_json.NotStrict as error:
        raise _refused(shown, f"its header is not sound JSON: {error}") from error
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refused(shown, "__metadata__ in its header is no object of texts")
    if not entries:
        raise _refused(shown, "it holds no tensor")
    start = 8 + length
    tensors = {name: _tensor(name, entry, start, size, shown) for name, entry in entries.items()}
    _check_spans(tensors.values(), start, size, shown)
    return tensors


def _tensor(name: str, entry: Any, start: int, size: int, shown: str) -> Tensor:
    where = f"tensor {name[:60]!r}"
    if not name.isprintable() or not 0 < len(name) <= 256:
        raise _refused(shown, f"{where} has no plain name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _refused(shown, f"{where} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _refused(shown, f"{where} has the unknown dtype {str(dtype)[:20]!r}")
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise _refused(shown, f"{where} has no shape of at most {MAX_RANK} whole numbers")
    if not _naturals(offsets) or len(offsets) != 2:
        raise _refused(shown, f"{where} has no pair of data_offsets")
    begin, end = start + offsets[0], start + offsets[1]
    if begin > end or end > size:
        raise _refused(shown, f"{where} lies outside of the file")
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise _refused(shown, f"{where} has another number of bytes than its shape and dtype need")
    return Tensor(dtype, tuple(shape), begin, end)


def _check_spans(tensors: Iterable[Tensor], start: int, size: int, shown: str) -> None:
    reached = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != reached:
            raise _refused(shown, "its tensors overlap or leave a gap")
        reached = tensor.end
    if reached != size:
        raise _refused(shown, f"{size - reached} bytes at its end belong to no tensor")


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _refused(shown: str, reason: str) -> WeightsRefused:
    return WeightsRefused(
        f"'{shown}' is no safetensors file: {reason}. Save the weights with safetensors again."
    )
