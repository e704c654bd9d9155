"""Which trial starts next, over all settings of a plan: what Tune asks whenever it could start one.

A trial starts on a free slot when nobody else trains it, and when the codebook and the indexer that it stands on are
on their shelves or nobody trains them: then this trial does, under a claim, and those that need the same wait meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray.tune.search import Searcher

from sweeps.claims import Claims
from sweeps.ledger import TrialRecord
from sweeps.slots import Slots
from sweeps.wishes import Candidate, SearchWishes, Wishes
from trainables.trial_config import ConfigError

# How often somebody else's claim is looked at again.
_LOOK_EVERY_S = 1.0
# How long at a time a setting looks for trials that can start: reports wait meanwhile.
_SEARCH_S = 0.2


@dataclass(eq=False)
class Started:
    """A candidate that has become a trial: `claims` are those that it holds, (kind, identity)."""

    candidate: Candidate
    record: TrialRecord
    slot: str = ""
    claims: list[tuple[str, str]] = field(default_factory=list)
    # Identities of those that can be shared, once they have been asked for.
    stages: dict[str, str] | None = None
    looked_s: float = 0.0


class SweepSearch(Searcher):
    """Gives the settings' wishes to Tune, fewest running first.

    Args:
        announce: writes a candidate to the ledger; its record, finished where it was trained before.
        settle: looks in the ledger again whether a trial has been finished.
        job: (started) -> what the workers and Tune are given, without the slot.
        stages: (candidate) -> identity of each stage that can be shared.
        shelved: (stage, identity) -> whether it lies on its shelf.
        halted: whether nothing new is to start.
        waiting: told now and then why nothing starts.
    """

    def __init__(
        self,
        wishes: Sequence[Wishes],
        slots: Slots,
        claims: Claims,
        *,
        announce: Callable[[Candidate], TrialRecord],
        settle: Callable[[TrialRecord], None],
        job: Callable[[Started], dict[str, Any]],
        stages: Callable[[Candidate], dict[str, str]],
        shelved: Callable[[str, str], bool],
        halted: Callable[[], bool],
        waiting: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._wishes = {w.setting: w for w in wishes}
        self._slots, self._claims = slots, claims
        self._announce, self._settle, self._job = announce, settle, job
        self._stages, self._shelved = stages, shelved
        self._halted, self._waiting = halted, waiting
        self._running: dict[str, Started] = {}  # by identity
        self._deferred: list[Started] = []
        self._own: set[tuple[str, str]] = set()  # stages that trials of this driver train
        self._in_vain_s: dict[str, float] = {}  # when a setting has found nothing that could start

    def suggest(self, trial_id: str) -> Any:
        if self._halted() or self._finished():
            return Searcher.FINISHED
        slot = self._slots.take()
        if slot is None:
            return None
        counts = {setting: 0 for setting in self._wishes}
        for running in self._running.values():
            counts[running.candidate.setting] += 1
        for setting in sorted(counts, key=lambda s: counts[s]):
            started = self._startable(setting)
            if started is not None:
                started.slot = slot
                self._running[started.record.identity] = started
                return {**self._job(started), "slot": slot}
        self._slots.give_back(slot)
        if self._finished():
            return Searcher.FINISHED
        if not self._running:
            others = sorted({d.record.reason for d in self._deferred if d.record.reason})
            self._waiting("; ".join(others) or "nothing can start yet")
        return None

    def reported(self, identity: str, result: dict[str, Any]) -> None:
        """A running trial's figures: a stage that lies behind it is there for the others."""
        started = self._running[identity]
        stage = result.get("figures", {}).get("stage")
        if stage in ("indexer", "predictor"):
            self._release(started, ["codebook"] + (["indexer"] if stage == "predictor" else []))
        wishes = self._wishes[started.candidate.setting]
        if isinstance(wishes, SearchWishes) and "best" in result:
            wishes.reported(started.candidate, result)

    def ended(self, record: TrialRecord, *, again: Candidate | None = None) -> None:
        """A trial is over; `again` takes its place, with the same wish."""
        started = self._running.pop(record.identity)
        self._slots.give_back(started.slot)
        self._release(started, [kind for kind, _ in started.claims])
        if again is not None:
            again = replace(again, token=started.candidate.token)
            self._deferred.append(Started(again, self._announce(again)))
        elif record.status != "unfinished":
            self._wishes[started.candidate.setting].ended(started.candidate, record)

    def _finished(self) -> bool:
        return not self._running and not self._deferred and all(w.done for w in self._wishes.values())

    def _startable(self, setting: str) -> Started | None:
        """A trial of the setting that may start now."""
        return self._deferred_startable(setting) or self._new_startable(setting)

    def _deferred_startable(self, setting: str) -> Started | None:
        """One that has waited, and need not any more."""
        for deferred in self._deferred_of(setting):
            if time.monotonic() - deferred.looked_s >= _LOOK_EVERY_S and self._claimed(deferred):
                self._deferred.remove(deferred)
                if not self._settled(deferred):
                    return deferred
        return None

    def _new_startable(self, setting: str) -> Started | None:
        """The next wish that need not wait; those that must are deferred."""
        begun_s = time.monotonic()
        if begun_s - self._in_vain_s.get(setting, -math.inf) < _LOOK_EVERY_S:
            return None
        # Hardly more than can start: what waits here has been taken out of the search.
        most = self._slots.count // len(self._wishes)
        while len(self._deferred_of(setting)) <= most:
            candidate = self._wishes[setting].next()
            if candidate is None:
                return None
            started = self._announced(candidate)
            if started is None or self._settled(started):
                continue
            if self._claimed(started):
                if not self._settled(started):
                    return started
                continue
            self._deferred.append(started)
            if time.monotonic() - begun_s >= _SEARCH_S:
                self._in_vain_s[setting] = time.monotonic()
                return None
        return None

    def _announced(self, candidate: Candidate) -> Started | None:
        """The candidate in the ledger; None where its fields cannot go together, which the search is told."""
        try:
            return Started(candidate, self._announce(candidate))
        except ConfigError as error:
            failed = TrialRecord("", candidate.setting, candidate.phase, candidate.params)
            failed.status, failed.reason = "failed", str(error)
            self._wishes[candidate.setting].ended(candidate, failed)
            return None

    def _deferred_of(self, setting: str) -> list[Started]:
        return [deferred for deferred in self._deferred if deferred.candidate.setting == setting]

    def _settled(self, started: Started) -> bool:
        """Whether the trial has been finished elsewhere, and needs no slot."""
        if started.record.status != "finished":
            return False
        self._release(started, [kind for kind, _ in started.claims])
        self._wishes[started.candidate.setting].ended(started.candidate, started.record)
        return True

    def _claimed(self, started: Started) -> bool:
        """Try to get hold of the trial and of every stage it would have to train first."""
        started.looked_s = time.monotonic()
        record = started.record
        if ("trial", record.identity) not in started.claims:
            holder = self._claims.take("trial", record.identity)
            if holder is not None:
                record.reason = f"{holder} trains {record.identity}"
                return False
            started.claims.append(("trial", record.identity))
            # It may have been finished between the last look and the claim.
            self._settle(record)
            if record.status == "finished":
                return True
        if started.stages is None:
            started.stages = self._stages(started.candidate)
        for stage, identity in started.stages.items():
            key = (stage, identity)
            if key in started.claims:
                continue
            # Hundreds may wait for one that is trained here, and none of them needs the store to know it.
            holder = "a trial of this sweep" if key in self._own else None
            if holder is None:
                if self._shelved(stage, identity):
                    continue
                holder = self._claims.take(*key)
            if holder is not None:
                record.reason = f"{holder} trains {stage} {identity}"
                return False
            self._own.add(key)
            started.claims.append(key)
        record.reason = ""
        return True

    def _release(self, started: Started, kinds: list[str]) -> None:
        for key in [key for key in started.claims if key[0] in kinds]:
            started.claims.remove(key)
            self._own.discard(key)
            self._claims.release(*key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the recorder says what became of a trial."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds all that a later sweep needs to go on."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, and connections cannot be pickled.
        return {}
