"""One driver of a plan on a Ray cluster: alone under the plan's name, with slots to train on, a ledger and MLflow."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import ray
from ray.tune.schedulers import TrialScheduler

from sweeps.capacity import Workers
from sweeps.claims import Claims
from sweeps.conduct import Conduct
from sweeps.errors import SweepError
from sweeps.halt import Halt
from sweeps.ledger import Ledger, TrialRecord
from sweeps.live import write_live
from sweeps.node_hours import NodeHours
from sweeps.patience import PatientStore
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.ray_cluster import connect
from sweeps.recorder import Recorder
from sweeps.redacted import redacted
from sweeps.run import run_trials
from sweeps.search import Started, SweepSearch
from sweeps.slots import Slots
from sweeps.tracking import Tracking
from sweeps.wishes import Candidate, Wishes
from trainables.code_digest import code_digest
from trainables.trial_config import stage_identities, trial_identity
from zoo.errors import ObjectMissing, StoreError
from zoo.store import Store

Trials = dict[str, TrialRecord]
_LIVE_EVERY_S = 5.0
# A dead driver's claim on the name comes over after 20 s.
_NAME_TIMEOUT_S = 30.0


class Session:
    """Joins the cluster when it is entered and leaves it again."""

    def __init__(self, plan: Plan, store: Store, conduct: Conduct) -> None:
        self.plan, self.store, self.conduct = plan, store, conduct
        self.name = f"{re.sub('[^a-z0-9]', '-', socket.gethostname().lower())[:40]}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
        self.ledger = Ledger(store, plan.name, self.name)
        self.claims = Claims(store, self.name)
        self._patient = PatientStore(store)
        self._shelved: set[tuple[str, str]] = set()
        self._live_s = 0.0

    def __enter__(self) -> Self:
        self.claims.__enter__()
        try:
            self._take_name()
            connect()
            self._begin()
        except BaseException:
            self.claims.__exit__(*sys.exc_info())
            ray.shutdown()
            raise
        return self

    def _begin(self) -> None:
        conduct = self.conduct
        self.slots = Slots(
            Workers.parse(self.plan.workers),
            session=self.name,
            storage=f"{self.store.url}/groups",
            parallel=conduct.parallel,
            idle_s=conduct.idle_s,
            train=conduct.train,
        )
        self.nodes = NodeHours(self.ledger)
        if conduct.budget.usd is not None and conduct.budget.usd_per_hour is None:
            self.nodes.require_prices(f"--budget-usd {conduct.budget.usd:g}")
        self.ledger.clear_stop()
        self.ledger.note(
            "session",
            slots=self.slots.count,
            device=self.slots.capacity.device,
            workers=self.plan.workers,
            usd_per_hour=conduct.budget.usd_per_hour,
            nodes=sum(node["Alive"] for node in ray.nodes()),
            command=redacted(shlex.join(sys.argv)),
            data=redacted(self.plan.data),
        )
        print(
            f"{self.slots.count} trials at once, {self.plan.workers} worker(s) each, on "
            f"{self.slots.capacity.device}; this driver is {self.name}.",
            flush=True,
        )
        tags = {"latentact.code": code_digest()[:16]}
        self.tracking = Tracking(os.environ.get("MLFLOW_TRACKING_URI"), self.plan, tags, self.store)

    def _take_name(self) -> None:
        """The plan's name is this driver's alone."""
        deadline, told = time.monotonic() + _NAME_TIMEOUT_S, False
        while (holder := self.claims.take("sweep", self.plan.name)) is not None:
            if time.monotonic() > deadline:
                raise SweepError(
                    f"{self.plan.name} is being run by {holder}: watch it with `python -m sweeps watch "
                    f"{self.plan.name}`, stop it with `python -m sweeps stop {self.plan.name}`, or give another --name."
                )
            if not told:
                print(
                    f"{self.plan.name} was begun by {holder}: looking whether that still lives.", flush=True
                )
                told = True
            time.sleep(1.0)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.slots.close()
        self.tracking.close()
        if kind is None:
            self.nodes.close()
            self.ledger.compact()
        self.claims.__exit__(kind, error, trace)
        ray.shutdown()

    def identity(self, setting: str, params: dict[str, Any]) -> str:
        """The identity that a trial has on this cluster."""
        return trial_identity(self.plan.config(setting, **params), self.plan.data_digest, **self._where)

    @property
    def _where(self) -> dict[str, str]:
        return {"workers": self.plan.workers, "device": self.slots.capacity.device}

    def _stages(self, candidate: Candidate) -> dict[str, str]:
        config = self.plan.config(candidate.setting, **candidate.params)
        return stage_identities(config, self.plan.data_digest, **self._where)

    def check(self, settings: dict[str, Trials]) -> None:
        """Trials begun on other hardware or with other code cannot be continued or compared here."""
        for setting, trials in settings.items():
            for identity, trial in trials.items():
                if identity != self.identity(setting, trial.params):
                    raise SweepError(
                        f"Sweep {self.plan.name} was begun on another kind of device than this cluster's "
                        f"{self.slots.capacity.device}; go on with it there, or give this one another --name."
                    )

    def run(
        self,
        wishes: Sequence[Wishes],
        scheduler: TrialScheduler,
        settings: dict[str, Trials],
        progress: Progress,
    ) -> str:
        """Train until no wish is left; returns why it ended before that, else an empty text.

        `settings` are the records by setting and identity, which are brought up to date.
        """
        for wish in wishes:
            trials = list(settings.setdefault(wish.setting, {}).values())
            progress.enter(
                wish.setting, [t for t in trials if t.has_ended(retry_failed=self.conduct.retry_failed)]
            )
            self.tracking.setting(
                wish.setting, [t for t in trials if t.status in ("finished", "stopped", "failed")]
            )

        def used_up() -> str | None:
            self._show(progress)
            if self.claims.lost:
                # Cut off for so long that others took us for dead. What they train by now comes to the same figures.
                gone = self.claims.retake()
                if ("sweep", self.plan.name) in gone:
                    return "another driver has taken this sweep over"
            progress.slots = self.slots.count
            self.nodes.look()
            return self.conduct.budget.spent(progress.worker_seconds, self.nodes.usd())

        halt = Halt(self.ledger.stop_asked, used_up)
        recorder = Recorder(
            self.plan,
            self.ledger,
            progress,
            self.tracking,
            settings,
            self.slots,
            halt,
            self.identity,
            self._stages,
        )
        search = SweepSearch(
            wishes,
            self.slots,
            self.claims,
            announce=recorder.announce,
            settle=recorder.settle,
            job=self._job,
            stages=self._stages,
            shelved=self._is_shelved,
            halted=lambda: bool(halt.look()),
            waiting=progress.waiting,
        )
        recorder.search = search
        try:
            run_trials(search, scheduler, recorder, halt, desk=self.slots.fleet.desk)
        finally:
            progress.close()
            self._show(progress, now=True)
        if halt.reason:
            self.ledger.note("stop", reason=halt.reason)
        return halt.reason

    def _job(self, started: Started) -> dict[str, Any]:
        candidate, identity = started.candidate, started.record.identity
        return {
            "job": f"{identity}-{started.record.attempts}",
            "identity": identity,
            "setting": candidate.setting,
            "phase": candidate.phase,
            "config": self.plan.config(candidate.setting, **candidate.params).to_json(),
            "data": self.plan.data,
            "checkpoints": f"{self.store.url}/trials/{identity}",
            "shelves": {stage: self._shelf(stage, name) for stage, name in self._stages(candidate).items()},
            "start_from": self.plan.start_url or None,
            "hang_after_s": self.conduct.hang_after_s,
            "usd_per_hour": self.conduct.budget.usd_per_hour,
        }

    def _shelf(self, stage: str, identity: str) -> str:
        return f"{self.store.url}/{stage}s/{identity}"

    def _is_shelved(self, stage: str, identity: str) -> bool:
        if (stage, identity) not in self._shelved:
            try:
                self._patient.get(f"{stage}s/{identity}/weights.json")
            except ObjectMissing:
                return False
            self._shelved.add((stage, identity))
        return True

    def _show(self, progress: Progress, *, now: bool = False) -> None:
        """Let others see where things stand."""
        if now or time.monotonic() - self._live_s >= _LIVE_EVERY_S:
            self._live_s = time.monotonic()
            try:
                write_live(self.store, self.plan.name, progress.live())
            except StoreError as error:
                print(f"Warning: others cannot see how far this is: {error}", file=sys.stderr, flush=True)
