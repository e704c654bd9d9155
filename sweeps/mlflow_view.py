"""A sweep in MLflow made again from the ledger alone: what was deleted there, or never arrived.

    python -m sweeps.ledger rebuild                           every sweep of the store
    python -m sweeps.ledger rebuild NAME --optuna sqlite:///study.db

Runs that are whole are left as they are, so that a second time adds nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from sweeps.mlflow_client import is_refusal
from sweeps.mlflow_entries import Heading, summary
from sweeps.mlflow_files import write_files
from sweeps.mlflow_runs import SweepRuns
from sweeps.recorded_plan import plan_of, recorded_config
from sweeps.redacted import redacted
from sweeps.status import require
from sweeps.trial_record import TrialRecord
from zoo import settings as zoo_settings
from zoo.errors import ZooError
from zoo.store import Store, open_store

# Histories are large: so many are in memory at once.
_AT_ONCE = 50

Log = Callable[[str], None]


@dataclass(frozen=True)
class Rebuilt:
    """How many runs of trials were made or completed, and how many had nothing missing; files of parent runs."""

    written: int
    whole: int
    files: int

    def __str__(self) -> str:
        return f"{self.written} runs of trials written, {self.whole} were whole, {self.files} files"


def write_trials(
    runs: SweepRuns,
    ledger: Ledger,
    trials: Sequence[TrialRecord],
    config: Callable[[TrialRecord], dict[str, Any]],
    refused: Callable[[str, Exception], None],
) -> int:
    """Make or complete the runs of trials, as far as they lack something since `runs.index()`; returns how many.

    `config` gives a trial's configuration; `refused` is told of a trial that MLflow does not take, which ends nothing.
    The records' histories are read here and let go.
    """
    left = [trial for trial in trials if not runs.is_whole(trial)]
    for first in range(0, len(left), _AT_ONCE):
        some = left[first : first + _AT_ONCE]
        ledger.read_histories(some)
        for trial in some:
            try:
                runs.open_trial(trial, config(trial))
                runs.end_trial(trial)
            except Exception as error:
                if not is_refusal(error):
                    raise
                refused(trial.identity, error)
            trial.history = []
    return len(left)


def rebuild(store: Store, name: str, uri: str, *, log: Log = print) -> Rebuilt:
    """Everything of a sweep in MLflow at `uri`: experiment, runs, figures of every epoch, states, summaries, reports.

    What an unfinished trial has done so far is not in the ledger: its run is there, without figures. Raises SweepError
    where there is no such sweep, ZooError where the store fails, and what MLflow raises.
    """
    ledger, record = Ledger(store, name), require(store, name)
    plan = plan_of(name, record)
    settings, reports = ledger.read(plan.budget)
    places = [note["data"] for note in ledger.notes() if note["kind"] == "session" and note.get("data")]
    tags = {"latentact.code": record["code"]} if "code" in record else {}
    runs = SweepRuns(uri, Heading.of(name, record, places[-1] if places else "", tags))
    runs.connect()
    runs.index()

    def config(trial: TrialRecord) -> dict[str, Any]:
        return recorded_config(plan, record, trial.setting, trial.params)

    def refused(identity: str, error: Exception) -> None:
        log(f"{name}: MLflow refuses trial {identity}: {redacted(str(error))[:300]}")

    written = whole = 0
    for setting in [s for s in plan.settings if s in settings]:
        trials = settings[setting]
        began_s = min((t.began_s for t in trials.values() if t.began_s), default=0.0)
        state = runs.open_setting(setting, began_s=began_s)
        made = write_trials(runs, ledger, list(trials.values()), config, refused)
        written, whole = written + made, whole + len(trials) - made
        if (report := reports.get(setting)) is not None:
            runs.summarise(setting, *summary(trials, report))
            ended_s = max((t.ended_s for t in trials.values()), default=0.0)
            runs.end_setting(setting, ended_s=ended_s)
        elif not state:  # one that is there may be shown as running, for all that is known here
            runs.show_state(setting, "SCHEDULED")
        log(f"{name} [{setting}]: {made} of {len(trials)} runs written")
    concluded = {s: settings[s] for s in plan.settings if s in settings.keys() & reports.keys()}
    models = {s: str(reports[s]["model"]) for s in concluded if reports[s].get("model")}
    return Rebuilt(written, whole, write_files(runs, plan, ledger, concluded, models))


def rebuild_all(store: Store, names: Sequence[str], uri: str, *, log: Log = print) -> int:
    """`rebuild` of the named sweeps, of all there are where none is named; returns how many could not be made."""
    failed = 0
    for name in names or Ledger.names(store):
        try:
            log(f"{name}: {rebuild(store, name, uri, log=log)}")
        except (SweepError, ZooError) as error:
            log(f"{name}: not made again: {redacted(str(error))}")
            failed += 1
    return failed


@click.group()
def main() -> None:
    """The ledger and its views."""


@main.command(name="rebuild")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--mlflow", "uri", help="Address of the MLflow server.  [default: $MLFLOW_TRACKING_URI]")
@click.option("--optuna", "storage", help="Make Optuna's studies too, in this storage: sqlite:///study.db")
def rebuild_command(names: tuple[str, ...], uri: str | None, storage: str | None) -> None:
    """Make MLflow's runs of sweeps (all, if none is named) again from the ledger; what is there is left as it is."""
    os.environ.update(zoo_settings.environment())
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri and not storage:
        raise click.ClickException("No MLflow is known: give --mlflow, or set MLFLOW_TRACKING_URI.")
    from mlflow.exceptions import MlflowException

    try:
        store = open_store()
        failed = rebuild_all(store, names, uri) if uri else 0
        if storage:
            from sweeps import study_view

            failed += study_view.rebuild_all(store, names, storage)
    except (SweepError, ZooError) as error:
        raise click.ClickException(redacted(str(error))) from None
    except MlflowException as error:
        raise click.ClickException(f"MLflow at {redacted(str(uri))}: {redacted(str(error))[:300]}") from None
    sys.exit(1 if failed else 0)
