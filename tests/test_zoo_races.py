"""Processes that publish, promote and collect at once, and processes that are killed. The long versions are
tests/benchmarks/zoo_races.py and zoo_kills.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.named_zoo import zoo_on_s3
from tests.object_server import ObjectStore
from tests.zoo_kills import KINDS, Range
from tests.zoo_races import race
from zoo.store import open_store


@pytest.fixture
def url(object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty zoo on the S3 server, and nothing of the user's."""
    return zoo_on_s3(object_store, tmp_path, monkeypatch).url


@pytest.mark.slow
def test_sixteen_processes_at_once(url: str, tmp_path: Path) -> None:
    figures = race(open_store(url), tmp_path, rounds=6)
    assert figures.rounds == 6 and figures.versions == 6 * 5


@pytest.mark.slow
def test_what_is_killed_leaves_nothing_broken(url: str, tmp_path: Path) -> None:
    figures = Range(url, tmp_path, seed=1).shoot(10, KINDS)
    assert set(figures.kills) == set(KINDS) and figures.kills.total() == 10 and figures.whole == 1
