"""An import's units as tasks on a Ray cluster. Beside ray_train.py the only file of this room that knows Ray.

A separate file, so that an import does not load Ray Train and torch's process groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_ray(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) as they are finished, at most `workers` at once (two a CPU of the cluster by default).

    The source must be readable on every node. A task whose node dies is run again.
    """
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
    most = workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    task: Any = ray.remote(num_cpus=1, max_retries=3)(_call)
    shared = ray.put(function)
    waiting = list(reversed(items))
    running: dict[Any, Item] = {}
    while waiting or running:
        while waiting and len(running) < most:
            item = waiting.pop()
            running[task.remote(shared, item)] = item
        for ready in ray.wait(list(running), num_returns=1)[0]:
            yield running.pop(ready), ray.get(ready)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    import torch

    torch.set_num_threads(1)
    return function(item)
