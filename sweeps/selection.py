"""Which configuration won: by validation MPJPE alone, averaged over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from sweeps.ledger import TrialRecord

# How many configurations are repeated where more than one seed is asked for.
FINALISTS = 2


@dataclass(frozen=True)
class Configuration:
    """One point of the space with its finished trials, one a seed, best first."""

    trials: tuple[TrialRecord, ...]

    @property
    def codes(self) -> int:
        return self.trials[0].params["codes"]

    @property
    def depth(self) -> int:
        return self.trials[0].params["depth"]

    @property
    def mpjpe_cm(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(trial.mpjpe_cm for trial in self.trials)

    @property
    def spread_cm(self) -> float:
        """Standard deviation over seeds; 0 for a single one."""
        return statistics.stdev([t.mpjpe_cm for t in self.trials]) if len(self.trials) > 1 else 0.0


def rank(trials: Iterable[TrialRecord]) -> list[Configuration]:
    """The configurations that have a finished trial, best first.

    Those repeated over most seeds come before the rest: a mean of several is not compared with one lucky draw.
    """
    groups: dict[tuple[int, int], list[TrialRecord]] = {}
    for trial in trials:
        if trial.status == "finished":
            groups.setdefault((trial.params["codes"], trial.params["depth"]), []).append(trial)
    ranked = [Configuration(tuple(sorted(group, key=lambda t: t.mpjpe_cm))) for group in groups.values()]
    return sorted(ranked, key=lambda configuration: (-len(configuration.trials), configuration.mpjpe_cm))


def finalists(trials: Iterable[TrialRecord]) -> list[Configuration]:
    """The configurations that further seeds are spent on: the best of the search, whatever was repeated since."""
    return rank(trial for trial in trials if trial.phase == "search")[:FINALISTS]
