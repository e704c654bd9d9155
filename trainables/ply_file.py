"""Reading a PLY triangle mesh, ASCII or binary, so that a truncated or damaged file is an error.

libigl's own reader crashes the process on files that end early. Format: G. Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = ("vertex_indices", "vertex_index")
_LONGEST_HEADER = 1 << 16


class PlyError(ValueError):
    """No whole PLY file of triangles; the message says what is wrong."""


@dataclass
class _Property:
    name: str
    kind: str  # numpy's name of the type
    count_kind: str = ""  # of a list's length; "" for a single number


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3) and triangles (F, 3) of a file's bytes. Raises PlyError."""
    order, elements, body = _header(data)
    vertices = faces = None
    for element in elements:
        rows, body = (_ascii if order == "" else _binary)(element, body, order)
        if element.name == "vertex":
            missing = [axis for axis in "xyz" if axis not in rows]
            if missing:
                raise PlyError(f"its vertices have no {missing[0]}")
            vertices = np.stack([rows[axis][:, 0] for axis in "xyz"], 1)
        elif element.name == "face":
            name = next((name for name in _CORNERS if name in rows), None)
            if name is None or rows[name].shape[1] != 3:
                raise PlyError("its faces are not triangles")
            faces = rows[name].astype(np.int64)
    if vertices is None or faces is None:
        raise PlyError("it holds no vertices or no faces")
    return vertices, faces


def _header(data: bytes) -> tuple[str, list[_Element], bytes]:
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise PlyError("it has no PLY header")
    order: str | None = None
    elements: list[_Element] = []
    try:
        for line in data[:end].decode("ascii").splitlines()[1:]:
            words = line.split()
            if not words or words[0] in ("comment", "obj_info"):
                continue
            if words[0] == "format":
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2])))
            elif words[0] == "property" and words[1] == "list":
                elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[0] == "property":
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
            else:
                raise PlyError(f"its header says {words[0]!r}")
    except (UnicodeDecodeError, IndexError, KeyError, ValueError) as error:
        raise PlyError(f"its header is damaged ({error})") from error
    for element in elements:
        if len({prop.name for prop in element.properties}) < len(element.properties):
            raise PlyError(f"its {element.name} rows have a property twice")
    if order is None or any(not 0 <= element.count <= len(data) for element in elements):
        raise PlyError("its header names no format, or more rows than the file can hold")
    return order, elements, data[line_end + 1 :]


def _ascii(element: _Element, body: bytes, order: str) -> tuple[dict[str, NDArray[np.float64]], bytes]:
    """The element's properties, each (count, its length), and what follows it."""
    lines = body.split(b"\n", element.count)
    if len(lines) < element.count or (element.count and not lines[element.count - 1].strip()):
        raise PlyError(f"it ends within its {element.name} rows")
    rows = [line.split() for line in lines[: element.count]]
    lengths, width = _lengths(element, rows[0] if rows else [])
    if any(len(row) != width for row in rows):
        raise PlyError(f"it has {element.name} rows of different lengths, or is cut off in one")
    try:
        table = np.array(rows, dtype=np.float64).reshape(element.count, width)
    except ValueError as error:
        raise PlyError(f"a {element.name} row is not all numbers ({error})") from error
    found, at = {}, 0
    for prop, length in zip(element.properties, lengths, strict=True):
        if prop.count_kind:
            if (table[:, at] != length).any():
                raise PlyError(f"its {prop.name} differ in length")
            at += 1
        found[prop.name] = table[:, at : at + length]
        at += length
    rest = lines[element.count] if len(lines) > element.count else b""
    return found, rest


def _lengths(element: _Element, row: list[bytes]) -> tuple[list[int], int]:
    """How many numbers each property has in the first row, and how many words a row has."""
    lengths, at = [], 0
    for prop in element.properties:
        length = 1
        if prop.count_kind:
            if row and at >= len(row):
                raise PlyError(f"it is cut off in its first {element.name} row")
            try:
                length = int(row[at]) if row else 0
            except ValueError as error:
                raise PlyError(f"its {prop.name} have no length ({error})") from error
            at += 1
        lengths.append(length)
        at += length
    return lengths, at


def _binary(element: _Element, body: bytes, order: str) -> tuple[dict[str, NDArray[np.float64]], bytes]:
    names: list[tuple[str, str, tuple[int, ...]]] = []
    lengths, at = [], 0  # as the first row has them
    for prop in element.properties:
        length = 1
        if prop.count_kind:
            kind = np.dtype(order + prop.count_kind)
            if element.count:
                if at + kind.itemsize > len(body):
                    raise PlyError(f"it ends within its {element.name} rows")
                length = int(np.frombuffer(body, kind, 1, at)[0])
            names.append((f"#{prop.name}", order + prop.count_kind, ()))
            at += kind.itemsize
        if not 0 <= length <= len(body):
            raise PlyError(f"its {prop.name} have an impossible length")
        names.append((prop.name, order + prop.kind, (length,)))
        lengths.append(length)
        at += length * np.dtype(prop.kind).itemsize
    row = np.dtype(names)
    if element.count * row.itemsize > len(body):
        raise PlyError(f"it ends within its {element.name} rows")
    table = np.frombuffer(body, row, element.count)
    found = {}
    for prop, length in zip(element.properties, lengths, strict=True):
        if prop.count_kind and (table[f"#{prop.name}"] != length).any():
            raise PlyError(f"its {prop.name} differ in length")
        with np.errstate(invalid="ignore"):  # of damaged numbers; whoever uses them checks
            found[prop.name] = table[prop.name].astype(np.float64)
    return found, body[element.count * row.itemsize :]
