"""A sweep from its plan to the zoo; the same call again resumes it, or says what it came to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import FINALISTS, finalists
from zoo.names import parse_name
from zoo.store import Store

if TYPE_CHECKING:
    from sweeps.progress import Progress
    from sweeps.session import Session

Trials = dict[str, TrialRecord]


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
    settings, reports = ledger.read(plan.budget)
    print(f"Sweep {plan.name}: {plan.trials_of()} trials on each of {', '.join(plan.settings)}.", flush=True)
    if any(
        _left(plan, settings.get(s, {}), retry_failed) or (publish and s not in reports)
        for s in plan.settings
    ):
        # Ray takes seconds to import and to reach, and is needed from here on alone.
        from sweeps.session import Session

        with Session(plan, store, ledger, train) as session:
            _carry_on(session, plan, settings, reports, publish=publish, retry_failed=retry_failed)
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
    ended = [trial for trial in trials.values() if trial.has_ended(retry_failed=retry_failed)]
    searched = sum(trial.phase == "search" for trial in ended)
    return searched < plan.trials_of() or len(ended) < len(trials) or any(_repeats(plan, trials))


def _repeats(plan: SweepPlan, trials: Trials) -> list[dict[str, int]]:
    """The finalists' further seeds that have not been started."""
    known = [trial.params for trial in trials.values()]
    wanted = [
        {"codes": finalist.codes, "depth": finalist.depth, "seed": seed}
        for finalist in finalists(trials.values())
        for seed in range(plan.seed, plan.seed + plan.seeds)
    ]
    return [params for params in wanted if params not in known]


def _carry_on(
    session: Session,
    plan: SweepPlan,
    settings: dict[str, Trials],
    reports: dict[str, Any],
    *,
    publish: bool,
    retry_failed: bool,
) -> None:
    """Bring `settings` and `reports` to their end."""
    from sweeps.progress import Progress

    session.check(settings)
    every = [trial for trials in settings.values() for trial in trials.values()]
    ended = sum(trial.has_ended(retry_failed=retry_failed) for trial in every)
    per_setting = plan.trials_of() + (FINALISTS * (plan.seeds - 1))
    progress = Progress(per_setting * len(plan.settings), ended, session.capacity.slots)
    for setting in plan.settings:
        trials = settings.setdefault(setting, {})
        _train_setting(session, plan, setting, trials, progress, retry_failed)
        if publish and setting not in reports and any(t.status == "finished" for t in trials.values()):
            from sweeps.publish import publish_best

            reports[setting] = publish_best(
                plan,
                setting,
                list(trials.values()),
                session.store,
                session.ledger,
                session.capacity,
                session.tracking,
            )


def _train_setting(
    session: Session,
    plan: SweepPlan,
    setting: str,
    trials: Trials,
    progress: Progress,
    retry_failed: bool,
) -> None:
    following = session.follow(setting, trials, progress, retry_failed=retry_failed)
    searched = [trial for trial in following.ended if trial.phase == "search"]
    if len(searched) < plan.trials_of():
        from sweeps.search import LedgerSearch

        def point(trial: TrialRecord) -> dict[str, int]:
            return {name: trial.params[name] for name in ("codes", "depth")}

        def propose(params: dict[str, int]) -> dict[str, Any] | float:
            trial = following.announce("search", {**params, "seed": plan.seed})
            return trial.mpjpe_cm if trial.status == "finished" else following.suggestion(trial)

        searcher = LedgerSearch(
            {"codes": plan.codes, "depth": plan.depth},
            seed=plan.seed,
            trials=plan.trials_of() - len(searched),
            known=[(point(t), None if t.status == "failed" else t.mpjpe_cm) for t in searched],
            unfinished=[
                point(t) for t in trials.values() if t.phase == "search" and t not in following.ended
            ],
            announce=propose,
        )
        following.run(searcher, stop_early=True)
    begun = [t.params for t in trials.values() if t.phase == "repeat" and t not in following.ended]
    again = [following.announce("repeat", params) for params in begun + _repeats(plan, trials)]
    following.run(again, stop_early=False)
