"""Stops a trial that another one dominates with confidence: the Pareto-aware rule of our own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from scipy.special import stdtrit

from sweeps.ledger import TrialRecord
from sweeps.space import Objective

Floats = npt.NDArray[np.float64]
# Objectives known when training begins, with the relative difference below which two values count as equal: a latency
# is measured, and the clock is not exact. All other objectives are learning curves.
_EXACT = {"parameters": 0.0, "latency_ms": 0.05}
_CONFIDENCE = 0.95
# Fewer finished trials say nothing about the spread of what is still to come.
_MIN_FINISHED = 3


class ParetoStopper(FIFOScheduler):
    """Looks at a running trial a few times, and stops it when a finished one dominates it with 95% confidence.

    Objectives are of two kinds. The number of parameters and the latency are known from the start. MPJPE and contact F1
    are curves, those of the best epoch so far, of which only the end counts. Per curve, with v = log(MPJPE) or -F1 (less
    is better), the n finished trials tell how much a value at epoch t still moves until the last epoch T:

        m_j = v_j(t) - v_j(T),    mean m, sample deviation s.

    If the running trial i moves as they did (independent draws of one normal distribution), its own end lies with
    probability 1 - a above the one-sided prediction bound

        b_i = v_i(t) - m - q s sqrt(1 + 1/n),    q the (1 - a) quantile of Student's t with n - 1 degrees of freedom.

    It is stopped if there is a finished trial j which is no worse in every exact objective and has v_j(T) < b_i in every
    curve. With K curves and L looks, a = 5% / (K L), so that all bounds of a trial hold together with 95% probability
    (Bonferroni). How many j are compared needs no correction: their ends are known, and the bounds are about i alone. So
    at most 5% of all trials are stopped that would have ended with a figure the dominating trial does not have.

    Looks are after 1/8, 1/4 and 1/2 of the epochs. Nothing is stopped before three trials have finished (with as many
    slots as trials, nothing at all), nor a trial larger than every finished one: large networks often start slowly, and
    then the small ones do not tell how much is to come. Finished trials that start slowly for other reasons are in the
    spread. Trials that were stopped teach nothing here, which does little harm as long as how far a trial moves does not
    depend on how bad it is.

    Predicting the end from the curves of other trials, and stopping below a probability of being useful, follow Baker et
    al. 2018 ("Accelerating neural architecture search using performance prediction") and Domhan et al. 2015 ("Speeding
    up automatic hyperparameter optimization of deep neural networks by extrapolation of learning curves").
    """

    def __init__(
        self,
        epochs: int,
        objectives: Sequence[Objective],
        ended: Iterable[TrialRecord] = (),
    ) -> None:
        """`ended`: trials of earlier sessions; those with a `history` also teach how contact F1 moves."""
        super().__init__()
        self._looks = sorted({max(1, epochs // part) for part in (8, 4, 2)})
        self._epochs = epochs
        self._curves = [o.metric for o in objectives if o.metric not in _EXACT]
        self._exact = [o.metric for o in objectives if o.metric in _EXACT]
        self._slack_X = np.array([1 + _EXACT[metric] for metric in self._exact])
        self._miss = (1 - _CONFIDENCE) / (len(self._curves) * len(self._looks))
        self._running: dict[str, Floats] = {}
        self._stopped = 0
        # Of every finished trial, less being better: its curves at each look and at the end, exact objectives, size.
        self._finished: list[str] = []
        self._curves_NLM = self._unknown()[None][:0]
        self._exact_NX = np.empty((0, len(self._exact)))
        self._parameters_N = np.empty(0)
        for record in ended:
            if record.status == "finished":
                self._finish(record.identity, self._replay(record), record.metrics)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        identity = trial.config["identity"]
        if "failure" in result:
            self._forget(identity)
        epoch = result.get("predictor_epoch")
        if epoch is None or "failure" in result:
            return self.CONTINUE
        curves_LM = self._running.setdefault(identity, self._unknown())
        now_M = np.array([_less_is_better(metric, result.get(metric)) for metric in self._curves])
        if epoch >= self._epochs:
            curves_LM[-1] = now_M
            self._finish(identity, curves_LM, result)
        elif epoch in self._looks:
            look = self._looks.index(epoch)
            curves_LM[look] = now_M
            if self._is_dominated(look, now_M, result):
                self._stopped += 1
                return self.STOP
        return self.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._running.pop(trial.config["identity"], None)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._running.pop(trial.config["identity"], None)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._forget(trial.config["identity"])

    def debug_string(self) -> str:
        return f"Pareto: {len(self._finished)} finished, {self._stopped} stopped as dominated"

    def _is_dominated(self, look: int, now_M: Floats, figures: dict[str, Any]) -> bool:
        # Also where there are none, or the trial does not say how large it is.
        if not (self._parameters_N >= figures.get("parameters", math.nan)).any():
            return False
        end_NM = self._curves_NLM[:, -1]
        moved_NM = self._curves_NLM[:, look] - end_NM
        better_N = (self._exact_NX <= self._exact_of(figures) * self._slack_X).all(axis=1)
        for now, moved_N, end_N in zip(now_M, moved_NM.T, end_NM.T, strict=True):
            better_N &= end_N < end_bound(now, moved_N[np.isfinite(moved_N)], self._miss)
        return bool(better_N.any())

    def _finish(self, identity: str, curves_LM: Floats, figures: dict[str, Any]) -> None:
        self._forget(identity)  # Tune repeats a trial's last result
        self._finished.append(identity)
        self._curves_NLM = np.concatenate([self._curves_NLM, curves_LM[None]])
        self._exact_NX = np.concatenate([self._exact_NX, self._exact_of(figures)[None]])
        self._parameters_N = np.append(self._parameters_N, figures.get("parameters", math.nan))

    def _forget(self, identity: str) -> None:
        self._running.pop(identity, None)
        if identity in self._finished:
            row = self._finished.index(identity)
            del self._finished[row]
            self._curves_NLM = np.delete(self._curves_NLM, row, axis=0)
            self._exact_NX = np.delete(self._exact_NX, row, axis=0)
            self._parameters_N = np.delete(self._parameters_N, row)

    def _exact_of(self, figures: dict[str, Any]) -> Floats:
        """The exact objectives (X,), nan where they are missing."""
        return np.array([figures.get(metric, math.nan) for metric in self._exact], dtype=float)

    def _unknown(self) -> Floats:
        return np.full((len(self._looks) + 1, len(self._curves)), math.nan)

    def _replay(self, record: TrialRecord) -> Floats:
        """A finished trial's curves at every look and at the end (L + 1, M), nan where its record does not tell."""
        told = {h["epoch"]: h for h in record.history if h["stage"] == "predictor"}
        curves_LM = self._unknown()
        for row, look in zip(curves_LM, [*self._looks, self._epochs], strict=True):
            past = [(value, epoch) for epoch, value in record.curve if epoch <= look]
            if not past:
                continue
            best_cm, epoch = min(past)
            figures = told.get(epoch, record.metrics if look == record.epochs else {})
            row[:] = [
                _less_is_better(m, best_cm if m == "mpjpe_cm" else figures.get(m)) for m in self._curves
            ]
        return curves_LM


def end_bound(now: float, moved_N: Floats, miss: float) -> float:
    """The prediction bound b of ParetoStopper: the end of a curve lies below it with probability `miss`.

    `now` is its value at an epoch, `moved_N` how much N others fell from there until their end. Minus infinity where N
    is below three.
    """
    count = len(moved_N)
    if count < _MIN_FINISHED:
        return -math.inf
    spread = moved_N.std(ddof=1) * math.sqrt(1 + 1 / count)
    return float(now - moved_N.mean() - stdtrit(count - 1, 1 - miss) * spread)


def _less_is_better(metric: str, value: float | None) -> float:
    """A curve's value on the scale on which it moves: the logarithm of an error, or minus a score."""
    if value is None or not math.isfinite(value):
        return math.nan
    if metric == "mpjpe_cm":
        return math.log(value) if value > 0 else -math.inf
    return -value
