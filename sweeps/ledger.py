"""The append-only truth about trials: one object an event, named by its content, never rewritten.

    ledger/sweeps/<name>/plan.json              what the name stands for, written once
    ledger/sweeps/<name>/events/, segments/     started (one an attempt), finished, stopped, failed, swept, published,
                                                notes; see `sweeps.ledger_pages`
    ledger/sweeps/<name>/stop.json              there while the sweep is asked to stop
    ledger/trials/<identity>/<sha256>.json      finished, stopped, failed, with every epoch; swept

What a trial came to lies under its identity, so that any sweep finds it, and then also among the sweep's own events,
so that a sweep is read without a look under each of its trials. MLflow and Optuna's study are views of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from sweeps.errors import SweepError
from sweeps.ledger_pages import READERS, Event, Pages, add_event, read_folder, written_s
from sweeps.patience import PATIENCE_S, PatientStore
from sweeps.trial_record import TrialRecord, numbers, rounded, take_over, to_ending
from zoo.errors import Conflict, ObjectMissing, StoreError
from zoo.store import Store, read_json, to_json

__all__ = ["Ledger", "TrialRecord", "numbers"]

_ENDINGS = ("finished", "stopped", "failed")


class Ledger:
    """The events of one sweep, and of every trial that it shares with others. Safe to be used by several threads.

    `session` is the unique name of the driver that writes; without one the ledger is there to be read. A session
    waits `patience_s` for a store that is down before it gives up.
    """

    def __init__(
        self, store: Store, sweep: str, session: str = "", *, patience_s: float = PATIENCE_S
    ) -> None:
        self.store = store
        self.sweep = sweep
        self._home = f"ledger/sweeps/{sweep}"
        self._session = session
        self._patient = PatientStore(store, patience_s if session else 0.0)
        self._pages = Pages(self._patient, self._home, session)

    @staticmethod
    def names(store: Store) -> list[str]:
        """The names of all sweeps and comparisons that the store knows."""
        top = "ledger/sweeps/"
        keys = store.list(top, deep=False)
        return [key.removeprefix(top).rstrip("/") for key in keys if key.endswith("/")]

    def plan(self, record: dict[str, Any]) -> None:
        """Claim the sweep's name for these settings, or find it claimed for the same.

        Raises SweepError when the name stands for others, and says in what they differ.
        """
        # Here, so that what only reads a ledger need not import how a trial is configured.
        from sweeps.plan import describe_difference

        key = f"{self._home}/plan.json"
        try:
            self._patient.put_if(key, to_json(record), None)
        except Conflict:
            differences = describe_difference(read_json(self._patient, key), record)
            raise SweepError(
                f"A sweep named {self.sweep} exists with other settings: {'; '.join(differences)}. "
                "Give this one another --name, or repeat the command it was planned with."
            ) from None

    def plan_record(self) -> dict[str, Any] | None:
        """What the sweep's name stands for; None where it stands for nothing."""
        try:
            return read_json(self._patient, f"{self._home}/plan.json")
        except ObjectMissing:
            return None

    def started(self, identity: str, setting: str, phase: str, params: dict[str, Any], attempt: int) -> None:
        """From now on this trial belongs to the sweep; written before its training can begin."""
        self._pages.add(
            {
                "event": "started",
                "identity": identity,
                "setting": setting,
                "phase": phase,
                "params": params,
                "attempt": attempt,
            }
        )

    def ended(self, trial: TrialRecord) -> None:
        """What an attempt came to: `trial.status` is finished, stopped or failed.

        Only the event under the trial's identity has the history, so that the sweep stays small.
        """
        ending = to_ending(trial, self.sweep)
        history = [rounded(entry) for entry in trial.history]
        add_event(self._patient, _folder(trial.identity), {**ending, "history": history})
        self._pages.add(ending)

    def swept(self, identity: str, what: Literal["resume", "all"]) -> None:
        """A trial's checkpoints were removed: those to resume from, or all of them."""
        event = {"event": "swept", "identity": identity, "what": what, "sweep": self.sweep}
        add_event(self._patient, _folder(identity), event)
        if self._session:
            self._pages.add(event)

    def published(self, setting: str, report: dict[str, Any]) -> None:
        """The setting's trials were assessed, and a sweep's best offered to the zoo; `report` says with what result."""
        self._pages.add({"event": "published", "setting": setting, "report": report})

    def note(self, kind: str, **facts: Any) -> None:
        """Facts (JSON) about the sweep itself: "session" where and at what price it runs, "stop" why it ended."""
        self._pages.add({"event": "note", "kind": kind, "session": self._session, "facts": facts})

    def notes(self) -> list[dict[str, Any]]:
        """What was noted, oldest first: the facts, and `kind`, `session` (who wrote it) and `at_s` (Unix time)."""
        return [
            {**e["facts"], "kind": e["kind"], "session": e["session"], "at_s": written_s(e)}
            for e in self._pages.read()
            if e["event"] == "note"
        ]

    def read(
        self, budget: Callable[[str, dict[str, Any]], int]
    ) -> tuple[dict[str, dict[str, TrialRecord]], dict[str, dict[str, Any]]]:
        """Fold the events: trials by setting and identity in order of their start, and reports by setting.

        A trial counts as finished when any sweep trained it for `budget(setting, params)` epochs or longer; a stop or
        a failure counts for the sweep that made it alone, and a failure only until the trial is started again. What
        the sweep's own events do not show as finished or stopped is looked up under the trial's identity.
        """
        settings: dict[str, dict[str, TrialRecord]] = {}
        reports: dict[str, dict[str, Any]] = {}
        of_trial: dict[str, list[Event]] = {}
        for event in self._pages.read():
            if event["event"] == "published":
                reports[event["setting"]] = event["report"]
            elif event["event"] == "started":
                # One string for all trials, where thousands are kept.
                setting, phase = sys.intern(event["setting"]), sys.intern(event["phase"])
                identity = event["identity"]
                fresh = TrialRecord(identity, setting, phase, event["params"])
                trial = settings.setdefault(setting, {}).setdefault(identity, fresh)
                trial.attempts = max(trial.attempts, event["attempt"])
            elif "identity" in event:
                of_trial.setdefault(event["identity"], []).append(event)
        unsettled: list[TrialRecord] = []
        for trial in (trial for trials in settings.values() for trial in trials.values()):
            self._fold(trial, of_trial.pop(trial.identity, []), budget(trial.setting, trial.params))
            if trial.status in ("unfinished", "failed"):
                unsettled.append(trial)
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda trial: self.settle(trial, budget(trial.setting, trial.params)), unsettled))
        return settings, reports

    def settle(self, trial: TrialRecord, epochs: int) -> None:
        """Bring one record up to date with the events under its identity.

        What they add to the sweep's own events, because another sweep trained it or this one was killed between its
        two writes, is written among these too, if this ledger writes.
        """
        before = trial.status
        ending = self._fold(trial, read_folder(self._patient, _folder(trial.identity)), epochs)
        if ending is not None and trial.status != before and self._session:
            own = {key: value for key, value in ending.items() if key not in ("history", "at")}
            self._pages.add({**own, "checkpoint": trial.checkpoint})

    def read_histories(self, trials: Iterable[TrialRecord]) -> None:
        """Fill in `history`: every epoch of the attempts that led to what each record says."""
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._read_history, trials))

    def compact(self) -> None:
        """Close the pages that nobody adds to any more, so that the sweep is read faster; at a sweep's end."""
        self._pages.compact()

    def ask_stop(self) -> None:
        """Ask the sweep's driver, wherever it runs, to end it cleanly. Raises SweepError where there is no such sweep."""
        if self.plan_record() is None:
            raise SweepError(
                f"There is no sweep named {self.sweep}; the store's are {', '.join(self.names(self.store))}."
            )
        self._patient.put(f"{self._home}/stop.json", b"{}")

    def stop_asked(self) -> bool:
        try:
            self.store.get(f"{self._home}/stop.json").read()
        except StoreError:
            # Not asked, as far as can be seen: a store that is down is no reason to stop training.
            return False
        return True

    def clear_stop(self) -> None:
        self._patient.delete(f"{self._home}/stop.json")

    def _fold(self, trial: TrialRecord, events: list[Event], epochs: int) -> Event | None:
        """Take over the event (of those of this trial, oldest first) that says what it came to, which is returned."""
        endings = [e for e in events if e["event"] in _ENDINGS]
        finished = [e for e in endings if e["event"] == "finished" and e["epochs"] >= epochs]
        own = [e for e in endings if e["sweep"] == self.sweep]
        stopped = [e for e in own if e["event"] == "stopped"]
        failed = [e for e in own if e["event"] == "failed" and e["attempt"] >= trial.attempts]
        ending = next(iter(finished[:1] or stopped[:1] or failed[-1:]), None)
        if ending is not None:
            take_over(trial, ending)
            if any(e["event"] == "swept" and e["what"] == "all" and e["at"] > ending["at"] for e in events):
                trial.checkpoint = ""
        return ending

    def _read_history(self, trial: TrialRecord) -> None:
        endings = [e for e in read_folder(self._patient, _folder(trial.identity)) if e["event"] in _ENDINGS]
        told = [
            e["at"]
            for e in endings
            if (e["event"], e["sweep"], e["epochs"]) == (trial.status, trial.sweep, trial.epochs)
        ]
        # An attempt that took up a checkpoint may tell its own epochs alone, and one that trained an epoch again is
        # to be believed.
        until = max(told, default="9999")
        epochs: dict[tuple[Any, Any], dict[str, Any]] = {}
        for ending in endings:
            if ending["at"] <= until:
                epochs |= {(e.get("stage"), e.get("epoch")): e for e in ending.get("history", ())}
        trial.history = list(epochs.values())


def _folder(identity: str) -> str:
    return f"ledger/trials/{identity}"


if __name__ == "__main__":
    # python -m sweeps.ledger rebuild: the views of the ledger made again
    from sweeps.mlflow_view import main

    main()
