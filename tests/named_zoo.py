"""An empty zoo of a test's own, which is also the one that the environment names; nothing of the user's is read."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.object_server import ObjectStore
from zoo.store import Store, open_store


def zoo_in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return _named(f"file://{tmp_path}/zoo", tmp_path, monkeypatch)


def zoo_on_s3(server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for key, value in server.env.items():
        monkeypatch.setenv(key, value)
    return _named(f"s3://zoo/{uuid.uuid4().hex}", tmp_path, monkeypatch)


def named_zoo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """For a fixture with the params "file" and "s3"."""
    if request.param == "s3":
        return zoo_on_s3(request.getfixturevalue("object_store"), tmp_path, monkeypatch)
    return zoo_in_folder(tmp_path, monkeypatch)


def _named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))  # its cache is empty
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("LATENTACT_ZOO", url)
    return open_store()
