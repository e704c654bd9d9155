"""What a worker that is not there reports: epoch by epoch what a real one does, with made-up figures."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from trainables.trial_config import TrialConfig
from zoo.store import Store

# As many figures as a real epoch has.
_ERRORS = ("root_aligned", "procrustes", "mpjpe_first", "mpjpe_last", "wrist", "fingertips")
_SCORES = (
    *("contact_f1", "contact_precision", "contact_recall", "contact_threshold"),
    *("index_accuracy", "live_codes"),
)
_SYSTEM = {"system/cpu_utilization_percentage": 97.5, "system/system_memory_usage_megabytes": 812.3}


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
