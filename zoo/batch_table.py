"""The table of a batch: `inputs.csv` or `inputs.jsonl`, a prediction a line, paths relative to the table's folder.

    image,text,contact,name
    photos/1.jpg,grasp the mug,"0.02,0.01,0.45",mug
    photos/2.jpg,open the drawer,,drawer

Columns: image, text, contact (X,Y,Z in metres), or contact_pixel (X,Y) and depth (metres); last_image and last_contact
for a model that interpolates; name, of the output's folder. Only text must be there.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import InputError

COLUMNS = ("image", "text", "contact", "contact_pixel", "depth", "last_image", "last_contact", "name")
TABLES = ("inputs.csv", "inputs.jsonl")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prediction that is asked for. Points (x, y, z) in metres, pixel (x, y) of the upright photo, depth in metres;
    None where not given."""

    where: str  # for messages: the table and its line, or the image
    name: str
    text: str
    image: Path | None = None
    contact: list[float] | None = None
    pixel: list[float] | None = None
    depth_m: float | None = None
    last_image: Path | None = None
    last_contact: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One that cannot be made, and why."""

    where: str
    name: str
    problem: str


def read_batch(source: Path, *, text: str | None, contact: list[float] | None) -> Iterator[Asked | Refused]:
    """What a table asks for; or a folder that holds one; or every image of a folder without, with `text` and `contact`.

    Raises InputError where there is nothing to read, or a column is unknown.
    """
    table = source if source.is_file() else next((source / t for t in TABLES if (source / t).is_file()), None)
    if table is None:
        return _images(source, text, contact)
    if text is not None or contact is not None:
        raise InputError(f"{table} says text and contact line by line: leave --text and --contact out.")
    return _lines(table)


def slug(text: str) -> str:
    """A text as a name of a file: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-")


def numbers(value: Any, count: int, field: str) -> list[float]:
    """`count` finite numbers, of a list or of a text that separates them by commas or spaces. Raises InputError."""
    parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
    try:
        found = [float(part) for part in parts]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        raise InputError(f"{field} is {value!r} and should be {count} finite number{'s' * (count > 1)}.")
    return found


def _images(folder: Path, text: str | None, contact: list[float] | None) -> Iterator[Asked]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not images:
        raise InputError(
            f"{folder} holds neither {' nor '.join(TABLES)} nor images: see `zoo predict --help`."
        )
    if text is None:
        raise InputError(
            f"{folder} holds images and no {' or '.join(TABLES)}: say the action of all with --text."
        )
    names: dict[str, int] = {}
    for image in images:
        name = slug(image.stem) or "image"
        names[name] = names.get(name, 0) + 1
        unique = name if names[name] == 1 else f"{name}.{names[name]}"
        yield Asked(where=str(image), name=unique, text=text, image=image, contact=contact)


def _lines(table: Path) -> Iterator[Asked | Refused]:
    names: set[str] = set()
    for line, row in _rows(table):
        where, name = f"{table.name}, line {line}", f"{line:04d}"
        if isinstance(row, str):
            yield Refused(where=where, name=name, problem=row)
            continue
        try:
            asked = _asked(row, table.parent, where, line)
            if asked.name.lower() in names:
                raise InputError(f"name {asked.name!r} is that of an earlier line.")
        except InputError as error:
            yield Refused(where=where, name=name, problem=str(error))
        else:
            names.add(asked.name.lower())
            yield asked


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Line numbers, and the filled fields of each or what is wrong with it."""
    try:
        text = table.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as UTF-8 text ({error}): save it again.") from error
    rows = _of_json(text) if table.suffix.lower() in (".jsonl", ".ndjson") else _of_csv(text, table)
    empty = True
    for line, row in rows:
        empty = False
        if isinstance(row, str):
            yield line, row
        elif unknown := [str(key) for key in row if key not in COLUMNS]:
            yield line, f"field {unknown[0]!r} is unknown; there are {', '.join(COLUMNS)}."
        else:
            yield line, {key: value for key, value in row.items() if value not in (None, "")}
    if empty:
        raise InputError(f"{table} holds no line of inputs: its columns are {', '.join(COLUMNS)}.")


def _of_csv(text: str, table: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    fields = [(field or "").strip() for field in reader.fieldnames or ()]
    if unknown := [field for field in fields if field not in COLUMNS]:
        raise InputError(f"{table} has the column {unknown[0]!r}: columns are {', '.join(COLUMNS)}.")
    reader.fieldnames = fields
    try:
        for row in reader:
            if None in row:
                yield (
                    reader.line_num,
                    'it has more cells than columns; put a contact in quotes, "0.02,0.01,0.45".',
                )
            else:
                yield reader.line_num, {key: (value or "").strip() for key, value in row.items()}
    except csv.Error as error:
        raise InputError(f"{table}, line {reader.line_num}, is no CSV ({error}): save it again.") from error


def _of_json(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield number, f"it is no JSON ({error})."
            continue
        yield number, row if isinstance(row, dict) else "it is no JSON object."


def _asked(row: Mapping[str, Any], folder: Path, where: str, line: int) -> Asked:
    for field in ("text", "image", "last_image", "name"):
        if not isinstance(row.get(field, ""), str):
            raise InputError(f"{field} is {row[field]!r} and should be a text.")
    text = row.get("text", "").strip()
    if not text:
        raise InputError("text is empty; say the action, such as 'lift the mug'.")
    images = {key: folder / row[key] if key in row else None for key in ("image", "last_image")}
    for key, path in images.items():
        if path is not None and not path.is_file():
            raise InputError(f"{key} {path} is not there.")
    if ("contact_pixel" in row) != ("depth" in row):
        raise InputError("contact_pixel and depth go together.")
    if "contact_pixel" in row and ("contact" in row or images["image"] is None):
        raise InputError("contact_pixel and depth need an image, and take the place of contact.")
    name = row.get("name") or f"{line:04d}-{slug(Path(row['image']).stem if 'image' in row else text)}"
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name {name!r} is none for a folder: letters, digits, '.', '_' and '-', at most 100."
        )
    return Asked(
        where=where,
        name=name,
        text=text,
        image=images["image"],
        contact=numbers(row["contact"], 3, "contact") if "contact" in row else None,
        pixel=numbers(row["contact_pixel"], 2, "contact_pixel") if "contact_pixel" in row else None,
        depth_m=numbers([row["depth"]], 1, "depth")[0] if "depth" in row else None,
        last_image=images["last_image"],
        last_contact=numbers(row["last_contact"], 3, "last_contact") if "last_contact" in row else None,
    )
