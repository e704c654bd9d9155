"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.object_server import ObjectStore, running_store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test run caches is its own: nothing of the user's is read or left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server on 127.0.0.1 (one for each xdist worker). Tests keep apart by name or prefix."""
    with running_store(tmp_path_factory.mktemp("weed")) as store:
        yield store
