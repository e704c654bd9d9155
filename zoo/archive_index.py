"""The table of contents of an archive: which versions and aliases it holds, and what their records said.

    contents/<sha256>.json   {"schema": 1, "kind": "latentact-zoo-archive",
        "versions": [{"name", "number", "digest", "tags", "origin"}, ...],
        "aliases": [{"name", "alias", "number", "digest", "log"}, ...]}

`origin` says who published the version, when and where; `log` has every state that the alias had. Both are kept
for the record and decide nothing. What comes from an archive is checked here before anything uses it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from zoo import strict_json
from zoo.errors import DamagedArchive, SchemaTooNew, TooLarge, ZooError
from zoo.manifest import SHA256
from zoo.names import check_alias, parse_name
from zoo.store import to_json

SCHEMA, KIND = 1, "latentact-zoo-archive"
MAX_INDEX_BYTES = 8 << 20
MAX_NUMBER = 10**9
ORIGIN = ("by", "host", "at", "publisher")
_MAX_TEXT = 1000


@dataclass(frozen=True, kw_only=True)
class ArchivedVersion:
    """A version in an archive."""

    name: str
    number: int
    digest: str
    tags: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArchivedAlias:
    """An alias that stood for a version in the archive."""

    name: str
    alias: str
    number: int
    digest: str
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Index:
    """The content of an archive, in a fixed order: by name, then by number or alias."""

    versions: tuple[ArchivedVersion, ...]
    aliases: tuple[ArchivedAlias, ...]

    def to_bytes(self) -> bytes:
        """Raises TooLarge where `parse_index` would refuse it."""
        data = to_json(
            {
                "schema": SCHEMA,
                "kind": KIND,
                "versions": [asdict(version) for version in self.versions],
                "aliases": [asdict(alias) for alias in self.aliases],
            }
        )
        if len(data) > MAX_INDEX_BYTES:
            raise TooLarge(
                f"{len(self.versions)} versions are too many for one archive: export fewer at once."
            )
        return data


def parse_index(data: bytes, where: str) -> Index:
    """Read a table of contents, which may come from anywhere. Raises DamagedArchive, SchemaTooNew."""
    try:
        value = strict_json.parse(data, limit=MAX_INDEX_BYTES)
    except strict_json.NotStrict as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(value, dict) or value.get("kind") != KIND or type(value.get("schema")) is not int:
        raise _damaged(where, f"it is not of the kind {KIND}")
    if value["schema"] > SCHEMA:
        raise SchemaTooNew(
            f"'{where}' was written by a newer latentact-zoo (schema {value['schema']}, this one reads {SCHEMA}): "
            "upgrade it with `pip install --upgrade latentact-zoo`."
        )
    try:
        versions = tuple(_version(entry) for entry in _list(value["versions"]))
        aliases = tuple(_alias(entry) for entry in _list(value["aliases"]))
    except (KeyError, TypeError, ValueError, ZooError) as error:
        raise _damaged(where, f"{type(error).__name__}: {str(error)[:200]}") from error
    held = {(version.name, version.number): version.digest for version in versions}
    if not versions or len(held) != len(versions):
        raise _damaged(where, "it names no version, or one twice")
    if len({(version.name, version.digest) for version in versions}) != len(versions):
        raise _damaged(where, "it gives one bundle two numbers")
    if len({(alias.name, alias.alias) for alias in aliases}) != len(aliases):
        raise _damaged(where, "it names an alias twice")
    for alias in aliases:
        if held.get((alias.name, alias.number)) != alias.digest:
            raise _damaged(where, f"the alias {alias.name}@{alias.alias} is no version in it")
    return Index(versions, aliases)


def _version(entry: Any) -> ArchivedVersion:
    name, number, digest = _identity(entry)
    tags, origin = entry["tags"], entry["origin"]
    if not all(isinstance(value, str) for value in _dict(tags).values()):
        raise ValueError(f"tags of {name}@{number} must be texts")
    if not all(is_plain(value) for value in _dict(origin).values()):
        raise ValueError(f"origin of {name}@{number} must be plain texts")
    if set(origin) - set(ORIGIN):
        raise ValueError(f"origin of {name}@{number} has other fields than {', '.join(ORIGIN)}")
    return ArchivedVersion(name=name, number=number, digest=digest, tags=tags, origin=origin)


def _alias(entry: Any) -> ArchivedAlias:
    name, number, digest = _identity(entry)
    log = _list(entry["log"])
    for state in log:
        _dict(state)
    return ArchivedAlias(
        name=name, alias=check_alias(str(entry["alias"])), number=number, digest=digest, log=log
    )


def _identity(entry: Any) -> tuple[str, int, str]:
    name, number, digest = entry["name"], entry["number"], entry["digest"]
    parse_name(name)
    if type(number) is not int or not 1 <= number <= MAX_NUMBER:
        raise ValueError(f"{name} has no version {number!r}")
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise ValueError(f"{name}@{number} has no valid digest")
    return name, number, digest


def is_plain(value: Any) -> bool:
    """Whether a value is a text that can be shown on a line of a terminal."""
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object is missing")
    return value


def _damaged(where: str, why: str) -> DamagedArchive:
    return DamagedArchive(f"'{where}' is no whole archive of `zoo export` ({why}): export it again.")
