"""Version numbers and identity: found in a few requests however many versions there are, and in old stores, too."""

from __future__ import annotations

import getpass
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from zoo_marks import publish

from zoo import identity, layout, numbering
from zoo.errors import Conflict
from zoo.store import Store, read_json, to_json

NAME = "latentact-world-objects"


def digest(i: int) -> str:
    return f"{i:064x}"


def old_record(store: Store, number: int) -> None:
    """A version's record as it was before there were claims."""
    record = {
        "schema": 1,
        "number": number,
        "digest": digest(number),
        "by": "someone",
        "at": "2026-01-01T00:00:00Z",
    }
    store.put(layout.number_key(NAME, number), to_json(record))


def test_the_same_digest_keeps_its_number(store: Store) -> None:
    for _ in range(2):
        assert [numbering.take_number(store, NAME, {"digest": digest(i)}) for i in range(1, 5)] == [
            1,
            2,
            3,
            4,
        ]
    assert numbering.find(store, NAME, digest(3)) == 3
    assert numbering.find(store, NAME, digest(9)) is None
    record = read_json(store, layout.number_key(NAME, 3))
    assert (record["number"], record["digest"]) == (3, digest(3))


def test_many_at_once_leave_no_gap(store: Store) -> None:
    wanted = [digest(i % 5) for i in range(40)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda d: numbering.take_number(store, NAME, {"digest": d}), wanted))
    assert len(set(zip(wanted, got, strict=True))) == 5
    assert layout.numbers(store, NAME) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("how_many", [3, 300])
def test_it_takes_as_many_requests_for_few_versions_as_for_many(
    store: Store, monkeypatch: pytest.MonkeyPatch, how_many: int
) -> None:
    first = numbering.take_number(store, NAME, {"digest": digest(1)})
    for number in range(2, how_many + 1):  # as `take_number` would leave them
        store.put(layout.claim_key(NAME, digest(number)), to_json({"after": number - 1}))
        new = {"number": number, "digest": digest(number), "claimed": True}
        store.put(layout.number_key(NAME, number), to_json(new))
    calls: list[str] = []
    for operation in ("get", "put", "put_if", "list"):
        original = getattr(type(store), operation)

        def counted(self: Store, key: str, *args: object, original=original, **options: object) -> object:
            calls.append(key)
            return original(self, key, *args, **options)

        monkeypatch.setattr(type(store), operation, counted)
    assert numbering.take_number(store, NAME, {"digest": digest(1)}) == first
    assert len(calls) <= 8, calls  # a refused `put_if` looks at what is there
    calls.clear()
    assert numbering.take_number(store, NAME, {"digest": digest(10**6)}) == how_many + 1
    assert len(calls) <= 8, calls


def test_versions_from_before_there_were_claims_are_found(store: Store) -> None:
    for number in range(1, 6):
        old_record(store, number)
    assert numbering.take_number(store, NAME, {"digest": digest(4)}) == 4
    assert numbering.take_number(store, NAME, {"digest": digest(9)}) == 6
    assert numbering.take_number(store, NAME, {"digest": digest(2)}) == 2
    assert numbering.take_number(store, NAME, {"digest": digest(9)}) == 6
    assert layout.numbers(store, NAME) == [1, 2, 3, 4, 5, 6]


def test_publishers_that_claim_at_once_agree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dies between its claim and its number, and another version comes first."""
    put_if = type(store).put_if

    def dying(self: Store, key: str, data: bytes, tag: str | None) -> None:
        if "/numbers/" in key:
            raise KeyboardInterrupt
        put_if(self, key, data, tag)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_if", dying)
        with pytest.raises(KeyboardInterrupt):
            numbering.take_number(store, NAME, {"digest": digest(1)})
    with pytest.raises(Conflict):
        store.put_if(layout.claim_key(NAME, digest(1)), b"{}", None)
    assert numbering.take_number(store, NAME, {"digest": digest(2)}) == 1
    assert numbering.take_number(store, NAME, {"digest": digest(1)}) == 2


def test_a_record_says_who_published_from_where(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTACT_PUBLISHER", "ada@example.org")
    publish(store, NAME, tmp_path)
    record = read_json(store, layout.number_key(NAME, 1))
    assert (record["by"], record["host"], record["publisher"]) == (
        getpass.getuser(), platform.node(), "ada@example.org"
    )  # fmt: skip


def test_git_knows_the_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTACT_PUBLISHER", raising=False)
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    identity._git_email.cache_clear()
    assert "publisher" not in identity.signature()
    subprocess.run(["git", "config", "user.email", "grace@example.org"], check=True)
    identity._git_email.cache_clear()
    assert identity.signature()["publisher"] == "grace@example.org"
