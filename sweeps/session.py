"""A Ray cluster on which the trials of one plan run, and everything that follows them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import ray
from ray.tune.search import Searcher

from sweeps.capacity import Capacity
from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import Plan, SweepError
from sweeps.progress import Progress
from sweeps.recorder import Recorder
from sweeps.run import run_trials
from sweeps.tracking import Tracking
from trainables.code_digest import code_digest
from trainables.trial_config import trial_identity
from zoo.store import Store

Trials = dict[str, TrialRecord]
_HEAD_TIMEOUT_S = 10.0


class Session:
    """Joins the cluster when it is entered and leaves it again; `train` stands in for trainables.trial.train_trial."""

    def __init__(self, plan: Plan, store: Store, ledger: Ledger, train: Callable[..., Any] | None) -> None:
        self.plan = plan
        self.store = store
        self.ledger = ledger
        self.train = train

    def __enter__(self) -> Self:
        connect()
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.capacity = Capacity.measure(nodes, self.plan.workers)
        except BaseException:
            ray.shutdown()
            raise
        where = f"{self.plan.workers} worker(s) each, on {self.capacity.device}"
        print(f"{self.capacity.slots} trials at once, {where}.")
        tags = {"latentact.code": code_digest()[:16]}
        self.tracking = Tracking(os.environ.get("MLFLOW_TRACKING_URI"), self.plan, tags)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.tracking.close()
        ray.shutdown()

    def identity(self, setting: str, params: dict[str, Any]) -> str:
        """The identity that a trial has on this cluster."""
        return trial_identity(
            self.plan.config(setting, **params),
            self.plan.data_digest,
            workers=self.plan.workers,
            device=self.capacity.device,
        )

    def check(self, settings: dict[str, Trials]) -> None:
        """Trials begun on other hardware or with other code cannot be continued or compared here."""
        for setting, trials in settings.items():
            for identity, trial in trials.items():
                if identity != self.identity(setting, trial.params):
                    raise SweepError(
                        f"Sweep {self.plan.name} was begun on another kind of device than this cluster's "
                        f"{self.capacity.device}; go on with it there, or give this one another --name."
                    )

    def follow(self, setting: str, trials: Trials, progress: Progress, *, retry_failed: bool) -> Following:
        """Begin with a setting; `trials` are its records by identity, which are brought up to date."""
        ended = [trial for trial in trials.values() if trial.has_ended(retry_failed=retry_failed)]
        progress.enter(setting, ended)
        self.tracking.setting(setting)
        recorder = Recorder(self.plan, self.ledger, progress, self.tracking, trials)
        return Following(self, setting, recorder, ended)


class Following:
    """The trials of one setting: announced to the ledger first, then trained."""

    def __init__(self, session: Session, setting: str, recorder: Recorder, ended: list[TrialRecord]) -> None:
        self._session, self._setting, self._recorder = session, setting, recorder
        self.ended = ended  # before it began

    def announce(self, phase: str, params: dict[str, Any]) -> TrialRecord:
        """Put a trial in the ledger; it comes back finished where another sweep has trained it."""
        identity = self._session.identity(self._setting, params)
        return self._recorder.begin(self._setting, phase, params, identity)

    def suggestion(self, trial: TrialRecord) -> dict[str, Any]:
        """What `run` trains."""
        config = self._session.plan.config(self._setting, **trial.params)
        return {"identity": trial.identity, "config": config.to_json()}

    def run(self, trials: list[TrialRecord] | Searcher, *, stop_early: bool) -> None:
        """Train what is not finished of the given trials, or what a searcher suggests; returns when all have ended."""
        searcher = trials if isinstance(trials, Searcher) else None
        left = [] if isinstance(trials, Searcher) else [t for t in trials if t.status != "finished"]
        if searcher is None and not left:
            return
        session = self._session
        run_trials(
            searcher=searcher,
            trials=[self.suggestion(trial) for trial in left],
            stop_early=stop_early,
            epochs=session.plan.epochs,
            capacity=session.capacity,
            recorder=self._recorder,
            data=session.plan.data,
            store_url=session.store.url,
            start_from=session.plan.start_url or None,
            train=session.train,
        )


def connect() -> None:
    """Join the Ray cluster of the job, or of RAY_ADDRESS. Raises SweepError where none answers."""
    address = os.environ.get("RAY_ADDRESS", "auto")
    host, _, port = address.rpartition(":")
    try:
        # Ray itself looks for a head that is not there for minutes.
        if port.isdigit() and "://" not in address:
            socket.create_connection((host, int(port)), _HEAD_TIMEOUT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:  # ConnectionError among them
        raise SweepError(
            f"No Ray cluster answers at {address} ({error}). Start one (`python -m cluster.local up` on one machine, "
            "`ray up` for a fleet) and submit this script with `ray job submit`."
        ) from None
