"""Which configuration is tried next, for one setting: Optuna's samplers over what the ledger knows."""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from sweeps.points import Params, Points, is_ordered
from sweeps.samplers import RESULTS, make_sampler
from sweeps.space import Axis, Objective
from sweeps.useful_points import Ended, Values, most_useful

# How many points are drawn before the model is asked, at most.
_DRAWN = 10
# How often the sampler may propose what is taken before a free point near its proposal will do. GP takes its time, and
# has one best point.
_ASKS = {"gp": 1, "tpe": 4, "random": 4, "grid": 1}


@dataclass
class _Running:
    params: Params
    values: Values | None = None  # last reported


class PointSearch(OptunaSearch):
    """Never the same point twice, as few random ones as can be, in a time that does not grow with the trials.

    The first points are spread out (a Latin hypercube), then a model proposes (`tpe`, `gp`). How many are spread out
    is counted in suggestions, not in results, so trials that run at once do not add to them; where results are slower
    than that, spread-out points go on until there are three. Running trials are part of the model, as bad ones (TPE) or
    as ones to come (GP), so that it proposes something else.

    The study holds at most `windows[method]` trials. Where it would hold more, it is made again from the best and the
    latest: of one objective TPE takes no more than 25 for good ones, whatever their number. A suggestion takes about 25 ms
    of one core then (TPE; 90 ms for four objectives) or 1 s (GP; 2 s for two, 10 s for four).
    """

    windows: ClassVar[dict[str, int]] = {"random": 500, "grid": 500, "tpe": 500, "gp": 100}

    def __init__(
        self,
        axes: tuple[Axis, ...],
        *,
        method: str,
        objectives: tuple[Objective, ...],
        seed: int,
        trials: int,
        parallel: int,
        known: list[tuple[Params, Values | None]],
        unfinished: list[Params],
        hints: Sequence[tuple[Params, Values]] = (),
    ) -> None:
        """`method` is "tpe", "gp", "random" or "grid". `known` are this sweep's ended points with a value an objective
        (None: failed), in the order of their start; `unfinished` were cut off and come first; `trials` is how many more
        to give, unfinished ones included; `parallel` how many run at once; `hints` are told to the sampler alone, until
        this sweep knows more itself.

        Raises SweepError where `method` is "grid" and an axis has no end of values.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
        self._method = method
        self._objectives = objectives
        self._first_seed = seed  # `_seed` is the base class's
        self._left = trials
        self._ordered = {axis.field: tuple(sorted(axis.choices)) for axis in axes if is_ordered(axis)}
        self._points = Points(axes, seed)
        self._seen = {self._points.key(params) for params, _ in known}
        self._given = len(known)
        self._first = deque(unfinished)
        total = trials + len(known)
        if method == "grid":
            self._drawn, self._draws = total, self._points.grid()
        else:
            # No start-up where random points are all there is, and less of one where earlier sweeps have done it.
            wanted = 0 if method == "random" else max(RESULTS, min(_DRAWN, total // 3))
            self._drawn = wanted - len(hints)
            self._draws = iter(self._points.spread(max(wanted, min(parallel, total))) if wanted else ())
        self._ended: Ended = [(params, values) for params, values in known if values is not None]
        self._hints: Ended = list(hints)
        self._running: dict[str, _Running] = {}
        metrics: list[str] = [objective.metric for objective in objectives]
        modes: list[str] = [objective.mode for objective in objectives]
        # A list means several objectives to OptunaSearch, even a list of one.
        self._modes: list[str] | str = modes if len(modes) > 1 else modes[0]
        self._distributions: dict[str, BaseDistribution] = {
            axis.field: IntDistribution(0, len(axis.choices) - 1) if is_ordered(axis) else axis.distribution()
            for axis in axes
        }
        super().__init__(
            space=self._distributions, metric=metrics if len(metrics) > 1 else metrics[0], mode=self._modes
        )
        self._make_study()

    def suggest(self, trial_id: str) -> Any:
        """The next point (its axes' fields alone), or Searcher.FINISHED where all asked for, or all there are, were given."""
        if not self._left:
            return Searcher.FINISHED
        full = len(self._study.get_trials(deepcopy=False)) >= self.windows[self._method]
        if full or (self._hints and self._knows_more()):
            self._make_study()
        params = self._next(trial_id)
        if params is None:
            return Searcher.FINISHED
        self._seen.add(self._points.key(params))
        self._given += 1
        self._left -= 1
        self._running[trial_id] = _Running(params)
        if trial_id not in self._ot_trials:
            self._ot_trials[trial_id] = self._begin(params)
        return dict(params)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remembers the values, for a trial that is stopped while it is paused ends without any."""
        if trial_id in self._running and (values := self._values(result)) is not None:
            self._running[trial_id].values = values

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the sampler the trial's last values; where it failed or has none, that nothing is to be expected."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        result = result or {}
        failed = error or bool(result.get("failure"))
        values = None if failed else self._values(result) or running.values
        trial = self._ot_trials.pop(trial_id, None)
        if values is not None:
            self._ended.append((running.params, values))
            if trial is None:
                self._add(running.params, values)
        if trial is not None:
            self._study.tell(trial, values, TrialState.FAIL if values is None else TrialState.COMPLETE)

    def _next(self, trial_id: str) -> Params | None:
        if self._first:
            return self._first.popleft()
        results = len(self._ended) + len(self._hints)
        if self._given < self._drawn or results < RESULTS:
            for params in self._draws:
                if self._points.key(params) not in self._seen:
                    return params
        if self._points.size is not None and len(self._seen) >= self._points.size:
            return None
        for _ in range(_ASKS[self._method]):
            params = self._plain(super().suggest(trial_id) or {})
            if self._points.key(params) not in self._seen:
                return params
            self._study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        return self._points.free(params, self._seen)

    def _values(self, result: dict[str, Any]) -> Values | None:
        """The objectives' values in a result; None where one is missing or no number."""
        values = tuple(float(result.get(o.metric, math.nan)) for o in self._objectives)
        return values if all(map(math.isfinite, values)) else None

    @property
    def _study(self) -> optuna.Study:
        assert self._ot_study is not None  # the base class makes it where it is given a space
        return self._ot_study

    def _knows_more(self) -> bool:
        """Whether this sweep knows more itself than it was told of others, whose code may have been another."""
        return len(self._ended) > len(self._hints)

    def _make_study(self) -> None:
        """A new study with a new sampler, of at most three quarters of the window."""
        window = self.windows[self._method]
        if self._knows_more():
            self._hints = []
        if len(self._hints) + len(self._ended) > window // 2:
            self._hints = most_useful(self._hints, self._objectives, window // 4)
            self._ended = most_useful(self._ended, self._objectives, window // 2 - len(self._hints))
        # Another seed than before, or the first draws would repeat what is known.
        self._sampler = make_sampler(self._method, self._first_seed + self._given + len(self._first))
        self._setup_study(self._modes)
        self._ot_trials = {}
        for params, values in itertools.chain(self._hints, self._ended):
            self._add(params, values)
        for trial_id in list(self._running)[-(window // 4) :]:
            self._ot_trials[trial_id] = self._begin(self._running[trial_id].params)

    def _add(self, params: Params, values: Values) -> None:
        self._study.add_trial(
            create_trial(values=values, params=self._told(params), distributions=self._distributions)
        )

    def _begin(self, params: Params) -> optuna.Trial:
        """A running trial of the study at a point that its sampler did not propose."""
        trial = create_trial(
            state=TrialState.RUNNING, params=self._told(params), distributions=self._distributions
        )
        study = self._study
        return optuna.Trial(study, study._storage.create_new_trial(study._study_id, trial))

    def _told(self, params: Params) -> Params:
        """A point as Optuna has it: numbers to choose from are an axis of their places, so that neighbours are near."""
        places = {field: choices.index(params[field]) for field, choices in self._ordered.items()}
        return params | places

    def _plain(self, told: Params) -> Params:
        return told | {field: choices[told[field]] for field, choices in self._ordered.items()}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds all that a later sweep needs to go on."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, which the ledger makes needless.
        return {}
