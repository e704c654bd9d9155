"""What every store must do: one suite, run on files and on a real S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoo.errors import Conflict, ObjectMissing, StoreDenied, StoreError, StoreUnreachable
from zoo.s3 import S3Store
from zoo.store import Store, open_store


def test_put_get_replace_delete(store: Store, tmp_path: Path) -> None:
    store.put("a/b.json", b"one")
    store.put("a/b.json", b"two")
    assert store.get("a/b.json").read() == b"two" and store.get("a/b.json").size == 3
    big = bytes(range(256)) * 80_000  # 20 MB: several parts
    (tmp_path / "big").write_bytes(big)
    store.put("big", tmp_path / "big")
    blob = store.get("big")
    assert blob.size == len(big) and blob.read() == big
    store.delete("a/b.json")
    store.delete("a/b.json")
    with pytest.raises(ObjectMissing, match="a/b.json"):
        store.get("a/b.json")


def test_a_range_is_read_alone(store: Store) -> None:
    store.put("letters", b"abcdefghij")
    for start, end, expected in ((0, 3, b"abc"), (4, None, b"efghij"), (7, 99, b"hij"), (9, 10, b"j")):
        blob = store.get("letters", start=start, end=end)
        assert (blob.size, blob.read()) == (len(expected), expected)
        assert blob.tag == store.get("letters").tag
    with pytest.raises(StoreError, match="letters"):
        store.get("letters", start=11, end=12).read()


def test_empty_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.get("empty").read() == b""


def test_list_is_sorted_and_can_stop_at_folders(store: Store) -> None:
    for key in ("m/b/2.json", "m/b-c/1.json", "m/a.json", "m/b/10.json", "n/x"):
        store.put(key, b"x")
    assert list(store.list("m/")) == ["m/a.json", "m/b-c/1.json", "m/b/10.json", "m/b/2.json"]
    assert list(store.list("m/", deep=False)) == ["m/a.json", "m/b-c/", "m/b/"]
    assert list(store.list("none/")) == []


def test_create_only_once(store: Store) -> None:
    store.put_if("n/1.json", b"mine", None)
    store.put_if("n/1.json", b"mine", None)  # a repeated request whose first reply was lost
    with pytest.raises(Conflict):
        store.put_if("n/1.json", b"yours", None)
    assert store.get("n/1.json").read() == b"mine"


def test_replace_only_the_state_that_was_read(store: Store) -> None:
    store.put_if("alias", b"1", None)
    old = store.get("alias").tag
    store.put_if("alias", b"2", old)
    store.put_if("alias", b"2", old)
    with pytest.raises(Conflict):
        store.put_if("alias", b"3", old)
    with pytest.raises(Conflict):
        store.put_if("absent", b"3", old)
    assert store.get("alias").read() == b"2"


@pytest.mark.parametrize("create", [True, False])
def test_one_winner_of_a_race(store: Store, create: bool) -> None:
    tag = None
    if not create:
        store.put("raced", b"start")
        tag = store.get("raced").tag

    def attempt(i: int) -> int | None:
        try:
            store.put_if("raced", f"writer {i}".encode(), tag)
        except Conflict:
            return None
        return i

    with ThreadPoolExecutor(12) as pool:
        winners = [i for i in pool.map(attempt, range(12)) if i is not None]
    assert len(winners) == 1
    assert store.get("raced").read() == f"writer {winners[0]}".encode()


def test_a_failed_upload_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        store.put("half", tmp_path / "no such file")
    assert list(store.list("")) == []


def test_s3_faults_are_explained(object_store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreDenied, match="AWS_SECRET_ACCESS_KEY"):
        S3Store("s3://zoo", {**object_store.env, "AWS_SECRET_ACCESS_KEY": "wrong"}).put("x", b"x")
    with pytest.raises(StoreDenied, match="refuses the credentials"):
        list(S3Store("s3://zoo", {**object_store.env, "AWS_ACCESS_KEY_ID": "nobody"}).list(""))
    with pytest.raises(StoreError, match="no bucket 'elsewhere'"):
        S3Store("s3://elsewhere", object_store.env).put("x", b"x")
    with pytest.raises(StoreUnreachable, match="AWS_ENDPOINT_URL"):
        S3Store("s3://zoo", {**object_store.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})


def test_bad_addresses() -> None:
    for url in ("ftp://x", "zoo", "s3://", "file://relative"):
        with pytest.raises(StoreError, match="LATENTACT_ZOO"):
            open_store(url)
