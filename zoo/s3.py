"""A zoo in an S3 bucket, on AWS or on any compatible server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, FlexibleChecksumError

from zoo import multipart, s3_client, settings
from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.s3_requests import PATIENCE_S, Requests
from zoo.store import Blob, Sent, check_folder, check_key, check_range

CHUNK_BYTES = 1 << 18  # what is lost at most where a connection breaks


class S3Store:
    """The Store protocol over boto3. `url` is s3://bucket[/prefix]; settings come from `environment`."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self.url = url
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise StoreError(
                f"'{url}' names no bucket: set LATENTACT_ZOO to s3://bucket or to file:///folder."
            )
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.endpoint = settings.s3_endpoint(environment)
        self._encryption = s3_client.encryption(environment)
        self._storage_class = s3_client.storage_class(environment)
        self._checksum = (
            {"ChecksumAlgorithm": "CRC32"} if s3_client.checksums(environment) == "when_supported" else {}
        )
        if self.endpoint:
            s3_client.preflight(self.endpoint)
        try:
            used = frozenset((key, value) for key, value in environment.items() if key.startswith("AWS_"))
            client = s3_client.client(self.endpoint, used, os.getpid())
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"{url} cannot be opened: {error}. Check the AWS_* variables.") from error
        self._requests = Requests(client, bucket, self.endpoint)

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        check_range(start, end)
        ranged = start > 0 or end is not None
        where = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if ranged else {}
        reply = self._requests.ask("get_object", Key=self._key(key), **where)
        if ranged and reply["ResponseMetadata"]["HTTPStatusCode"] != 206:
            reply["Body"].close()
            raise StoreError(
                f"{self.url}/{key}: the server sends the whole object where a range was asked for; use another server."
            )
        return Blob(reply["ETag"], reply["ContentLength"], self._chunks(key, reply, start))

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        try:
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            options = dict(self._encryption)
            if size >= s3_client.SMALLEST_COLD_BYTES:
                options |= self._storage_class
            if isinstance(source, Path) and size >= multipart.THRESHOLD_BYTES:
                multipart.upload(self._requests, self._key(key), source, options | self._checksum, sent)
            else:
                body = source if isinstance(source, bytes) else source.read_bytes()
                self._requests.ask("put_object", Key=self._key(key), Body=body, **options)
                if sent:
                    sent(size)
        except OSError as error:
            raise StoreError(
                f"{self.url}/{key} could not be uploaded ({error}): check the local file '{source!s:.200}'."
            ) from error

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            self._requests.ask("put_object", Key=self._key(key), Body=data, **condition, **self._encryption)
        except (Conflict, ObjectMissing):
            # A write whose reply was lost is repeated, and then refused although it was done.
            if self._content(key) != data:
                raise Conflict(
                    f"{self.url}/{key} was written by someone else meanwhile: read it again and retry."
                ) from None

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        check_folder(prefix)
        only = {} if deep else {"Delimiter": "/"}
        pages = self._requests.pages("list_objects_v2", Prefix=self.prefix + prefix, **only)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        found += [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        # Not every server lists in byte order.
        return iter(sorted(key.removeprefix(self.prefix) for key in found))

    def delete(self, key: str) -> None:
        self._requests.ask("delete_object", Key=self._key(key))

    def sweep(self, older_than_s: float, folder: str) -> Sequence[str]:
        """See zoo.store.sweep."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        swept = multipart.sweep(self._requests, self.prefix + folder, before)
        return [key.removeprefix(self.prefix) for key in swept]

    def _key(self, key: str) -> str:
        check_key(key)
        return self.prefix + key

    def _content(self, key: str) -> bytes | None:
        try:
            return self.get(key).read()
        except ObjectMissing:
            return None

    def _chunks(self, key: str, reply: dict[str, Any], start: int) -> Iterator[bytes]:
        """The body, which begins at byte `start` of the object. A connection that breaks is taken up again where
        it broke, on the same state of the object, until nothing has come for PATIENCE_S.
        """
        position, tag, end = start, reply["ETag"], start + reply["ContentLength"]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            body = reply["Body"]
            try:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    position += len(chunk)
                    yield chunk
                    deadline = time.monotonic() + PATIENCE_S
                if position >= end:
                    return
            except FlexibleChecksumError as error:  # what was passed on already cannot be called back
                raise StoreError(
                    f"{self.url}/{key} came with a wrong checksum: {error}. Try again."
                ) from error
            except (BotoCoreError, OSError) as error:
                if time.monotonic() > deadline:
                    raise self._requests.explained(error, self.prefix + key) from error
                time.sleep(0.05)
            finally:
                body.close()  # a connection whose body was not read to its end cannot be used again
            reply = self._requests.ask(
                "get_object", Key=self.prefix + key, Range=f"bytes={position}-{end - 1}", IfMatch=tag
            )
