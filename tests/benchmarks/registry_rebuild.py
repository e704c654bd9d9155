"""How long MLflow's registry takes to be made again from a store, and to be looked through where nothing differs.

    python -m tests.benchmarks.registry_rebuild --names 10 --versions 100

On a real object store and a real MLflow server with SQLite, both on this machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.mlflow_server import running_mlflow
from tests.object_server import running_store
from tests.zoo_bundles import write_bundle


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--names", type=int, default=10)
    arguments.add_argument("--versions", type=int, default=100)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        (top / "weed").mkdir()
        (top / "mlflow").mkdir()
        with running_store(top / "weed") as objects, running_mlflow(top / "mlflow") as server:
            os.environ |= {
                **objects.env,
                "LATENTACT_HOME": f"{top}/home",
                "LATENTACT_ZOO": "s3://zoo/registry",
            }
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            names = fill(top, chosen.names, chosen.versions)
            os.environ["MLFLOW_TRACKING_URI"] = server.uri
            measure(names, chosen.names * chosen.versions)


def fill(top: Path, names: int, versions: int) -> list[str]:
    """Publish one bundle a name as a user does, and give it its many versions by records alone."""
    import zoo
    from zoo import layout
    from zoo.store import read_json, to_json

    store, made = zoo.open_store(), []
    for i in range(names):
        name = f"latentact-data{i}-objects"
        zoo.publish(name, write_bundle(top / name, data=f"data{i}"))
        record = read_json(store, layout.number_key(name, 1))
        for number in range(2, versions + 1):
            store.put(layout.number_key(name, number), to_json({**record, "number": number}))
        alias = {"alias": "champion", "number": versions, "digest": record["digest"], "sequence": 1}
        store.put(layout.alias_key(name, "champion"), to_json(alias))
        made.append(name)
    return made


def measure(names: list[str], versions: int) -> None:
    import zoo
    from zoo import registry

    def took(what: str, work: Callable[[], object], times: int = 1) -> None:
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        spread = f", {min(seconds):.3f} to {max(seconds):.3f}" if times > 1 else ""
        print(f"{what}: {statistics.median(seconds):.3f} s{spread}", flush=True)

    took("connect and import MLflow", lambda: registry.connect(zoo.open_store()))
    took(f"rebuild of {versions} versions over {len(names)} names", zoo.rebuild_registry)
    took("rebuild where nothing differs", zoo.rebuild_registry, 3)
    took("mirror of one name where nothing differs", lambda: registry.mirror(zoo.open_store(), names[0]), 9)


if __name__ == "__main__":
    main()
