"""Pull: in ranges, resumed after a break, shared between processes, with a cache that cannot be written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from safetensors.numpy import save_file
from zoo_bundles import write_bundle

import zoo
from tests.named_zoo import named_zoo
from tests.slow_network import slow_network
from zoo import bundle, download, layout, pulling
from zoo.cache import blob_path, cache, check_room
from zoo.errors import CacheError, DamagedBundle, StoreUnreachable
from zoo.names import parse_reference
from zoo.partial import gaps, merged
from zoo.store import Store

OBJECTS = "latentact-world-objects"
LARGE = 24_000_000  # bytes of the weights; several ranges
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A zoo with a large model, which is also the one that the environment names, and an empty cache."""
    store = named_zoo(request, tmp_path, monkeypatch)
    folder = write_bundle(tmp_path / "bundle")
    weights = np.random.default_rng(0).integers(0, 256, LARGE, dtype=np.uint8)
    save_file({"weight": weights}, folder / "model.safetensors")
    zoo.publish(OBJECTS, folder)
    return store


def weights_of(store: Store) -> tuple[str, bundle.File]:
    """The key of the large object, and its line in the manifest."""
    _, digest = layout.resolve(store, parse_reference(f"{OBJECTS}@1"))
    (file,) = [f for f in layout.read_manifest(store, OBJECTS, digest).files if f.path == "model.safetensors"]
    return f"{layout.version_folder(OBJECTS, digest)}/{file.path}", file


def asked_of(store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """The ranges of an object that are read from now on."""
    get: Any = type(store).get
    asked: list[tuple[int, int | None]] = []

    def noting(self: Store, wanted: str, *, start: int = 0, end: int | None = None) -> object:
        if wanted == key:
            asked.append((start, end))
        return get(self, wanted, start=start, end=end)

    monkeypatch.setattr(type(store), "get", noting)
    return asked


def assert_whole(folder: Path, original: Path) -> None:
    assert (folder / "model.safetensors").read_bytes() == (original / "model.safetensors").read_bytes()
    bundle.verify(folder)
    assert not list((cache() / "partial").iterdir()) and not list((cache() / "tmp").iterdir())


def python(script: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


PULL = f"import zoo; print(zoo.pull('{OBJECTS}@1'))"


@contextmanager
def network(bytes_per_s: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The S3 server behind a slow network; how many bytes have come through."""
    passed = [0]
    place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with slow_network(str(place.hostname), int(place.port or 80), bytes_per_s, passed) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        yield passed


def test_a_large_file_comes_in_ranges(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, file = weights_of(store)
    asked = asked_of(store, key, monkeypatch)
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")
    ranges = [(start, file.size if end is None else end) for start, end in asked]
    assert merged(ranges) == [(0, file.size)] and sum(b - a for a, b in ranges) == file.size
    assert (len(ranges) > 3) == store.url.startswith("s3:")


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_killed_download_goes_on_where_it_stopped(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with network(12e6, monkeypatch) as passed:
        killed = python(PULL)
        while passed[0] < LARGE / 2 and killed.poll() is None:
            time.sleep(0.02)
        killed.kill()
        killed.wait()
        assert not blob_path(weights_of(store)[1].sha256).exists()
        kept = sum(path.stat().st_blocks * 512 for path in (cache() / "partial").rglob("*.data"))
        assert kept > LARGE / 4
        before = passed[0]
        assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")
        assert passed[0] - before < LARGE - kept / 2


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_many_processes_download_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with network(12e6, monkeypatch) as passed:
        pullers = [python(PULL) for _ in range(3)]
        folders = {puller.communicate(timeout=120)[0].strip() for puller in pullers}
        assert [puller.returncode for puller in pullers] == [0] * 3
    (folder,) = folders
    assert_whole(Path(folder), tmp_path / "bundle")
    assert passed[0] < 1.5 * LARGE


def test_a_puller_that_hangs_is_not_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = weights_of(store)
    folder = download.partial_folder(file.sha256)
    script = f"""
    import fcntl, os, time
    from pathlib import Path
    Path({str(folder)!r}).mkdir(parents=True)
    lock = os.open({str(folder / "lock")!r}, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(600)
    """
    hanging = python(script)
    assert hanging.stdout and hanging.stdout.readline() == "locked\n"
    hanging.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(download, "STALLED_S", 0.5)
    try:
        pulled = zoo.pull(f"{OBJECTS}@1")
    finally:
        hanging.kill()
        hanging.wait()
    bundle.verify(pulled)


@pytest.mark.parametrize("without_data", [True, False])
def test_bytes_left_by_a_machine_that_lost_power(store: Store, tmp_path: Path, without_data: bool) -> None:
    """The journal says that ranges are written, and they are zeros; some lines of it make no sense."""
    _, file = weights_of(store)
    folder = download.partial_folder(file.sha256)
    folder.mkdir(parents=True)
    with open(folder / "old.data", "wb") as data:
        data.truncate(file.size)
    (folder / "old.done").write_text(f"0 5000000\n-1 7\nx y\n9 3\n0 {10**12}\n6000000 7000000\n8000000 90000")
    if without_data:
        (folder / "torn.done").write_text("0 100\n")
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")


def test_a_good_rest_is_not_fetched_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, file = weights_of(store)
    folder = download.partial_folder(file.sha256)
    folder.mkdir(parents=True)
    data = (tmp_path / "bundle" / "model.safetensors").read_bytes()
    (folder / "old.data").write_bytes(data)
    (folder / "old.done").write_text(f"0 5000000\n7000000 {file.size}\n")
    asked = asked_of(store, key, monkeypatch)
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")
    assert asked == [(5_000_000, 7_000_000)]


@pytest.mark.parametrize("wrong", ["shorter", "much shorter", "flipped", "missing"])
def test_an_object_with_other_bytes(store: Store, tmp_path: Path, wrong: str) -> None:
    key, file = weights_of(store)
    data = (tmp_path / "bundle" / "model.safetensors").read_bytes()
    changed = {"shorter": data[:-1], "much shorter": data[:10], "flipped": data[:-1] + bytes([data[-1] ^ 1])}
    if wrong == "missing":
        store.delete(key)
    else:
        store.put(key, changed[wrong])
    with pytest.raises(DamagedBundle, match=r"model\.safetensors"):
        zoo.pull(f"{OBJECTS}@1")
    assert (
        not list(download.partial_folder(file.sha256).glob("*.data")) and not (cache() / "versions").exists()
    )
    store.put(key, data)
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")


def test_what_came_before_the_network_broke_is_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, file = weights_of(store)
    get = type(store).get

    def breaking(self: Store, wanted: str, *, start: int = 0, end: int | None = None) -> object:
        blob = get(self, wanted, start=start, end=end)
        if wanted != key:
            return blob

        def chunks() -> Iterator[bytes]:
            yield next(blob.chunks)
            raise StoreUnreachable("the network is cut")

        return type(blob)(blob.tag, blob.size, chunks())

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "get", breaking)
        with pytest.raises(StoreUnreachable):
            zoo.pull(f"{OBJECTS}@1")
    (journal,) = download.partial_folder(file.sha256).glob("*.done")
    assert journal.read_text().endswith("\n")
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")


def test_a_blob_that_a_prune_takes_is_fetched_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = weights_of(store)
    fetch, taken = pulling.download, []

    def pruned(*args: object) -> None:
        fetch(*args)
        if not taken:
            taken.append(blob_path(file.sha256).unlink())

    monkeypatch.setattr(pulling, "download", pruned)
    assert_whole(zoo.pull(f"{OBJECTS}@1"), tmp_path / "bundle")


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_cache_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    """Warm pulls work; a cold one says what to do. In a process that is not root, whom nothing stops."""
    zoo.publish(OBJECTS, write_bundle(tmp_path / "second", seed=1))
    zoo.promote(OBJECTS, 1)
    with tempfile.TemporaryDirectory() as shared:
        script = f"""
        import os, sys
        import zoo
        from zoo.errors import CacheError
        os.environ["LATENTACT_ZOO_CACHE"] = "{shared}"
        warm = zoo.pull("{OBJECTS}@1")
        store = zoo.open_store()
        get = lambda: [zoo.pull(name, store=store) for name in ("{OBJECTS}@1", "{OBJECTS}")]
        assert get() == [warm, warm]
        for folder, _, _ in os.walk("{shared}"):
            os.chmod(folder, 0o555)
        os.chmod("{tmp_path}", 0o755)
        before = sorted(os.walk("{shared}"))
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
        assert not os.access("{shared}", os.W_OK)
        assert get() == [warm, warm]
        os.environ["LATENTACT_OFFLINE"] = "1"
        assert get()[0] == warm
        del os.environ["LATENTACT_OFFLINE"]
        try:
            zoo.pull("{OBJECTS}@2", store=store)
        except CacheError as error:
            print(error)
        assert sorted(os.walk("{shared}")) == before
        """
        os.chmod(shared, 0o755)
        for parent in tmp_path.parents:
            if parent.name.startswith(("pytest", "popen")):
                parent.chmod(0o755)
        ran = python(script)
        said, trouble = ran.communicate(timeout=60)
        assert ran.returncode == 0, trouble
        assert re.search("cannot be written.*set LATENTACT_ZOO_CACHE", said), said
        for folder, _, _ in os.walk(shared):
            os.chmod(folder, 0o755)


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_disk_that_is_full(store: Store) -> None:
    with pytest.raises(CacheError, match="zoo cache prune"):
        check_room(1 << 60)
    script = f"""
    import resource, zoo
    from zoo.errors import CacheError
    resource.setrlimit(resource.RLIMIT_FSIZE, ({LARGE // 2}, {LARGE // 2}))
    try:
        zoo.pull("{OBJECTS}@1")
    except CacheError as error:
        print(error)
    """
    said, trouble = python(script).communicate(timeout=60)
    assert "cannot be written (File too large)" in said, trouble
    zoo.pull(f"{OBJECTS}@1")


def test_ranges() -> None:
    assert merged([(5, 9), (0, 2), (2, 4), (8, 12)]) == [(0, 4), (5, 12)]
    assert gaps([(0, 4), (5, 12)], 20) == [(4, 5), (12, 20)] and gaps([], 3) == [(0, 3)] and gaps([], 0) == []
    for missing in ([(0, 100 << 20)], [(3, 4)], [(0, 1 << 30), (2 << 30, (2 << 30) + 5)]):
        parts = list(download._parts(missing, 8))
        assert merged(parts) == missing and sum(b - a for a, b in parts) == sum(b - a for a, b in missing)
        assert all(0 < b - a <= download.LARGEST_PART_BYTES for a, b in parts)


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_warm_pull_by_number_waits_for_nothing(store: Store) -> None:
    """The command finds it without a request, and without the libraries that a request would need."""
    folder = zoo.pull(f"{OBJECTS}@1")
    script = f"""
    import sys
    import zoo.cli
    try:
        zoo.cli.main(["pull", "{OBJECTS}@1"])
    except SystemExit as exit:
        assert not exit.code
    assert not {{"torch", "mlflow", "boto3", "botocore", "numpy", "rich", "trainables"}} & set(sys.modules)
    """
    said, trouble = python(script, AWS_ENDPOINT_URL=os.environ["AWS_ENDPOINT_URL"]).communicate(timeout=60)
    assert said.strip() == str(folder), trouble
