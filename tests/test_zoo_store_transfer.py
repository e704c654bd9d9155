"""Transfers that break: nothing half is ever visible, and what was transferred is not transferred again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.object_server import ObjectStore
from tests.s3_proxy import Misbehaviour, Request, misbehaving
from zoo import multipart
from zoo.errors import Conflict, ObjectMissing, StoreError, StoreUnreachable
from zoo.s3 import S3Store
from zoo.store import open_store, sweep

ROOT = Path(__file__).resolve().parents[1]
LARGE = random.Random(1).randbytes((40 << 20) + 11)  # 6 parts


@pytest.fixture
def gateway(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[S3Store, Misbehaviour]]:
    """A store behind a proxy that can misbehave, and little patience with it."""
    monkeypatch.setattr("zoo.s3_requests.PATIENCE_S", 0.5)
    monkeypatch.setattr("zoo.s3.PATIENCE_S", 2.0)
    with misbehaving(object_store) as (environment, behaviour):
        yield S3Store(f"s3://zoo/{uuid.uuid4().hex}", environment), behaviour


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query, keep_blank_values=True)


def parts_sent(behaviour: Misbehaviour) -> list[int]:
    return sorted(
        int(query(request)["partNumber"][0]) for request in behaviour.seen if "partNumber" in query(request)
    )


def unfinished(store: S3Store) -> list[dict[str, Any]]:
    return multipart._uploads(store._requests, store.prefix)


def is_part(*numbers: int) -> Any:
    return lambda request: (
        request.method == "PUT" and query(request).get("partNumber") in [[str(n)] for n in numbers]
    )


def test_a_broken_download_is_taken_up_where_it_broke(gateway: tuple[S3Store, Misbehaviour]) -> None:
    store, behaviour = gateway
    data = LARGE[: 6 << 20]
    store.put("data", data)
    behaviour.cuts_bodies_at = 900_000
    behaviour.seen.clear()
    assert store.get("data").read() == data
    assert store.get("data", start=5, end=3_000_000).read() == data[5:3_000_000]
    ranges = [request.headers["range"] for request in behaviour.seen if "range" in request.headers]
    assert len(ranges) > 8 and all(int(r.removeprefix("bytes=").split("-")[0]) > 0 for r in ranges)

    behaviour.cuts_bodies_at = 0  # nothing comes any more
    with pytest.raises(StoreError):
        store.get("data").read()


def test_a_broken_download_does_not_go_on_in_another_state(gateway: tuple[S3Store, Misbehaviour]) -> None:
    store, behaviour = gateway
    store.put("data", b"o" * (3 << 20))
    behaviour.cuts_bodies_at = 1_500_000
    chunks = store.get("data").chunks
    assert set(next(chunks)) == {ord("o")}
    store.put("data", b"n" * (3 << 20))
    with pytest.raises(Conflict):
        list(chunks)


def test_a_broken_upload_is_continued(gateway: tuple[S3Store, Misbehaviour], large: Path) -> None:
    store, behaviour = gateway
    behaviour.breaks_before = is_part(4)
    with pytest.raises(StoreUnreachable):
        store.put("big", large)
    assert list(store.list("")) == []
    with pytest.raises(ObjectMissing):
        store.get("big")
    (entry,) = unfinished(store)
    there = {part["PartNumber"] for page in store._requests.pages(
        "list_parts", Key=entry["Key"], UploadId=entry["UploadId"]) for part in page["Parts"]}  # fmt: skip
    assert there and 4 not in there

    behaviour.breaks_before = lambda _: False
    behaviour.seen.clear()
    store.put("big", large)
    assert set(parts_sent(behaviour)) == {1, 2, 3, 4, 5, 6} - there
    assert store.get("big").read() == LARGE
    assert unfinished(store) == []


def test_another_file_does_not_continue_it(gateway: tuple[S3Store, Misbehaviour], large: Path) -> None:
    store, behaviour = gateway
    behaviour.breaks_before = is_part(4)
    with pytest.raises(StoreUnreachable):
        store.put("big", large)
    behaviour.breaks_before = lambda _: False
    behaviour.seen.clear()
    large.write_bytes(LARGE[::-1])
    store.put("big", large)
    assert parts_sent(behaviour) == [1, 2, 3, 4, 5, 6]
    assert store.get("big").read() == LARGE[::-1]
    # What nobody comes back for is swept, when it is old enough.
    assert len(unfinished(store)) == 1
    assert sweep(store, 3600, "") == [] and len(unfinished(store)) == 1
    assert sweep(store, -60, "") == ["big"] and unfinished(store) == []
    assert store.get("big").read() == LARGE[::-1]


def test_a_passing_break_costs_one_part(gateway: tuple[S3Store, Misbehaviour], large: Path) -> None:
    store, behaviour = gateway
    hits = []

    def first_two(request: Request) -> bool:
        if is_part(3)(request):
            hits.append(request)
        return is_part(3)(request) and len(hits) <= 2

    behaviour.breaks_before = first_two
    store.put("big", large)
    assert store.get("big").read() == LARGE
    assert [part for part in parts_sent(behaviour) if part != 3] == [1, 2, 4, 5, 6]


def test_a_lost_reply_to_the_last_request(gateway: tuple[S3Store, Misbehaviour], large: Path) -> None:
    store, behaviour = gateway
    lost: list[Request] = []

    def once(request: Request) -> bool:
        is_last = request.method == "POST" and "uploadId" in query(request)
        lost.extend([request] if is_last else [])
        return is_last and len(lost) == 1

    behaviour.breaks_after = once
    store.put("big", large)
    assert lost and parts_sent(behaviour) == [1, 2, 3, 4, 5, 6]  # and not twice
    assert store.get("big").read() == LARGE and unfinished(store) == []


def test_a_file_that_shrinks_is_refused(
    gateway: tuple[S3Store, Misbehaviour], large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, behaviour = gateway
    monkeypatch.setattr(multipart, "CONNECTIONS", 1)

    def truncate(request: Request) -> bool:
        if is_part(2)(request):
            large.write_bytes(LARGE[: 20 << 20])
        return False

    behaviour.breaks_before = truncate
    with pytest.raises(StoreError, match="became shorter"):
        store.put("big", large)
    assert list(store.list("")) == [] and unfinished(store) == []


def test_twins_upload_the_same_file_at_once(gateway: tuple[S3Store, Misbehaviour], large: Path) -> None:
    store, behaviour = gateway
    behaviour.breaks_before = is_part(6)
    with pytest.raises(StoreUnreachable):
        store.put("big", large)  # which both will find and go on with
    behaviour.breaks_before = lambda _: False
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.put("big", large), range(4)))
    assert store.get("big").read() == LARGE
    assert unfinished(store) == []


PUT = """
import sys
from pathlib import Path
from zoo import multipart
from zoo.store import open_store
multipart.CONNECTIONS = 2
open_store(sys.argv[1]).put("big", Path(sys.argv[2]))
"""


def test_a_killed_upload_is_continued_by_the_next_process(
    gateway: tuple[S3Store, Misbehaviour],
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
    object_store: ObjectStore,
) -> None:
    store, behaviour = gateway
    for key, value in {**object_store.env, "AWS_ENDPOINT_URL": str(store.endpoint)}.items():
        monkeypatch.setenv(key, value)
    reached = threading.Event()

    def hold(request: Request) -> bool:
        if is_part(4)(request):
            reached.set()
        return bool(is_part(4, 5, 6)(request))

    behaviour.breaks_before = hold
    with subprocess.Popen([sys.executable, "-c", PUT, store.url, str(large)], cwd=ROOT) as process:
        assert reached.wait(120)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(store.list("")) == [] and len(unfinished(store)) == 1
    behaviour.breaks_before = lambda _: False
    behaviour.seen.clear()
    subprocess.run([sys.executable, "-c", PUT, store.url, str(large)], cwd=ROOT, check=True, timeout=120)
    assert 4 in parts_sent(behaviour) and 1 not in parts_sent(behaviour)
    assert store.get("big").read() == LARGE and unfinished(store) == []


FILE_PUT = """
import os, sys
from pathlib import Path
import zoo.files
from zoo.store import open_store
zoo.files.os.fsync = lambda descriptor: os.kill(os.getpid(), 9)  # all is written, nothing renamed
open_store(sys.argv[1]).put("big", Path(sys.argv[2]))
"""


def test_a_killed_upload_into_a_folder_is_swept(tmp_path: Path, large: Path) -> None:
    store = open_store(f"file://{tmp_path}/zoo")
    killed = subprocess.run([sys.executable, "-c", FILE_PUT, store.url, str(large)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(store.list("")) == []
    assert sweep(store, 3600, "") == []
    (left,) = sweep(store, -60, "")
    assert left.startswith(".zoo/") and not (tmp_path / "zoo" / left).exists()
    store.put("big", large)
    assert store.get("big").read() == LARGE and sweep(store, -60, "") == []
