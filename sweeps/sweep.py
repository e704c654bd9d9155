"""A sweep from its plan to the zoo; the same call again resumes it, or says what it came to."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepError, SweepPlan
from sweeps.selection import FINALISTS, finalists
from trainables.trial_config import code_digest, trial_identity
from zoo.names import parse_name
from zoo.store import Store

Trials = dict[str, TrialRecord]
_HEAD_TIMEOUT_S = 10.0


def run_sweep(
    plan: SweepPlan,
    store: Store,
    *,
    publish: bool = True,
    retry_failed: bool = False,
    train: Callable[..., Any] | None = None,
) -> int:
    """Run what is left of a sweep, publish each setting's best, print the leaderboards; returns the exit status.

    `train` replaces trainables.trial.train_trial. The status is 1 when a trial failed or a setting has no finished one.
    Raises SweepError where the plan cannot be carried out.
    """
    if publish:
        for setting in plan.settings:
            parse_name(f"latentact-{plan.data_name}-{setting.partition(':')[0]}")
    ledger = Ledger(store, plan.name)
    ledger.plan(plan.record())
    settings, reports = ledger.read(plan.epochs)
    print(f"Sweep {plan.name}: {plan.trials_of()} trials on each of {', '.join(plan.settings)}.", flush=True)
    if any(
        _left(plan, settings.get(s, {}), retry_failed) or (publish and s not in reports)
        for s in plan.settings
    ):
        Cluster(plan, store, ledger, train).run(settings, reports, publish=publish, retry_failed=retry_failed)
    else:
        print("Nothing is left to train: every trial below was trained before.")
    from sweeps.leaderboard import print_leaderboard

    status = 0
    for setting in plan.settings:
        trials = settings.get(setting, {})
        print_leaderboard(plan, setting, list(trials.values()), reports.get(setting), store.url)
        for trial in trials.values():
            if trial.status == "failed":
                print(f"Failed: {setting} {trial.params}: {trial.reason}", file=sys.stderr)
                status = 1
        if not any(trial.status == "finished" for trial in trials.values()):
            print(f"Failed: {setting} has no finished trial.", file=sys.stderr)
            status = 1
    if status:
        print("The command with `--retry failed` tries the failed trials again.", file=sys.stderr)
    return status


def _left(plan: SweepPlan, trials: Trials, retry_failed: bool) -> bool:
    """Whether a setting has anything to train."""
    ended = [trial for trial in trials.values() if _has_ended(trial, retry_failed)]
    searched = sum(trial.phase == "search" for trial in ended)
    return searched < plan.trials_of() or len(ended) < len(trials) or any(_repeats(plan, trials))


def _has_ended(trial: TrialRecord, retry_failed: bool) -> bool:
    return trial.status in ("finished", "stopped") or (trial.status == "failed" and not retry_failed)


def _repeats(plan: SweepPlan, trials: Trials) -> list[dict[str, int]]:
    """The finalists' further seeds that have not been started."""
    known = [trial.params for trial in trials.values()]
    wanted = [
        {"codes": finalist.codes, "depth": finalist.depth, "seed": seed}
        for finalist in finalists(trials.values())
        for seed in range(plan.seed, plan.seed + plan.seeds)
    ]
    return [params for params in wanted if params not in known]


class Cluster:
    """A sweep's trials on a Ray cluster."""

    def __init__(
        self, plan: SweepPlan, store: Store, ledger: Ledger, train: Callable[..., Any] | None
    ) -> None:
        self.plan = plan
        self.store = store
        self.ledger = ledger
        self.train = train

    def run(
        self, settings: dict[str, Trials], reports: dict[str, Any], *, publish: bool, retry_failed: bool
    ) -> None:
        """Bring `settings` and `reports` to their end."""
        # Ray takes seconds to import and to reach, and is needed from here on alone.
        import ray

        from sweeps.capacity import Capacity
        from sweeps.progress import Progress
        from sweeps.tracking import Tracking

        _connect()
        try:
            plan = self.plan
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.capacity = Capacity.measure(nodes, plan.workers)
            self._check_environment(settings)
            ended = sum(_has_ended(t, retry_failed) for trials in settings.values() for t in trials.values())
            per_setting = plan.trials_of() + (FINALISTS * (plan.seeds - 1))
            self.progress = Progress(per_setting * len(plan.settings), ended, self.capacity.slots)
            print(
                f"{self.capacity.slots} trials at once, {plan.workers} worker(s) each, on {self.capacity.device}."
            )
            self.tracking = Tracking(
                os.environ.get("MLFLOW_TRACKING_URI"), plan, {"latentact.code": code_digest()[:16]}
            )
            for setting in plan.settings:
                trials = settings.setdefault(setting, {})
                self._train_setting(setting, trials, retry_failed)
                if (
                    publish
                    and setting not in reports
                    and any(t.status == "finished" for t in trials.values())
                ):
                    from sweeps.publish import publish_best

                    reports[setting] = publish_best(
                        plan,
                        setting,
                        list(trials.values()),
                        self.store,
                        self.ledger,
                        self.capacity,
                        self.tracking,
                    )
            self.tracking.close()
        finally:
            ray.shutdown()

    def identity(self, setting: str, params: dict[str, int]) -> str:
        return trial_identity(
            self.plan.config(setting, **params),
            self.plan.data_digest,
            workers=self.plan.workers,
            device=self.capacity.device,
        )

    def _check_environment(self, settings: dict[str, Trials]) -> None:
        """Trials begun on other hardware or with other code cannot be continued or compared here."""
        for setting, trials in settings.items():
            for identity, trial in trials.items():
                if identity != self.identity(setting, trial.params):
                    raise SweepError(
                        f"Sweep {self.plan.name} was begun on another kind of device than this cluster's "
                        f"{self.capacity.device}; go on with it there, or give this one another --name."
                    )

    def _train_setting(self, setting: str, trials: Trials, retry_failed: bool) -> None:
        from sweeps.recorder import Recorder
        from sweeps.run import run_trials

        plan = self.plan
        recorder = Recorder(plan, self.ledger, self.progress, self.tracking, trials)
        ended = [trial for trial in trials.values() if _has_ended(trial, retry_failed)]
        self.progress.enter(setting, ended)
        self.tracking.setting(setting)

        def announce(phase: str, params: dict[str, int]) -> TrialRecord:
            return recorder.begin(setting, phase, params, self.identity(setting, params))

        def suggestion(trial: TrialRecord) -> dict[str, Any]:
            return {"identity": trial.identity, "config": plan.config(setting, **trial.params).to_json()}

        common: dict[str, Any] = {
            "epochs": plan.epochs,
            "capacity": self.capacity,
            "recorder": recorder,
            "data": plan.data,
            "store_url": self.store.url,
            "train": self.train,
        }
        searched = [trial for trial in ended if trial.phase == "search"]
        if len(searched) < plan.trials_of():
            from sweeps.search import LedgerSearch

            def point(trial: TrialRecord) -> dict[str, int]:
                return {name: trial.params[name] for name in ("codes", "depth")}

            def propose(params: dict[str, int]) -> dict[str, Any] | float:
                trial = announce("search", {**params, "seed": plan.seed})
                return trial.mpjpe_cm if trial.status == "finished" else suggestion(trial)

            searcher = LedgerSearch(
                {"codes": plan.codes, "depth": plan.depth},
                seed=plan.seed,
                trials=plan.trials_of() - len(searched),
                known=[(point(t), None if t.status == "failed" else t.mpjpe_cm) for t in searched],
                unfinished=[point(t) for t in trials.values() if t.phase == "search" and t not in ended],
                announce=propose,
            )
            run_trials(searcher=searcher, trials=[], stop_early=True, **common)
        begun = [t.params for t in trials.values() if t.phase == "repeat" and not _has_ended(t, retry_failed)]
        again = [announce("repeat", params) for params in begun + _repeats(plan, trials)]
        if left := [suggestion(trial) for trial in again if trial.status != "finished"]:
            run_trials(searcher=None, trials=left, stop_early=False, **common)


def _connect() -> None:
    """Join the Ray cluster of the job, or of RAY_ADDRESS."""
    import ray

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
