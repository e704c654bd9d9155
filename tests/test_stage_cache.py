"""Stages of a data engine: computed once for the same inputs, again when anything they depend on differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainables.stage_cache import Arrays, cached_arrays, stage_key


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path))
    return tmp_path


class Counted:
    """A stage that counts how often it is computed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Arrays:
        self.times += 1
        return {
            "numbers": np.arange(6, dtype=np.float32).reshape(2, 3),
            "words": np.array(["a hand", "ü"]),
            "none": np.zeros((0, 3), dtype=bool),
        }


def test_a_stage_is_computed_once_for_the_same_inputs(cache: Path) -> None:
    stage = Counted()
    first = cached_arrays("hands", [1, "stamp", {"side": "right"}], stage)
    again = cached_arrays("hands", [1, "stamp", {"side": "right"}], stage)
    assert stage.times == 1
    for name, values in first.items():
        assert again[name].dtype == values.dtype and np.array_equal(again[name], values)
    assert [p.suffix for p in (cache / "stages" / "hands").iterdir()] == [".npz"], "no partial file is left"


@pytest.mark.parametrize("other", [[2, "stamp"], [1, "another"], [1, "stamp", None], ["1", "stamp"]])
def test_anything_that_differs_is_another_key(other: list[object]) -> None:
    stage = Counted()
    cached_arrays("hands", [1, "stamp"], stage)
    cached_arrays("hands", other, stage)
    assert stage.times == 2
    assert stage_key("hands", [1, "stamp"]) != stage_key("tracks", [1, "stamp"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY no archive", None])
def test_a_damaged_file_is_computed_again(
    cache: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Counted()
    cached_arrays("hands", [1], stage)
    (path,) = (cache / "stages" / "hands").iterdir()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    again = cached_arrays("hands", [1], stage)
    assert stage.times == 2 and np.array_equal(again["numbers"], np.arange(6).reshape(2, 3))
    assert "computed again" in caplog.text
    cached_arrays("hands", [1], stage)
    assert stage.times == 2, "the file is whole again"


def test_a_pickle_in_the_cache_is_not_run(cache: Path) -> None:
    stage = Counted()
    cached_arrays("hands", [1], stage)
    (path,) = (cache / "stages" / "hands").iterdir()
    np.savez(path, numbers=np.array([{"a": 1}], dtype=object))
    assert cached_arrays("hands", [1], stage)["numbers"].dtype == np.float32
    assert stage.times == 2


def test_a_stage_that_fails_leaves_nothing(cache: Path) -> None:
    def fails() -> Arrays:
        raise RuntimeError("no hand")

    with pytest.raises(RuntimeError, match="no hand"):
        cached_arrays("hands", [1], fails)
    assert not (cache / "stages").exists()


def test_a_cache_that_cannot_be_written_costs_a_warning(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "stages").write_text("a file where a folder should be")
    stage = Counted()
    assert cached_arrays("hands", [1], stage)["numbers"].shape == (2, 3)
    assert stage.times == 1 and "cannot be written" in caplog.text
