"""Which configuration is tried next: Optuna's TPE over what the ledger knows."""

from __future__ import annotations

import itertools
import logging
import random
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from sweeps.plan import Axis

METRIC = "mpjpe_cm"
# In a small space TPE keeps proposing what it likes best; after this many repeats, any new point will do.
_REPEATS = 10


class LedgerSearch(OptunaSearch):
    """TPE that never tries a point twice and announces each point before it is trained.

    `announce(params)` is called for a point that is new to the sweep. It returns the trial to run, or
    the point's validation MPJPE (cm) where another sweep has trained the same trial already.
    """

    def __init__(
        self,
        axes: dict[str, Axis],
        *,
        seed: int,
        trials: int,
        known: Iterable[tuple[dict[str, int], float | None]],
        unfinished: list[dict[str, int]],
        announce: Callable[[dict[str, int]], dict[str, Any] | float],
    ) -> None:
        """`known` are the sweep's ended points with their figure (None: failed), in the order of their
        start; `unfinished` those that were cut off, which come first; `trials` is how many more to give."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
        known = list(known)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                # Another seed after a resume, or the first draws would repeat what is known.
                seed=seed + len(known) + len(unfinished),
                n_startup_trials=max(2, min(10, (trials + len(known)) // 3)),
                constant_liar=True,
            )
        super().__init__(
            space={name: axis.distribution() for name, axis in axes.items()},
            metric=METRIC,
            mode="min",
            sampler=sampler,
            points_to_evaluate=unfinished or None,
        )
        self._axes = axes
        self._random = random.Random(seed)
        self._left = trials
        self._announce = announce
        self._seen: set[tuple[tuple[str, int], ...]] = set()
        for params, value in known:
            self._seen.add(_key(params))
            if value is not None:
                self.add_evaluated_point(params, value)

    @property
    def _study(self) -> optuna.Study:
        assert self._ot_study is not None  # the base class makes it where it is given a space
        return self._ot_study

    def suggest(self, trial_id: str) -> Any:
        """The next trial to run, or that there is none."""
        repeats = 0
        while self._left:
            params = {name: int(value) for name, value in (super().suggest(trial_id) or {}).items()}
            if _key(params) in self._seen:
                self._study.tell(self._ot_trials.pop(trial_id), state=optuna.trial.TrialState.FAIL)
                repeats += 1
                if repeats >= _REPEATS:
                    self._study.enqueue_trial(self._any_unseen())
                continue
            repeats = 0
            self._seen.add(_key(params))
            self._left -= 1
            trial = self._announce(params)
            if isinstance(trial, dict):
                return trial
            self._study.tell(self._ot_trials.pop(trial_id), trial)
        return Searcher.FINISHED

    def _any_unseen(self) -> dict[str, int]:
        every = itertools.product(*(axis.values for axis in self._axes.values()))
        points = (dict(zip(self._axes, point, strict=True)) for point in every)
        return self._random.choice([point for point in points if _key(point) not in self._seen])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        # Codebook and indexer epochs carry no validation MPJPE, which OptunaSearch takes for granted.
        if METRIC in result:
            super().on_trial_result(trial_id, result)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds all that a later sweep needs to go on."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, and a connection to the ledger cannot be pickled.
        return {}


def _key(params: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(params.items()))
