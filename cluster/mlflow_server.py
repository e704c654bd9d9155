"""The MLflow server of the one-machine stack: SQLite for the records, the object store for the artefacts."""

import importlib.util
import sys
import urllib.error
import urllib.request

from cluster.environment import ARTIFACTS_BUCKET, server_environment
from cluster.ports import Ports
from cluster.server import NotReady, Server
from cluster.state import StackError, StackFolder


def mlflow_server(folder: StackFolder, ports: Ports, host: str = "127.0.0.1") -> Server:
    """The server, listening on the address `host` alone, where the object store is too."""
    address = f"http://{host}:{ports.mlflow}"

    def command() -> list[str]:
        if importlib.util.find_spec("mlflow") is None:
            raise StackError("MLflow is missing: `make install`, or `pip install 'latentact-zoo[cluster]'`")
        return [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            f"sqlite:///{folder.database}",
            "--artifacts-destination",
            f"s3://{ARTIFACTS_BUCKET}",
            "--host",
            host,
            "--port",
            str(ports.mlflow),
            "--workers",
            "1",
        ]

    environment = server_environment(folder, ports)
    store = f"http://{host}:{ports.s3}"
    environment |= {"AWS_ENDPOINT_URL": store, "MLFLOW_S3_ENDPOINT_URL": store}
    # The server opens its database itself; it must not be a client of its own address.
    del environment["MLFLOW_TRACKING_URI"]
    # The runner of background jobs alone takes eight processes and 1.8 GB.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    return Server(
        name="mlflow",
        address=address,
        command=command,
        environment=environment,
        ports=ports.of_server("mlflow"),
        check=lambda: _check(address),
        start_timeout_s=300,
        stop_patience_s=10,
    )


def _check(address: str) -> None:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as reply:
            reply.read()
    except (urllib.error.URLError, OSError) as error:
        raise NotReady(str(error)) from error
