"""A zoo in an S3 bucket, on AWS or on any compatible server.

Whole operations are retried here, around botocore's own retries: those give up while a server restarts.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from zoo.errors import Conflict, ObjectMissing, StoreDenied, StoreError, StoreUnreachable
from zoo.store import Blob

CHUNK_BYTES = 1 << 20
PATIENCE_S = 12.0  # a server killed and restarted answers with errors for about 5 s
PREFLIGHT_S = 2.0
DENIED = {
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "403",
}
MISSING = {"NoSuchKey", "404", "NotFound"}
# 409: AWS answers so to a conditional write that raced another one.
CONFLICT = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
TRANSFER = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=8)

T = TypeVar("T")


class S3Store:
    """The Store protocol over boto3. `url` is s3://bucket[/prefix]; settings come from `environment`."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self.url = url
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not self.bucket:
            raise StoreError(
                f"'{url}' names no bucket: set LATENTACT_ZOO to s3://bucket or to file:///folder."
            )
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        if self.endpoint:
            _preflight(self.endpoint)
        try:
            used = frozenset((key, value) for key, value in environment.items() if key.startswith("AWS_"))
            self._client = _client(self.endpoint, used, os.getpid())
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"{url} cannot be opened: {error}. Check the AWS_* variables.") from error

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        if start or end is not None:
            where["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        reply = self._call(key, lambda: self._client.get_object(**where))
        return Blob(reply["ETag"], reply["ContentLength"], self._chunks(key, reply, start))

    def put(self, key: str, source: bytes | Path) -> None:
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        if isinstance(source, bytes):
            self._call(key, lambda: self._client.put_object(**where, Body=source))
        else:
            self._call(key, lambda: self._client.upload_file(str(source), **where, Config=TRANSFER))

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        try:
            self._call(key, lambda: self._client.put_object(**where, Body=data, **condition))
        except (Conflict, ObjectMissing):
            # A write whose reply was lost is repeated, and then refused although it was done.
            if self._content(key) != data:
                raise Conflict(
                    f"{self.url}/{key} was written by someone else meanwhile: read it again and retry."
                ) from None

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        ask: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        if not deep:
            ask["Delimiter"] = "/"
        pages = self._call(
            prefix, lambda: list(self._client.get_paginator("list_objects_v2").paginate(**ask))
        )
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        found += [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        # Not every server lists in byte order.
        return iter(sorted(key.removeprefix(self.prefix) for key in found))

    def delete(self, key: str) -> None:
        self._call(key, lambda: self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key))

    def _content(self, key: str) -> bytes | None:
        try:
            return self.get(key).read()
        except ObjectMissing:
            return None

    def _chunks(self, key: str, reply: dict[str, Any], start: int) -> Iterator[bytes]:
        """The body, which begins at `start` of the object; a connection that breaks is taken up again where it broke, on the same state of the
        object.
        """
        position, tag, end = start, reply["ETag"], start + reply["ContentLength"]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                for chunk in reply["Body"].iter_chunks(CHUNK_BYTES):
                    position += len(chunk)
                    yield chunk
                return
            except BotoCoreError as error:
                if time.monotonic() > deadline:
                    raise self._explained(error, key) from error
            if position >= end:
                return

            def rest(position: int = position) -> Any:
                where = {"Bucket": self.bucket, "Key": self.prefix + key}
                return self._client.get_object(**where, Range=f"bytes={position}-{end - 1}", IfMatch=tag)

            reply = self._call(key, rest)

    def _call(self, key: str, request: Callable[[], T]) -> T:
        deadline, pause_s = time.monotonic() + PATIENCE_S, 0.25
        while True:
            try:
                return request()
            except (BotoCoreError, ClientError, S3UploadFailedError, OSError) as error:
                if not _passing(error) or time.monotonic() + pause_s > deadline:
                    raise self._explained(error, key) from error
            time.sleep(pause_s)
            pause_s *= 2

    def _explained(self, error: Exception, key: str) -> StoreError:
        """The error as one sentence with a remedy."""
        place = f"the S3 server at {self.endpoint}" if self.endpoint else "AWS S3"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return StoreDenied(
                f"No credentials for {place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or start the local "
                "stack with `python -m cluster.local up`."
            )
        code = _code(error)
        if code in DENIED:
            return StoreDenied(
                f"{place[0].upper()}{place[1:]} refuses the credentials for bucket '{self.bucket}' ({code}): check "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        if code == "NoSuchBucket":
            return StoreError(
                f"{place[0].upper()}{place[1:]} has no bucket '{self.bucket}': check LATENTACT_ZOO and "
                "AWS_ENDPOINT_URL, or make the bucket."
            )
        if code in MISSING:
            return ObjectMissing(f"There is no {self.url}/{key}.")
        if code in CONFLICT:
            return Conflict(f"{self.url}/{key} is not in the expected state: read it again and retry.")
        if isinstance(error, HTTPClientError | ConnectionError):
            return _unreachable(place, error)
        if isinstance(error, OSError):
            return StoreError(f"{self.url}/{key} could not be uploaded: {error}. Check the local file.")
        return StoreError(f"{place[0].upper()}{place[1:]} failed on {self.url}/{key}: {error}")


@functools.lru_cache(maxsize=4)
def _client(endpoint: str | None, aws: frozenset[tuple[str, str]], pid: int) -> Any:
    """One client for each set of settings: making one costs more than a hundred requests, and threads may
    share it. Processes may not, hence `pid`."""
    environment = dict(aws)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Old servers want "when_required" in both.
        request_checksum_calculation=environment.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported"),
        response_checksum_validation=environment.get("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported"),
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=16,
    )
    session = boto3.session.Session(
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        region_name=environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or "us-east-1",
    )
    return session.client("s3", endpoint_url=endpoint, config=config)


def _preflight(endpoint: str) -> None:
    """Fail within seconds where nobody listens; botocore's retries alone would take half a minute."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError(f"AWS_ENDPOINT_URL is '{endpoint}': it must look like http://127.0.0.1:8333.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    deadline = time.monotonic() + PREFLIGHT_S
    while True:
        try:
            socket.create_connection((parts.hostname, port), timeout=5).close()
            return
        except OSError as error:
            if isinstance(error, socket.gaierror) or time.monotonic() > deadline:
                raise _unreachable(f"the S3 server at {endpoint}", error) from error
        time.sleep(0.2)


def _unreachable(place: str, error: Exception) -> StoreUnreachable:
    return StoreUnreachable(
        f"Cannot reach {place} ({error}): check AWS_ENDPOINT_URL, or start the local stack with "
        "`python -m cluster.local up`."
    )


def _code(error: Exception) -> str:
    cause = error if isinstance(error, ClientError) else error.__context__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    cause = error if isinstance(error, ClientError) else error.__context__
    if isinstance(cause, ClientError):
        return cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    return isinstance(error, HTTPClientError | ConnectionError | S3UploadFailedError)
