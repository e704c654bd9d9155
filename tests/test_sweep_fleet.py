"""How many places an autoscaling cluster has: those of the nodes that it may start, by the autoscaler's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("ray")

from ray.autoscaler._private.util import prepare_config

from sweeps.capacity import Capacity, Workers
from sweeps.errors import SweepError
from sweeps.fleet import Fleet

ROOT = Path(__file__).resolve().parents[1]
HEAD = {"node:__internal_head__": 1.0, "memory": 1e9}
NODE = {"CPU": 8.0, "GPU": 1.0}
ONE = Workers(1, 1)


def config(folder: Path, **changes: object) -> Path:
    """The file of a fleet with three types of workers: 2 with a GPU, 1 with four, 5 without, at most 6 in all."""
    types = {
        "head": {"resources": {"CPU": 0}, "node_config": {}},
        "cpu": {"resources": {"CPU": 4}, "min_workers": 0, "max_workers": 5, "priority": -1},
        "four": {"resources": {"CPU": 48, "GPU": 4}, "min_workers": 0, "max_workers": 1},
        "one": {"resources": {"CPU": 8, "GPU": 1}, "min_workers": 0, "max_workers": 2, "priority": 10},
    }
    file = folder / "autoscaling.yaml"
    file.write_text(
        yaml.safe_dump({"max_workers": 6, "head_node_type": "head", "available_node_types": types} | changes)
    )
    return file


def test_without_an_autoscaler_the_living_nodes_count(tmp_path: Path) -> None:
    living = ({"CPU": 2.0, **HEAD}, {"CPU": 4.0})
    fleet = Fleet.of(living, tmp_path / "missing.yaml")
    assert fleet == Fleet(living, scales=False)
    assert fleet.desk == {"CPU": 0.01}


def test_machines_of_ones_own_count_as_they_live(tmp_path: Path) -> None:
    """As `ray up` leaves `onprem.yaml` on the head: one type, with no word about what it has."""
    shipped = yaml.safe_load((ROOT / "cluster" / "onprem.yaml").read_text())
    shipped["provider"] |= {"head_ip": "10.0.0.10", "worker_ips": ["10.0.0.11", "10.0.0.12"]}
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(prepare_config(shipped)))
    living = (HEAD, {"CPU": 4.0}, {"CPU": 2.0})
    assert Fleet.of(living, file) == Fleet(living, scales=False)
    assert Capacity.measure(Fleet.of(living, file).nodes, ONE).slots == 6


def test_with_one_those_count_that_it_may_start(tmp_path: Path) -> None:
    fleet = Fleet.of((HEAD, {"CPU": 4.0}), config(tmp_path))
    assert fleet.scales
    assert fleet.nodes == (
        HEAD,
        NODE,
        NODE,
        {"CPU": 48.0, "GPU": 4.0},
        {"CPU": 4.0},
        {"CPU": 4.0},
        {"CPU": 4.0},
    )
    # Before any GPU node lives, trials are those of a GPU.
    assert Capacity.measure(fleet.nodes, ONE) == Capacity(slots=6, gpu_share=1.0)


def test_its_limit_holds_for_all_types_together_by_priority(tmp_path: Path) -> None:
    assert Fleet.of((HEAD,), config(tmp_path, max_workers=2)).nodes == (HEAD, NODE, NODE)
    assert Fleet.of((HEAD,), config(tmp_path, max_workers=0)).nodes == (HEAD,)


def test_what_waits_stays_on_the_head(tmp_path: Path) -> None:
    """So that a node that is lost takes no desk with it, and one without work is idle."""
    desk = Fleet.of((HEAD,), config(tmp_path)).desk
    assert set(desk) == {"node:__internal_head__"} and 0 < desk["node:__internal_head__"] <= 0.001


@pytest.mark.parametrize(("name", "slots"), [("aws.yaml", 8), ("gcp.yaml", 8)])
def test_the_fleets_of_this_project_have_gpus_before_any_node_is_there(name: str, slots: int) -> None:
    fleet = Fleet.of(({"memory": 1e9, **HEAD},), ROOT / "cluster" / name)
    assert Capacity.measure(fleet.nodes, ONE) == Capacity(slots=slots, gpu_share=1.0)


def test_on_kubernetes_a_sweep_reads_what_the_groups_allow(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((ROOT / "cluster" / "kuberay.yaml").read_text()))
    (told,) = [d["data"]["autoscaling.yaml"] for d in documents if d["kind"] == "ConfigMap"]
    (groups,) = [d["spec"]["workerGroupSpecs"] for d in documents if d["kind"] == "RayCluster"]
    nodes = []
    for group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = {"CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"])}
        nodes += [node] * group["maxReplicas"]
    file = tmp_path / "autoscaling.yaml"
    file.write_text(told)
    assert Fleet.of((HEAD,), file) == Fleet((HEAD, *nodes), scales=True)


@pytest.mark.parametrize("text", ["", "a: [", "max_workers: 2", "available_node_types: 3", "- 1"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "autoscaling.yaml"
    file.write_text(text)
    with pytest.raises(SweepError, match=f"{file} does not say which nodes .* LATENTACT_AUTOSCALING_CONFIG"):
        Fleet.of((HEAD,), file)
