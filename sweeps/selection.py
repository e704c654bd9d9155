"""Which configurations are ahead, by validation MPJPE alone, and which of them deserve further seeds.

A search trains every configuration once. Seeds are then spent by successive halving (Jamieson & Talwalkar, AISTATS
2016): the best few get a second training, the better half of those two more, and so on, so that the most seeds go to
the configurations between which the choice is hardest.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.ledger import TrialRecord

# However often they are halved, so many stay: one alone could not be compared with anything.
_STAY = 2
# Fields that are said in other words than "field value".
_WORDS = {"codes": "{} codes", "decoder_depth": "depth {}"}


@dataclass(frozen=True)
class Configuration:
    """One point of the space with its finished trials, one a seed, best first."""

    trials: tuple[TrialRecord, ...]

    @property
    def params(self) -> dict[str, Any]:
        """The searched fields, without the seed."""
        return without_seed(self.trials[0].params)

    @property
    def key(self) -> str:
        return params_key(self.trials[0].params)

    @property
    def name(self) -> str:
        return words(self.params)

    @property
    def mpjpe_cm(self) -> float:
        """Mean over seeds."""
        return self.mean("mpjpe_cm")

    @property
    def spread_cm(self) -> float:
        """Standard deviation over seeds; 0 for a single one."""
        return statistics.stdev([t.mpjpe_cm for t in self.trials]) if len(self.trials) > 1 else 0.0

    def mean(self, metric: str) -> float:
        """Of a metric over the seeds that have it; NaN without any."""
        known = [trial.metrics[metric] for trial in self.trials if metric in trial.metrics]
        return statistics.fmean(known) if known else float("nan")


def without_seed(params: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in params.items() if field != "seed"}


def params_key(params: dict[str, Any]) -> str:
    """Equal for trials that differ in nothing but their seed: JSON of the other fields, sorted."""
    return json.dumps(without_seed(params), sort_keys=True)


def words(params: dict[str, Any]) -> str:
    """Searched fields as a sentence has them: "256 codes, depth 2, dropout 0.1"."""
    return ", ".join(
        _WORDS.get(field, field.replace("_", " ") + " {}").format(plain(value))
        for field, value in sorted(params.items())
    )


def plain(value: Any) -> str:
    """A searched value, no longer than it needs to be told from another."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rank(trials: Iterable[TrialRecord]) -> list[Configuration]:
    """The configurations that have a finished trial, best first.

    Those repeated over most seeds come before the rest: a mean of several is not compared with one lucky draw.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.status == "finished":
            groups.setdefault(params_key(trial.params), []).append(trial)
    ranked = [
        Configuration(tuple(sorted(group, key=lambda t: (t.mpjpe_cm, t.params["seed"]))))
        for group in groups.values()
    ]
    return sorted(ranked, key=lambda c: (-len(c.trials), c.mpjpe_cm, c.key))


def finalists(trials: Iterable[TrialRecord], count: int) -> list[Configuration]:
    """The configurations that further seeds are spent on: the best of the search, whatever was repeated since."""
    return _searched(trials)[:count]


def compared(trials: Iterable[TrialRecord], count: int) -> list[Configuration]:
    """The configurations that the verdict is about, best first: of those with most seeds the best `count`."""
    ranked = rank(trials)
    return [c for c in ranked if len(c.trials) == len(ranked[0].trials)][:count]


def next_seeds(
    trials: Sequence[TrialRecord], *, seeds: int, finalists: int, first_seed: int
) -> list[dict[str, Any]]:
    """The params of the repeats to begin now; call it once the search has ended, and after every repeat.

    The best `finalists` of the search (trained with `first_seed`) are trained with a second seed each. When all of those
    have ended, the better half by the mean over their seeds, at least two, get twice as many, and so on up to `seeds`
    trainings each. Nothing but the records decides, so that a resumed sweep goes on as it would have.

    What has a record is not returned: a failed repeat is not asked for again, and an unfinished one is waited for. An
    empty list therefore means that the repeats are over, unless one of them is unfinished.
    """
    known = {_trial_key(trial.params): trial for trial in trials}
    standing = [c.params for c in _searched(trials)[:finalists]]
    trained = 1
    while standing and trained < seeds:
        trained = min(2 * trained, seeds)
        rung = [
            {**params, "seed": seed}
            for params in standing
            for seed in range(first_seed, first_seed + trained)
        ]
        if missing := [params for params in rung if _trial_key(params) not in known]:
            return missing
        records = [known[_trial_key(params)] for params in rung]
        if any(record.status == "unfinished" for record in records):
            return []
        half = max(_STAY, (len(standing) + 1) // 2)
        standing = [c.params for c in rank(records)[:half]]
    return []


def _searched(trials: Iterable[TrialRecord]) -> list[Configuration]:
    return rank(trial for trial in trials if trial.phase == "search")


def _trial_key(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
