"""Which ports the one-machine stack uses, and who holds one that is taken.

All ports lie at fixed offsets from one base, `$LATENTACT_PORT_BASE` (default 21500): below the
ranges from which Linux (32768-60999) and macOS (49152-65535) give out short-lived ports, gRPC's
offset of 10000 included.
"""

import os
import socket
from dataclasses import dataclass

import psutil

from cluster.state import StackError

DEFAULT_BASE = 21500
_GRPC_OFFSET = 10000


@dataclass(frozen=True)
class Ports:
    base: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 55000:
            raise StackError(f"LATENTACT_PORT_BASE is {self.base}, it must lie between 1024 and 55000")

    @classmethod
    def choose(cls, remembered: int | None) -> "Ports":
        """The base asked for by LATENTACT_PORT_BASE, else the remembered one, else the default."""
        asked = os.environ.get("LATENTACT_PORT_BASE")
        if asked is None:
            return cls(DEFAULT_BASE if remembered is None else remembered)
        if not asked.isdecimal():
            raise StackError(f"LATENTACT_PORT_BASE is {asked!r}, it must be a number, such as {DEFAULT_BASE}")
        return cls(int(asked))

    @property
    def s3(self) -> int:
        return self.base + 4

    @property
    def mlflow(self) -> int:
        return self.base + 10

    @property
    def ray(self) -> int:
        return self.base + 11

    @property
    def dashboard(self) -> int:
        return self.base + 12

    def object_store(self) -> dict[str, int]:
        """Master, volume, filer, S3 and admin; each also listens for gRPC 10000 higher."""
        names = ("master", "volume", "filer", "s3", "admin")
        return {name: self.base + offset for offset, name in enumerate(names, start=1)}

    def ray_services(self) -> dict[str, int]:
        """The ports of a Ray head, by the names of its `ray start` options."""
        names = (
            "port",
            "dashboard-port",
            "ray-client-server-port",
            "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port",
            "runtime-env-agent-port",
            "metrics-export-port",
            "node-manager-port",
            "object-manager-port",
        )
        return {name: self.base + offset for offset, name in enumerate(names, start=11)}

    def ray_metrics(self) -> dict[str, int]:
        """Two more ports of a Ray head, by the names of the variables that set them."""
        return {"AUTOSCALER_METRIC_PORT": self.base + 20, "DASHBOARD_METRIC_PORT": self.base + 21}

    def of_server(self, server: str) -> list[int]:
        if server == "object-store":
            http = list(self.object_store().values())
            return http + [port + _GRPC_OFFSET for port in http]
        if server == "mlflow":
            return [self.mlflow]
        return [*self.ray_services().values(), *self.ray_metrics().values()]


def check_free(server: str, ports: list[int]) -> None:
    """Raises StackError when one of the ports on 127.0.0.1 is taken, naming its holder where it can be known."""
    for port in ports:
        with socket.socket() as probe:
            # As servers do: a port with connections that are only fading away counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise StackError(
                    f"port {port}, which the {server} server wants, is taken{_holder(port)}: end that program, "
                    "or choose other ports with LATENTACT_PORT_BASE (for example "
                    f"LATENTACT_PORT_BASE={DEFAULT_BASE + 500})"
                ) from None


def _holder(port: int) -> str:
    """' by pid 123 (python)', or nothing where the system does not tell."""
    try:
        connections = psutil.net_connections("inet")
    except psutil.AccessDenied:  # macOS tells only root
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            try:
                return f" by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                return ""
    return ""
