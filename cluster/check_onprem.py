"""A file for `ray up` on machines of one's own (provider `local`): what Ray lets pass, and then some machine stays idle."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from cluster.check_finding import Finding, Sheet, asks_for_token, at


def findings(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    yield from _machines(config, sheet)
    yield from _login(config, sheet)
    yield from _head(config, sheet)
    yield from _worker(config, sheet)
    yield from _token(config, sheet)


def _words(config: dict[str, Any], *fields: str) -> str:
    return "\n".join(str(line) for field in fields for line in config.get(field) or [])


def _machines(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    provider = config["provider"]
    head, workers = provider.get("head_ip"), provider.get("worker_ips") or []
    if not workers:
        yield sheet.error("provider.worker_ips", "no machine trains", "the addresses of the workers")
    if head in workers:
        problem = f"{head} is the head too: the start of one ends the other"
        yield sheet.error("provider.worker_ips", problem, "a machine is head or worker")
    if len(set(workers)) < len(workers):
        yield sheet.error("provider.worker_ips", "a machine is named twice", "each address once")
    if head is not None and _is_loopback(head):
        remedy = "the address under which the workers reach it"
        yield sheet.error("provider.head_ip", f"workers would look for {head} on themselves", remedy)
    most = config.get("max_workers", len(workers))
    if most < len(workers):
        problem = f"{len(workers) - most} of {len(workers)} machines are left out"
        yield sheet.warning("max_workers", problem, "leave it out: all worker_ips are taken")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _login(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    if not at(config, "auth", "ssh_user"):
        yield sheet.error("auth.ssh_user", "not given", "who logs in to the machines")
    if not at(config, "auth", "ssh_private_key"):
        problem = "not given: the head has nothing to log in to the workers with, and they never start"
        yield sheet.error(
            "auth.ssh_private_key", problem, "a key made for the fleet; Ray copies it to the head"
        )


def _head(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    field = "head_start_ray_commands"
    text = _words(config, field)
    if "ray start" not in text:
        return  # said by the checks that are the same for clouds
    if "--num-cpus=0" not in text:
        yield sheet.error(
            field, "trials would run on the head", "ray start --head --num-cpus=0; workers train"
        )
    if "--num-gpus=0" not in text:
        yield sheet.warning(
            field, "the head's GPUs, if it has some, would train", "ray start --head --num-gpus=0"
        )
    if "RAY_enable_autoscaler_v2=0" not in text:
        problem = (
            "version 2 of the autoscaler takes the head for one of the workers: the last of them never starts"
        )
        yield sheet.error(field, problem, "RAY_enable_autoscaler_v2=0 before `ray start`")


def _worker(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    field = "worker_start_ray_commands"
    text = _words(config, field)
    if "ray start" not in text:
        problem = "not given: Ray's own passes no environment on"
        yield sheet.error(field, problem, "ray start --block --address=$RAY_HEAD_IP:6379 ...")
    elif "--block" not in text:
        problem = "`ray down` stops the head alone, and a part of each worker would run on for ever"
        yield sheet.error(field, problem, "setsid nohup ray start --block ... &")


def _token(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    for side in ("head", "worker"):
        text = _words(config, "setup_commands", f"{side}_setup_commands", f"{side}_start_ray_commands")
        if not asks_for_token(text):
            problem = f"Ray on the {side} asks for no token: whoever reaches its ports runs code"
            remedy = "RAY_AUTH_MODE=token in the environment of `ray start` (and of `ray` on your machine)"
            yield sheet.error("setup_commands", problem, remedy)
        elif "RAY_AUTH_TOKEN_PATH" not in text:
            remedy = "RAY_AUTH_TOKEN_PATH=..., a file in a file mount"
            yield sheet.error("setup_commands", f"the {side} has no token to ask for", remedy)
