"""Who decides that a trial is stopped early: one stopper a setting, each knowing what earlier sessions learnt."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.errors import SweepError
from sweeps.ledger import TrialRecord
from sweeps.pareto_stopper import ParetoStopper
from sweeps.plan import STOPPINGS
from sweeps.rungs import REDUCTION, asha_rungs, rungs
from sweeps.space import Objective


def make_stopper(
    method: str,
    *,
    epochs: int,
    objectives: Sequence[Objective],
    ended: Iterable[TrialRecord],
) -> TrialScheduler:
    """The stopper of one setting's search trials.

    `asha` compares trials at a quarter and at three quarters of their `epochs` and lets the best third go on; `hyperband`
    begins at a ninth and puts some trials into brackets that are stopped later or never; both look at the validation
    MPJPE of the best epoch so far alone. `pareto` stops what is dominated with confidence in all `objectives`; `none` stops
    nothing. `ended` are the setting's trials of earlier sessions: the next one is judged against them.

    Raises SweepError for another method.
    """
    if method not in STOPPINGS:
        raise SweepError(f"--stop-by {method}: there are {', '.join(STOPPINGS)}.")
    if method == "none" or epochs < 2:
        return FIFOScheduler()
    if method == "pareto":
        return ParetoStopper(epochs, objectives, ended)
    if method == "asha":
        return Halving([asha_rungs(epochs)], ended)
    first = epochs // REDUCTION**2 or max(1, epochs // REDUCTION)
    longest = rungs(first, max(1, epochs // REDUCTION))
    return Halving([longest[skipped:] for skipped in range(len(longest) + 1)], ended)


class Halving(FIFOScheduler):
    """Asynchronous successive halving (Li et al. 2020, "ASHA") in one bracket or several, made to survive a resume.

    At each rung of its bracket, a number of epochs, a trial goes on if its best MPJPE so far is no worse than that of the
    best third of those that were there before it, as Ray's AsyncHyperBandScheduler decides. That one keeps trials under
    names of one run and draws their brackets by chance; here a trial is known by its identity, which also decides its
    bracket, `ended` ones are put on the rungs they reached, and one that goes on from a checkpoint on those it passed
    before, since its results carry its whole curve. A bracket of k rungs gets 3^k / (k + 1) parts of the trials (Li et
    al. 2018, "Hyperband", algorithm 1).
    """

    def __init__(self, brackets: Sequence[Sequence[int]], ended: Iterable[TrialRecord]) -> None:
        """`brackets`: the rungs of each, in epochs of the predictor."""
        super().__init__()
        # Per bracket and rung the best MPJPE (cm) by then of every trial, by identity.
        self._brackets: list[dict[int, dict[str, float]]] = [{e: {} for e in bracket} for bracket in brackets]
        shares = [REDUCTION ** len(bracket) / (len(bracket) + 1) for bracket in brackets]
        self._ends = np.cumsum(shares) / np.sum(shares)
        for record in ended:
            self._climb(record.identity, record.epochs, record.curve)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        rung = result.get("predictor_epoch")
        if rung is None:
            return self.CONTINUE
        identity = trial.config["identity"]
        told = self._bracket(identity).get(rung, {})
        others = [] if identity in told else list(told.values())
        self._climb(identity, rung, result["curve"])
        # A trial whose epochs all diverged has no place on the rung.
        if others and told.get(identity, -math.inf) > np.percentile(others, 100 / REDUCTION):
            return self.STOP
        return self.CONTINUE

    def debug_string(self) -> str:
        return "Halving: " + "; ".join(
            ", ".join(f"{len(told)} at {epoch}" for epoch, told in bracket.items())
            for bracket in self._brackets
        )

    def _climb(self, identity: str, epochs: int, curve: Sequence[tuple[int, float]]) -> None:
        """Put a trial on every rung that its `epochs` reach, with the best of its curve of (epoch, MPJPE) until there."""
        for rung, told in self._bracket(identity).items():
            if rung <= epochs and identity not in told:
                past = [value_cm for epoch, value_cm in curve if epoch <= rung and math.isfinite(value_cm)]
                if past:
                    told[identity] = min(past)

    def _bracket(self, identity: str) -> dict[int, dict[str, float]]:
        share = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) / 2**32
        # The last end may be a rounding error below 1.
        return self._brackets[min(int(np.searchsorted(self._ends, share, side="right")), len(self._ends) - 1)]


class BySetting(FIFOScheduler):
    """Gives each search trial to the stopper of its setting (`trial.config`); trials of other phases are never stopped.

    Which trial runs next is first come, first served over all settings.
    """

    def __init__(self, stoppers: Mapping[str, TrialScheduler]) -> None:
        super().__init__()
        self._stoppers = stoppers
        self._others = FIFOScheduler()
        self._begun = 0  # so many of Tune's trials are not waiting any more

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        # Not from the first one on, as FIFOScheduler looks many times a second: thousands may have ended. Whichever is
        # put back for another try, Tune starts by itself.
        trials = tune_controller.get_trials()
        while self._begun < len(trials) and trials[self._begun].status != Trial.PENDING:
            self._begun += 1
        return trials[self._begun] if self._begun < len(trials) else None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return "\n".join(f"{setting}: {s.debug_string()}" for setting, s in self._stoppers.items())

    def _of(self, trial: Trial) -> TrialScheduler:
        return self._stoppers[trial.config["setting"]] if trial.config["phase"] == "search" else self._others
