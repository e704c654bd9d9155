"""Download blobs into the cache: in parallel ranges, verified while they arrive, resumed after a break.

    <cache>/partial/<sha256>/lock             held by the process that downloads the blob
    <cache>/partial/<sha256>/<unique>.data    what has come of it (`zoo.partial`)

A download copies what broken ones left into a file of its own and fetches only what is missing. The digest of the
whole, over bytes that no other process writes to, decides whether it becomes a blob. The lock saves work and is not
relied on: whoever sees its holder make no progress for STALLED_S downloads on its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from zoo import bundle
from zoo.cache import admit, blob_path, cache, check_room, is_verified, settle, unwritable
from zoo.errors import DamagedBundle, ObjectMissing, StoreDenied, StoreError, StoreUnreachable
from zoo.partial import Partial, Range, Stopped
from zoo.progress import transfer_bar
from zoo.store import Store

FILES, CONNECTIONS = 4, 8  # files at once, and ranges at once of all of them
LEAST_PART_BYTES, LARGEST_PART_BYTES, PARTS = 4 << 20, 16 << 20, 64
STALLED_S = 20.0
POLL_S = 0.05
ATTEMPTS = 5


def download(store: Store, top: str, files: Sequence[bundle.File]) -> None:
    """Bring the blobs of `files`, which lie below `top` in the store, into the cache. Returns when all are there.

    Raises DamagedBundle where the store's bytes are not the promised ones, and keeps nothing of them; CacheError
    where this machine cannot keep them; StoreError where they cannot be had, and then what came by then is kept
    for the next try.
    """
    files = sorted({file.sha256: file for file in files}.values(), key=lambda file: -file.size)
    size = sum(file.size for file in files)
    check_room(size)
    stop = threading.Event()
    with (
        transfer_bar("download", size) as advance,
        ThreadPoolExecutor(CONNECTIONS) as connections,
        ThreadPoolExecutor(FILES) as pool,
    ):
        one = _Download(store, top, connections, stop, advance)
        waiting = [pool.submit(one.bring, file) for file in files]
        try:
            ended, _ = wait(waiting, return_when=FIRST_EXCEPTION)
            for task in ended:
                task.result()
        except BaseException:
            stop.set()
            for task in waiting:
                task.cancel()
            wait(waiting)
            raise
        finally:
            # The process lives until this is done, as other threads than daemons have it.
            threading.Thread(target=settle, args=(one.admitted,)).start()


class _Download:
    """What the files of one download share."""

    def __init__(
        self,
        store: Store,
        top: str,
        connections: ThreadPoolExecutor,
        stop: threading.Event,
        advance: Callable[[int], None],
    ) -> None:
        self._store, self._top, self._connections = store, top, connections
        self._stop, self._advance = stop, advance
        self.admitted: list[str] = []  # digests

    def bring(self, file: bundle.File) -> None:
        """One blob into the cache, by this process or by another one that is at it already."""
        folder = partial_folder(file.sha256)
        for attempt in range(ATTEMPTS):
            if is_verified(blob_path(file.sha256), file):
                return
            try:
                with _turn(folder, file, self._stop) as alone:
                    if not is_verified(blob_path(file.sha256), file):
                        self._fetch(folder, file, alone)
                    if alone:
                        shutil.rmtree(folder, ignore_errors=True)
                return
            except OSError as error:
                # Whoever is done, or prunes, removes the folder, perhaps just when this one looked into it.
                if not isinstance(error, FileNotFoundError | FileExistsError) or attempt + 1 == ATTEMPTS:
                    raise unwritable(error) from error

    def _fetch(self, folder: Path, file: bundle.File, alone: bool) -> None:
        """Download one blob. Where bytes of a broken download were wrong (a machine that lost power leaves such),
        all of them are fetched again."""
        for adopting in (True, False):
            with Partial(folder, file.size, self._stop) as partial:
                adopted = partial.adopt(remove=alone) if adopting else 0
                self._advance(adopted)
                try:
                    good = self._receive(partial, file) == file.sha256
                except DamagedBundle:
                    good = False
                if good:
                    _admit(partial, file)
                    self.admitted.append(file.sha256)
                    return
                partial.discard()
            if not adopted:
                break
        raise self._damaged(file)

    def _receive(self, partial: Partial, file: bundle.File) -> str:
        """Fetch what is missing, over several connections; the digest of the whole."""
        # Connections hide the latency of a network; a disk is read as fast by one.
        connections = CONNECTIONS if self._store.url.startswith("s3:") else 1
        parts = list(_parts(partial.missing(), connections))
        tasks = [self._connections.submit(self._receive_part, partial, file, part) for part in parts]
        try:
            return partial.digest()
        except BaseException as error:
            partial.fail(error)
            for task in tasks:
                task.cancel()
            raise
        finally:
            wait(tasks)  # nobody may write to a file that is closed

    def _receive_part(self, partial: Partial, file: bundle.File, part: Range) -> None:
        key, (at, end) = f"{self._top}/{file.path}", part
        try:
            whole = part == (0, file.size)
            blob = self._store.get(key) if whole else self._store.get(key, start=at, end=end)
            for chunk in blob.chunks:
                if at + len(chunk) > end:
                    raise self._damaged(file)
                partial.write(at, chunk)
                self._advance(len(chunk))
                at += len(chunk)
            if at < end:
                raise self._damaged(file)
        except ObjectMissing:
            partial.fail(self._damaged(file))
        except Exception as error:  # noqa: BLE001 (raised where the file is read)
            partial.fail(self._damaged(file) if self._is_short(error, file, key) else error)

    def _is_short(self, error: BaseException, file: bundle.File, key: str) -> bool:
        """Whether a range was refused because the object is shorter than its manifest says."""
        if not isinstance(error, StoreError) or isinstance(error, StoreUnreachable | StoreDenied):
            return False
        try:
            return self._store.get(key).size < file.size
        except StoreError:
            return False

    def _damaged(self, file: bundle.File) -> DamagedBundle:
        return DamagedBundle(
            f"{self._store.url}/{self._top}/{file.path} does not have the bytes its manifest promises; nothing was "
            "kept. Publish the bundle again, or pull another version."
        )


def partial_folder(sha256: str) -> Path:
    return cache() / "partial" / sha256


def _admit(partial: Partial, file: bundle.File) -> None:
    try:
        admit(partial.path, file)
    except FileNotFoundError:  # the holder of the lock, alive after all, was done first
        if not is_verified(blob_path(file.sha256), file):
            raise
    partial.discard()


def _parts(missing: Iterable[Range], connections: int) -> Iterator[Range]:
    """Ranges for `connections` to fetch in this order: small ones, since what has come without a gap is verified while
    the rest comes, but not so small that requests cost more than bytes."""
    left = sum(end - start for start, end in missing)
    size = min(LARGEST_PART_BYTES, max(LEAST_PART_BYTES, left // PARTS)) if connections > 1 else max(1, left)
    for start, end in missing:
        for at in range(start, end, size):
            yield at, min(at + size, end)


@contextmanager
def _turn(folder: Path, file: bundle.File, stop: threading.Event) -> Iterator[bool]:
    """Wait while another process downloads the blob. Yields whether this one holds the lock; it does not where the
    blob has come, the holder makes no progress, or the file system has no locks."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        seen, since = 0, time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
                break
            except BlockingIOError:
                pass
            except OSError:
                alone = False
                break
            if (newest := _newest_ns(folder)) != seen:
                seen, since = newest, time.monotonic()
            if is_verified(blob_path(file.sha256), file) or time.monotonic() - since > STALLED_S:
                alone = False
                break
            if stop.wait(POLL_S):
                raise Stopped
        yield alone
    finally:
        os.close(lock)


def _newest_ns(folder: Path) -> int:
    """When a partial file was last written to."""
    times = [0]
    for path in folder.glob("*.data"):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            continue
    return max(times)
