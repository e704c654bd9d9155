"""Look at what a zoo holds: list, show, card.

A listing asks the store for what is true now, and keeps no index that could disagree with it: three small
requests for each model (its numbers, its aliases, its champion), several at once, however many versions it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zoo import bundle, filters, layout
from zoo.errors import ObjectMissing
from zoo.identity import publisher
from zoo.names import DEFAULT_ALIAS, parse_name, parse_reference, unknown_model
from zoo.records import checked, read_record
from zoo.store import Store, open_store

REQUESTS = 8  # at once; more only queue up in this process

T = TypeVar("T", bound="Entry | Version")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model in a listing.

    `figures`, `tags`, `by` and `at` are those of version `shown`: the champion, or the newest where there is none.
    """

    name: str
    versions: int
    latest: int
    aliases: dict[str, int]
    shown: int
    figures: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    by: str = ""
    at: str = ""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model in a listing. `collected`: its bytes were taken away by `zoo gc`."""

    name: str
    version: int
    digest: str
    aliases: list[str]
    figures: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    by: str = ""
    at: str = ""
    collected: bool = False


def ls(
    pattern: str = "*",
    *,
    where: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    store: Store | None = None,
) -> list[Entry]:
    """The models whose name matches a shell pattern (`latentact-*-objects`), ordered by name.

    `where` holds conditions such as "test_mpjpe_cm<6" or "tag.team=ours", all of which must hold (`zoo.filters` has
    the grammar); `sort` is a field, with a - in front for the largest first; `limit` is how many to give.
    Raises BadFilter, StoreError.
    """
    store = store or open_store()
    with ThreadPoolExecutor(REQUESTS) as pool:
        entries = list(pool.map(lambda name: _entry(store, name), layout.names(store, pattern)))
    return _chosen([entry for entry in entries if entry is not None], where, sort, limit)


def versions(
    pattern: str = "*",
    *,
    where: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    store: Store | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Version]:
    """Every version of the models whose name matches, ordered by name and number; arguments as for `ls`.

    One request for each version: `report(done, total)` is called as they come in.
    """
    store = store or open_store()
    with ThreadPoolExecutor(REQUESTS) as pool:
        names = layout.names(store, pattern)
        numbers = list(pool.map(lambda name: layout.numbers(store, name), names))
        holders = list(pool.map(lambda name: _holders(store, name), names))
        wanted = [(i, number) for i, known in enumerate(numbers) for number in known]
        records = pool.map(
            lambda pair: read_record(store, layout.number_key(names[pair[0]], pair[1])), wanted
        )
        found = []
        for done, ((i, number), record) in enumerate(zip(wanted, records, strict=True), 1):
            found.append(
                Version(
                    name=names[i],
                    version=number,
                    digest=str(record["digest"]),
                    aliases=sorted(alias for alias, held in holders[i].items() if held == number),
                    collected=bool(record.get("collected")),
                    **_of_record(record),
                )
            )
            report(done, len(wanted))
    return _chosen(found, where, sort, limit)


def show(reference: str, *, store: Store | None = None) -> dict[str, Any]:
    """Everything about one version: number, digest, tags, aliases, files, config and metrics."""
    store = store or open_store()
    wanted = parse_reference(reference)
    number, digest = layout.resolve(store, wanted)
    record = read_record(store, layout.number_key(wanted.name, number))
    aliases = layout.aliases(store, wanted.name)
    return {
        "name": wanted.name,
        "version": number,
        "digest": digest,
        "url": f"{store.url}/{layout.version_folder(wanted.name, digest)}",
        "tags": record["tags"],
        "figures": record.get("figures", {}),
        "published_by": publisher(record),
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


def facts(item: Entry | Version) -> filters.Facts:
    """What conditions and orders may ask of a model or a version: its figures, its tags as `tag.<key>`, the parts of
    its name, its numbers, who published it and when.
    """
    name = parse_name(item.name)
    found: filters.Facts = {
        "name": item.name, "team": name.team, "data": name.data, "setting": name.setting, "mode": name.mode,
        "kind": "codebook" if name.codebook else "model", "by": item.by, "at": item.at,
        "version": float(item.version if isinstance(item, Version) else item.shown),
    }  # fmt: skip
    if isinstance(item, Entry):
        found["versions"] = float(item.versions)
    return found | item.figures | {f"tag.{key}": value for key, value in item.tags.items()}


def _entry(store: Store, name: str) -> Entry | None:
    numbers = layout.numbers(store, name)
    if not numbers:
        return None  # a first publish that has not got its number yet
    states = layout.aliases(store, name)
    aliases = {alias: int(state["number"]) for alias, state in states.items()}
    shown = aliases.get(DEFAULT_ALIAS, numbers[-1])
    champion, record = states.get(DEFAULT_ALIAS, {}), {}
    if isinstance(champion.get("record"), dict):
        record = checked({**champion, **champion["record"]}, f"The champion of {name}")
    else:
        with suppress(ObjectMissing):  # one model whose record was lost does not hide the others
            record = read_record(store, layout.number_key(name, shown))
    return Entry(
        name=name, versions=len(numbers), latest=numbers[-1], aliases=aliases, shown=shown, **_of_record(record)
    )  # fmt: skip


def _holders(store: Store, name: str) -> dict[str, int]:
    """Alias -> number of the version that holds it."""
    return {alias: int(state["number"]) for alias, state in layout.aliases(store, name).items()}


def _of_record(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "figures": record.get("figures", {}), "tags": record.get("tags", {}),
        "by": publisher(record), "at": str(record.get("at", "")),
    }  # fmt: skip


def _chosen(items: list[T], where: Iterable[str], sort: str | None, limit: int | None) -> list[T]:
    chosen = filters.select(items, facts, where)
    if sort is not None and chosen:
        chosen = filters.order(chosen, facts, sort)
    return chosen if limit is None else chosen[:limit]
