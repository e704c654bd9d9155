"""Writes what Tune sees of a trial to the ledger, to MLflow and to the job's log, and tells the search what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from sweeps.halt import Halt
from sweeps.ledger import Ledger, TrialRecord, numbers
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.search import SweepSearch
from sweeps.slots import Slots
from sweeps.tracking import Tracking
from sweeps.wishes import Candidate

# Failures after which the same trial is simply begun again, so often.
_AGAIN = {"lost": 3}
# Tune keeps every trial to the end, with its configuration, its last result and statistics of each number in that:
# hundreds of kB a trial. These names are all that is needed of a result once it has been taken, and of the configuration
# of a trial that has ended.
_OF_RESULT = {"trial_id", "ended", "failure", "kind"}
_OF_CONFIG = {"identity", "setting", "phase", "slot"}
# The smallest batch that a trial out of memory is tried again with.
_LEAST_BATCH = 8


class Recorder(Callback):
    """Follows the trials of a plan; `settings` are its records by setting and identity, which it brings up to date."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        progress: Progress,
        tracking: Tracking,
        settings: dict[str, dict[str, TrialRecord]],
        slots: Slots,
        halt: Halt,
        identify: Callable[[str, dict[str, Any]], str],
        stages: Callable[[Candidate], dict[str, str]],
    ) -> None:
        self._plan, self._ledger, self._progress, self._tracking = plan, ledger, progress, tracking
        self._settings, self._slots, self._halt, self._identify = settings, slots, halt, identify
        self._stages = stages
        self.search: SweepSearch | None = None  # made after this, as it announces trials here
        self._lost: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, and connections cannot be pickled.
        return {}

    def announce(self, candidate: Candidate) -> TrialRecord:
        """Put a trial in the ledger before it can start training; settled at once where it ended elsewhere."""
        setting, params = candidate.setting, candidate.params
        identity = self._identify(setting, params)
        trials = self._settings.setdefault(setting, {})
        trial = trials.setdefault(identity, TrialRecord(identity, setting, candidate.phase, params))
        trial.attempts += 1
        trial.status, trial.reason = "unfinished", ""
        trial.codebook = self._stages(candidate).get("codebook", "")
        self._ledger.started(identity, setting, candidate.phase, params, trial.attempts)
        self.settle(trial)
        return trial

    def settle(self, trial: TrialRecord) -> None:
        """Look whether another sweep has finished a trial, and show it here then as if it had run."""
        if trial.status == "finished":
            return
        attempts = trial.attempts
        self._ledger.settle(trial, self._plan.budget(trial.setting, trial.params))
        trial.attempts = attempts
        if trial.status != "finished":
            # A stop or a failure before this attempt does not end it.
            trial.status, trial.reason = "unfinished", ""
            return
        self._tracking.started(trial, self._plan.config(trial.setting, **trial.params).to_json())
        for epoch, value in trial.curve:
            self._tracking.reported(trial.identity, {"stage": "predictor", "epoch": epoch, "mpjpe_cm": value})
        self._tracking.ended(trial)
        self._progress.ended(trial)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self._record(trial)
        record.slot = trial.config["slot"].rpartition("-")[2]
        record.began_s = time.time()
        self._progress.started(record)
        self._tracking.started(record, trial.config["config"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "figures" in result and "ended" not in result:
            self._take(self._record(trial), result)
        for name in result.keys() - _OF_RESULT:
            del result[name]

    def _take(self, record: TrialRecord, result: dict[str, Any]) -> None:
        record.seconds = result["trial_seconds"]
        record.node_type, record.usd_per_hour = result.get("node_type", ""), result.get("usd_per_hour")
        # Rounded here, so that a table says the same now and when it is made from the ledger.
        record.stage_seconds = {k: round(v, 3) for k, v in result["stage_seconds"].items()}
        del record.history[result["history_from"] :]
        record.history += result["history"]
        if "checkpoint" in result:
            record.checkpoint = f"{self._ledger.store.url}/trials/{record.identity}/{result['checkpoint']}"
        if "best" in result:
            record.epochs = result["predictor_epoch"]
            record.metrics = numbers(result["best"])
            record.metrics.pop("seconds", None)
            record.curve = [(epoch, value) for epoch, value in result["curve"]]
        self._learn_memory(record, result["figures"])
        for entry in result["history"]:
            self._tracking.reported(record.identity, entry)
        self._progress.reported(record, result["figures"])
        assert self.search is not None
        self.search.reported(record.identity, result)

    def _learn_memory(self, record: TrialRecord, entry: dict[str, Any]) -> None:
        used = entry.get("system/gpu_0_memory_usage_megabytes")
        if used is not None:
            self._slots.learn(1e6 * entry["system/gpu_0_memory_total_megabytes"], 1e6 * used)
        if record.metrics:
            record.metrics["peak_memory_mb"] = max(map(_used_mb, record.history))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self._record(trial)
        last = trial.last_result
        if "failure" in last:
            self._failed(record, last["kind"], last["failure"])
        elif "ended" in last:  # by itself; Tune says "done" of what it stopped too
            finished = record.epochs >= self._plan.budget(record.setting, record.params)
            self._end(
                record, "finished" if finished else "failed", "" if finished else "ended before its budget"
            )
        elif record.epochs >= self._plan.budget(record.setting, record.params):
            # Stopped in its last epoch, which is as good as finished; its worker is waiting for a word.
            self._slots.end(trial.config["slot"], record.identity, "stop")
            self._end(record, "finished", "")
        elif self._halt.reason:
            self._slots.end(trial.config["slot"], record.identity, "park")
            self._end(record, "unfinished", f"parked: {self._halt.reason}")
        else:
            self._slots.end(trial.config["slot"], record.identity, "stop")
            self._end(record, "stopped", "")
        for name in trial.config.keys() - _OF_CONFIG:
            del trial.config[name]
        trial.evaluated_params.clear()
        trial.experiment_tag = last["experiment_tag"] = ""  # which repeats the configuration

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        error = (
            Path(trial.error_file).read_text()
            if trial.error_file
            else "ended without a reason; see Ray's logs"
        )
        self._failed(self._record(trial), "error", error.strip().splitlines()[-1].partition(". ")[0])

    def _failed(self, record: TrialRecord, kind: str, reason: str) -> None:
        """A failure that another try may mend gets one; all else is the trial's end."""
        config = self._plan.config(record.setting, **record.params)
        again = None
        if kind in _AGAIN and self._lost.get(record.identity, 0) < _AGAIN[kind]:
            self._lost[record.identity] = self._lost.get(record.identity, 0) + 1
            again = Candidate(record.setting, record.phase, record.params)
        elif kind == "memory" and "batch" not in record.params and config.batch // 2 >= _LEAST_BATCH:
            again = Candidate(record.setting, record.phase, {**record.params, "batch": config.batch // 2})
            reason = f"out of memory, tried again with batch {config.batch // 2} ({reason})"
        self._end(record, "failed", reason, again)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.look()

    def look(self) -> None:
        """What has to happen now and then."""
        self._halt.look()
        self._progress.tick()

    def _record(self, trial: Trial) -> TrialRecord:
        return self._settings[trial.config["setting"]][trial.config["identity"]]

    def _end(self, record: TrialRecord, status: Any, reason: str, again: Candidate | None = None) -> None:
        record.status, record.reason = status, reason
        record.sweep = self._plan.name
        record.ended_s = time.time()
        if status != "unfinished":
            self._ledger.ended(record)
        record.history = []
        self._tracking.ended(record)
        self._progress.ended(record)
        assert self.search is not None
        self.search.ended(record, again=again)


def _used_mb(entry: dict[str, Any]) -> float:
    """Memory of a worker in an epoch: of its GPU where it has one."""
    own = entry.get("system/system_memory_usage_megabytes", 0.0)
    return float(entry.get("system/gpu_0_memory_usage_megabytes", own))
