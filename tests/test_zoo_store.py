"""What every store must do: one suite, run on files and on a real S3 server."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.object_server import ObjectStore
from zoo.errors import Conflict, ObjectMissing, StoreDenied, StoreError, StoreUnreachable
from zoo.s3 import S3Store
from zoo.store import Store, open_store, sweep

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.mark.parametrize("size", [10, (20 << 20) + 7])  # one request, and several parts
def test_a_range_is_read_alone(store: Store, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(data)
    store.put("ranged", tmp_path / "file")
    tag = store.get("ranged").tag
    for start, end in ((0, 3), (4, None), (7, 99 << 20), (size - 1, size), (0, size), (0, 1)):
        blob = store.get("ranged", start=start, end=end)
        expected = data[start:end]
        assert (blob.size, blob.read(), blob.tag) == (len(expected), expected, tag)
    for start, end in ((size, None), (size + 1, size + 2), (3, 3), (5, 2), (-2, None)):
        with pytest.raises(StoreError, match="ranged|no range"):
            store.get("ranged", start=start, end=end).read()
    with pytest.raises(ObjectMissing):
        store.get("absent", start=0, end=5)


def test_empty_objects(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    store.put("bytes", b"")
    store.put("path", tmp_path / "empty")
    store.put_if("condition", b"", None)
    for key in ("bytes", "path", "condition"):
        blob = store.get(key)
        assert (blob.size, blob.read()) == (0, b"")
        with pytest.raises(StoreError):  # it has no first byte
            store.get(key, start=0, end=1).read()
    assert list(store.list("")) == ["bytes", "condition", "path"]
    store.put_if("condition", b"full", store.get("condition").tag)
    assert store.get("condition").read() == b"full"


ODD_KEYS = [
    "with space/and  two", "plus+sign", "percent%41%2F", "question?mark=1&b=2", "hash#tag", "quote'\"`", "tilde~",
    "colon:semicolon;comma,", "brackets[1]{2}(3)<4>", "at@equals=star*bar|", "dollar$bang!caret^", "..dots", "dots..",
    ".hidden/.zoo/x", "-dash", "ümläut/ñ", "日本語/の鍵", "emoji-🖐", "e\u0301 decomposed", "é composed",
    "l" * 200, "/".join(["deep"] * 60),
]  # fmt: skip


def test_odd_but_legal_keys(store: Store) -> None:
    for key in ODD_KEYS:
        store.put(f"odd/{key}", key.encode())
    assert list(store.list("odd/")) == sorted(f"odd/{key}" for key in ODD_KEYS)
    for key in ODD_KEYS:
        blob = store.get(f"odd/{key}")
        assert blob.read() == key.encode()
        store.put_if(f"odd/{key}", b"replaced", blob.tag)
        with pytest.raises(Conflict):
            store.put_if(f"odd/{key}", b"again", blob.tag)
        store.delete(f"odd/{key}")
    assert list(store.list("odd/")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", ".", "a\\b", "a\nb", "a\0b", "\u202ea", "\ud800", "é" * 101]
    + ["/".join(["long"] * 200)],
)  # fmt: skip
def test_other_keys_are_refused(store: Store, key: str) -> None:
    for attempt in (
        lambda: store.get(key),
        lambda: store.put(key, b"x"),
        lambda: store.put_if(key, b"x", None),
        lambda: store.delete(key),
    ):
        with pytest.raises(StoreError, match="is not a key"):
            attempt()
    assert list(store.list("")) == []


def test_only_folders_are_listed(store: Store) -> None:
    store.put("m/a", b"x")
    for prefix in ("m", "m/a", "/", "../", "m//"):
        with pytest.raises(StoreError):
            store.list(prefix)


def test_list_is_sorted_and_can_stop_at_folders(store: Store) -> None:
    for key in ("m/b/2.json", "m/b-c/1.json", "m/a.json", "m/b/10.json", "n/x"):
        store.put(key, b"x")
    assert list(store.list("m/")) == ["m/a.json", "m/b-c/1.json", "m/b/10.json", "m/b/2.json"]
    assert list(store.list("m/", deep=False)) == ["m/a.json", "m/b-c/", "m/b/"]
    assert list(store.list("none/")) == []


def test_list_over_many_pages(store: Store) -> None:
    keys = [f"many/{i % 7}/{i}.json" for i in range(2100)]  # S3 answers 1,000 at a time
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert list(store.list("many/")) == sorted(keys)
    assert list(store.list("many/", deep=False)) == [f"many/{i}/" for i in range(7)]
    assert list(store.list("many/3/")) == sorted(key for key in keys if key.startswith("many/3/"))


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


RACER = """
import sys, time
from zoo.errors import Conflict
from zoo.store import open_store
store, me = open_store(sys.argv[1]), sys.argv[2]
tags = [store.get(f"replaced/{i}").tag for i in range(5)]
print("ready", flush=True)
sys.stdin.readline()
for i in range(5):
    for key, tag in ((f"made/{i}", None), (f"replaced/{i}", tags[i])):
        try:
            store.put_if(key, f"{me} {i}".encode(), tag)
            print(key, flush=True)
        except Conflict:
            pass
"""


def test_one_winner_among_processes(store: Store) -> None:
    for i in range(5):
        store.put(f"replaced/{i}", b"start")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.url, str(me)], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT
        )
        for me in range(4)
    ]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = {me: racer.communicate(timeout=120)[0].split() for me, racer in enumerate(racers)}
    assert [racer.returncode for racer in racers] == [0] * 4
    for i in range(5):
        for key in (f"made/{i}", f"replaced/{i}"):
            winners = [me for me, won in wins.items() if key in won]
            assert len(winners) == 1 and store.get(key).read() == f"{winners[0]} {i}".encode()


def test_a_failed_upload_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        store.put("half", tmp_path / "no such file")
    with pytest.raises(StoreError):
        store.put("half", tmp_path)  # a folder
    assert list(store.list("")) == []
    assert sweep(store, -60, "") == []


def test_a_state_is_read_to_its_end_while_it_is_replaced(store: Store, tmp_path: Path) -> None:
    old, new = b"o" * (5 << 20), b"n" * (5 << 20)
    store.put("state", old)
    blob = store.get("state")
    first = next(blob.chunks)
    store.put("state", new)
    try:
        assert first + blob.read() == old
    except StoreError:  # a server that does not keep what is being read must say so, and not mix the two
        pass
    assert store.get("state").read() == new


def test_s3_faults_are_explained(object_store: ObjectStore) -> None:
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
