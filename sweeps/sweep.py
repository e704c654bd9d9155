"""A sweep from its plan to the zoo; the same call again resumes it, or says what it came to."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from sweeps.conduct import Conduct
from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import next_seeds, params_key
from zoo import store_probe
from zoo.names import parse_name
from zoo.settings import home
from zoo.store import Store

if TYPE_CHECKING:
    from sweeps.checkpoints import Policy
    from sweeps.session import Session

Trials = dict[str, TrialRecord]


def run_sweep(
    plan: SweepPlan,
    store: Store,
    conduct: Conduct,
    *,
    publish: bool = True,
    warm_start: bool = True,
    keep: Policy = "last",
) -> int:
    """Run what is left of a sweep, publish each setting's best, print the leaderboards; returns the exit status.

    `warm_start` lets the search know earlier sweeps' figures; `keep` is the policy for checkpoints afterwards. The
    status is 1 when a trial failed or a setting has no finished one, and 3 when the sweep was stopped before its end.
    Raises SweepError where the plan cannot be carried out.
    """
    if publish:
        for setting in plan.settings:
            parse_name(f"latentact-{plan.data_name}-{setting.partition(':')[0]}")
    ledger = Ledger(store, plan.name)
    ledger.plan(plan.record())
    store_probe.check(store)  # claims and endings rest on its conditional writes
    settings, reports = ledger.read(plan.budget)
    print(f"Sweep {plan.name}: {plan.trials_of()} trials on each of {', '.join(plan.settings)}.", flush=True)
    halted = ""
    if any(
        _left(plan, settings.get(s, {}), conduct) or (publish and s not in reports) for s in plan.settings
    ):
        # Ray takes seconds to import and to reach, and is needed from here on alone.
        from sweeps.session import Session

        with Session(plan, store, conduct) as session:
            # Another driver may have gone on until a moment ago.
            settings, reports = session.ledger.read(plan.budget)
            session.check(settings)
            halted = _search(session, plan, settings, warm_start=warm_start)
            if not halted:
                _conclude(session, plan, settings, reports, publish=publish, keep=keep)
    else:
        print("Nothing is left to train: every trial below was trained before.")
    return _tell(plan, store, settings, reports, halted)


def _left(plan: SweepPlan, trials: Trials, conduct: Conduct) -> bool:
    """Whether a setting has anything to train."""
    ended = [trial for trial in trials.values() if trial.has_ended(retry_failed=conduct.retry_failed)]
    points = {params_key(plan.point(t.params)) for t in ended if t.phase == "search"}
    return len(points) < plan.trials_of() or len(ended) < len(trials) or bool(_repeats(plan, trials))


def _repeats(plan: SweepPlan, trials: Trials) -> list[dict[str, Any]]:
    return next_seeds(list(trials.values()), seeds=plan.seeds, finalists=plan.finalists, first_seed=plan.seed)


def _search(session: Session, plan: SweepPlan, settings: dict[str, Trials], *, warm_start: bool) -> str:
    """Train all that is wanted; why it ended before that, else an empty text."""
    from sweeps.progress import Progress
    from sweeps.stopping import BySetting, make_stopper
    from sweeps.wishes import SearchWishes

    conduct = session.conduct
    progress = Progress(
        {
            # Which repeats there will be is known when the search has ended.
            setting: plan.trials_of() + sum(t.phase == "repeat" for t in settings.get(setting, {}).values())
            for setting in plan.settings
        },
        session.slots.count,
        sweep=plan.name,
        session=session.name,
        device=session.slots.capacity.device,
        workers=int(plan.workers.rpartition(":")[2]),
        usd_per_hour=conduct.budget.usd_per_hour,
    )
    wishes, stoppers = [], {}
    for setting in plan.settings:
        trials = settings.setdefault(setting, {})
        if not _left(plan, trials, conduct):
            progress.enter(setting, list(trials.values()))
            continue
        wishes.append(
            SearchWishes(
                plan,
                setting,
                trials,
                retry_failed=conduct.retry_failed,
                parallel=session.slots.count,
                hints=_hints(session.store, plan, setting) if warm_start else [],
                grown=functools.partial(progress.grow, setting),
            )
        )
        ended = [t for t in trials.values() if t.phase == "search" and t.status in ("finished", "stopped")]
        if plan.stopping == "pareto":  # which looks at more figures than the curve has
            session.ledger.read_histories(ended)
        stoppers[setting] = make_stopper(
            plan.stopping, epochs=plan.epochs, objectives=plan.objectives, ended=ended
        )
    return session.run(wishes, BySetting(stoppers), settings, progress) if wishes else ""


def _hints(store: Store, plan: SweepPlan, setting: str) -> list[tuple[dict[str, Any], tuple[float, ...]]]:
    from sweeps.warm_start import hints

    return hints(store, plan, setting)


def _conclude(
    session: Session,
    plan: SweepPlan,
    settings: dict[str, Trials],
    reports: dict[str, Any],
    *,
    publish: bool,
    keep: Policy,
) -> None:
    """Choose each setting's winner, offer it to the zoo, keep what is to be kept and write the report."""
    from sweeps.checkpoints import sweep_checkpoints
    from sweeps.publish import conclude

    session.slots.close()
    for setting in plan.settings:
        trials = list(settings[setting].values())
        if setting not in reports and any(trial.status == "finished" for trial in trials):
            reports[setting] = conclude(plan, setting, trials, session, publish=publish)
    removed = sweep_checkpoints(
        session.ledger, session.claims, settings, reports, policy=keep, finalists=plan.finalists
    )
    if removed.files:
        print(
            f"Checkpoints: {removed.bytes / 1e6:.0f} MB of {removed.trials} trials removed (--keep {keep})."
        )
    _report(session, plan)


def _report(session: Session, plan: SweepPlan) -> None:
    """Write the page that shows all of it: on disk, in the store and beside the settings' runs in MLflow."""
    from sweeps.mlflow_files import REPORT
    from sweeps.report import write_report
    from sweeps.report_view import view_of

    page = write_report(view_of(session.ledger, plan))
    session.store.put(f"reports/{plan.name}.html", page.encode())
    path = home() / "reports" / f"{plan.name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    for setting in plan.settings:
        session.tracking.artefacts(setting, {REPORT: page})
    print(f"Report:      {path}", flush=True)


def _tell(
    plan: SweepPlan, store: Store, settings: dict[str, Trials], reports: dict[str, Any], halted: str
) -> int:
    """Print the leaderboards and what failed; returns the exit status."""
    from sweeps.leaderboard import print_leaderboard

    status = 0
    for setting in plan.settings:
        trials = settings.get(setting, {})
        print_leaderboard(plan, setting, list(trials.values()), reports.get(setting), store.url)
        for trial in trials.values():
            if trial.status == "failed" and not _made_good(trial, trials):
                print(f"Failed: {setting} {trial.params}: {trial.reason}", file=sys.stderr)
                status = 1
        if not halted and not any(trial.status == "finished" for trial in trials.values()):
            print(f"Failed: {setting} has no finished trial.", file=sys.stderr)
            status = 1
    if status:
        print("The command with `--retry failed` tries the failed trials again.", file=sys.stderr)
    if halted:
        print(f"Ended before its time: {halted}. The same command goes on from here.", file=sys.stderr)
        status = 3
    return status


def _made_good(trial: TrialRecord, trials: Trials) -> bool:
    """Whether a smaller batch brought to an end what this trial had no memory for."""
    return any(
        other.status in ("finished", "stopped")
        and "batch" in other.params
        and {k: v for k, v in other.params.items() if k != "batch"} == trial.params
        for other in trials.values()
    )
