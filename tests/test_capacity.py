"""How many trials fit: whole cores by node, GPUs, shares of a GPU, and workers that may be more or fewer."""

from __future__ import annotations

import pytest

from sweeps.capacity import Capacity, Workers
from sweeps.errors import SweepError

ONE = Workers(1, 1)
GB = 1e9


def test_workers_are_read_and_written() -> None:
    assert Workers.parse("2") == Workers(2, 2) and Workers.parse("1:4") == Workers(1, 4)
    assert [str(Workers.parse(text)) for text in ("2", "1:4", "3:3")] == ["2", "1:4", "3"]
    assert Workers.parse("2").for_train == 2 and Workers.parse("1:4").for_train == (1, 4)


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "1.5", "4:1", "0:2", "1:", ":2", "1:2:3", " 1"])
def test_wrong_workers_are_refused(text: str) -> None:
    with pytest.raises(SweepError, match=f"--workers {text}: give a number"):
        Workers.parse(text)


def test_whole_cores_are_counted_by_node() -> None:
    assert Capacity.measure([{"CPU": 2.0}], ONE) == Capacity(2, 0.0)
    assert Capacity.measure([{"CPU": 1.5}, {"CPU": 2.9}], ONE).slots == 3
    assert Capacity.measure([{"CPU": 4.0}, {"CPU": 4.0}], Workers(3, 3)).slots == 2
    assert Capacity.measure([{"CPU": 2.0}, {"memory": 1.0}], ONE).slots == 2
    assert Capacity.measure([{"CPU": 2.0}], ONE).device == "cpu"
    # The least is enough for a trial whose workers may be fewer.
    assert Capacity.measure([{"CPU": 4.0}], Workers(1, 4)).slots == 4


def test_where_there_are_gpus_each_worker_has_one_and_a_core() -> None:
    mixed = Capacity.measure([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 16.0}], ONE)
    assert (mixed.slots, mixed.device, mixed.gpu_share) == (2, "cuda", 1.0)
    assert Capacity.measure([{"CPU": 2.0, "GPU": 8.0}], ONE).slots == 2  # as many as have a core
    assert Capacity.measure([{"CPU": 8.0, "GPU": 4.0}], Workers(2, 2)).slots == 2
    assert mixed.resources["GPU"] == 1.0 and "GPU" not in Capacity(1, 0.0).resources
    # Less than a core each: desks and drivers find room on a full node.
    assert 0.5 < mixed.resources["CPU"] < 1


@pytest.mark.parametrize(
    ("peak_bytes", "shares"),
    [(0.0, 1), (60 * GB, 1), (40 * GB, 1), (32 * GB, 2), (30 * GB, 2), (10 * GB, 6), (1 * GB, 8), (1.0, 8)],
)
def test_trials_share_a_gpu_as_far_as_its_memory_goes(peak_bytes: float, shares: int) -> None:
    """Of 80 GB; a quarter more than was seen is kept for each."""
    node = {"CPU": 16.0, "GPU": 1.0}
    capacity = Capacity.measure([node], ONE, gpu_bytes=80 * GB, peak_bytes=peak_bytes)
    assert capacity.slots == shares and capacity.gpu_share == 1 / shares
    assert capacity.slots * 1.25 * peak_bytes <= 80 * GB or shares == 1


def test_shares_need_a_core_each_and_one_worker_a_trial() -> None:
    memory = {"gpu_bytes": 80 * GB, "peak_bytes": 10 * GB}
    assert Capacity.measure([{"CPU": 4.0, "GPU": 1.0}], ONE, **memory).slots == 4
    assert (
        Capacity.measure([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}], ONE, **memory).slots == 12 + 2
    )
    for workers in (Workers(2, 2), Workers(1, 2)):  # ranks of a trial would wait for each other on one GPU
        assert Capacity.measure([{"CPU": 16.0, "GPU": 2.0}], workers, **memory).gpu_share == 1.0
    assert Capacity.measure([{"CPU": 4.0}], ONE, **memory) == Capacity(4, 0.0)


@pytest.mark.parametrize(
    "nodes", [[{"CPU": 2.0}], [], [{"CPU": 64.0, "GPU": 2.0}], [{"CPU": 2.0, "GPU": 8.0}]]
)
def test_a_trial_that_cannot_fit_is_refused(nodes: list[dict[str, float]]) -> None:
    with pytest.raises(SweepError, match="--workers 3: one trial does not fit, the cluster has "):
        Capacity.measure(nodes, Workers(3, 3))
    # Unless an autoscaler will start nodes for what waits: then one trial makes it do so.
    assert Capacity.measure(nodes, Workers(3, 3), waits=True).slots == 1
