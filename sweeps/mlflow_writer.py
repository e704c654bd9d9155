"""The thread that brings MLflow to what a sweep wants to be shown, and tries again where that failed.

Nothing is sent and forgotten: what is to be shown stays down in `Shown` until MLflow has taken it. So a failure at any
point costs nothing but another look at what is already there. Trials that end while MLflow is away leave memory, and are
read from the ledger later.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from sweeps.ledger import Ledger
from sweeps.mlflow_client import is_refusal
from sweeps.mlflow_runs import SweepRuns
from sweeps.mlflow_shown import Shown
from sweeps.mlflow_view import write_trials
from sweeps.plan import Plan
from sweeps.redacted import redacted
from sweeps.trial_record import TrialRecord
from zoo.errors import ZooError

# What is reported meanwhile goes in one request a run; longer waits make fewer requests and later pictures.
_GATHER_S = 1.0
# Before MLflow is tried again, from the first failure on. One failure alone is not worth a word.
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class Writer(threading.Thread):
    """`runs` makes a connection; `ledger` is the sweep's, which only this thread reads."""

    def __init__(
        self, runs: Callable[[], SweepRuns], shown: Shown, plan: Plan, ledger: Ledger | None
    ) -> None:
        super().__init__(name="mlflow", daemon=True)
        self._connect, self._shown, self._plan, self._ledger = runs, shown, plan, ledger
        self._runs: SweepRuns | None = None
        self._where = ""

    def run(self) -> None:
        shown = self._shown
        while True:
            if shown.failures:
                pause_s = _PAUSES_S[min(shown.failures, len(_PAUSES_S)) - 1]
                shown.wait_for(lambda: shown.is_closing, pause_s)
            else:
                shown.wait_for(lambda: shown.is_closing or shown.changes > shown.written)
                shown.wait_for(lambda: shown.is_closing or bool(shown.questions), _GATHER_S)
            with shown.lock:
                changes, is_last = shown.changes, shown.is_closing
            try:
                self._write(is_last=is_last)
            except Exception as error:  # noqa: BLE001 any failure of a view must leave the sweep alone
                self._failed(error)
            else:
                self._succeeded(changes)
            # What fails once may be mended by a fresh look.
            if is_last and shown.failures != 1:
                return

    def _write(self, *, is_last: bool) -> None:
        """Everything that is not written yet."""
        if self._runs is None:
            runs = self._connect()
            self._where = redacted(runs.uri)
            runs.connect()
            self._runs = runs
        runs, shown = self._runs, self._shown
        self._put_right()
        with shown.lock:
            settings, trials, questions = list(shown.settings), list(shown.trials), list(shown.questions)
        for setting in settings:
            if runs.open_setting(setting) not in ("", "RUNNING"):
                runs.show_state(setting, "RUNNING")
        for identity in trials:
            try:
                self._write_trial(runs, identity)
            except Exception as error:
                # What is refused again, after a fresh look at what MLflow has, the others need not wait for.
                if not shown.failures or not is_refusal(error):
                    raise
                self._refused(identity, error)
        for setting in settings:
            self._summarise(runs, setting, is_last=is_last)
        for question in questions:
            answer = question.ask(runs)
            with shown.change():
                question.answer, question.is_answered = answer, True
                # Who asked may have gone.
                shown.questions = [left for left in shown.questions if left is not question]
        # Last, as a server may take figures and have no place for files.
        for setting in settings:
            self._write_files(runs, setting)
        if is_last:
            for identity in trials:
                if identity in shown.trials:
                    runs.show_state(identity, "SCHEDULED")

    def _write_trial(self, runs: SweepRuns, identity: str) -> None:
        shown = self._shown
        with shown.lock:
            trial = shown.trials[identity]
            new, ended = trial.told[trial.written :], trial.ended
        if runs.open_trial(trial.record, trial.config) not in ("", "RUNNING"):
            runs.show_state(identity, "RUNNING")
        if new:
            runs.log_epochs(identity, new)
            trial.written += len(new)
        if ended is None:
            return
        if not ended.history and ended.status != "unfinished" and self._ledger is not None:
            try:
                self._ledger.read_histories([ended])
                runs.end_trial(ended)
            except ZooError:
                with shown.lock:
                    shown.owed[identity] = ended
        else:
            runs.end_trial(ended)
        with shown.lock:
            if shown.trials.get(identity) is trial:
                del shown.trials[identity]

    def _summarise(self, runs: SweepRuns, setting: str, *, is_last: bool) -> None:
        with self._shown.lock:
            known = self._shown.settings[setting]
            summary, is_written = known.summary, known.is_summarised
        if summary is not None and not is_written:
            runs.summarise(setting, *summary)
            runs.end_setting(setting)
            with self._shown.lock:
                known.is_summarised = known.summary is summary
        if is_last and summary is None:
            runs.show_state(setting, "SCHEDULED")

    def _write_files(self, runs: SweepRuns, setting: str) -> None:
        with self._shown.lock:
            known = self._shown.settings[setting]
            files = {path: known.files[path] for path in known.unwritten}
        for path, text in files.items():
            runs.log_files(setting, {path: text})
            with self._shown.lock:
                if known.files[path] is text:
                    known.unwritten.discard(path)

    def _put_right(self) -> None:
        """Complete from the ledger what trials that have ended are owed."""
        shown = self._shown
        with shown.lock:
            owed = dict(shown.owed)
        if not owed or self._ledger is None:
            return
        # With a look at all runs of its own, which does not hold for what is written afterwards.
        runs = self._connect()
        runs.connect()
        runs.index()
        missing = {identity for identity, trial in owed.items() if not runs.is_whole(trial)}
        try:
            settings, _ = self._ledger.read(self._plan.budget) if missing else ({}, {})
            trials = [t for trials in settings.values() for t in trials.values() if t.identity in missing]
            trials = [t for t in trials if t.status != "unfinished"]
            write_trials(runs, self._ledger, trials, self._config, self._refused)
        except ZooError:
            return  # the store's turn to be away; what is owed stays owed
        with shown.lock:
            for identity, trial in owed.items():
                if shown.owed.get(identity) is trial:
                    del shown.owed[identity]

    def _config(self, trial: TrialRecord) -> dict[str, Any]:
        return self._plan.config(trial.setting, **trial.params).to_json()

    def _refused(self, identity: str, error: Exception) -> None:
        """MLflow answers, and does not take what one trial has: the others need not wait for it."""
        shown = self._shown
        with shown.lock:
            shown.trials.pop(identity, None)
            shown.refused += 1
            is_first = shown.refused == 1
        if is_first:
            say(f"Warning: MLflow at {self._where} refuses trial {identity} ({_reason(error)}).")

    def _failed(self, error: Exception) -> None:
        """Nothing is taken for granted any more: all that this sweep has written is looked at again."""
        self._runs = None
        shown = self._shown
        with shown.change():
            shown.failures += 1
            failures = shown.failures
            if self._ledger is not None:
                shown.owed |= shown.ended
                # What has ended need not be kept here.
                shown.trials = {i: t for i, t in shown.trials.items() if i not in shown.ended or not t.ended}
            for trial in shown.trials.values():
                trial.written = 0
            for setting in shown.settings.values():
                setting.is_summarised, setting.unwritten = False, set(setting.files)
        if failures == 2:
            say(
                f"Warning: MLflow at {self._where} does not take records ({_reason(error)}). "
                "The sweep goes on; its ledger is complete."
            )

    def _succeeded(self, changes: int) -> None:
        shown = self._shown
        with shown.lock:
            was_lost, shown.failures, shown.written = shown.is_lost, 0, changes
        if was_lost:
            say(f"MLflow at {self._where} is back, and has what it missed.")


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    return redacted((str(error).splitlines() or [type(error).__name__])[0][:300])
