"""A rehearsal of a fleet on this machine: Ray's autoscaler starts and ends worker nodes that are processes here.

A node is a raylet with its workers under Ray's own provider for such nodes. The head gives no CPU away, like that of
`aws.yaml`; workers come when trials wait for them, up to a number, and go when they are idle.
"""

import json
import random
import urllib.request
from dataclasses import dataclass

import psutil
import yaml

from cluster import process
from cluster.ports import Ports
from cluster.state import FleetSize, StackError, StackFolder, StackState

# What Ray's provider and its head must agree on.
_HEAD_TYPE = "ray.head.default"
HEAD_ID = "f" * 51 + "00000"
WORKER_TYPE = "worker"
# Trials read their data from files; what nodes carry between them is small. Ray's least is 75 MB.
_OBJECT_STORE_BYTES = 80 * 1024**2
_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_ID_VARIABLE = "RAY_CLOUD_INSTANCE_ID"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as Ray sees it."""

    node_id: str
    is_head: bool
    cpus: float


def write_config(folder: StackFolder, ports: Ports, size: FleetSize) -> None:
    """Write the autoscaler's file, which it reads anew every second."""
    config = {
        "cluster_name": "rehearsal",
        "max_workers": size.nodes,
        "upscaling_speed": 100.0,  # all at once
        "idle_timeout_minutes": size.idle_timeout_s / 60,
        "provider": {
            "type": "external",
            "module": "cluster.fleet_nodes.FleetNodes",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
            "gcs_address": f"127.0.0.1:{ports.ray}",
        },
        # Nothing is copied or run on such a node; Ray wants to be told so.
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{name: [] for name in _COMMANDS},
        "head_node_type": _HEAD_TYPE,
        "available_node_types": {
            _HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            WORKER_TYPE: {
                "resources": {"CPU": size.node_cpus, "object_store_memory": _OBJECT_STORE_BYTES},
                "node_config": {},
                "min_workers": 0,
                "max_workers": size.nodes,
            },
        },
    }
    folder.write_private(folder.autoscaling_file, yaml.safe_dump(config, sort_keys=False))


def resize(folder: StackFolder, state: StackState, ports: Ports, size: FleetSize | None) -> None:
    """Take on the size asked for; a head that runs goes by it from then on. Raises StackError where it cannot."""
    record = state.processes.get("ray")
    if size is not None and record is not None and process.is_alive(record):
        if state.fleet is None:
            raise StackError(
                "the Ray head runs without an autoscaler: end it first (`python -m cluster.local down`), "
                "then `up --nodes` again"
            )
        if state.fleet.node_cpus != size.node_cpus:
            raise StackError(
                f"the fleet runs with nodes of {state.fleet.node_cpus} CPUs: end it first "
                "(`python -m cluster.local down`), then `up --nodes` again with other --node-cpus"
            )
    state.fleet = size or state.fleet
    if state.fleet is None:
        folder.autoscaling_file.unlink(missing_ok=True)
    else:
        write_config(folder, ports, state.fleet)
    if state.processes:  # else nothing has been started that would have to be remembered
        folder.write_state(state)


def head_options(folder: StackFolder) -> list[str]:
    """What `ray start --head` is told beside its other options."""
    return ["--num-cpus=0", f"--autoscaling-config={folder.autoscaling_file}"]


def head_environment() -> dict[str, str]:
    """What the head, and with it its autoscaler, needs in its environment."""
    return {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        _ID_VARIABLE: HEAD_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }


def nodes(folder: StackFolder, ports: Ports) -> list[Node]:
    """The living nodes, head first. Raises StackError when the head does not tell."""
    token = folder.token_file.read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{ports.dashboard}/api/v0/nodes?limit=10000",
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            rows = json.load(reply)["data"]["result"]["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"the Ray head does not say which nodes there are: {error}") from error
    living = [
        Node(
            node_id=row["node_id"],
            is_head=row["is_head_node"],
            cpus=row["resources_total"].get("CPU", 0.0),
        )
        for row in rows
        if row["state"] == "ALIVE"
    ]
    return sorted(living, key=lambda node: (not node.is_head, node.node_id))


def lose_nodes(folder: StackFolder, ports: Ports, member: str, count: int) -> list[str]:
    """End `count` worker nodes, drawn by chance, as if their machines were gone; returns their ids.

    `member` is the mark of the head's processes. Raises StackError when fewer live.
    """
    living = [node.node_id for node in nodes(folder, ports) if not node.is_head]
    if len(living) < count:
        raise StackError(f"{len(living)} worker nodes live, {count} cannot be lost: give a smaller --count")
    lost = sorted(random.sample(living, count))
    roots = [found for found in process.members(member, None) if node_of(found) in lost]
    # Those whose title has taken the place of their environment are children of others.
    children = [child for root in roots for child in process.children(root)]
    process.kill(list({found.pid: found for found in roots + children}.values()))
    return lost


def node_of(found: psutil.Process) -> str:
    """The id of the node that a process is a part of, "" where that cannot be read."""
    try:
        return found.environ().get(_ID_VARIABLE, "")
    except (psutil.Error, OSError):  # it has just ended
        return ""
