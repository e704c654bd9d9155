"""A compose file: compose-spec's reading of it where that is installed, then pins, ports, passwords, users."""

from collections.abc import Iterator
from typing import Any

from cluster.check_finding import Finding, Sheet, image_pin
from cluster.check_secrets import names_secret
from cluster.linters import compose_spec


def findings(tree: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    yield from compose_spec(tree, sheet)
    services = tree.get("services") or {}
    for name, service in services.items():
        yield from _service(service or {}, f"services.{name}", sheet)
        for needed in (service or {}).get("depends_on") or ():
            if needed not in services:
                field = f"services.{name}.depends_on"
                yield sheet.error(field, f"there is no service {needed}", "one of this file")


def _service(service: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    if service.get("image"):
        yield from image_pin(str(service["image"]), f"{field}.image", sheet)
    elif not service.get("build"):
        yield sheet.error(f"{field}.image", "no image and nothing to build", "image: NAME:VERSION")
    for port in service.get("ports") or []:
        host = (
            port.get("host_ip", "")
            if isinstance(port, dict)
            else str(port).rpartition(":")[0].rpartition(":")[0]
        )
        if host not in ("127.0.0.1", "localhost", "[::1]", "::1"):
            problem = f"port {port} is open on every address of the machine"
            yield sheet.error(
                f"{field}.ports", problem, '"127.0.0.1:PORT:PORT", and a reverse proxy with TLS'
            )
    if service.get("network_mode") == "host":
        yield sheet.error(
            f"{field}.network_mode", "its ports are open on the machine's addresses", "networks"
        )
    if service.get("privileged"):
        yield sheet.error(f"{field}.privileged", "it may do everything on the machine", "leave it out")
    user = str(service.get("user", "")).split(":")[0]
    if user in ("", "root", "0"):
        yield sheet.error(f"{field}.user", "it runs as root", 'user: "1000:1000"')
    if not service.get("healthcheck"):
        yield sheet.warning(f"{field}.healthcheck", "nobody notices that it hangs", "a healthcheck")
    yield from _environment(service.get("environment") or {}, field, sheet)


def _environment(environment: dict[str, Any] | list[str], field: str, sheet: Sheet) -> Iterator[Finding]:
    if isinstance(environment, list):
        environment = dict(str(line).partition("=")[::2] for line in environment)
    for name, value in environment.items():
        if value and names_secret(str(name)):
            problem = "a secret in the environment: `docker inspect` shows it, and every child process has it"
            yield sheet.error(f"{field}.environment.{name}", problem, "a secret: a file under /run/secrets")
