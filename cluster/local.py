"""Start, check and stop the one-machine stack: object store, MLflow server and Ray head, all on 127.0.0.1.

    python -m cluster.local up       # starts what is not running, keeps what is; waits until all of it works
    python -m cluster.local status   # a table; exit code 0 when all of it works, else 1
    python -m cluster.local down     # ends what `up` started and nothing else; the state stays

A rehearsal of a fleet: the head trains nothing, Ray's autoscaler starts and ends worker nodes, all on this machine.

    python -m cluster.local up --nodes 5        # from none to 5 nodes, as trials wait for places
    python -m cluster.local lose-node --count 3 # ends nodes at once, as a spot market does
    python -m cluster.local lose-head           # ends the head and all nodes; `up` starts it again

State lies in `$LATENTACT_HOME` (default ~/.latentact-zoo), ports from `$LATENTACT_PORT_BASE` (default 21500).
"""

import secrets
import sys
import time

import click
from rich.console import Console
from rich.table import Table

from cluster import fleet, process
from cluster.environment import write_environment_file
from cluster.mlflow_server import mlflow_server
from cluster.object_store import object_store
from cluster.ports import Ports, check_free
from cluster.ray_head import forget_address, ray_head
from cluster.server import Server
from cluster.state import FleetSize, StackError, StackFolder, StackState

console = Console(highlight=False, soft_wrap=True)


def servers(folder: StackFolder, ports: Ports, size: FleetSize | None = None) -> list[Server]:
    """The stack's servers in the order of their start; with a `size`, Ray's is the head of a fleet."""
    return [object_store(folder, ports), mlflow_server(folder, ports), ray_head(folder, ports, size)]


def up(folder: StackFolder, size: FleetSize | None = None) -> None:
    """Start every server that does not run and wait until all work; with a `size`, as a fleet.

    A fleet that runs takes on another size as it is; one that was asked for stays one until `down`. Raises StackError.
    """
    folder.prepare()
    with folder.locked():
        folder.check_space()
        state = folder.read_state()
        ports = Ports.choose(None if state is None else state.port_base)
        if state is None:
            state = StackState(stack_id=secrets.token_hex(8), port_base=ports.base)
        elif state.port_base != ports.base:
            if any(process.is_alive(record) for record in state.processes.values()):
                raise StackError(
                    f"the stack runs on ports from {state.port_base}, LATENTACT_PORT_BASE asks for {ports.base}: "
                    "stop it first (`make stop`)"
                )
            state.port_base = ports.base
        folder.ensure_token()
        fleet.resize(folder, state, ports, size)
        stack = servers(folder, ports, state.fleet)
        started = {server.name: time.monotonic() for server in stack}
        kept = _start_missing(folder, state, stack)
        for server in stack:
            with console.status(f"waiting for {server.name}"):  # on a terminal only
                server.wait_ready(folder, state.processes[server.name])
            how = (
                "was running"
                if server.name in kept
                else f"ready in {time.monotonic() - started[server.name]:.1f} s"
            )
            console.print(f"  {server.name:<13}{server.address:<25}{how}")
        write_environment_file(folder, ports)
        if state.fleet is not None:
            console.print(f"  fleet        {state.fleet}")
    console.print(f"  environment  {folder.environment_file}  (set -a; . {folder.environment_file}; set +a)")


def _start_missing(folder: StackFolder, state: StackState, stack: list[Server]) -> set[str]:
    """Start those that do not run, all at once; returns the names of those that do."""
    kept = {
        server.name
        for server in stack
        if server.name in state.processes and process.is_alive(state.processes[server.name])
    }
    missing = [server for server in stack if server.name not in kept]
    for server in missing:
        # Children of one that died.
        process.stop(state.processes.get(server.name), server.member(state), patience_s=0)
    # Everything that can be refused is refused before anything is started.
    for server in missing:
        server.command()
        check_free(server.name, server.ports)
    for server in missing:
        state.processes[server.name] = server.start(folder, state)
        folder.write_state(state)
    return kept


def down(folder: StackFolder) -> int:
    """End the stack's processes, last started first; returns how many there were. Raises StackError."""
    if not folder.state_file.exists():
        return 0
    with folder.locked():
        state = folder.read_state()
        assert state is not None
        ports = Ports(state.port_base)
        ended = 0
        for server in reversed(servers(folder, ports, state.fleet)):
            record = state.processes.pop(server.name, None)
            ended += process.stop(record, server.member(state), patience_s=server.stop_patience_s)
            folder.write_state(state)
        forget_address(folder, ports)
        state.fleet = None
        folder.autoscaling_file.unlink(missing_ok=True)
        folder.write_state(state)
    return ended


def lose_nodes(folder: StackFolder, count: int) -> list[str]:
    """End `count` worker nodes of the fleet, drawn by chance; returns their ids. Raises StackError."""
    state = _fleet_state(folder)
    return fleet.lose_nodes(folder, Ports(state.port_base), _ray(folder, state).member(state), count)


def lose_head(folder: StackFolder) -> int:
    """End the fleet's head and with it all nodes, without a word; returns how many processes that were."""
    with folder.locked():
        state = _fleet_state(folder)
        found = process.members(_ray(folder, state).member(state), state.processes.get("ray"))
        process.kill(found)
        return len(found)


def _ray(folder: StackFolder, state: StackState) -> Server:
    return ray_head(folder, Ports(state.port_base), state.fleet)


def _fleet_state(folder: StackFolder) -> StackState:
    state = folder.read_state()
    if state is None or state.fleet is None:
        raise StackError(f"no fleet runs in {folder.path}: `python -m cluster.local up --nodes 5` starts one")
    return state


def status(folder: StackFolder) -> list[tuple[Server, str]]:
    """Each server and its condition: 'ready', 'running, does not answer', 'died' or 'stopped'."""
    state = folder.read_state()
    if state is None:
        return []
    rows = []
    for server in servers(folder, Ports(state.port_base), state.fleet):
        record = state.processes.get(server.name)
        if record is None:
            condition = "stopped"
        elif not process.is_alive(record):
            condition = "died"
        else:
            condition = "ready" if server.is_ready() else "running, does not answer"
        rows.append((server, condition))
    return rows


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command("up", help="Start what is not running and wait until all of it works.")
@click.option(
    "--nodes", type=click.IntRange(1), help="Rehearse a fleet that grows from no worker node to so many."
)
@click.option(
    "--node-cpus", type=click.IntRange(1), default=1, show_default=True, help="CPUs of such a node."
)
@click.option(
    "--idle-timeout-s",
    type=click.FloatRange(1),
    default=30.0,
    show_default=True,
    help="Until a node without work goes.",
)
def up_command(nodes: int | None, node_cpus: int, idle_timeout_s: float) -> None:
    size = None
    if nodes is not None:
        size = FleetSize(nodes=nodes, node_cpus=node_cpus, idle_timeout_s=idle_timeout_s)
    up(StackFolder.from_environment(), size)


@main.command("status", help="Show each server; exit code 0 when all of them work, else 1.")
def status_command() -> None:
    folder = StackFolder.from_environment()
    rows = status(folder)
    if not rows:
        console.print(f"no stack has been started in {folder.path}; `python -m cluster.local up` starts one")
        sys.exit(1)
    table = Table("server", "address", "condition", box=None, pad_edge=False)
    for server, condition in rows:
        table.add_row(server.name, server.address, condition)
    console.print(table)
    working = all(condition == "ready" for _, condition in rows)
    state = folder.read_state()
    if state is not None and state.fleet is not None:
        console.print(f"fleet of {state.fleet}")
        if rows[-1][1] == "ready":
            _print_nodes(folder, state)
    console.print(f"logs in {folder.path / 'logs'}")
    sys.exit(0 if working else 1)


def _print_nodes(folder: StackFolder, state: StackState) -> None:
    nodes = fleet.nodes(folder, Ports(state.port_base))
    if not nodes:
        console.print("no node has joined yet, not even the head's")
        return
    table = Table("node", "CPUs", "id", box=None, pad_edge=False)
    for node in nodes:
        table.add_row("head" if node.is_head else "worker", f"{node.cpus:g}", node.node_id)
    console.print(table)


@main.command(
    "lose-node", help="End worker nodes of the fleet at once, drawn by chance, as a spot market does."
)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many.")
def lose_node_command(count: int) -> None:
    for node_id in lose_nodes(StackFolder.from_environment(), count):
        console.print(f"lost {node_id}")


@main.command("lose-head", help="End the fleet's head and all nodes at once; `up` starts the head again.")
def lose_head_command() -> None:
    ended = lose_head(StackFolder.from_environment())
    console.print(f"lost the head: {ended} processes ended; `python -m cluster.local up` starts it again")


@main.command("down", help="End what `up` started and nothing else; the state stays.")
def down_command() -> None:
    folder = StackFolder.from_environment()
    ended = down(folder)
    console.print(
        f"ended {ended} processes; the state stays in {folder.path}" if ended else "nothing was running"
    )


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        sys.exit(f"error: {error}")
