"""A zoo in a folder: `file:///path`. Objects are files; nothing but whole files is ever visible."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.store import Blob

CHUNK_BYTES = 1 << 20
PRIVATE = ".zoo"  # temporary files and locks, kept on the same file system so that a rename is atomic


class FileStore:
    """The Store protocol on a file system with hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"file://{root}"

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        try:
            file = open(self._path(key), "rb")  # noqa: SIM115 (closed by the generator below)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ObjectMissing(f"There is no {self.url}/{key}.") from None
        except PermissionError as error:
            raise StoreError(
                f"{self.url}/{key} cannot be read ({error.strerror}): check its permissions."
            ) from error
        tag = hashlib.file_digest(file, "sha256").hexdigest()
        whole = file.seek(0, os.SEEK_END)
        end = whole if end is None else min(end, whole)
        if start > end:
            file.close()
            raise StoreError(f"{self.url}/{key} has {whole} bytes: there are none from {start} to {end}.")
        file.seek(start)

        def chunks() -> Iterator[bytes]:
            left = end - start
            with file:
                while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk

        return Blob(tag, end - start, chunks())

    def put(self, key: str, source: bytes | Path) -> None:
        with self._staged(key, source) as temporary:
            os.replace(temporary, self._path(key))

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
        top = self._path(prefix.rstrip("/")) if prefix else self.root
        found = []
        for folder, folders, names in os.walk(top):
            here = Path(folder).relative_to(self.root).as_posix()
            here = "" if here == "." else here + "/"
            folders[:] = [name for name in folders if name != PRIVATE]
            found += [here + name for name in names]
            if not deep:
                found += [here + name + "/" for name in folders]
                break
        return iter(sorted(found))

    def delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        path = self.root / key
        if not key or ".." in path.parts or key.startswith("/"):
            raise StoreError(f"'{key}' is not a key of {self.url}: keys are relative paths without '..'.")
        return path

    def _tag(self, key: str) -> str | None:
        try:
            return self.get(key).tag
        except ObjectMissing:
            return None

    @contextmanager
    def _staged(self, key: str, source: bytes | Path) -> Iterator[Path]:
        """The bytes under a unique temporary name, on disk and complete."""
        temporary = self.root / PRIVATE / uuid.uuid4().hex
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            self._path(key).parent.mkdir(parents=True, exist_ok=True)
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
                f"{self.url}/{key} cannot be written ({error.strerror}): check the folder, its permissions and the "
                "free space."
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
