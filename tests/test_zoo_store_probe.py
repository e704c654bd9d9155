"""A store without working conditional writes is found out and refused, on real servers that lack them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.object_server import ObjectStore
from tests.s3_proxy import Misbehaviour, misbehaving
from zoo import store_probe
from zoo.errors import StoreUnreachable, UnsafeStore
from zoo.s3 import S3Store
from zoo.store import Store, open_store, read_json, to_json


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_probe, "_passed", set())


@pytest.fixture
def gateway(object_store: ObjectStore) -> Iterator[tuple[S3Store, Misbehaviour]]:
    with misbehaving(object_store) as (environment, behaviour):
        yield S3Store(f"s3://zoo/{uuid.uuid4().hex}", environment), behaviour


def test_a_sound_store_passes_and_is_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store_probe.check(store)
    assert list(store.list("")) == [store_probe.KEY]
    before = store.get(store_probe.KEY).read()
    monkeypatch.setattr(store_probe, "_passed", set())  # as in another process
    store_probe.check(store)
    assert store.get(store_probe.KEY).read() == before

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(type(store), "get", fail)
    store_probe.check(store)


@pytest.mark.parametrize(
    ("strips", "fault"),
    [
        ({"if-none-match", "if-match"}, "If-None-Match"),
        ({"if-none-match"}, "If-None-Match"),
        ({"if-match"}, "If-Match is ignored"),
    ],
)
def test_ignored_conditions_are_found_out(
    gateway: tuple[S3Store, Misbehaviour], strips: set[str], fault: str
) -> None:
    store, behaviour = gateway
    behaviour.strips = strips
    for _ in range(2):  # and it is not believed the second time
        with pytest.raises(UnsafeStore, match=fault) as error:
            store_probe.check(store)
        assert str(store.endpoint) in str(error.value) and "LATENTACT_ZOO" in str(error.value)
    behaviour.strips = set()
    store_probe.check(store)


@pytest.mark.parametrize(
    ("refuses", "fault"),
    [
        ({"if-match": (412, "PreconditionFailed")}, "with the right tag"),
        ({"if-none-match": (501, "NotImplemented")}, "refused by the proxy"),
    ],
)
def test_a_server_that_knows_no_conditions_is_refused(
    gateway: tuple[S3Store, Misbehaviour],
    refuses: dict[str, tuple[int, str]],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_probe, "ATTEMPTS", 5)
    store, behaviour = gateway
    behaviour.refuses = refuses
    with pytest.raises(UnsafeStore, match=fault):
        store_probe.check(store)


def test_a_gateway_that_looks_and_then_writes_is_found_out(
    gateway: tuple[S3Store, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One race finds it 39 times of 40 (2 CPU cores); the suite must not fail by chance.
    monkeypatch.setattr(store_probe, "RACES", 8)
    store, behaviour = gateway
    behaviour.looks_then_writes = True
    with pytest.raises(UnsafeStore, match="writers at once replaced the same state"):
        store_probe.check(store)


def test_a_result_is_not_believed_elsewhere_or_for_ever(store: Store, tmp_path: Path) -> None:
    store_probe.check(store)
    state = read_json(store, store_probe.KEY)
    copied_to = open_store(f"file://{tmp_path}/copy")
    copied_to.put(store_probe.KEY, to_json(state))
    store_probe.check(copied_to)
    assert read_json(copied_to, store_probe.KEY)["passed"] != state["passed"]

    for at in (datetime.now(UTC) - timedelta(days=31), datetime.now(UTC) + timedelta(days=1), "nonsense"):
        old = to_json({**state, "at": str(at)})
        store.put(store_probe.KEY, old)
        store_probe._passed.clear()
        store_probe.check(store)
        assert store.get(store_probe.KEY).read() != old


def test_a_damaged_result_is_made_again(store: Store) -> None:
    store.put(store_probe.KEY, b"\xff not JSON")
    store_probe.check(store)
    assert json.loads(store.get(store_probe.KEY).read())["passed"]


def test_many_may_check_at_once(store: Store) -> None:
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: store_probe._probe(store, store_probe._place(store)), range(12)))
    store_probe.check(store)


def test_a_server_that_is_down_is_not_called_unsafe(
    gateway: tuple[S3Store, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.s3_requests.PATIENCE_S", 0.5)
    store, behaviour = gateway
    behaviour.breaks_before = lambda _: True
    with pytest.raises(StoreUnreachable):
        store_probe.check(store)
