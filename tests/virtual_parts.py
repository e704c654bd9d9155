"""What a virtual fleet is made of: its clock, places, trainings, and a store whose requests take virtual time."""

from __future__ import annotations

import copy
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sweeps.capacity import Capacity
from sweeps.slots import Slots
from trainables.trial_config import TrialConfig
from zoo.store import Blob, Store


class VirtualClock:
    """Stands for the module `time`. With `cpu` the main thread's CPU time counts for its work, otherwise the wall clock's."""

    def __init__(self, *, cpu: bool) -> None:
        clock = (
            time.pthread_getcpuclockid(threading.main_thread().ident or 0) if cpu else time.CLOCK_MONOTONIC
        )
        self._read = lambda: time.clock_gettime(clock)
        self._began_s = time.time()
        self._before_s = 0.0
        self._since: float | None = self._read()  # None: what runs now takes no time
        self.idle_s = 0.0

    def monotonic(self) -> float:
        return self._before_s + (self._read() - self._since if self._since is not None else 0.0)

    def time(self) -> float:
        return self._began_s + self.monotonic()

    def sleep(self, seconds: float) -> None:
        self.skip_to(self.monotonic() + seconds)

    @property
    def busy_s(self) -> float:
        return self.monotonic() - self.idle_s

    def spend(self, seconds: float) -> None:
        """Work that took so long elsewhere, such as in a store."""
        self._before_s += seconds

    def skip_to(self, at_s: float) -> None:
        """Wait."""
        waited_s = max(0.0, at_s - self.monotonic())
        self.idle_s += waited_s
        self._before_s += waited_s

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in here is the fleet's, and takes the driver no time."""
        self._before_s, self._since = self.monotonic(), None
        try:
            yield
        finally:
            self._since = self._read()


class CountedStore:
    """A store that counts the driver's requests; each takes `latency_s` of virtual time more than it takes really."""

    def __init__(self, store: Store, clock: VirtualClock, latency_s: float) -> None:
        self.url, self.inner = store.url, store
        self._clock, self._latency_s = clock, latency_s
        self.requests = 0

    def _count(self) -> None:
        if threading.current_thread() is threading.main_thread():  # heartbeats hold up nobody
            self.requests += 1
            self._clock.spend(self._latency_s)

    def get(self, key: str) -> Blob:
        self._count()
        return self.inner.get(key)

    def put(self, key: str, source: bytes | Path) -> None:
        self._count()
        self.inner.put(key, source)

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        self._count()
        self.inner.put_if(key, data, tag)

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        self._count()
        return self.inner.list(prefix, deep=deep)

    def delete(self, key: str) -> None:
        self._count()
        self.inner.delete(key)


class VirtualSlots(Slots):
    """So many places, whose groups of workers are not there."""

    def __init__(self, name: str, count: int) -> None:
        desk = SimpleNamespace(**{what: SimpleNamespace(remote=lambda *_: None) for what in ("end", "close")})
        self._session, self._parallel = name, count
        self._groups = {f"{name}-{number}": desk for number in range(count)}
        self._busy = set()
        self._memory = {"gpu_bytes": 0.0, "peak_bytes": 0.0}
        self._looked_s = math.inf  # never: there is no cluster
        self.capacity = Capacity(count, 0.0)


class VirtualTraining:
    """What a trial reports, epoch by epoch: curves are power laws with noise, epochs take 60 s or so."""

    def __init__(self, job: dict[str, Any], shelf: Store, now_s: Callable[[], float], epoch_s: float) -> None:
        self.job, self._shelf, self._now_s, self._epoch_s = job, shelf, now_s, epoch_s
        self._config = TrialConfig.from_json(job["config"])
        self._random = random.Random(job["identity"])
        self.last: dict[str, Any] = {}
        self._steps = self._run()
        self.epochs = 0

    def next_s(self) -> float:
        """Until its next report."""
        return max(self._epoch_s / 10, self._random.gauss(self._epoch_s, self._epoch_s / 3))

    def step(self) -> dict[str, Any]:
        """As GroupTrial gives it to Tune, with what Tune's Trainable adds."""
        told = next(self._steps, None)
        self.epochs += 1
        auto = {
            "trial_id": "",
            "date": "2026-01-01_00-00-00",
            "timestamp": int(self._now_s()),
            "done": told is None,
            "training_iteration": self.epochs,
            "time_this_iter_s": 60.0,
            "time_total_s": 60.0 * self.epochs,
            "pid": 1000,
            "hostname": "virtual",
            "node_ip": "10.0.0.1",
            "config": copy.deepcopy(self.job),
            "time_since_restore": 60.0 * self.epochs,
            "iterations_since_restore": self.epochs,
        }
        if told is None:
            return copy.deepcopy({**self.last, "ended": True, **auto})
        self.last = {**told, **told.get("best", {})}
        self.last.pop("history")
        return copy.deepcopy({**self.last, "history": told["history"], **auto})

    def _run(self) -> Iterator[dict[str, Any]]:
        config, noise = self._config, self._random
        end_cm = 4 + 0.3 * abs(math.log2(config.codes) - 9) + 4 * (config.dropout - 0.15) ** 2
        end_cm += noise.gauss(0, 0.1)
        state: dict[str, Any] = {"trial_seconds": 0.0, "stage_seconds": {}, "curve": []}
        entries = 0
        epochs = {
            "codebook": config.codebook_epochs,
            "indexer": config.indexer_epochs,
            "predictor": config.epochs,
        }
        for stage in config.stages:
            shelf = f"{stage}s/{self.job['shelves'].get(stage, '').rpartition('/')[2]}"
            if stage != "predictor" and f"{shelf}/weights.json" in self._shelf.list(f"{shelf}/"):
                continue
            for epoch in range(1, epochs[stage] + 1):
                figures: dict[str, Any] = {
                    "stage": stage,
                    "epochs": epochs[stage],
                    "epoch": epoch,
                    "seconds": 60.0,
                }
                figures |= {name: noise.random() for name in ("loss", "perplexity", "live_codes")}
                if stage == "predictor":
                    mpjpe_cm = end_cm + 6 * epoch**-0.8 + noise.gauss(0, 0.05)
                    figures |= {f"{name}_cm": mpjpe_cm * noise.random() for name in _ERRORS}
                    figures |= {name: noise.random() for name in _SCORES}
                    figures |= {"mpjpe_cm": mpjpe_cm, "parameters": 1000 * config.codes, "latency_ms": 2.5}
                state["trial_seconds"] += 60.0
                spent = state["stage_seconds"]
                state["stage_seconds"] = spent | {stage: spent.get(stage, 0.0) + 60.0}
                if stage == "predictor":
                    state |= {"predictor_epoch": epoch, "curve": [*state["curve"], [epoch, mpjpe_cm]]}
                    if mpjpe_cm < state.get("best", {}).get("mpjpe_cm", math.inf):
                        state["best"] = figures
                entry = {**figures, "at_s": round(self._now_s(), 3), **_SYSTEM}
                if epoch == epochs[stage]:
                    state["checkpoint"] = f"checkpoint_{entries:06d}"
                    if stage != "predictor":
                        self._shelf.put(f"{shelf}/weights.json", b"{}")
                yield {**state, "figures": entry, "history_from": entries, "history": [entry], "ranks": 1}
                entries += 1


# As many figures as a real epoch has.
_ERRORS = ("root_aligned", "procrustes", "mpjpe_first", "mpjpe_last", "wrist", "fingertips")
_SCORES = (
    "contact_f1",
    "contact_precision",
    "contact_recall",
    "contact_threshold",
    "index_accuracy",
    "live_codes",
)
_SYSTEM = {"system/cpu_utilization_percentage": 97.5, "system/system_memory_usage_megabytes": 812.3}
