"""The Ray head of the one-machine stack, with its dashboard (job submission needs it) and token authentication."""

import os
import urllib.error
import urllib.request

from cluster import fleet
from cluster.environment import server_environment
from cluster.ports import Ports
from cluster.process import find_binary
from cluster.server import NotReady, Server
from cluster.state import FleetSize, StackFolder

# Trials read their data from files; the object store carries configurations and metrics.
_OBJECT_STORE_BYTES = 200 * 1024**2


def ray_head(folder: StackFolder, ports: Ports, size: FleetSize | None) -> Server:
    """The head; with a `size`, that of an autoscaling fleet."""
    address = f"http://127.0.0.1:{ports.dashboard}"

    def command() -> list[str]:
        return [
            find_binary("ray"),
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
            *(f"--{name}={port}" for name, port in ports.ray_services().items()),
            # Any free ports for workers: the default range is shared by every Ray on the machine.
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--temp-dir={folder.ray}",
            "--log-color=false",
            *([] if size is None else fleet.head_options(folder)),
        ]

    environment = server_environment(folder, ports)
    # An address in its environment would tell the head to look for another one.
    del environment["RAY_ADDRESS"], environment["RAY_API_SERVER_ADDRESS"]
    environment |= {name: str(port) for name, port in ports.ray_metrics().items()}
    # A trial has four processes, most of which wait for the one that trains: Ray would warn of more than four a core.
    environment["RAY_worker_maximum_startup_concurrency"] = str(2 * (os.cpu_count() or 1))
    if size is not None:
        environment |= fleet.head_environment()
    return Server(
        name="ray",
        address=address,
        command=command,
        environment=environment,
        ports=ports.of_server("ray"),
        check=lambda: _check(folder, address),
        start_timeout_s=300,
        stop_patience_s=35,
    )


def forget_address(folder: StackFolder, ports: Ports) -> None:
    """Remove the file that sends a bare `ray.init()` to this cluster after its end, if it names this one."""
    file = folder.ray / "ray_current_cluster"
    if file.exists() and file.read_text().strip() == f"127.0.0.1:{ports.ray}":
        file.unlink()


def _check(folder: StackFolder, address: str) -> None:
    """The dashboard lists jobs, for which it asks the head, and does so to holders of the token."""
    token = folder.token_file.read_text().strip()
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            reply.read()
    except (urllib.error.URLError, OSError) as error:
        raise NotReady(str(error)) from error
