"""A comparison from its plan to its table; the same call again resumes it, or says what it came to."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.comparison_plan import ComparisonPlan
from sweeps.comparison_table import compare, fold_params, untrained_keys
from sweeps.comparison_text import files, markdown, print_comparison
from sweeps.conduct import Conduct
from sweeps.ledger import Ledger, TrialRecord
from sweeps.readings import keep, kept, trial_key
from zoo import store_probe
from zoo.store import Store

if TYPE_CHECKING:
    from sweeps.session import Session

Trials = dict[str, TrialRecord]
Readings = dict[str, dict[str, Any]]


def run_comparison(
    plan: ComparisonPlan,
    store: Store,
    conduct: Conduct,
    *,
    out: Path | None = None,
) -> int:
    """Train what is left, read test once for each trial, print and keep the tables; returns the exit status.

    `out` receives the same files as MLflow: a folder a setting. The status is 1 when a trial failed, and 3 when it all
    was stopped before its end. Raises SweepError where the plan cannot be carried out.
    """
    ledger = Ledger(store, plan.name)
    ledger.plan(plan.record())
    store_probe.check(store)  # claims and endings rest on its conditional writes
    settings, reports = ledger.read(plan.budget)
    count = f"{len(plan.points())} trials on each of {', '.join(plan.settings)}"
    print(f"Comparison {plan.name}: {count}.", flush=True)
    readings = {s: _kept(plan, s, list(settings.get(s, {}).values()), store) for s in plan.settings}
    left = [
        s
        for s in plan.settings
        if _left(plan, s, settings.get(s, {}), readings[s], reports, conduct.retry_failed)
    ]
    halted = ""
    if left:
        # Ray takes seconds to import and to reach, and is needed from here on alone.
        from sweeps.session import Session

        with Session(plan, store, conduct) as session:
            # Another driver may have gone on until a moment ago.
            settings, reports = session.ledger.read(plan.budget)
            halted = _carry_on(session, plan, left, settings, readings, reports)
    else:
        print("Nothing is left to train: every trial below was trained before.")
    status = _tell(plan, settings, readings, reports, out)
    if halted:
        print(f"Ended before its time: {halted}. The same command goes on from here.", file=sys.stderr)
    return 3 if halted else status


def _kept(plan: ComparisonPlan, setting: str, trials: list[TrialRecord], store: Store) -> Readings:
    """The readings of a setting that have been made before."""
    keys = [trial_key(trial.identity, trial.epochs) for trial in trials if trial.status == "finished"]
    keys += [key for name in plan.untrained for key in untrained_keys(plan, setting, name)]
    found = {key: kept(store, key) for key in keys}
    return {key: reading for key, reading in found.items() if reading is not None}


def _left(
    plan: ComparisonPlan,
    setting: str,
    trials: Trials,
    readings: Readings,
    reports: dict[str, Any],
    retry_failed: bool,
) -> bool:
    """Whether a setting has anything to train, to read or to put into MLflow."""
    ended = [trial for trial in trials.values() if trial.has_ended(retry_failed=retry_failed)]
    finished = [trial for trial in ended if trial.status == "finished"]
    untrained = len(plan.untrained) * len(plan.fold_numbers())
    return (
        len(ended) < len(plan.points())
        or len(readings) < len(finished) + untrained
        or reports.get(setting, {}).get("table") != _digest(trials, readings)
    )


def _digest(trials: Trials, readings: Readings) -> str:
    """Names what a setting's table is made of."""
    statuses = {trial.identity: trial.status for trial in trials.values()}
    made_of = json.dumps([sorted(readings), sorted(statuses.items())])
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _carry_on(
    session: Session,
    plan: ComparisonPlan,
    left: list[str],
    settings: dict[str, Trials],
    readings: dict[str, Readings],
    reports: dict[str, Any],
) -> str:
    """Bring everything to its end; why it ended before that, else an empty text."""
    from sweeps.progress import Progress
    from sweeps.stopping import BySetting
    from sweeps.wishes import ListWishes

    session.check(settings)
    # Folds and ablations differ in what they are asked: the best of their figures says nothing.
    progress = Progress(
        {setting: len(plan.points()) for setting in left},
        session.slots.count,
        show_best=False,
        sweep=plan.name,
        session=session.name,
        device=session.slots.capacity.device,
        usd_per_hour=session.conduct.budget.usd_per_hour,
    )
    wishes = []
    for setting in left:
        trials = settings.get(setting, {})
        done = [t.params for t in trials.values() if t.has_ended(retry_failed=session.conduct.retry_failed)]
        wishes.append(ListWishes(setting, "comparison", [p for p in plan.points() if p not in done]))
    if halted := session.run(wishes, BySetting({}), settings, progress):
        return halted
    session.slots.close()
    for setting in left:
        trials = settings.get(setting, {})
        readings[setting] = _read_test(session, plan, setting, list(trials.values()))
        reports[setting] = _record(session, plan, setting, trials, readings[setting])
    return ""


def _read_test(session: Session, plan: ComparisonPlan, setting: str, trials: list[TrialRecord]) -> Readings:
    """The test figures of every finished trial and untrained predictor; what was read before is not read again."""
    import ray

    from sweeps import readings as tasks
    from sweeps.errors import SweepError

    found = _kept(plan, setting, trials, session.store)
    task = session.slots.capacity.task
    device = session.slots.capacity.device
    running: dict[Any, list[str]] = {}  # a task -> the keys of what it reads
    for trial in trials:
        key = trial_key(trial.identity, trial.epochs)
        if trial.status == "finished" and key not in found:
            config = plan.config(setting, **trial.params).to_json()
            running[task(tasks.read_trial).remote(plan.data, config, trial.checkpoint, device)] = [key]
    keys = [untrained_keys(plan, setting, name) for name in plan.untrained]
    for params, *own in zip(fold_params(plan), *keys, strict=True):
        names = [name for name, key in zip(plan.untrained, own, strict=True) if key not in found]
        if names:
            config = plan.config(setting, **params).to_json()
            reference = task(tasks.read_untrained).remote(plan.data, config, names, device)
            running[reference] = [key for key in own if key not in found]
    total = len(running)
    while running:
        print(f"[{setting}] reading test: {total - len(running)}/{total} done", flush=True)
        (ready,), _ = ray.wait(list(running))
        try:
            result = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise SweepError(f"{setting}: test could not be read: {error.cause}") from None
        for key, reading in zip(running.pop(ready), result, strict=True):
            found[key] = keep(session.store, key, reading)
    return found


def _record(
    session: Session, plan: ComparisonPlan, setting: str, trials: Trials, readings: Readings
) -> dict[str, Any]:
    """Put a setting's table into MLflow, and into the ledger that it is there."""
    comparison = compare(plan, setting, list(trials.values()), readings)
    figures = {
        f"test_{metric}/{row.name.replace(' ', '_')}": interval.estimate
        for row in comparison.rows
        for metric, interval in row.figures.items()
    }
    session.tracking.artefacts(setting, files(comparison, list(trials.values()), readings))
    tags = {"latentact.kind": plan.kind, "hand": comparison.hand}
    session.tracking.summarised(setting, figures, tags)
    report = {
        "summary": {"metrics": figures, "tags": tags},
        "table": _digest(trials, readings),
        "mlflow": session.tracking.address(setting),
    }
    session.ledger.published(setting, report)
    return report


def _tell(
    plan: ComparisonPlan,
    settings: dict[str, Trials],
    readings: dict[str, Readings],
    reports: dict[str, Any],
    out: Path | None,
) -> int:
    """Print the tables, then the same as Markdown; returns the exit status."""
    status, texts = 0, []
    for setting in plan.settings:
        trials = list(settings.get(setting, {}).values())
        comparison = compare(plan, setting, trials, readings[setting])
        print_comparison(comparison)
        if address := reports.get(setting, {}).get("mlflow"):
            print(f"MLflow: {address}")
        texts.append(markdown(comparison))
        if out is not None:
            folder = out / setting.replace(":", "-").replace("/", "-of-")
            for path, text in files(comparison, trials, readings[setting]).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        for trial in trials:
            if trial.status == "failed":
                print(f"Failed: {setting} {trial.params}: {trial.reason}", file=sys.stderr)
                status = 1
    print("\n" + "\n".join(texts), end="", flush=True)
    if status:
        print("The command with `--retry failed` tries the failed trials again.", file=sys.stderr)
    return status
