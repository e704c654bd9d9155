"""How many trials fit on the cluster at once: too many would wait for each other for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeps.plan import SweepError


@dataclass(frozen=True)
class Capacity:
    """`slots` trials of `workers` workers each fit at once; each worker holds a GPU where `use_gpu`."""

    slots: int
    workers: int
    use_gpu: bool

    @property
    def device(self) -> str:
        return "cuda" if self.use_gpu else "cpu"

    @classmethod
    def measure(cls, nodes: Iterable[Mapping[str, float]], workers: int) -> Capacity:
        """From the resources of each living node; raises SweepError when not even one trial fits.

        A worker takes a GPU and a core where the cluster has GPUs, else a core. Cores are counted whole
        and by node, which leaves room for the light drivers that start the workers.
        """
        nodes = list(nodes)
        use_gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
        cores = sum(int(node.get("CPU", 0)) for node in nodes)
        gpus = sum(int(min(node.get("GPU", 0), node.get("CPU", 0))) for node in nodes)
        places = gpus if use_gpu else cores
        if places < workers:
            has = f"{gpus} GPUs with a core each" if use_gpu else f"{cores} CPU cores"
            raise SweepError(
                f"--workers {workers}: one trial does not fit, the cluster has {has}. "
                "Ask for fewer workers a trial or add nodes."
            )
        return cls(slots=places // workers, workers=workers, use_gpu=use_gpu)
