"""Listing what a zoo holds: conditions, orders, versions; on files, and on a real S3 server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from zoo_bundles import write_bundle

import zoo
from zoo import filters, layout, s3_client
from zoo.errors import BadFilter, DamagedRecord
from zoo.store import Store, open_store, to_json

OBJECTS, TASKS = "latentact-world-objects", "latentact-world-tasks"
OURS = "ourlab/latentact-glass-objects"


def plant(store: Store, name: str, number: int, test_cm: float | None = None, **tags: str) -> None:
    """The record of a version, as publishing writes it."""
    figures = {} if test_cm is None else {"test_mpjpe_cm": test_cm, "val_contact_f1": 0.1 * number}
    record = {
        "schema": 1, "number": number, "digest": f"{number:064x}", "tags": tags, "figures": figures, "by": "ann",
        "at": f"2026-01-{number:02d}T00:00:00.000+00:00",
    }  # fmt: skip
    store.put(layout.number_key(name, number), to_json(record))


def crown(store: Store, name: str, number: int, alias: str = "champion", **more: object) -> None:
    """The state of an alias, as promotion writes it."""
    state = {"schema": 1, "alias": alias, "number": number, "digest": f"{number:064x}", "sequence": 1, **more}
    store.put(layout.alias_key(name, alias), to_json(state))


def fill(store: Store) -> Store:
    for number, test_cm in enumerate((6.5, 5.5, 7.5), 1):
        plant(store, OBJECTS, number, test_cm, team="ours", sweep=f"codebook-{number}")
    crown(store, OBJECTS, 2)
    crown(store, OBJECTS, 3, "staging")
    plant(store, TASKS, 1, 5.0, team="theirs", seed="7")
    plant(store, OURS, 1)
    return store


@pytest.fixture
def zoo_of_three(store: Store) -> Store:
    return fill(store)


def names(store: Store, *where: str, pattern: str = "*", **more: object) -> list[str]:
    return [entry.name for entry in zoo.ls(pattern, where=where, store=store, **more)]


def test_an_entry_shows_the_champion_or_else_the_newest(zoo_of_three: Store) -> None:
    objects, tasks, ours = zoo.ls(store=zoo_of_three)
    assert (objects.latest, objects.versions, objects.shown) == (3, 3, 2)
    assert objects.aliases == {"champion": 2, "staging": 3}
    assert objects.figures == {"test_mpjpe_cm": 5.5, "val_contact_f1": 0.2}
    assert objects.tags == {"team": "ours", "sweep": "codebook-2"} and objects.at.startswith("2026-01-02")
    assert (tasks.shown, tasks.aliases, ours.figures) == (1, {}, {})
    assert names(zoo_of_three, pattern="latentact-*") == [OBJECTS, TASKS]
    assert names(zoo_of_three, pattern="ourlab/*") == [OURS]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["test_mpjpe_cm<5.5"], [TASKS]),
        (["test_mpjpe_cm <= 5.5"], [OBJECTS, TASKS]),
        (["test_mpjpe_cm>5", "val_contact_f1>=0.2"], [OBJECTS]),
        (["test_mpjpe_cm=5.50"], [OBJECTS]),
        (["test_mpjpe_cm!=5.5"], [TASKS, OURS]),  # what has no such figure does not have this one
        (["tag.team=ours"], [OBJECTS]),
        (["tag.team!=ours"], [TASKS, OURS]),
        (["tag.sweep=codebook-*"], [OBJECTS]),
        (["tag.seed==7.0"], [TASKS]),
        (["tag.team<5"], []),  # a word is not less than a number
        (["setting=objects", "team!=ourlab"], [OBJECTS]),
        (["team=ourlab"], [OURS]),
        (["versions>1"], [OBJECTS]),
        (["at=2026-01-01*"], [TASKS, OURS]),
    ],
)
def test_conditions(tmp_path: Path, where: list[str], expected: list[str]) -> None:
    assert names(fill(open_store(f"file://{tmp_path}")), *where) == expected


def test_orders_and_limits(zoo_of_three: Store) -> None:
    assert names(zoo_of_three, sort="test_mpjpe_cm") == [TASKS, OBJECTS, OURS]
    assert names(zoo_of_three, sort="-test_mpjpe_cm") == [OBJECTS, TASKS, OURS]  # without the figure: last
    assert names(zoo_of_three, sort="-at", limit=1) == [OBJECTS]
    assert names(zoo_of_three, sort="data") == [OURS, OBJECTS, TASKS]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tst_mpjpe_cm<6", "Did you mean test_mpjpe_cm"),
        ("tag.teem=ours", r"Did you mean tag\.team.*Fields: at, by"),
        ("test_mpjpe_cm", "is not a condition: write FIELD"),
        ("test_mpjpe_cm<", "is not a condition"),
        ("test_mpjpe_cm<six", "'six', which is not a number"),
        ("test_mpjpe_cm<nan", "'nan', which is not a number"),
    ],
)
def test_bad_conditions_name_what_there_is(tmp_path: Path, where: str, said: str) -> None:
    store = open_store(f"file://{tmp_path}")
    plant(store, OBJECTS, 1, 5.0, team="ours")
    with pytest.raises(BadFilter, match=said):
        zoo.ls(where=[where], store=store)


def test_a_bad_order_names_what_there_is(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    assert zoo.ls(sort="anything", where=["anything<1"], store=store) == []  # nothing to be wrong about
    plant(store, OBJECTS, 1, 5.0)
    with pytest.raises(
        BadFilter, match="'-test_mpjpe' names the field 'test_mpjpe'.*Did you mean test_mpjpe_cm"
    ):
        zoo.ls(sort="-test_mpjpe", store=store)


def test_numbers_come_before_words_in_an_order() -> None:
    items: list[filters.Facts] = [{"x": "a"}, {}, {"x": 2.0}, {"x": 10.0}]
    assert filters.order(items, dict, "x") == [{"x": 2.0}, {"x": 10.0}, {"x": "a"}, {}]


def test_what_is_odd_in_the_store_hides_no_model(zoo_of_three: Store) -> None:
    """A lost record, a folder that is no model's, a first publish that has no number yet."""
    crown(zoo_of_three, TASKS, 9)
    plant(zoo_of_three, "vqvae3-world", 1, 4.0)
    zoo_of_three.put("models/latentact-new-objects/versions/abc/config.json", b"{}")
    assert names(zoo_of_three) == [OBJECTS, TASKS, OURS]
    assert names(zoo_of_three, "test_mpjpe_cm<6") == [OBJECTS]
    assert names(zoo_of_three, "setting=objects") == [OBJECTS, OURS]


def test_a_hostile_alias_cannot_paint_the_terminal(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    plant(store, OBJECTS, 1)
    crown(store, OBJECTS, 1, record={"tags": {"team": "\x1b[31mours\nmine"}, "by": "a\rb"})
    (entry,) = zoo.ls(store=store)
    assert entry.tags == {"team": " [31mours mine"} and entry.by == "a b"
    crown(store, OBJECTS, 1, record={"figures": {"test_mpjpe_cm": "a lot"}})
    with pytest.raises(DamagedRecord, match="figures that are no numbers"):
        zoo.ls(store=store)


def test_every_version(zoo_of_three: Store) -> None:
    seen: list[tuple[int, int]] = []
    found = zoo.versions("*world*", store=zoo_of_three, report=lambda done, total: seen.append((done, total)))
    assert [(version.name, version.version) for version in found] == [
        (OBJECTS, 1), (OBJECTS, 2), (OBJECTS, 3), (TASKS, 1),
    ]  # fmt: skip
    assert [version.aliases for version in found] == [[], ["champion"], ["staging"], []]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    best = zoo.versions(where=["tag.team=ours"], sort="test_mpjpe_cm", limit=2, store=zoo_of_three)
    assert [version.version for version in best] == [2, 1]


def test_a_published_version_is_listed_with_its_figures_and_tags(store: Store, tmp_path: Path) -> None:
    zoo.publish(OBJECTS, write_bundle(tmp_path / "bundle"), tags={"team": "ours"}, store=store)
    (entry,) = zoo.ls(where=["val_mpjpe_cm<4", "tag.team=ours"], store=store)
    assert entry.figures["val_mpjpe_cm"] == 3.25 and entry.by and entry.at
    zoo.promote(OBJECTS, 1, store=store)
    (promoted,) = zoo.ls(store=store)
    assert promoted == replace(entry, aliases={"champion": 1})  # whichever object it was read from
    (version,) = zoo.versions(store=store)
    assert version.digest == zoo.show(f"{OBJECTS}@1", store=store)["digest"] and not version.collected


def test_a_listing_says_what_boto3_says(
    object_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick reader of listings, against botocore's own: many keys, odd ones, folders, several pages."""
    import boto3

    for key, value in object_store.env.items():
        monkeypatch.setenv(key, value)
    store = open_store(f"s3://zoo/{tmp_path.name}")
    odd = ["a&b<c>.json", "d e+f%20.json", "\u00e9\u4e2d.json", "quote\"'.json", "deep/er/x.json"]
    for key in [*odd, *(f"{number}.json" for number in range(30))]:
        store.put(f"top/{key}", b"{}")
    plain = boto3.client("s3", endpoint_url=object_store.endpoint)
    ask = {"Bucket": "zoo", "Prefix": f"{tmp_path.name}/top/", "MaxKeys": 7}
    for more in ({}, {"Delimiter": "/"}):
        listed = []
        for client in (plain, s3_client.read_quickly(boto3.client("s3", endpoint_url=object_store.endpoint))):
            pages = list(client.get_paginator("list_objects_v2").paginate(**ask, **more))
            assert len(pages) > 3
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
            listed.append((keys, [f["Prefix"] for page in pages for f in page.get("CommonPrefixes", ())]))
        assert listed[0] == listed[1] and len(listed[0][0]) >= 34
    assert sorted(key.removeprefix("top/") for key in store.list("top/")) == sorted(
        [*odd, *(f"{number}.json" for number in range(30))]
    )
