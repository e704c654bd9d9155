"""Goes on with a store that is down for longer than its own retries last."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from zoo.errors import Conflict, ObjectMissing, StoreDenied, StoreError
from zoo.store import Blob, Sent, Store

# For so long a sweep waits for a store that is down, and costs that time and no more.
PATIENCE_S = 600.0
_WARN_EVERY_S = 30.0
_PAUSE_S = 1.0

T = TypeVar("T")


class PatientStore:
    """Another store, each operation of which is repeated until it succeeds or `patience_s` have gone.

    For small objects: what is read is read whole. Raised at once is what time does not mend: a missing object, a
    conditional write that lost, refused credentials. Meanwhile one line on stderr every 30 s says what is waited for.
    """

    def __init__(self, store: Store, patience_s: float = PATIENCE_S) -> None:
        self.url = store.url
        self._store, self._patience_s = store, patience_s
        self._lock = threading.Lock()
        self._warned_s = float("-inf")

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        def whole() -> Blob:
            blob = self._store.get(key, start=start, end=end)
            data = blob.read()
            return Blob(blob.tag, len(data), iter((data,)))

        return self._patiently(whole)

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        self._patiently(lambda: self._store.put(key, source, sent=sent))

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        # An attempt that succeeded without an answer is no conflict for the next one: the object holds `data` then.
        self._patiently(lambda: self._store.put_if(key, data, tag))

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        return self._patiently(lambda: self._store.list(prefix, deep=deep))

    def delete(self, key: str) -> None:
        self._patiently(lambda: self._store.delete(key))

    def _patiently(self, request: Callable[[], T]) -> T:
        begun_s = time.monotonic()
        while True:
            try:
                return request()
            except (ObjectMissing, Conflict, StoreDenied):
                raise
            except StoreError as error:
                waited_s = time.monotonic() - begun_s
                if waited_s >= self._patience_s:
                    raise
                self._warn(error, waited_s)
                time.sleep(min(_PAUSE_S, self._patience_s - waited_s))

    def _warn(self, error: StoreError, waited_s: float) -> None:
        """One line for all threads that wait."""
        with self._lock:
            if time.monotonic() - self._warned_s < _WARN_EVERY_S:
                return
            self._warned_s = time.monotonic()
        left_s = self._patience_s - waited_s
        print(f"Waiting for the store, {left_s:.0f} s more at most: {error}", file=sys.stderr, flush=True)
