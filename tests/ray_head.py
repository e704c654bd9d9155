"""A Ray head for tests that train on a real cluster."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.ports import Ports, check_free
from cluster.state import StackError


@contextmanager
def ray_head() -> Iterator[dict[str, str]]:
    """A Ray head of two cores with its dashboard; gives the environment of a driver."""
    ports = _free_ports()
    # Paths of Unix sockets are short; pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    environment = {
        **{
            key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "AWS_"))
        },
        **{name: str(port) for name, port in ports.ray_metrics().items()},
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "LATENTACT_HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    ray = Path(sys.executable).parent / "ray"
    flags = [f"--{name}={port}" for name, port in ports.ray_services().items()]
    flags += ["--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0", "--num-cpus=2"]
    flags += ["--object-store-memory=100000000", f"--temp-dir={folder}"]
    log = folder / "head.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [ray, "start", "--head", "--block", *flags], env=environment, stdout=output, stderr=output
        )
    try:
        wait(lambda: b"Ray runtime started" in log.read_bytes(), 180, server)
        yield environment | {
            "RAY_ADDRESS": f"127.0.0.1:{ports.ray}",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports.dashboard}",
        }
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def wait(condition: Callable[[], bool], timeout_s: float, process: subprocess.Popen[bytes]) -> None:
    """Until `condition` holds; the process must live so long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, f"the process ended with {process.returncode} before its time"
        assert time.monotonic() < deadline, f"nothing after {timeout_s:.0f} s"
        time.sleep(0.2)


def _free_ports() -> Ports:
    for _ in range(100):
        ports = Ports(random.SystemRandom().randrange(24000, 31000, 30))
        try:
            check_free("ray", ports.of_server("ray"))
        except StackError:
            continue
        return ports
    raise RuntimeError("no free ports for a Ray head")
