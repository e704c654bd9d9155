"""Records of versions and aliases, read from a store that somebody else may have written to.

A record is small and decides what is fetched and shown; its fields are checked here, before they become part of a
path or of a line on a terminal.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import DamagedRecord, SchemaTooNew
from zoo.manifest import SHA256
from zoo.store import Store, read_json

SCHEMA = 1
_MAX_TEXT = 10_000


def read_record(store: Store, key: str) -> dict[str, Any]:
    """The record of a version (`numbers/<n>.json`) or of an alias at `key`.

    Raises ObjectMissing, SchemaTooNew, StoreError (DamagedRecord among them).
    """
    return checked(read_json(store, key), f"{store.url}/{key}")


def checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    """A record with fit fields; `where` it is from is named in the error. Raises SchemaTooNew, DamagedRecord."""
    schema = record.get("schema", 1)
    if type(schema) is int and schema > SCHEMA:
        raise SchemaTooNew(
            f"{where} has schema {schema}, and this version reads up to {SCHEMA}: upgrade latentact-zoo "
            "(pip install --upgrade latentact-zoo)."
        )
    number, digest = record.get("number"), record.get("digest")
    if type(number) is not int or number < 1 or not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise _damaged(where, "no version number with a digest")
    tags, figures = record.get("tags", {}), record.get("figures", {})
    if not isinstance(tags, dict):
        raise _damaged(where, "tags that are no object")
    if not isinstance(figures, dict) or not all(type(value) in (int, float) for value in figures.values()):
        raise _damaged(where, "figures that are no numbers")
    told: dict[str, Any] = {
        field: _line(record[field]) for field in ("by", "at", "host", "publisher") if field in record
    }
    shown = {"tags": {_line(tag): _line(value) for tag, value in tags.items()}} if tags else {}
    return {**record, **told, **shown}


def _line(value: Any) -> str:
    """A text for one line of a terminal: what is not printed (the end of a line, an escape) is a space."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value)[:_MAX_TEXT])


def _damaged(where: str, what: str) -> DamagedRecord:
    return DamagedRecord(
        f"{where} gives {what}: publish or promote the model again, or restore that object from a copy."
    )
