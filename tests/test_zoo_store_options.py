"""Encryption, storage class and checksums: what is asked for reaches the server, what is wrong is said at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_server import ObjectStore
from tests.s3_proxy import Misbehaviour, misbehaving
from zoo.errors import StoreError
from zoo.s3 import S3Store

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SSE, SSE_KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"


@pytest.fixture
def recorded(object_store: ObjectStore) -> Iterator[tuple[dict[str, str], Misbehaviour]]:
    with misbehaving(object_store) as (environment, behaviour):
        yield environment, behaviour


def write_all(environment: dict[str, str], tmp_path: Path) -> S3Store:
    """One object by each way that writes one."""
    store = S3Store(f"s3://zoo/{uuid.uuid4().hex}", environment)
    (tmp_path / "large").write_bytes(b"l" * (17 << 20))
    (tmp_path / "middle").write_bytes(b"m" * (1 << 20))
    store.put("large", tmp_path / "large")
    store.put("middle", tmp_path / "middle")
    store.put("small", b"small")
    store.put_if("alias", b"alias", None)
    store.put_if("alias", b"moved", store.get("alias").tag)
    return store


def headers(behaviour: Misbehaviour, name: str) -> list[tuple[str, str | None]]:
    """The header of every request that makes an object, with that object's last part of the key."""
    makes = [
        request
        for request in behaviour.seen
        if (request.method == "PUT" and "partNumber" not in request.path)
        or (request.method == "POST" and "uploads" in request.path)
    ]
    return [(request.path.split("?")[0].rsplit("/", 1)[1], request.headers.get(name)) for request in makes]


def test_nothing_is_asked_for_by_default(
    recorded: tuple[dict[str, str], Misbehaviour], tmp_path: Path
) -> None:
    environment, behaviour = recorded
    write_all(environment, tmp_path)
    assert len(headers(behaviour, SSE)) == 5
    for name in (SSE, SSE_KEY, "x-amz-storage-class"):
        assert {value for _, value in headers(behaviour, name)} == {None}


def test_every_object_is_encrypted(recorded: tuple[dict[str, str], Misbehaviour], tmp_path: Path) -> None:
    environment, behaviour = recorded
    store = write_all({**environment, "LATENTACT_S3_ENCRYPTION": "AES256"}, tmp_path)
    assert [value for _, value in headers(behaviour, SSE)] == ["AES256"] * 5
    for key, size in (("large", 17 << 20), ("middle", 1 << 20), ("small", 5), ("alias", 5)):
        reply = store._requests.ask("head_object", Key=store.prefix + key)
        assert reply["ServerSideEncryption"] == "AES256"
        assert len(store.get(key).read()) == size


@pytest.mark.parametrize(("wanted", "key"), [("aws:kms", None), (f"aws:kms:{KEY}", KEY)])
def test_the_key_reaches_the_server_which_has_none(
    recorded: tuple[dict[str, str], Misbehaviour],
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    key: str | None,
) -> None:
    monkeypatch.setattr("zoo.s3_requests.PATIENCE_S", 0.5)  # SeaweedFS calls a missing KMS an internal error
    environment, behaviour = recorded
    store = S3Store("s3://zoo/kms", {**environment, "LATENTACT_S3_ENCRYPTION": wanted})
    with pytest.raises(StoreError, match="s3://zoo/kms/x"):
        store.put("x", b"x")
    assert headers(behaviour, SSE)[0] == ("x", "aws:kms") and headers(behaviour, SSE_KEY)[0] == ("x", key)


def test_large_objects_get_their_storage_class(
    recorded: tuple[dict[str, str], Misbehaviour], tmp_path: Path
) -> None:
    environment, behaviour = recorded
    store = write_all({**environment, "LATENTACT_S3_STORAGE_CLASS": "STANDARD_IA"}, tmp_path)
    assert headers(behaviour, "x-amz-storage-class") == [
        ("large", "STANDARD_IA"), ("middle", "STANDARD_IA"), ("small", None), ("alias", None), ("alias", None)
    ]  # fmt: skip
    assert store._requests.ask("head_object", Key=f"{store.prefix}large")["StorageClass"] == "STANDARD_IA"
    assert len(store.get("large").read()) == 17 << 20


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LATENTACT_S3_ENCRYPTION", value) for value in ("aes256", "AES128", "aws:kms:", "aws:kms:a b", "kms", "aws:kms:dsse")]
    + [("LATENTACT_S3_STORAGE_CLASS", value) for value in ("standard_ia", "GLACIER", "DEEP_ARCHIVE", "A B")],
)  # fmt: skip
def test_wrong_options_are_named(object_store: ObjectStore, variable: str, value: str) -> None:
    with pytest.raises(StoreError, match=f"{variable} is '{value}'"):
        S3Store("s3://zoo", {**object_store.env, variable: value})


@pytest.mark.parametrize(("setting", "sent"), [("when_supported", True), ("when_required", False)])
def test_checksums_are_sent_unless_an_old_server_wants_none(
    recorded: tuple[dict[str, str], Misbehaviour], tmp_path: Path, setting: str, sent: bool
) -> None:
    environment, behaviour = recorded
    environment = {
        **environment,
        "AWS_REQUEST_CHECKSUM_CALCULATION": setting,
        "AWS_RESPONSE_CHECKSUM_VALIDATION": setting,
    }
    store = write_all(environment, tmp_path)
    assert store.get("large").read() == b"l" * (17 << 20)
    bodies = [request for request in behaviour.seen if request.method == "PUT"]
    assert len(bodies) == 3 + 4
    assert all(("x-amz-checksum-crc32" in request.headers) is sent for request in bodies)
    reads = [
        request for request in behaviour.seen if request.method == "GET" and "uploads" not in request.path
    ]
    assert reads and all(("x-amz-checksum-mode" in request.headers) is sent for request in reads)


def test_an_unknown_checksum_setting_is_named(object_store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="AWS_"):
        S3Store("s3://zoo", {**object_store.env, "AWS_REQUEST_CHECKSUM_CALCULATION": "sometimes"})
