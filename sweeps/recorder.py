"""Writes what Tune sees of a trial to the ledger, to MLflow and to the job's log."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from sweeps.drive import suggestion
from sweeps.ledger import Ledger, TrialRecord, numbers
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.tracking import Tracking


class Recorder(Callback):
    """Follows the trials of one setting; `trials` are its records by identity, which it brings up to date."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        progress: Progress,
        tracking: Tracking,
        trials: dict[str, TrialRecord],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._progress = progress
        self._tracking = tracking
        self._trials = trials

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, and connections cannot be pickled.
        return {}

    def begin(self, setting: str, phase: str, params: dict[str, Any], identity: str) -> TrialRecord:
        """Put a trial in the ledger before it can start training; settled at once where it ended elsewhere."""
        trial = self._trials.setdefault(identity, TrialRecord(identity, setting, phase, params))
        trial.attempts += 1
        trial.status, trial.reason = "unfinished", ""
        self._ledger.started(identity, setting, phase, params, trial.attempts)
        if trial.attempts == 1:
            self._ledger.settle(trial, self._plan.budget(setting, params))
        if trial.status == "finished":
            # Another sweep trained it: show it here as if it had run.
            self._tracking.started(trial, self._plan.config(setting, **params).to_json())
            for epoch, value in trial.curve:
                self._tracking.reported(identity, {"stage": "predictor", "epoch": epoch, "mpjpe_cm": value})
            self._tracking.ended(trial)
            self._progress.ended(trial)
        return trial

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self._record(trial)
        self._progress.started(record.identity, record.params)
        self._tracking.started(record, suggestion(trial.config)["config"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        record = self._record(trial)
        if "failure" in result:
            record.reason = result["failure"]
        if "figures" not in result:
            return
        record.seconds = result["trial_seconds"]
        # Rounded here, so that a table says the same now and when it is made from the ledger.
        record.stage_seconds = {k: round(v, 3) for k, v in result.get("stage_seconds", {}).items()}
        if "checkpoint_path" in result:
            # Ray leaves the s3:// out of it.
            folder = result["checkpoint_path"].rstrip("/").rsplit("/", 1)[1]
            record.checkpoint = f"{self._ledger.store.url}/trials/{record.identity}/{folder}"
        if "best" in result:
            record.epochs = result["predictor_epoch"]
            record.metrics = numbers(result["best"])
            record.curve = [(epoch, value) for epoch, value in result["curve"] if math.isfinite(value)]
        self._tracking.reported(record.identity, result["figures"])
        self._progress.reported(record.identity, result["figures"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self._record(trial)
        if record.reason:
            record.status = "failed"
        elif "mpjpe_cm" not in record.metrics:
            record.status = "failed"
            record.reason = "ended without a validation MPJPE that is a number"
        else:
            budget = self._plan.budget(record.setting, record.params)
            record.status = "finished" if record.epochs >= budget else "stopped"
        self._end(record)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self._record(trial)
        record.status = "failed"
        error = (
            Path(trial.error_file).read_text()
            if trial.error_file
            else "ended without a reason; see Ray's logs"
        )
        record.reason = error.strip().splitlines()[-1].partition(". ")[0]
        self._end(record)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._progress.tick()

    def _record(self, trial: Trial) -> TrialRecord:
        return self._trials[suggestion(trial.config)["identity"]]

    def _end(self, record: TrialRecord) -> None:
        record.sweep = self._plan.name
        self._ledger.ended(record)
        self._tracking.ended(record)
        self._progress.ended(record)
