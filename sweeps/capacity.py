"""How many trials fit on the cluster at once: too many would wait for each other for ever."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.errors import SweepError

# Of a CPU core; the rest is for desks and controllers, which must never wait for a place.
_CPUS_PER_WORKER = 0.9
# Of a GPU's memory, kept free of what trials were seen to use: the next may need a little more.
_HEADROOM = 1.25
# Into how many trials a GPU is divided at most.
_MOST_SHARES = 8


@dataclass(frozen=True)
class Workers:
    """Ray Train workers of a trial: from `least` to `most`, between which Ray Train may move while it runs."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> Workers:
        """Read `N` or `LEAST:MOST`; raises SweepError."""
        match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= least <= most:
            raise SweepError(f"--workers {text}: give a number, such as 2, or LEAST:MOST, such as 1:4.")
        return cls(least, most)

    @property
    def for_train(self) -> int | tuple[int, int]:
        """As Ray Train takes it."""
        return self.least if self.least == self.most else (self.least, self.most)

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}:{self.most}"


@dataclass(frozen=True)
class Capacity:
    """`slots` trials fit at once; each of their workers holds `gpu_share` of a GPU (0: there is none)."""

    slots: int
    gpu_share: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpu_share else "cpu"

    @property
    def resources(self) -> dict[str, float]:
        """Of one worker, for Ray."""
        return {"CPU": _CPUS_PER_WORKER, **({"GPU": self.gpu_share} if self.gpu_share else {})}

    def task(self, work: Callable[..., Any]) -> Any:
        """A function as a Ray task that takes a worker's place."""
        import ray

        resources = self.resources
        return ray.remote(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0))(work)

    @classmethod
    def measure(
        cls,
        nodes: Iterable[Mapping[str, float]],
        workers: Workers,
        *,
        gpu_bytes: float = 0.0,
        peak_bytes: float = 0.0,
        waits: bool = False,
    ) -> Capacity:
        """From the resources of each living node; raises SweepError when not even one trial fits, unless it `waits`.

        A worker takes a GPU and a core where the cluster has GPUs, else a core. Cores are counted whole and by node,
        which leaves room for the light desks. With `peak_bytes`, the most that a worker was seen to use of a GPU of
        `gpu_bytes`, and one worker a trial, trials share a GPU.
        """
        nodes = list(nodes)
        use_gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
        cores = sum(int(node.get("CPU", 0)) for node in nodes)
        shares = 1
        if use_gpu and peak_bytes and workers.most == 1:
            shares = max(1, min(_MOST_SHARES, math.floor(gpu_bytes / (_HEADROOM * peak_bytes))))
        gpus = sum(int(min(shares * node.get("GPU", 0), node.get("CPU", 0))) for node in nodes)
        places = gpus if use_gpu else cores
        if places < workers.least and not waits:
            has = f"{gpus} GPUs with a core each" if use_gpu else f"{cores} CPU cores"
            raise SweepError(
                f"--workers {workers}: one trial does not fit, the cluster has {has}. "
                "Ask for fewer workers a trial or add nodes."
            )
        return cls(slots=max(1, places // workers.least), gpu_share=1 / shares if use_gpu else 0.0)
