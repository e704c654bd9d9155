"""The object store and the MLflow server of a fleet of own machines, on one of them and on its address.

    LATENTACT_HOME=FOLDER python -m tests.fleet_servers ADDRESS PORT_BASE

Starts both, waits until they work, prints what their users need as JSON, and ends; the servers go on.
"""

from __future__ import annotations

import json
import sys

from cluster.mlflow_server import mlflow_server
from cluster.object_store import object_store
from cluster.ports import Ports
from cluster.state import StackFolder, StackState


def main(address: str, port_base: str) -> None:
    folder, ports = StackFolder.from_environment(), Ports(int(port_base))
    folder.prepare()
    state = StackState(stack_id="fleet", port_base=ports.base)
    store, mlflow = object_store(folder, ports, address), mlflow_server(folder, ports, address)
    records = [(server, server.start(folder, state)) for server in (store, mlflow)]
    for server, record in records:
        server.wait_ready(folder, record)
    access_key, secret_key = folder.s3_keys()
    told = {
        "store": store.address,
        "mlflow": mlflow.address,
        "access_key": access_key,
        "secret_key": secret_key,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
