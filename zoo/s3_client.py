"""The connection to S3: boto3's client, tuned, and what LATENTACT_S3_* add to a write."""

from __future__ import annotations

import functools
import re
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from zoo.errors import StoreError, StoreUnreachable
from zoo.s3_listing import read_quickly

PREFLIGHT_S = 2.0
POOL = 32  # several files at once, each over several connections (zoo.publishing, zoo.multipart)
SMALLEST_COLD_BYTES = 128 << 10  # the cheaper classes bill no object as less
_KEY_ID = re.compile(r"[0-9a-fA-F-]{36}|mrk-[0-9a-f]{32}|alias/[\w/-]+|arn:[\w-]+:kms:[\w:/-]+")
_UNREADABLE = {"GLACIER", "DEEP_ARCHIVE"}  # must be restored for hours before they can be read


@functools.lru_cache(maxsize=8)
def client(endpoint: str | None, aws: frozenset[tuple[str, str]], pid: int) -> Any:
    """One client for each set of settings: making one costs more than a hundred requests, and threads may
    share it. Processes may not, hence `pid`.
    """
    environment = dict(aws)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        request_checksum_calculation=checksums(environment),
        response_checksum_validation=environment.get("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported"),
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=POOL,
        user_agent="latentact-zoo",  # botocore's own is put together anew for each request: a sixth of its work
    )
    session = boto3.session.Session(
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        region_name=environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or "us-east-1",
    )
    return read_quickly(session.client("s3", endpoint_url=endpoint, config=config))


def checksums(environment: Mapping[str, str]) -> str:
    """`when_supported`, or what AWS_REQUEST_CHECKSUM_CALCULATION says; old servers want `when_required`."""
    return environment.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported").lower()


def encryption(environment: Mapping[str, str]) -> dict[str, str]:
    """What LATENTACT_S3_ENCRYPTION (AES256, aws:kms or aws:kms:<key>) adds to every write. Raises StoreError."""
    wanted = environment.get("LATENTACT_S3_ENCRYPTION", "")
    if not wanted:
        return {}
    if wanted in ("AES256", "aws:kms"):
        return {"ServerSideEncryption": wanted}
    key = wanted.removeprefix("aws:kms:")
    if key != wanted and _KEY_ID.fullmatch(key):
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    raise StoreError(
        f"LATENTACT_S3_ENCRYPTION is '{wanted}': it must be AES256, aws:kms, or aws:kms: and the id, alias/name or "
        "ARN of a KMS key."
    )


def storage_class(environment: Mapping[str, str]) -> dict[str, str]:
    """What LATENTACT_S3_STORAGE_CLASS adds to the write of a large object. Raises StoreError.

    A server may have classes of its own, so any name is sent, but not those whose objects cannot be read at once.
    """
    wanted = environment.get("LATENTACT_S3_STORAGE_CLASS", "")
    if not wanted:
        return {}
    if not re.fullmatch(r"[A-Z0-9_]+", wanted) or wanted in _UNREADABLE:
        raise StoreError(
            f"LATENTACT_S3_STORAGE_CLASS is '{wanted}': it must be a class whose objects can be read at once, such as "
            "STANDARD_IA, INTELLIGENT_TIERING or GLACIER_IR."
        )
    return {"StorageClass": wanted}


def preflight(endpoint: str) -> None:
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
                raise StoreUnreachable(unreachable(f"the S3 server at {endpoint}", error)) from error
        time.sleep(0.2)


def unreachable(place: str, error: Exception) -> str:
    """The sentence for a server that does not answer."""
    return (
        f"Cannot reach {place} ({error}): check AWS_ENDPOINT_URL, or start the local stack with "
        "`python -m cluster.local up`."
    )
