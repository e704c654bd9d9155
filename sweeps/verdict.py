"""Which of the finalists is taken, and how sure that is: a paired test over validation clips decides, not the mean alone.

The best by its mean is compared with every other on the same clips, seeds averaged. p-values exchange two predictors in
whole held-out groups (trainables/significance.py) and are corrected as Holm for all pairs of the finalists, not only
for those with the best: which one is the best was seen in the same clips, and chance has had its say among all pairs.
(Of four equal configurations, corrected for three pairs, some was called worse in 7 to 9 of 100 data sets; corrected
for all six in 5.) What is not significantly worse than the best is tied with it, and of the tied the cheapest is taken.

Seeds are averaged and not resampled: the test tells how sure the difference is on other objects (actions, tasks,
scenes), for these trainings.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.selection import Configuration
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.intervals import Interval
from trainables.joined_errors import average_seeds
from trainables.significance import holm, paired_p, smallest_p

LEVEL = 0.05
METRIC = "mpjpe_cm"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finalist: its validation errors per clip averaged over seeds, and what it costs."""

    key: str
    name: str  # in a sentence
    errors: ClipErrors
    parameters: int
    seconds: float  # of training, where parameters are equal


@dataclass(frozen=True, kw_only=True)
class Test:
    """A finalist against the best by the mean: `difference` is its error minus the best's, in cm."""

    key: str
    name: str
    difference: Interval
    p: float
    p_corrected: float

    @property
    def worse(self) -> bool:
        return self.p_corrected < LEVEL


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is taken and why.

    `winner` is the key of the configuration that is taken, `best` of the one with the lowest mean, `tied` of those that
    are not significantly worse than the best, which is the first of them; it alone there is a proven winner. `figures`
    are the MPJPE (cm) of all that were compared, `reason` is one plain sentence.
    """

    winner: str
    best: str
    tied: tuple[str, ...]
    figures: Mapping[str, Interval]
    tests: tuple[Test, ...]
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {
            "winner": self.winner,
            "best": self.best,
            "tied": list(self.tied),
            "figures": {key: interval.to_json() for key, interval in self.figures.items()},
            "tests": [
                {
                    "configuration": test.name,
                    "mpjpe_cm": self.figures[test.key].estimate,
                    "difference": test.difference.to_json(),
                    "p": test.p,
                    "p_corrected": test.p_corrected,
                    "worse": test.worse,
                }
                for test in self.tests
            ],
            "reason": self.reason,
        }


def candidate(configuration: Configuration, readings: Mapping[str, Mapping[str, Any]]) -> Candidate:
    """A configuration with what `assess.validation_errors` read of its trials (by identity).

    Seconds are the predictor's: who trained a codebook or an indexer for the others is chance.
    """
    own = [readings[trial.identity] for trial in configuration.trials]
    return Candidate(
        key=configuration.key,
        name=configuration.name,
        errors=average_seeds([ClipErrors.from_json(reading["errors"]) for reading in own]),
        parameters=own[0]["parameters"],
        seconds=statistics.fmean(t.stage_seconds.get("predictor", 0.0) for t in configuration.trials),
    )


def verdict(candidates: Sequence[Candidate], *, seeds: int) -> Verdict:
    """Compare candidates that were trained with `seeds` seeds each.

    Raises:
        ValueError: there is none, one has no known error, or they were not evaluated on the same windows.
    """
    figures = {c.key: c.errors.interval(METRIC) for c in candidates}
    if not candidates or not all(math.isfinite(figure.estimate) for figure in figures.values()):
        raise ValueError("a verdict needs candidates whose validation error is known")
    ordered = sorted(candidates, key=lambda c: (figures[c.key].estimate, c.key))
    best = ordered[0]
    tests = _tests(ordered)
    tied = [best, *(c for c, test in zip(ordered[1:], tests, strict=True) if not test.worse)]
    winner = min(tied, key=lambda c: (c.parameters, c.seconds, figures[c.key].estimate))
    return Verdict(
        winner=winner.key,
        best=best.key,
        tied=tuple(c.key for c in tied),
        figures=figures,
        tests=tuple(tests),
        reason=_reason(winner, tied, tests, figures, seeds),
    )


def _tests(ordered: Sequence[Candidate]) -> list[Test]:
    """The best, which comes first, against each of the others."""
    pairs = list(itertools.combinations(ordered, 2))  # those of the first candidate come first
    p = [paired_p(one.errors, other.errors, METRIC) for one, other in pairs]
    corrected = holm(p)
    return [
        Test(
            key=other.key,
            name=other.name,
            difference=paired_difference(other.errors, ordered[0].errors, METRIC),
            p=p[i],
            p_corrected=corrected[i],
        )
        for i, other in enumerate(ordered[1:])
    ]


def _reason(
    winner: Candidate,
    tied: Sequence[Candidate],
    tests: Sequence[Test],
    figures: Mapping[str, Interval],
    seeds: int,
) -> str:
    best, others = tied[0], len(tests)
    error = {key: f"{figure.estimate:.2f}" for key, figure in figures.items()}
    groups, compared = figures[best.key].groups, f"of {others + 1} compared"
    if not tests:
        return f"{best.name} is chosen ({error[best.key]} cm): there is no other to compare it with."
    trainings = "" if seeds > 1 else "; one seed each, so this speaks of these trainings alone"
    if len(tied) == 1:
        closest = max(tests, key=lambda test: test.p_corrected)
        rival = "the other" if others == 1 else f"each of the {others} others"
        return (
            f"{best.name} wins: significantly better than {rival} ({error[best.key]} against "
            f"{error[closest.key]} cm of {closest.name}, {_p(closest.p_corrected)} {compared}{trainings})."
        )
    few = ""
    if others * (others + 1) / 2 * smallest_p(groups) >= LEVEL:
        few = f"; {groups} held-out group{'' if groups == 1 else 's'} cannot tell {others + 1} configurations apart"
    if winner is best:
        level = [test for test in tests if not test.worse]
        closest = max(level, key=lambda test: test.p_corrected)
        rivals = "the other" if others == 1 else f"{len(level)} of the {others} others"
        return (
            f"{best.name} is chosen: the best, not significantly better than {rivals} "
            f"({error[best.key]} against {error[closest.key]} cm of {closest.name}, {_p(closest.p_corrected)} "
            f"{compared}), and the {_cheapest(best, tied[1:])}{few}{trainings}."
        )
    test = next(test for test in tests if test.key == winner.key)
    return (
        f"{winner.name} is chosen: not significantly worse than the best, {best.name} ({error[winner.key]} against "
        f"{error[best.key]} cm, {_p(test.p_corrected)} {compared}), and {_cheaper(winner, best)}{few}{trainings}."
    )


def _cheapest(best: Candidate, rest: Sequence[Candidate]) -> str:
    """Why the best is preferred to those it is tied with."""
    rival = min(rest, key=lambda c: (c.parameters, c.seconds))
    if rival.parameters > best.parameters:
        ours, theirs = _millions(best.parameters, rival.parameters)
        return f"cheapest of these ({ours} against {theirs} million parameters)"
    return f"quickest to train of the cheapest ({best.seconds:.0f} against {rival.seconds:.0f} s)"


def _cheaper(winner: Candidate, best: Candidate) -> str:
    if winner.parameters < best.parameters:
        ours, theirs = _millions(winner.parameters, best.parameters)
        return f"cheaper ({ours} against {theirs} million parameters)"
    return f"quicker to train ({winner.seconds:.0f} against {best.seconds:.0f} s with as many parameters)"


def _millions(fewer: int, more: int) -> tuple[str, str]:
    """Both in millions, with as many decimals as it takes to tell them apart."""
    decimals = next(d for d in range(1, 7) if f"{fewer / 1e6:.{d}f}" != f"{more / 1e6:.{d}f}")
    return f"{fewer / 1e6:.{decimals}f}", f"{more / 1e6:.{decimals}f}"


def _p(value: float) -> str:
    if value >= 0.995:
        return "p = 1"
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"
