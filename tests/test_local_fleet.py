"""The rehearsal of a fleet, as far as nothing needs to run for it: its size, its autoscaler's file, what is refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psutil
import pytest
import yaml

pytest.importorskip("ray")

from ray.autoscaler._private.util import prepare_config, validate_config

from cluster import fleet
from cluster.local import lose_head, lose_nodes, up
from cluster.ports import DEFAULT_BASE, Ports
from cluster.state import FleetSize, ProcessRecord, StackError, StackFolder, StackState

SIZE = FleetSize(nodes=5, node_cpus=2, idle_timeout_s=30.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackFolder:
    monkeypatch.delenv("LATENTACT_PORT_BASE", raising=False)
    folder = StackFolder(tmp_path / "home")
    folder.prepare()
    return folder


def running_head(folder: StackFolder, size: FleetSize | None) -> StackState:
    """A stack whose Ray head lives: this very process stands for it."""
    me = psutil.Process(os.getpid())
    record = ProcessRecord(pid=me.pid, started_s=me.create_time())
    state = StackState(stack_id="0" * 16, port_base=DEFAULT_BASE, processes={"ray": record}, fleet=size)
    folder.write_state(state)
    return state


def test_the_autoscaler_is_given_what_ray_accepts(folder: StackFolder) -> None:
    fleet.write_config(folder, Ports(DEFAULT_BASE), SIZE)
    assert stat.S_IMODE(folder.autoscaling_file.stat().st_mode) == 0o600
    config = prepare_config(yaml.safe_load(folder.autoscaling_file.read_text()))
    validate_config(config)
    assert config["max_workers"] == 5 and config["idle_timeout_minutes"] == 0.5
    head = config["available_node_types"].pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0 and head["max_workers"] == 0
    (worker,) = config["available_node_types"].values()
    assert (worker["resources"]["CPU"], worker["min_workers"], worker["max_workers"]) == (2, 0, 5)
    assert config["provider"]["gcs_address"] == f"127.0.0.1:{Ports(DEFAULT_BASE).ray}"


def test_the_size_is_remembered_and_files_of_before_have_none(folder: StackFolder) -> None:
    state = running_head(folder, SIZE)
    assert folder.read_state() == state
    fields = json.loads(folder.state_file.read_text())
    del fields["fleet"]
    folder.state_file.write_text(json.dumps(fields))
    read = folder.read_state()
    assert read is not None and read.fleet is None


def test_a_head_that_trains_itself_does_not_become_one_of_a_fleet(folder: StackFolder) -> None:
    running_head(folder, None)
    with pytest.raises(
        StackError, match=r"without an autoscaler: end it first \(`python -m cluster.local down`\)"
    ):
        up(folder, SIZE)
    assert not folder.autoscaling_file.exists()


def test_nodes_of_another_size_are_refused_while_there_are_some(folder: StackFolder) -> None:
    running_head(folder, SIZE)
    with pytest.raises(StackError, match="runs with nodes of 2 CPUs: end it first"):
        up(folder, FleetSize(nodes=5, node_cpus=1, idle_timeout_s=30.0))


def test_nothing_is_lost_where_no_fleet_runs(folder: StackFolder) -> None:
    for lose in (lambda: lose_nodes(folder, 1), lambda: lose_head(folder)):
        with pytest.raises(
            StackError, match="no fleet runs in .* `python -m cluster.local up --nodes 5` starts one"
        ):
            lose()
        running_head(folder, None)
