"""MLflow's registry made again from the store: after its database was lost, or it was down while models moved."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zoo import layout
from zoo.errors import RegistryError, ZooError
from zoo.names import unknown_model
from zoo.registry import bring_in_line, connect
from zoo.store import Store, open_store

_AT_ONCE = 4  # models; more only queue up in MLflow's database


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What one model needed to be shown as the store holds it; `error` says what hindered that, and is empty else."""

    name: str
    changes: tuple[str, ...] = ()
    error: str = ""


def rebuild_registry(
    pattern: str = "*",
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], object] | None = None,
    store: Store | None = None,
) -> list[Rebuilt]:
    """Make MLflow show every model whose name matches a shell pattern as the store holds it: versions, aliases, tags,
    descriptions. What agrees is left alone.

    MLflow's numbers become the store's again, where nobody else has registered under the name. `dry_run` changes
    nothing and says what would be. `progress` is told (models done, models in all). A model that fails does not keep
    the others. Raises RegistryError where MLflow is not configured or does not answer, UnknownModel where nothing
    matches, StoreError.
    """
    store = store or open_store()
    client = connect(store)
    if client is None:
        raise RegistryError("No MLflow is configured: set MLFLOW_TRACKING_URI.")
    names = sorted(layout.names(store, pattern))
    if not names and pattern != "*":
        raise unknown_model(pattern, layout.names(store))

    def rebuild(name: str) -> Rebuilt:
        try:
            return Rebuilt(
                name=name, changes=tuple(bring_in_line(client, store, name, every=True, dry_run=dry_run))
            )
        except ZooError as error:
            return Rebuilt(name=name, error=str(error))

    rebuilt = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for one in pool.map(rebuild, names):
            rebuilt.append(one)
            if progress:
                progress(len(rebuilt), len(names))
    return rebuilt
