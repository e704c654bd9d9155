"""Fixtures that several tests share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mlflow_server import MlflowServer, running_mlflow
from tests.object_server import ObjectStore, running_store
from tests.ray_head import ray_head
from zoo.store import Store, open_store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test run caches is its own: nothing of the user's is read or left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("LATENTACT_ZOO_CACHE", raising=False)
        yield


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server on 127.0.0.1 (one for each xdist worker). Tests keep apart by name or prefix."""
    with running_store(tmp_path_factory.mktemp("weed")) as store:
        yield store


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store: once in a folder, once on the S3 server."""
    if request.param == "file":
        return open_store(f"file://{tmp_path}/zoo")
    for key, value in request.getfixturevalue("object_store").env.items():
        monkeypatch.setenv(key, value)
    return open_store(f"s3://zoo/{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """A Ray head for the tests of one file; the environment of its drivers."""
    with ray_head() as environment:
        yield environment


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server on 127.0.0.1 (one for each xdist worker). Tests keep apart by experiment."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server
