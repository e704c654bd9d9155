"""Look at what a zoo holds: list, show, card."""

from __future__ import annotations

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from zoo import bundle, layout
from zoo.names import parse_reference, unknown_model
from zoo.store import Store, open_store, read_json


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model in a listing. `figures` are the newest version's, or the champion's where there is one."""

    name: str
    versions: int
    latest: int
    aliases: dict[str, int]
    figures: dict[str, float] = field(default_factory=dict)


def ls(pattern: str = "*", *, store: Store | None = None) -> list[Entry]:
    """The models whose name matches a shell pattern (`latentact-*-objects`), ordered by name."""
    store = store or open_store()
    wanted = [name for name in layout.names(store) if fnmatch.fnmatchcase(name, pattern)]
    with ThreadPoolExecutor(8) as pool:
        entries = pool.map(lambda name: _entry(store, name), wanted)
        return [entry for entry in entries if entry is not None]


def show(reference: str, *, store: Store | None = None) -> dict[str, Any]:
    """Everything about one version: number, digest, tags, aliases, files, config and metrics."""
    store = store or open_store()
    wanted = parse_reference(reference)
    number, digest = layout.resolve(store, wanted)
    record = read_json(store, layout.number_key(wanted.name, number))
    aliases = layout.aliases(store, wanted.name)
    return {
        "name": wanted.name,
        "version": number,
        "digest": digest,
        "url": f"{store.url}/{layout.version_folder(wanted.name, digest)}",
        "tags": record["tags"],
        "published_by": record["by"],
        "published_at": record["at"],
        "aliases": sorted(alias for alias, state in aliases.items() if state["digest"] == digest),
        "files": [vars(file) for file in layout.read_manifest(store, wanted.name, digest).files],
        "config": layout.read_bundle_json(store, wanted.name, digest, bundle.CONFIG),
        "metrics": layout.read_bundle_json(store, wanted.name, digest, bundle.METRICS),
    }


def card(reference: str, *, store: Store | None = None) -> str:
    """The Markdown card of one version."""
    store = store or open_store()
    wanted = parse_reference(reference)
    _, digest = layout.resolve(store, wanted)
    return layout.read_bundle_file(store, wanted.name, digest, bundle.CARD).decode()


def exists(name: str, *, store: Store | None = None) -> None:
    """Raise UnknownModel, with near matches, if the zoo has no version under `name`."""
    store = store or open_store()
    if not layout.numbers(store, name):
        raise unknown_model(name, layout.names(store))


def _entry(store: Store, name: str) -> Entry | None:
    numbers = layout.numbers(store, name)
    if not numbers:
        return None  # a first publish that has not got its number yet
    aliases = {alias: int(state["number"]) for alias, state in layout.aliases(store, name).items()}
    shown = aliases.get("champion", numbers[-1])
    figures = read_json(store, layout.number_key(name, shown)).get("figures", {})
    return Entry(name=name, versions=len(numbers), latest=numbers[-1], aliases=aliases, figures=figures)
