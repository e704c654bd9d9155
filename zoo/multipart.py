"""Upload a large file in parts, and go on with an upload that broke off.

boto3's own transfer throws away every part when one of them fails. Here the parts stay, and the next `put` of the
same file to the same key, by whatever process, finds them and sends only what is missing. The object appears when
the last request, which names every part's tag, succeeds: never in part.

Parts that nobody comes back for cost storage: `zoo.store.sweep` removes them, and so does a bucket's lifecycle
rule AbortIncompleteMultipartUpload.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.errors import StoreError, StoreUnreachable
from zoo.s3_requests import Requests, code
from zoo.store import Sent

THRESHOLD_BYTES = 16 << 20  # smaller files go in one request
PART_BYTES = 8 << 20
MOST_PARTS = 10_000  # S3's limit
CONNECTIONS = 8  # as many parts are in memory at once
# What a server says of an upload that someone else finished or removed, or in which another file's parts are.
_GONE = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "InvalidRequest"}

Part = dict[str, Any]


def upload(requests: Requests, key: str, path: Path, new: dict[str, str], sent: Sent | None = None) -> None:
    """Write the file at `path` to the object `key`; `new` are the settings of a new upload, `sent` is told of
    bytes as they go.

    Raises StoreError; what was uploaded by then is kept, unless the fault is the file's. Raises OSError where the
    file cannot be read.
    """
    with open(path, "rb") as file:
        source = _Source(file.fileno())
        upload_id, done = _unfinished(requests, key, source, "ChecksumAlgorithm" in new)
        for fresh in (False, True):
            if fresh or not upload_id:
                upload_id, done = requests.ask("create_multipart_upload", Key=key, **new)["UploadId"], {}
            try:
                return _finish(requests, {"Key": key, "UploadId": upload_id}, source, done, sent)
            except OSError:
                with suppress(StoreError):
                    requests.ask("abort_multipart_upload", Key=key, UploadId=upload_id)
                raise
            except StoreError as error:
                if code(error.__cause__) not in _GONE:
                    raise
                # A twin finished it, or the reply to our last request was lost and its repetition refused.
                if _is_there(requests, key, source):
                    return
                if fresh:
                    raise


def sweep(requests: Requests, prefix: str, before: datetime) -> list[str]:
    """Remove the unfinished uploads below `prefix` that were begun before `before`; their keys."""
    old = [entry for entry in _uploads(requests, prefix) if entry["Initiated"] < before]
    for entry in old:
        try:
            requests.ask("abort_multipart_upload", Key=entry["Key"], UploadId=entry["UploadId"])
        except StoreError as error:
            if code(error.__cause__) != "NoSuchUpload":  # finished meanwhile
                raise
    return [entry["Key"] for entry in old]


class _Source:
    """An open file in parts, numbered from 1."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        self._part_bytes = max(PART_BYTES, -(-self._size // MOST_PARTS))
        self.numbers = range(1, -(-self._size // self._part_bytes) + 1)

    def size(self, number: int) -> int:
        return min(self._part_bytes, self._size - (number - 1) * self._part_bytes)

    def part(self, number: int) -> bytes:
        """Raises OSError where the file has become shorter."""
        at, want = (number - 1) * self._part_bytes, self.size(number)
        data = os.pread(self._descriptor, want, at)  # a regular file: short only at its end
        if len(data) < want:
            raise OSError("it became shorter while it was uploaded")
        return data


def _finish(
    requests: Requests, this: dict[str, str], source: _Source, done: dict[int, Part], sent: Sent | None
) -> None:
    """Send the parts that are not `done`, some at a time, and make them the object."""

    def send(number: int) -> Part:
        part = done.get(number)
        if part is None:
            part = requests.ask("upload_part", **this, PartNumber=number, Body=source.part(number))
        if sent:
            sent(source.size(number))
        # The checksum is there where the server keeps one.
        return {"PartNumber": number} | {
            name: part[name] for name in ("ETag", "ChecksumCRC32") if part.get(name)
        }

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = list(pool.map(send, source.numbers))
    requests.ask("complete_multipart_upload", **this, MultipartUpload={"Parts": parts})


def _unfinished(
    requests: Requests, key: str, source: _Source, checksummed: bool
) -> tuple[str, dict[int, Part]]:
    """The latest unfinished upload of this file to this key with its parts by number, or nothing.

    Every part that is there must be this file's. So files of different bytes do not meet in one upload, and twins
    may help each other. A part's tag is the MD5 of its bytes unless KMS encrypts it: then uploads begin anew.
    """
    try:
        entries = [entry for entry in _uploads(requests, key) if entry["Key"] == key]
        for entry in sorted(entries, key=lambda entry: entry["Initiated"], reverse=True):
            pages = requests.pages("list_parts", Key=key, UploadId=entry["UploadId"])
            listed = [part for page in pages for part in page.get("Parts", ())]
            parts = {
                part["PartNumber"]: _described(source, part["PartNumber"], checksummed) for part in listed
            }
            if parts and all(parts[part["PartNumber"]].get("ETag") == part["ETag"] for part in listed):
                return entry["UploadId"], parts
    except StoreUnreachable:
        raise
    except StoreError:
        pass  # a server, or a policy, without listings of uploads, or the upload is just being finished
    return "", {}


def _described(source: _Source, number: int, checksummed: bool) -> Part:
    """What the server must have answered to this part of the file. (Some list no checksums, and yet want them.)"""
    if number not in source.numbers:
        return {}
    data = source.part(number)
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    return {"ETag": f'"{_md5(data).hex()}"'} | ({"ChecksumCRC32": checksum} if checksummed else {})


def _is_there(requests: Requests, key: str, source: _Source) -> bool:
    """Whether the object is this file, uploaded in these parts: its tag is then the MD5 of theirs."""
    expected = _md5(b"".join(_md5(source.part(number)) for number in source.numbers)).hex()
    try:
        return requests.ask("head_object", Key=key)["ETag"].strip('"') == f"{expected}-{len(source.numbers)}"
    except StoreError:
        return False


def _uploads(requests: Requests, prefix: str) -> list[dict[str, Any]]:
    pages = requests.pages("list_multipart_uploads", Prefix=prefix)
    return [entry for page in pages for entry in page.get("Uploads", ())]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
