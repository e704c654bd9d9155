"""MLflow's model registry as a view of the store: versions and aliases are copied there, and nothing is read
back.

A model is there under its flat name (`team--latentact-world-objects`), its description is the card of the champion, or
of the newest version where there is none. MLflow numbers versions itself, by one more than the highest that there ever
was. So that its numbers are the store's, numbers that the store does not have are used up: a version made and deleted
again. Where somebody else registers under the name, or two publishers registered one version at once, MLflow's numbers
run ahead; the tag `zoo.version` says the store's in any case, and `rebuild_registry` numbers afresh.
"""

from __future__ import annotations

import os
import random
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zoo import layout, settings
from zoo.errors import RegistryError
from zoo.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRIES = 6  # of a request that lost a race against another's


def mirror(store: Store, name: str) -> bool:
    """Make MLflow show the versions and aliases that the store holds for `name`; what agrees is left alone.

    Versions that MLflow has under a number are taken to be the store's, but for the newest and those with an alias:
    `rebuild_registry` compares every one. Returns False, and does nothing, where no MLFLOW_TRACKING_URI is configured.
    Raises RegistryError.
    """
    client = connect(store)
    if client is None:
        return False
    bring_in_line(client, store, name)
    return True


def bring_in_line(
    client: MlflowClient, store: Store, name: str, *, every: bool = False, dry_run: bool = False
) -> list[str]:
    """Make the changes that `zoo.registry_view.changes` finds, or with `dry_run` none; says in words what they are.

    Raises RegistryError.
    """
    from mlflow.exceptions import MlflowException

    from zoo.registry_view import changes

    made: list[str] = []
    seen: dict[str, Any] | None = None
    tries = 0
    while True:
        try:
            # Moved meanwhile: its mover may have been here first.
            while seen != (now := layout.aliases(store, name)):
                for change in changes(client, store, name, now, every=every):
                    made.append(change.words)
                    if not dry_run:
                        change.make()
                seen = now
            return made
        except MlflowException as error:
            # Where others change the same model at once, look again at what is left to do.
            tries += 1
            if tries == _TRIES or error.get_http_status_code() in (401, 403):
                raise RegistryError(f"MLflow refused {name} ({error.message}).") from error
            time.sleep(random.uniform(0.05, 0.1) * 2**tries)


def connect(store: Store) -> MlflowClient | None:
    """A client of the MLflow that is configured, which answers; None where none is configured. Raises RegistryError."""
    uri = settings.environment().get("MLFLOW_TRACKING_URI")
    if not uri:
        return None
    if store.url.startswith("file:") and uri.startswith("http"):
        raise RegistryError(
            f"MLflow at {uri} cannot register models of {store.url}, which only this machine can read: use an s3:// "
            "store, or unset MLFLOW_TRACKING_URI."
        )
    _preflight(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's client would try for minutes; the store is complete without it, and a rebuild makes up for it.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise RegistryError(
            f"MLFLOW_TRACKING_URI is set, but {error.name} is not installed: pip install mlflow."
        ) from error
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _preflight(uri: str) -> None:
    """MLflow's client waits long for a server that is down; find that out at once."""
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
