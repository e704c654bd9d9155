"""A trial's checkpoints: the last one counts, and whatever is cut off or damaged is never taken for whole."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from trainables.checkpoints import Checkpoints
from trainables.clip_folder import open_folder
from zoo.store import Store

FILES = {"model.safetensors": b"weights" * 100, "trial.json": b"{}", "empty": b""}


@pytest.fixture
def url(store: Store) -> str:
    return f"{store.url}/trials/a b"


def expected(number: int) -> dict[str, bytes]:
    return {name: data and data + str(number).encode() for name, data in FILES.items()}


def source(folder: Path, number: int) -> Path:
    """What training wrote: the same names every time, other bytes."""
    folder.mkdir(exist_ok=True)
    for name, data in expected(number).items():
        (folder / name).write_bytes(data)
    return folder


def put(url: str, tmp_path: Path, number: int) -> str:
    return Checkpoints(url).put(source(tmp_path / "written", number))


def found(url: str, tmp_path: Path) -> dict[str, bytes] | None:
    """The files of the checkpoint that counts; None where training would begin anew."""
    checkpoints = Checkpoints(url)
    folder = checkpoints.latest()
    into = tmp_path / uuid.uuid4().hex
    into.mkdir()
    if folder is None or not checkpoints.fetch(folder, into):
        return None
    return {path.name: path.read_bytes() for path in into.iterdir()}


def files_of(url: str) -> set[str]:
    place = open_folder(url)
    infos = place.system.get_file_info(fs.FileSelector(place.path, recursive=True))
    return {info.path.removeprefix(f"{place.path}/") for info in infos if info.type == fs.FileType.File}


def test_the_last_one_counts_and_is_the_only_one_kept(url: str, tmp_path: Path) -> None:
    assert Checkpoints(url).latest() is None and found(url, tmp_path) is None
    one = Checkpoints(url)
    names = [one.put(source(tmp_path / "written", number)) for number in range(3)]
    assert names == ["checkpoint_000000", "checkpoint_000001", "checkpoint_000002"]
    assert found(url, tmp_path) == expected(2)
    assert files_of(url) == {"latest.json", *(f"{names[-1]}/{name}" for name in FILES)}
    # Whoever goes on counts on from there.
    assert put(url, tmp_path, 3) == "checkpoint_000003" and found(url, tmp_path) == expected(3)
    other = Checkpoints(url)
    assert other.latest() == "checkpoint_000003"
    assert other.put(source(tmp_path / "written", 4)) == "checkpoint_000004"


def test_only_the_one_that_counts_can_be_fetched(url: str, tmp_path: Path) -> None:
    first = put(url, tmp_path, 0)
    put(url, tmp_path, 1)
    assert not Checkpoints(url).fetch(first, tmp_path)
    assert not Checkpoints(url).fetch("", tmp_path)
    assert not Checkpoints(f"{url}/nothing").fetch("checkpoint_000000", tmp_path)


@pytest.mark.parametrize("name", [name for name, data in FILES.items() if data])
@pytest.mark.parametrize("damage", ["other byte", "cut", "gone"])
def test_a_damaged_one_is_not_whole_and_training_goes_on_past_it(
    url: str, tmp_path: Path, name: str, damage: str
) -> None:
    folder = put(url, tmp_path, 0)
    place = open_folder(url)
    data = place.read(f"{folder}/{name}")
    assert data
    if damage == "gone":
        place.system.delete_file(f"{place.path}/{folder}/{name}")
    else:
        place.write(
            f"{folder}/{name}", data[:-1] + (bytes([data[-1] ^ 1]) if damage == "other byte" else b"")
        )
    assert Checkpoints(url).latest() == folder and found(url, tmp_path) is None
    assert put(url, tmp_path, 1) != folder
    assert found(url, tmp_path) == expected(1)


class Killed(BaseException):
    """The process dies here."""


class Dying:
    """Where checkpoints lie, as a process sees it that is killed in its n-th change: before it, or in the middle."""

    def __init__(self, thing: Any, left: list[int], *, halfway: bool) -> None:
        self._thing, self._left, self._halfway = thing, left, halfway

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        if name == "system":
            return Dying(value, self._left, halfway=self._halfway)
        return self.counted(value) if name in ("write", "delete", "create_dir") else value

    def counted(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(first: str, *rest: Any, **options: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] < 0:
                if self._halfway and change.__name__ == "write" and self._thing.is_local:
                    change(first, rest[0][: len(rest[0]) // 2])  # an object store has nothing or all of it
                raise Killed
            return change(first, *rest, **options)

        return changed


@pytest.mark.parametrize("halfway", [False, True])
def test_whoever_is_killed_while_it_writes_leaves_the_one_before_or_the_new_one(
    url: str, tmp_path: Path, halfway: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(url, tmp_path, 0)
    number, before, deaths, new = 0, expected(0), 0, 0
    while True:
        number += 1
        checkpoints = Checkpoints(url)
        place = Dying(checkpoints._place, [deaths], halfway=halfway)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(checkpoints, "_place", place)
                patch.setattr(os, "replace", place.counted(os.replace))
                checkpoints.put(source(tmp_path / "written", number))
            break
        except Killed:
            after = found(url, tmp_path)
            assert after in (before, expected(number)), deaths
            new += after == expected(number)
            assert after is not None
            before, deaths = after, deaths + 1
    # Three files and the word that they count, and afterwards the removal of what was there before.
    assert deaths >= len(FILES) + 1 and new >= 1
    assert found(url, tmp_path) == expected(number)


def test_the_record_says_what_its_files_must_be(url: str, tmp_path: Path) -> None:
    folder = put(url, tmp_path, 5)
    data = open_folder(url).read("latest.json")
    assert data is not None
    assert json.loads(data) == {
        "folder": folder,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in expected(5).items()},
    }
