"""A zoo in a folder: `file:///path`. Objects are files; nothing but whole files is ever visible."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.store import Blob, Sent, check_folder, check_key, check_range

CHUNK_BYTES = 1 << 20
PRIVATE = ".zoo"  # temporary files and locks, kept on the same file system so that a rename is atomic


class FileStore:
    """The Store protocol on a file system with hard links. `root` is made by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"file://{root}"

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        check_range(start, end)
        try:
            file = _OpenFile(self._path(key))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ObjectMissing(f"There is no {self.url}/{key}.") from None
        except OSError as error:
            raise StoreError(
                f"{self.url}/{key} cannot be read ({error.strerror}): check its permissions."
            ) from error
        if start >= file.size and (start or end):
            raise StoreError(f"{self.url}/{key} has {file.size} bytes: there are none from {start} on.")
        end = file.size if end is None else min(end, file.size)
        # The tag is the digest of the whole file, which a reader of ranges must not pay for each time.
        return Blob(file.digest, end - start, file.chunks(start, end))

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        with self._staged(key, source) as temporary:
            size = temporary.stat().st_size
            os.replace(temporary, self._path(key))
        if sent:
            sent(size)

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        path = self._path(key)
        with self._staged(key, data) as temporary:
            if tag is None:
                with suppress(FileExistsError):
                    os.link(temporary, path)  # unlike a rename, fails where the name is taken
                    return
            else:
                # Only replacing needs mutual exclusion; the kernel drops the lock when its holder dies.
                with self._lock(key):
                    if self._tag(key) == tag:
                        os.replace(temporary, path)
                        return
        if self._tag(key) != hashlib.sha256(data).hexdigest():
            raise Conflict(
                f"{self.url}/{key} was written by someone else meanwhile: read it again and retry."
            )

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        check_folder(prefix)
        found = []
        for folder, folders, names in os.walk(self.root / prefix):
            here = Path(folder).relative_to(self.root).as_posix()
            here = "" if here == "." else here + "/"
            folders[:] = [name for name in folders if here or name != PRIVATE]
            found += [here + name for name in names]
            if not deep:
                found += [here + name + "/" for name in folders]
                break
        return iter(sorted(found))

    def delete(self, key: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            self._path(key).unlink()

    def sweep(self, older_than_s: float, folder: str) -> Sequence[str]:
        """See zoo.store.sweep; from which folder a temporary file was, nobody knows. Locks stay: one that is removed
        while it is held would let a second holder in.
        """
        swept = []
        for temporary in (self.root / PRIVATE).glob("*.tmp"):
            with suppress(FileNotFoundError):
                if temporary.stat().st_mtime < time.time() - older_than_s:
                    temporary.unlink()
                    swept.append(f"{PRIVATE}/{temporary.name}")
        return swept

    def _path(self, key: str) -> Path:
        check_key(key)
        if key.split("/")[0] == PRIVATE:
            raise StoreError(f"'{key}' is not a key of {self.url}: '{PRIVATE}' is the store's own folder.")
        return self.root / key

    def _tag(self, key: str) -> str | None:
        try:
            return self.get(key).tag
        except ObjectMissing:
            return None

    @contextmanager
    def _staged(self, key: str, source: bytes | Path) -> Iterator[Path]:
        """The bytes under a unique temporary name, on disk and complete."""
        path, temporary = self._path(key), self.root / PRIVATE / f"{uuid.uuid4().hex}.tmp"
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                if isinstance(source, bytes):
                    file.write(source)
                else:
                    with open(source, "rb") as original:
                        shutil.copyfileobj(original, file, CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        except OSError as error:
            raise StoreError(
                f"{self.url}/{key} cannot be written ({error}): check the folder, its permissions and the "
                "free space, and that its file system has hard links and locks."
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink()

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        with open(self.root / PRIVATE / f"{name}.lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _OpenFile:
    """A file as it was when it was opened: files are replaced, never changed, so this stays one state of the object.
    It is closed when the last of those who read it is gone.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        state = os.fstat(self._descriptor)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError
        self.size = state.st_size

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def chunks(self, start: int, end: int) -> Iterator[bytes]:
        while start < end and (chunk := os.pread(self._descriptor, min(CHUNK_BYTES, end - start), start)):
            start += len(chunk)
            yield chunk

    def digest(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()
