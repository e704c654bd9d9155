"""What a setting wants trained next: the points of a search and then its finalists' further seeds, or a given list."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.point_search import PointSearch
from sweeps.selection import next_seeds, params_key


@dataclass
class Candidate:
    """A trial that could be trained; `token` is the name of its point with the search that asked for it."""

    setting: str
    phase: str
    params: dict[str, Any]
    token: str = ""


class Wishes(Protocol):
    """Of one setting."""

    setting: str

    def next(self) -> Candidate | None:
        """What to train, or nothing now."""

    def ended(self, candidate: Candidate, record: TrialRecord) -> None:
        """What became of it: finished (here or elsewhere), stopped or failed."""

    @property
    def done(self) -> bool:
        """Whether there will be nothing any more."""


class ListWishes:
    """Trials that are known from the start."""

    def __init__(self, setting: str, phase: str, params: Iterable[dict[str, Any]]) -> None:
        self.setting = setting
        self._left = [Candidate(setting, phase, dict(p)) for p in params]
        self._open = 0

    def next(self) -> Candidate | None:
        if not self._left:
            return None
        self._open += 1
        return self._left.pop(0)

    def ended(self, candidate: Candidate, record: TrialRecord) -> None:
        self._open -= 1

    @property
    def done(self) -> bool:
        return not self._left and not self._open


class SearchWishes:
    """A search over the plan's space, then successive halving over seeds; `trials` are the setting's records.

    `reported` passes the figures of a running trial on to the search.
    """

    def __init__(
        self,
        plan: SweepPlan,
        setting: str,
        trials: dict[str, TrialRecord],
        *,
        retry_failed: bool,
        parallel: int,
        hints: list[tuple[dict[str, Any], tuple[float, ...]]],
        grown: Callable[[int], None],
    ) -> None:
        """`hints` are figures of earlier sweeps; `grown(n)` is told of n repeats as soon as it is known which they are."""
        self.setting, self._plan, self._trials, self._grown = setting, plan, trials, grown
        ended = {i for i, t in trials.items() if t.has_ended(retry_failed=retry_failed)}
        searched = [t for t in trials.values() if t.phase == "search"]
        known = [t for t in searched if t.identity in ended]
        points = {params_key(plan.point(t.params)) for t in known}
        left = plan.trials_of() - len(points)
        # A trial that was begun again with less memory stands for a point that the search has given before.
        fields = {axis.field for axis in plan.axes} | {"seed"}
        begun = [
            t
            for t in searched
            if t.identity not in ended
            and t.params.keys() == fields
            and params_key(plan.point(t.params)) not in points
        ]
        self._points: PointSearch | None = None
        self._searching = left > 0
        if left > 0:
            self._points = PointSearch(
                plan.axes,
                method=plan.search,
                objectives=plan.objectives,
                seed=plan.seed,
                trials=left,
                parallel=parallel,
                known=[(plan.point(t.params), self._values(t)) for t in known],
                unfinished=[plan.point(t.params) for t in begun],
                hints=hints,
            )
        self._again = [
            Candidate(setting, t.phase, dict(t.params))
            for t in trials.values()
            if t.identity not in ended and (t.phase == "repeat" or t.params.keys() != fields)
        ]
        self._open = 0
        self._nothing_more = False  # to repeat, until another trial ends; Tune asks many times a second
        self._numbers = itertools.count()

    def next(self) -> Candidate | None:
        if self._points is not None and self._searching:
            token = f"{self.setting}-{next(self._numbers)}"
            point = self._points.suggest(token)
            if isinstance(point, dict):
                self._open += 1
                return Candidate(self.setting, "search", {**point, "seed": self._plan.seed}, token)
            self._searching = False
        if not self._again and not self._open and not self._nothing_more:
            self._again = [Candidate(self.setting, "repeat", p) for p in self._repeats()]
            self._nothing_more = not self._again
            self._grown(len(self._again))
        if not self._again:
            return None
        self._open += 1
        return self._again.pop(0)

    def _repeats(self) -> list[dict[str, Any]]:
        plan = self._plan
        return next_seeds(
            list(self._trials.values()), seeds=plan.seeds, finalists=plan.finalists, first_seed=plan.seed
        )

    def reported(self, candidate: Candidate, result: dict[str, Any]) -> None:
        if candidate.token and self._points is not None:
            self._points.on_trial_result(candidate.token, result)

    def ended(self, candidate: Candidate, record: TrialRecord) -> None:
        self._open -= 1
        self._nothing_more = False
        if candidate.token and self._points is not None:
            failed = self._values(record) is None
            self._points.on_trial_complete(candidate.token, None if failed else dict(record.metrics), failed)

    @property
    def done(self) -> bool:
        if self._searching or self._again or self._open:
            return False
        return self._nothing_more or not self._repeats()

    def _values(self, trial: TrialRecord) -> tuple[float, ...] | None:
        """The objectives' figures; None where the trial failed."""
        if trial.status == "failed" or any(o.metric not in trial.metrics for o in self._plan.objectives):
            return None
        return tuple(trial.metrics[o.metric] for o in self._plan.objectives)
