"""The places on the cluster that trials run in, each with a warm group of workers of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray

from sweeps.capacity import Capacity, Workers
from sweeps.conduct import IDLE_S
from sweeps.fleet import Fleet
from sweeps.tune_trial import NAMESPACE
from sweeps.warm_group import WarmGroup

# How often the cluster is looked at for nodes that came or went.
_LOOK_EVERY_S = 10.0


class Slots:
    """As many as fit on the living nodes, or on those that the cluster's autoscaler may start, or `parallel`.

    What an autoscaler has not started yet waits for its place, and by that makes it start nodes.

    Args:
        session: a name that no other driver has; the groups' names begin with it.
        storage: url of a folder that all nodes reach.
        train: stands in for trainables.trial.train_trial.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        session: str,
        storage: str,
        parallel: int | None = None,
        idle_s: float = IDLE_S,
        train: Callable[..., Any] | None = None,
    ) -> None:
        self._workers, self._parallel = workers, parallel
        self._session, self._storage, self._idle_s, self._train = session, storage, idle_s, train
        self._groups: dict[str, Any] = {}
        self._busy: set[str] = set()
        self._looked_s = 0.0
        self._memory = {"gpu_bytes": 0.0, "peak_bytes": 0.0}
        self.fleet = Fleet.look()
        self.capacity = Capacity.measure(self.fleet.nodes, workers, waits=parallel is not None)

    @property
    def count(self) -> int:
        """How many trials may run at once, now."""
        if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self.fleet = Fleet.look()
            self.capacity = Capacity.measure(self.fleet.nodes, self._workers, **self._memory, waits=True)
        return self._parallel or self.capacity.slots

    def learn(self, gpu_bytes: float, peak_bytes: float) -> None:
        """A worker used so much of its GPU's memory: the trials after it share a GPU as far as that goes."""
        if peak_bytes > self._memory["peak_bytes"]:
            self._memory = {"gpu_bytes": gpu_bytes, "peak_bytes": peak_bytes}
            self._looked_s = 0.0

    def take(self) -> str | None:
        """A free slot, now taken; None where all are busy."""
        count = self.count
        if len(self._busy) >= count:
            return None
        share = self.capacity.gpu_share
        for number in range(count):
            name = self._session + (f"-gpu{share:g}" if 0 < share < 1 else "") + f"-{number}"
            if name in self._busy:
                continue
            self._busy.add(name)
            if name not in self._groups:
                desk = dict(self.fleet.desk)
                self._groups[name] = (
                    ray.remote(WarmGroup)
                    .options(
                        name=name,
                        namespace=NAMESPACE,
                        num_cpus=desk.pop("CPU", 0),
                        resources=desk,
                        max_restarts=-1,
                        max_concurrency=1000,
                    )
                    .remote(
                        name,
                        self._storage,
                        self._workers.for_train,
                        self.capacity.resources,
                        self._idle_s,
                        self._train,
                    )
                )
            return name
        return None

    def give_back(self, slot: str) -> None:
        self._busy.discard(slot)

    def end(self, slot: str, identity: str, how: str) -> None:
        """Let the trial on a slot end at its next report: "stop" for good or "park"."""
        self._groups[slot].end.remote(identity, how)

    def close(self) -> None:
        """Give all places back."""
        for group in self._groups.values():
            group.close.remote()
