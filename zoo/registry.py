"""MLflow's model registry as a view of the store: versions and aliases are copied there, and nothing is read
back.

MLflow numbers versions itself. They agree with ours as long as nobody else registers under the name; the tag
`zoo.version` says ours in any case.
"""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from zoo import layout, settings
from zoo.errors import RegistryError
from zoo.store import Store

DIGEST_TAG, VERSION_TAG = "zoo.digest", "zoo.version"


def mirror(store: Store, name: str) -> bool:
    """Make MLflow show the versions and aliases that the store holds for `name`.

    Idempotent. Returns False, and does nothing, where no MLFLOW_TRACKING_URI is configured. Raises
    RegistryError.
    """
    uri = settings.environment().get("MLFLOW_TRACKING_URI")
    if not uri:
        return False
    if store.url.startswith("file:") and uri.startswith("http"):
        raise RegistryError(
            f"MLflow at {uri} cannot register models of {store.url}, which only this machine can read: use an s3:// "
            "store, or unset MLFLOW_TRACKING_URI."
        )
    _preflight(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is set, but {error.name} is not installed: pip install mlflow."
        ) from error

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        _ensure_model(client, name)
        versions = _versions(client, name)
        for record in layout.records(store, name):
            if record["digest"] not in versions:
                client.create_model_version(
                    name,
                    source=f"{store.url}/{layout.version_folder(name, record['digest'])}",
                    run_id=record["tags"].get("run_id"),
                    tags={**record["tags"], DIGEST_TAG: record["digest"], VERSION_TAG: str(record["number"])},
                )
        versions = _versions(client, name)
        aliases: dict[str, Any] = {}
        while aliases != (
            now := layout.aliases(store, name)
        ):  # moved meanwhile: its mover may have been here first
            aliases = now
            for alias, record in aliases.items():
                if record["digest"] in versions:
                    client.set_registered_model_alias(name, alias, versions[record["digest"]])
    except MlflowException as error:
        raise RegistryError(f"MLflow at {uri} refused {name} ({error.message}).") from error
    return True


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"Stored in the zoo. `zoo pull {name}@champion`")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions(client: Any, name: str) -> dict[str, str]:
    """Digest -> MLflow's version. Of two registrations of one digest, by two publishers at once, the first
    stays.
    """
    found: dict[str, str] = {}
    for version in sorted(
        client.search_model_versions(f"name='{name}'"), key=lambda version: int(version.version)
    ):
        digest = version.tags.get(DIGEST_TAG)
        if digest in found:
            client.delete_model_version(name, version.version)
        elif digest:
            found[digest] = version.version
    return found


def _preflight(uri: str) -> None:
    """MLflow's client retries a server that is down for minutes; find that out at once."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    try:
        socket.create_connection(
            (parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443)), 5
        ).close()
    except OSError as error:
        raise RegistryError(
            f"MLflow at {uri} cannot be reached ({error}): check MLFLOW_TRACKING_URI, or start the local stack with "
            "`python -m cluster.local up`."
        ) from error
