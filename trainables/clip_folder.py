"""Where a data set lies: a local folder or an `s3://bucket/prefix`, through pyarrow's file systems."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from trainables.clip_format import ClipsError

MANIFEST = "manifest.json"
_PAUSE_S = 1.0

T = TypeVar("T")


class StoreAway(ClipsError):
    """The store does not answer, or not as it should: a while later it may."""


@dataclass(frozen=True)
class Folder:
    """A folder by its url, on the file system that reaches it.

    `patience_s` says for how long reading, writing and deleting wait for a store that is away.
    """

    url: str
    system: fs.FileSystem
    path: str
    patience_s: float = 0.0

    @property
    def is_local(self) -> bool:
        return isinstance(self.system, fs.LocalFileSystem)

    def read(self, name: str) -> bytes | None:
        """All bytes of one file, None where it does not exist; ClipsError where the store does not answer."""

        def whole() -> bytes | None:
            try:
                # One ranged request. The file system's stream reads the same bytes in small pieces, at a seventh of
                # the rate (tests/benchmarks/data_speed.py, against a store on the same machine).
                with self.system.open_input_file(f"{self.path}/{name}") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

        return self._patiently(name, whole)

    def write(self, name: str, data: bytes) -> None:
        def whole() -> None:
            with self.system.open_output_stream(f"{self.path}/{name}") as stream:
                stream.write(data)

        self._patiently(name, whole)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

        def gone() -> None:
            try:
                self.system.delete_file(f"{self.path}/{name}")
            except FileNotFoundError:
                pass

        self._patiently(name, gone)

    def _patiently(self, name: str, request: Callable[[], T]) -> T:
        begun_s = time.monotonic()
        while True:
            try:
                with explained(self, name):
                    return request()
            except StoreAway:
                if time.monotonic() - begun_s >= self.patience_s:
                    raise
            time.sleep(_PAUSE_S)

    def is_empty(self) -> bool:
        """True where nothing lies there, whether or not the folder exists (its bucket must)."""
        with explained(self, ""):
            if self.system.get_file_info(fs.FileSelector(self.path, allow_not_found=True)):
                return False
            bucket = self.path.split("/")[0]
            if not self.is_local and self.system.get_file_info(bucket).type == fs.FileType.NotFound:
                raise OSError("NO_SUCH_BUCKET: no such bucket is listed")
            return True

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, None where there is none."""
        data = self.read(MANIFEST)
        if data is None:
            return None
        try:
            manifest = json.loads(data)
        except ValueError as error:
            raise ClipsError(
                f"{self.url}/{MANIFEST} is not JSON ({error}); prepare the data set again."
            ) from error
        if not isinstance(manifest, dict):
            raise ClipsError(
                f"{self.url}/{MANIFEST} is not a JSON object; delete the data set and prepare it again."
            )
        return manifest


def open_folder(url: str | os.PathLike[str], *, patience_s: float = 0.0) -> Folder:
    """The folder of a local path, a file:// or an s3:// url. Nothing is read yet, and it need not exist.

    S3 honours AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN and AWS_DEFAULT_REGION, with addresses in path style (endpoint/bucket/key) where an
    endpoint is named.
    """
    text = os.fspath(url).rstrip("/") or "/"
    parts = urlsplit(text)
    if "://" not in text:
        return Folder(text, fs.LocalFileSystem(), str(Path(text).expanduser().absolute()), patience_s)
    if parts.scheme == "file":
        return Folder(text, fs.LocalFileSystem(), unquote(parts.path), patience_s)
    if parts.scheme != "s3" or not parts.netloc:
        raise ClipsError(f"{text}: cannot reach such a place; give a local path or s3://bucket/prefix.")
    endpoint = urlsplit(_endpoint())
    options: dict[str, Any] = {}
    if endpoint.netloc:
        options = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region or endpoint.netloc:  # else the client asks the machine's metadata service for it, and waits
        options["region"] = region or "us-east-1"
    system = fs.S3FileSystem(
        connect_timeout=3,
        request_timeout=30,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
        **options,
    )
    return Folder(text, system, text.removeprefix("s3://"), patience_s)


@contextmanager
def explained(folder: Folder, name: str) -> Iterator[None]:
    """Turns the store's OSError into a ClipsError that names the url and what to check."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        where = f"{folder.url}/{name}".rstrip("/")
        if folder.is_local:
            raise ClipsError(
                f"{where}: {error.strerror or error}; check the path, its permissions and the disk."
            ) from error
        advice, may_mend = _advice(str(error), folder)
        kind = StoreAway if may_mend else ClipsError
        raise kind(f"{where}: {advice} (the store said: {error})") from error


def _advice(said: str, folder: Folder) -> tuple[str, bool]:
    """What to check, and whether time alone may mend it."""
    lower = said.lower()
    endpoint = _endpoint() or "AWS itself"
    if any(
        word in lower for word in ("access_denied", "access denied", "invalid_access_key", "signature", "403")
    ):
        return (
            "access was denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may use.",
            False,
        )
    if "no_such_bucket" in lower or "bucket does not exist" in lower:
        bucket = folder.path.split("/")[0]
        return (
            f"the bucket {bucket!r} does not exist at {endpoint}; check its name and AWS_ENDPOINT_URL.",
            False,
        )
    if "network_connection" in lower or "curlcode" in lower or "timeout" in lower:
        return f"the store at {endpoint} cannot be reached; check that it runs, and AWS_ENDPOINT_URL.", True
    return f"the store at {endpoint} refused; check the url, AWS_ENDPOINT_URL and the credentials.", True


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
