"""What nodes and trials cost: by labels and by what the user said, counted while a driver runs, told afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from kept_sweeps import empty_store, put, sweeps, trial

from sweeps import node_hours
from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from sweeps.node_hours import NodeHours, noted, total_usd
from sweeps.prices import Budget
from sweeps.trial_record import TrialRecord, take_over, to_ending
from trainables.node_labels import PRICE, TYPE, place

LABELS = {TYPE: "g6.12xlarge-spot", PRICE: "4.60"}


def node(labels: dict[str, str], alive: bool = True, **resources: float) -> dict[str, Any]:
    """As `ray.nodes()` tells of one."""
    return {"Labels": {"ray.io/node-id": "0" * 56, **labels}, "Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("labels", "resources", "asked", "said", "usd_per_hour"),
    [
        (LABELS, {"CPU": 48, "GPU": 4}, {"CPU": 0.9, "GPU": 1}, None, 1.15),
        (LABELS, {"CPU": 48, "GPU": 4}, {"CPU": 0.9, "GPU": 0.25}, None, 0.2875),
        ({**LABELS, PRICE: "0.8"}, {"CPU": 8}, {"CPU": 0.9}, None, 0.1),
        (LABELS, {"CPU": 48, "GPU": 4}, {"CPU": 0.9, "GPU": 1}, 0.5, 0.5),
        ({TYPE: "mine"}, {"CPU": 8}, {"CPU": 0.9}, None, None),
        ({**LABELS, PRICE: "free"}, {"CPU": 8}, {"CPU": 0.9}, None, None),
        ({**LABELS, PRICE: "-1"}, {"CPU": 8}, {"CPU": 0.9}, None, None),
        ({}, {"CPU": 2}, {"CPU": 0.9}, 1.5, 1.5),
    ],
)
def test_a_worker_costs_its_share_of_its_node_or_what_the_user_said(
    labels: dict[str, str],
    resources: dict[str, float],
    asked: dict[str, float],
    said: float | None,
    usd_per_hour: Any,
) -> None:
    found = place(node(labels, **resources), asked, said)
    assert found["node_type"] == labels.get(TYPE, "unlabelled")
    assert found["usd_per_hour"] == (None if usd_per_hour is None else pytest.approx(usd_per_hour))


class Cluster:
    """What `ray.nodes()` tells, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.nodes: list[dict[str, Any]] = []
        monkeypatch.setattr("ray.nodes", lambda: self.nodes)
        monkeypatch.setattr(node_hours.time, "monotonic", lambda: self.now_s)

    def pass_s(self, hours: NodeHours, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.now_s += 10
            hours.look()


def test_hours_of_nodes_that_come_and_go_are_counted_over_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = empty_store(tmp_path, monkeypatch)
    cluster = Cluster(monkeypatch)
    head, worker = node({TYPE: "m6i.xlarge", PRICE: "0.192"}, CPU=0), node(LABELS, CPU=48, GPU=4)
    cluster.nodes = [head]
    hours = NodeHours(Ledger(store, "mine", "first"))
    cluster.pass_s(hours, 1800)
    cluster.nodes = [head, worker, worker, node(LABELS, alive=False, CPU=48, GPU=4)]
    cluster.pass_s(hours, 3600)
    cluster.nodes = [head]
    cluster.pass_s(hours, 1800)
    assert hours.usd() == pytest.approx(2 * 0.192 + 2 * 4.6)
    # A driver that is killed now has noted all but the last minutes.
    assert total_usd(noted(Ledger(store, "mine").notes())) == pytest.approx(2 * 0.192 + 2 * 4.6, abs=0.05)
    again = NodeHours(Ledger(store, "mine", "second"))
    cluster.pass_s(again, 3600)
    again.close()
    assert again.usd() == pytest.approx(3 * 0.192 + 2 * 4.6, abs=0.05)
    found = {t.name: t for t in noted(Ledger(store, "mine").notes())}
    assert found["m6i.xlarge"].hours == pytest.approx(3, abs=0.1) and found["m6i.xlarge"].most == 1
    assert (
        found["g6.12xlarge-spot"].hours == pytest.approx(2, abs=0.01) and found["g6.12xlarge-spot"].most == 2
    )


def test_a_budget_without_a_workers_price_is_that_of_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch)
    cluster.nodes = [node(LABELS, CPU=48, GPU=4), node({TYPE: "mine"}, CPU=8)]
    hours = NodeHours(Ledger(empty_store(tmp_path, monkeypatch), "mine", "first"))
    assert hours.usd() is None
    with pytest.raises(
        SweepError, match=r"--budget-usd 5: nobody knows what a node of type mine costs.*--usd-per-hour"
    ):
        hours.require_prices("--budget-usd 5")
    budget = Budget(usd=5.0)
    assert budget.spent(1e9, 4.99) is None and budget.spent(1e9) is None
    assert budget.spent(0.0, 5.0) == "--budget-usd 5 is used up: the cluster's nodes cost 5.00 USD"
    # What the user said of a worker goes before the labels.
    assert Budget(usd=5.0, usd_per_hour=2.0).spent(3600, 100.0) is None


def test_the_ledger_keeps_where_a_trial_ran_and_what_that_cost() -> None:
    kept = TrialRecord("a", "objects", "search", {})
    kept.node_type, kept.usd_per_hour, kept.status = "g6.2xlarge", 0.98, "finished"
    read = TrialRecord("a", "objects", "search", {})
    take_over(read, json.loads(json.dumps(to_ending(kept, "mine"))))
    assert (read.node_type, read.usd_per_hour) == ("g6.2xlarge", 0.98)
    old = {
        key: value
        for key, value in to_ending(kept, "mine").items()
        if key not in ("node_type", "usd_per_hour")
    }
    take_over(read, old)
    assert (read.node_type, read.usd_per_hour, read.usd(1)) == ("", None, None)


def test_costs_are_told_by_node_type_and_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = empty_store(tmp_path, monkeypatch)
    facts: dict[str, Any] = {"node_type": "g6.2xlarge", "usd_per_hour": 0.98}
    ledger = put(
        store, "mine", trial("objects", 128, **facts), trial("objects", 256, **facts), usd_per_hour=None
    )
    ledger.note("nodes", types=[{"type": "g6.2xlarge", "usd_per_hour": 0.98, "hours": 2.0, "most": 2}])
    told = json.loads(sweeps("costs", "mine", "--json"))
    # Two trials of a quarter of an hour, on two workers each.
    assert told["trials"]["objects"]["worker_hours"] == 1.0
    assert told["trials"]["objects"]["worker_hours_by_node_type"] == {"g6.2xlarge": 1.0}
    assert told["trials_usd"] == pytest.approx(0.98) and told["nodes_usd"] == pytest.approx(1.96)
    assert told["price"] == "labels of the nodes" and told["trials"]["actions"]["usd"] is None
    shown = sweeps("costs", "mine")
    assert "price from labels of the nodes" in shown and "1.96" in shown and "GPU hours" in shown
    assert "There is no sweep" in sweeps("costs", "other", code=1)
