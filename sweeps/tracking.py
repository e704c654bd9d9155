"""What researchers look at in MLflow: a parent run a setting, a child run a trial.

MLflow is a view. It may be slow or down at any moment without holding up or ending a sweep: everything
goes through one thread, and the first failure turns tracking off for this run with one warning. Runs
are found by their tags, so a resumed sweep goes on in the same ones.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.plan import Plan

_STATES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_CLOSE_S = 20.0


class Tracking:
    """Records one sweep in the MLflow server at `uri` (None: nowhere), under `latentact-<data>`."""

    def __init__(self, uri: str | None, plan: Plan, tags: dict[str, str]) -> None:
        self.uri = uri
        self._plan = plan
        self._tags = tags
        self._runs: dict[str, str] = {}
        self._experiment = ""
        self._alive = uri is not None
        self._queue: queue.Queue[Callable[[], object] | threading.Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._drain, name="mlflow", daemon=True)
        self._thread.start()
        if self._alive:
            self._queue.put(self._connect)

    def setting(self, setting: str) -> None:
        """Open or find the parent run of one setting."""
        self._queue.put(lambda: self._open(setting, f"{setting} {self._plan.name}", {}, None))

    def started(self, trial: TrialRecord, config: dict[str, Any]) -> None:
        """Open or find a trial's run and write down its configuration."""
        values = {"workers": self._plan.workers, "data_digest": self._plan.data_digest, **config}

        def work() -> None:
            name = " ".join(f"{key}={value}" for key, value in trial.params.items())
            run = self._open(trial.identity, name, {"latentact.identity": trial.identity}, trial.setting)
            self._log(run, params={key: str(value)[:500] for key, value in values.items()})

        self._queue.put(work)

    def reported(self, identity: str, metrics: dict[str, Any]) -> None:
        """One epoch's figures; names carry their stage, the step is the epoch within it."""
        figures = {
            f"{metrics['stage']}/{name}" if name in ("loss", "seconds") else name: float(value)
            for name, value in metrics.items()
            if isinstance(value, int | float) and name not in ("epoch", "epochs", "step")
        }
        self._queue.put(lambda: self._log(self._runs[identity], metrics=figures, step=int(metrics["epoch"])))

    def ended(self, trial: TrialRecord) -> None:
        """Close a trial's run with what became of it."""

        def work() -> None:
            run = self._runs[trial.identity]
            if trial.reason:
                self._client.set_tag(run, "latentact.reason", trial.reason[:1000])
            self._client.set_terminated(run, status=_STATES[trial.status])

        self._queue.put(work)

    def summarised(self, setting: str, metrics: dict[str, float], tags: dict[str, str]) -> None:
        """Close a setting's parent run with its best trial's figures and the name it was published under."""

        def work() -> None:
            run = self._runs[setting]
            self._log(run, metrics=metrics)
            for key, value in tags.items():
                self._client.set_tag(run, key, value)
            self._client.set_terminated(run, status="FINISHED")

        self._queue.put(work)

    def artefacts(self, setting: str, files: dict[str, str]) -> None:
        """Texts to lie beside a setting's parent run, by path."""

        def work() -> None:
            for path, text in files.items():
                self._client.log_text(self._runs[setting], text, path)

        self._queue.put(work)

    def run_id(self, key: str) -> str | None:
        """The run of a trial (or a setting) of this sweep, also one written before; None without MLflow."""

        def work() -> None:
            if key not in self._runs and (found := self._find(key)):
                self._runs[key] = found

        self._queue.put(work)
        self._flush()
        return self._runs.get(key)

    def address(self, setting: str) -> str | None:
        """The web page of a setting's parent run, once everything before has been written."""
        self._flush()
        if setting not in self._runs:
            return self.uri
        return f"{self.uri}/#/experiments/{self._experiment}/runs/{self._runs[setting]}"

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(_CLOSE_S)

    def _flush(self) -> None:
        done = threading.Event()
        self._queue.put(done)
        done.wait(_CLOSE_S)

    def _drain(self) -> None:
        while (work := self._queue.get()) is not None:
            if isinstance(work, threading.Event):
                work.set()
            if isinstance(work, threading.Event) or not self._alive:
                continue
            try:
                work()
            except Exception as error:  # noqa: BLE001 any failure of a view must leave the sweep alone
                self._alive = False
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                print(
                    f"Warning: MLflow at {self.uri} does not take records ({reason}). "
                    "The sweep goes on; its ledger is complete.",
                    file=sys.stderr,
                    flush=True,
                )

    def _connect(self) -> None:
        # The client's own patience is minutes; a sweep should learn in seconds that nobody listens.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=self.uri)
        name = f"latentact-{self._plan.data_name}"
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)

    def _open(self, key: str, name: str, tags: dict[str, str], parent: str | None) -> str:
        """The run that is tagged with this sweep and `key`, made if there is none."""
        tags = {
            **self._tags,
            **tags,
            "latentact.sweep": self._plan.name,
            "latentact.key": key,
            "latentact.data_digest": self._plan.data_digest,
        }
        if parent is not None:
            tags["mlflow.parentRunId"] = self._runs[parent]
        if found := self._find(key):
            self._runs[key] = found
            self._client.update_run(found, status="RUNNING")
        else:
            run = self._client.create_run(self._experiment, run_name=name, tags=tags)
            self._runs[key] = run.info.run_id
        return self._runs[key]

    def _find(self, key: str) -> str | None:
        runs = self._client.search_runs(
            [self._experiment],
            f"tags.`latentact.sweep` = '{self._plan.name}' and tags.`latentact.key` = '{key}'",
            max_results=1,
        )
        return runs[0].info.run_id if runs else None

    def _log(
        self,
        run: str,
        params: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
        step: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param

        now_ms = int(time.time() * 1000)
        self._client.log_batch(
            run,
            metrics=[Metric(name, value, now_ms, step) for name, value in (metrics or {}).items()],
            params=[Param(name, value) for name, value in (params or {}).items()],
        )
