"""The one-machine fleet: a real sweep makes its nodes start, loses some of them, and gives all of them back."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.local_stack import members
from tests.rehearsed_fleet import CODES, RehearsedFleet, rehearsed_fleet, small_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NODES, LOST = 5, 3


def test_a_sweep_on_a_fleet_that_grows_loses_nodes_and_shrinks(tmp_path: Path) -> None:
    with rehearsed_fleet(tmp_path, nodes=NODES, idle_timeout_s=15.0) as fleet:
        record = fleet.rehearse(small_world(tmp_path / "world"), epochs=12, lose=LOST)
        assert _listening(fleet) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        with pytest.raises(AssertionError, match="0 worker nodes live, 1 cannot be lost"):
            fleet.local("lose-node")
    assert members(fleet.home.path) == {}
    assert record.status == 0, record.log
    # From none to as many as 6 trials wait for, or the fleet may have.
    assert record.samples[0].nodes == () and max(len(sample.nodes) for sample in record.samples) >= 4
    lost_s = next(at_s for at_s, what in record.events if what == f"{LOST} nodes lost")
    before = {node for sample in record.samples if sample.at_s <= lost_s for node in sample.nodes}
    training = {node for sample in record.samples if sample.at_s <= lost_s for node in sample.trains}
    assert set(record.lost) <= before and set(record.lost) & training, "none of them had a worker"
    after = [sample for sample in record.samples if sample.at_s > lost_s]
    assert {node for sample in after for node in sample.trains} - before, (
        "no node replaced those that were lost"
    )
    assert after[-1].nodes == ()
    # No trial is lost, and none ends twice.
    assert sorted(trial["codes"] for trial in record.trials) == sorted(CODES)
    assert all(trial["status"] == "finished" for trial in record.trials), record.trials
    assert record.endings == [{"finished": 1}] * len(CODES)


def _listening(fleet: RehearsedFleet) -> set[str]:
    ours = members(fleet.home.path)
    return {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }
