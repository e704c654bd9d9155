"""Requests to one bucket: repeated while a server restarts, and their errors as sentences with a remedy.

Whole operations are repeated here, around botocore's own retries: those give up within two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from zoo.errors import Conflict, ObjectMissing, StoreDenied, StoreError, StoreUnreachable, UnsafeStore
from zoo.s3_client import unreachable

PATIENCE_S = 12.0  # a server killed and restarted answers with errors for about 5 s
WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
FORBIDDEN = {"AccessDenied", "403"}
MISSING = {"NoSuchKey", "404", "NotFound"}
# 409: AWS answers so to a conditional write that raced another one.
CONFLICT = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}

T = TypeVar("T")


class Requests:
    """What the store asks of boto3's `client` about `bucket`. `endpoint` is None for AWS itself."""

    def __init__(self, client: Any, bucket: str, endpoint: str | None) -> None:
        self._client, self._bucket = client, bucket
        self._place = f"the S3 server at {endpoint}" if endpoint else "AWS S3"

    def ask(self, operation: str, **arguments: Any) -> Any:
        """The reply to one operation of boto3's client. Raises StoreError, whose cause is botocore's error."""
        request = getattr(self._client, operation)
        return self._patiently(arguments["Key"], lambda: request(Bucket=self._bucket, **arguments))

    def pages(self, operation: str, **arguments: Any) -> list[dict[str, Any]]:
        """All pages of an operation that lists."""
        pages = self._client.get_paginator(operation).paginate(Bucket=self._bucket, **arguments)
        return self._patiently(arguments.get("Key") or arguments["Prefix"], lambda: list(pages))

    def explained(self, error: Exception, key: str) -> StoreError:
        """The error as one sentence with a remedy; `key` is the object's, the store's prefix included."""
        place, url = self._place, f"s3://{self._bucket}/{key}"
        Place = place[0].upper() + place[1:]
        word = code(error)
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return StoreDenied(
                f"No credentials for {place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or start the local "
                "stack with `python -m cluster.local up`."
            )
        if word in WRONG_KEYS:
            return StoreDenied(
                f"{Place} refuses the credentials for bucket '{self._bucket}' ({word}): check AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY."
            )
        if word in FORBIDDEN:
            return StoreDenied(
                f"{Place} does not let these credentials do this with {url} ({word}): check AWS_ACCESS_KEY_ID, and ask for "
                "the role that may; cluster/iam/ has a policy for each."
            )
        if word == "NoSuchBucket":
            return StoreError(
                f"{Place} has no bucket '{self._bucket}': check LATENTACT_ZOO and AWS_ENDPOINT_URL, or make the bucket."
            )
        if word in MISSING:
            return ObjectMissing(f"There is no {url}.")
        if word in CONFLICT:
            return Conflict(f"{url} is not in the expected state: read it again and retry.")
        if word == "NotImplemented":
            return UnsafeStore(
                f"{Place} cannot do what the zoo needs for {url}: {error}. Use another server."
            )
        if isinstance(error, HTTPClientError | ConnectionError):
            return StoreUnreachable(unreachable(place, error))
        return StoreError(f"{Place} failed on {url}: {error}")

    def _patiently(self, key: str, request: Callable[[], T]) -> T:
        deadline, pause_s = time.monotonic() + PATIENCE_S, 0.25
        while True:
            try:
                return request()
            except (BotoCoreError, ClientError) as error:
                if not _is_passing(error) or time.monotonic() + pause_s > deadline:
                    raise self.explained(error, key) from error
            time.sleep(pause_s)
            pause_s *= 2


def code(error: BaseException | None) -> str:
    """The server's word for an error, or nothing."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        # 501 is for ever. AWS answers 409 to a conditional write while another one is not yet decided.
        busy = status in (408, 429) or code(error) == "ConditionalRequestConflict"
        return busy or (status >= 500 and status != 501)
    return isinstance(error, HTTPClientError | ConnectionError)
