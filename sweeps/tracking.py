"""What researchers look at in MLflow while a sweep runs: a parent run a setting, a child run a trial.

MLflow is a view. It may be slow or down at any moment without holding up or ending a sweep: what is to be shown is put
down here, and a thread (sweeps/mlflow_writer.py) writes it, all that has gathered in one request a run. While MLflow is
away, what running trials report waits here; what has ended is read from the ledger when MLflow is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sweeps.ledger import Ledger
from sweeps.mlflow_entries import Heading
from sweeps.mlflow_runs import SweepRuns
from sweeps.mlflow_shown import Question, Shown, ShownSetting, ShownTrial
from sweeps.mlflow_writer import Writer, say
from sweeps.plan import Plan
from sweeps.redacted import redacted
from sweeps.trial_record import TrialRecord
from zoo.store import Store

_WAIT_S = 20.0


class Tracking:
    """Shows one sweep in the MLflow server at `uri` (None: nowhere), under `latentact-<data>`.

    `store` holds the sweep's ledger, from which what MLflow has missed is put right; without one that stays missing. No
    method raises what MLflow does, and none waits for it longer than it says.
    """

    def __init__(
        self, uri: str | None, plan: Plan, tags: Mapping[str, str], store: Store | None = None
    ) -> None:
        self.uri = uri
        self._name = plan.name
        self._shown = Shown()
        self._writer = None
        if uri is not None:
            heading = Heading.of(plan.name, plan.record(), plan.data, tags)
            ledger = Ledger(store, plan.name) if store is not None else None
            self._writer = Writer(lambda: SweepRuns(uri, heading), self._shown, plan, ledger)
            self._writer.start()

    def setting(self, setting: str, ended: Iterable[TrialRecord] = ()) -> None:
        """Open or find the parent run of one setting; what MLflow lacks of trials that `ended` before is put right."""
        if self.uri is not None:
            with self._shown.change() as shown:
                shown.settings.setdefault(setting, ShownSetting())
                shown.owed |= {trial.identity: trial for trial in ended}

    def started(self, trial: TrialRecord, config: dict[str, Any]) -> None:
        """Open or find a trial's run and write down its configuration (a TrialConfig's JSON)."""
        if self.uri is not None:
            with self._shown.change() as shown:
                known = shown.trials.get(trial.identity)
                record, told = replace(trial), known.told if known else []
                shown.trials[trial.identity] = ShownTrial(record, config, told, known.written if known else 0)

    def reported(self, identity: str, entry: Mapping[str, Any]) -> None:
        """An epoch, as an entry of a TrialRecord's history; what has no time was not trained here, and `ended` knows it."""
        if self.uri is not None and "at_s" in entry:
            with self._shown.change() as shown:
                if identity in shown.trials:
                    shown.trials[identity].told.append(dict(entry))

    def ended(self, trial: TrialRecord) -> None:
        """Close a trial's run with what became of it, which the ledger knows already."""
        if self.uri is not None:
            with self._shown.change() as shown:
                if trial.status != "unfinished":
                    shown.ended[trial.identity] = trial
                if known := shown.trials.get(trial.identity):
                    # An epoch that was trained twice counts as it was the second time.
                    told = {(entry["stage"], entry["epoch"]): entry for entry in trial.history or known.told}
                    history = list(told.values())
                    known.ended = replace(trial, metrics=dict(trial.metrics), history=history)
                else:
                    shown.owed[trial.identity] = trial

    def summarised(self, setting: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Close a setting's parent run with its best trial's figures and the name it was published under."""
        if self.uri is not None:
            with self._shown.change() as shown:
                known = shown.settings.setdefault(setting, ShownSetting())
                known.summary, known.is_summarised = (dict(metrics), dict(tags)), False

    def artefacts(self, setting: str, files: Mapping[str, str]) -> None:
        """Texts to lie beside a setting's parent run, by path."""
        if self.uri is not None:
            with self._shown.change() as shown:
                known = shown.settings.setdefault(setting, ShownSetting())
                known.files |= files
                known.unwritten |= files.keys()

    def run_id(self, key: str) -> str | None:
        """The run of a trial (or a setting) of this sweep, also one written before; None without MLflow. Waits for 20 s."""
        return self._ask(lambda runs: runs.run_id(key))

    def address(self, setting: str) -> str | None:
        """The web page of a setting's parent run, once everything before has been written; waits for 20 s at most."""
        found = self._ask(lambda runs: (run := runs.run_id(setting)) and runs.address(run))
        return found or (redacted(self.uri) if self.uri is not None else None)

    def close(self) -> None:
        """Write what is left, for 20 s at most, and say so if that was not enough."""
        if self._writer is None:
            return
        with self._shown.change() as shown:
            shown.is_closing = True
        self._writer.join(_WAIT_S)
        if self._writer.is_alive() or self._shown.failures or self._shown.owed or self._shown.refused:
            say(
                f"MLflow at {redacted(str(self.uri))} lacks a part of {self._name}, the ledger does not: "
                f"`python -m sweeps.ledger rebuild {self._name}` puts it right."
            )

    def _ask(self, question: Callable[[SweepRuns], str | None]) -> str | None:
        """The answer, once everything before has been written; None where MLflow does not give it in time."""
        if self.uri is None:
            return None
        asked = Question(question)
        with self._shown.change() as shown:
            shown.questions.append(asked)
        self._shown.wait_for(lambda: asked.is_answered or self._shown.is_lost, _WAIT_S)
        with self._shown.lock:
            if asked in self._shown.questions:
                self._shown.questions.remove(asked)
        return asked.answer
