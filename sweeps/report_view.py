"""What a report is made from: a sweep's plan and its trials, as the ledger holds them, and nothing else."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.report_words import figure, mean, told
from sweeps.selection import params_key, without_seed, words
from sweeps.space import Axis, Objective

ORDER = ("finished", "stopped", "unfinished", "failed")
STAGES = ("codebook", "indexer", "predictor")
# Settings beyond so many take the first one's colour again, and so on.
_COLOURS = 6


@dataclass(frozen=True)
class Point:
    """One configuration of one setting, and its trials, one a seed, best first. `number` is its own on the page."""

    number: int
    setting: str
    params: dict[str, Any]  # without the seed
    trials: tuple[TrialRecord, ...]

    @property
    def key(self) -> str:
        return params_key(self.params)

    @property
    def status(self) -> str:
        """The best that a trial of it came to."""
        return min((trial.status for trial in self.trials), key=ORDER.index)

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials whose figures count: finished, with an MPJPE that is a number."""
        return [t for t in self.trials if t.status == "finished" and math.isfinite(figure(t, "mpjpe_cm"))]

    def mean(self, metric: str) -> float:
        """Over the finished seeds; NaN where none knows it."""
        return mean(figure(trial, metric) for trial in self.finished)

    def spread(self, metric: str) -> float:
        """Standard deviation over seeds; NaN where there are fewer than two."""
        known = [v for trial in self.finished if math.isfinite(v := figure(trial, metric))]
        return statistics.stdev(known) if len(known) > 1 else math.nan

    def figure(self, metric: str) -> float:
        """The mean or, where none finished, what its best trial came to."""
        return self.mean(metric) if self.finished else figure(self.trials[0], metric)

    def label(self) -> str:
        """For a tooltip: where, what, and how it did or, where none finished, how its best trial did."""
        if not self.finished:
            return trial_label(self.trials[0])
        seeds = f", mean of {len(self.finished)} seeds" if len(self.finished) > 1 else ""
        return f"{self.setting} · {words(self.params)} · {told('mpjpe_cm', self.mean('mpjpe_cm'))}{seeds}"


def trial_label(trial: TrialRecord) -> str:
    """For a tooltip: the same of one trial, its seed included."""
    how = "" if trial.status == "finished" else f" · {trial.status}"
    if trial.status == "stopped":
        how = f" · stopped after epoch {trial.epochs}"
    return f"{trial.setting} · {words(trial.params)} · {told('mpjpe_cm', figure(trial, 'mpjpe_cm'))}{how}"


@dataclass(frozen=True)
class SweepView:
    """A sweep as its report shows it.

    plan: the plan's record. settings: the trials of each, `history` filled. reports: what was assessed and published
    of each setting: "val" (identity -> interval), "verdict" and "lines", any of which may be missing. notes: the sweep's own
    facts, as `Ledger.notes` gives them; one of kind "session" has slots, device, workers, usd_per_hour (of a worker),
    command and at_s (Unix time).
    """

    name: str
    plan: Mapping[str, Any]
    axes: tuple[Axis, ...]
    objectives: tuple[Objective, ...]
    settings: Mapping[str, Sequence[TrialRecord]]
    reports: Mapping[str, Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]]

    @property
    def fields(self) -> list[str]:
        return [axis.field for axis in self.axes]

    @functools.cached_property
    def trials(self) -> list[TrialRecord]:
        return [trial for trials in self.settings.values() for trial in trials]

    @functools.cached_property
    def points(self) -> dict[str, list[Point]]:
        """The configurations of each setting: finished ones first, as selection ranks them, then the others.

        Those repeated over most seeds come before the rest: a mean of several is not compared with one lucky draw.
        """
        found: dict[str, list[Point]] = {}
        number = 0
        for setting, trials in self.settings.items():
            groups: dict[str, list[TrialRecord]] = {}
            for trial in trials:
                groups.setdefault(params_key(trial.params), []).append(trial)
            found[setting] = []
            for group in groups.values():
                found[setting].append(
                    Point(
                        number, setting, without_seed(group[0].params), tuple(sorted(group, key=_by_figure))
                    )
                )
                number += 1
            found[setting].sort(key=_by_rank)
        return found

    @functools.cached_property
    def numbers(self) -> dict[tuple[str, str], int]:
        """(setting, identity) -> the number of its configuration, by which charts light up together."""
        return {
            (setting, trial.identity): point.number
            for setting, points in self.points.items()
            for point in points
            for trial in point.trials
        }

    def number(self, trial: TrialRecord) -> int:
        return self.numbers[trial.setting, trial.identity]

    @functools.cached_property
    def colours(self) -> dict[str, int]:
        """Setting -> the number of its colour in the page's style."""
        return {setting: i % _COLOURS for i, setting in enumerate(self.settings)}

    def verdict(self, setting: str) -> Mapping[str, Any]:
        """The setting's verdict; empty where there is none yet."""
        return self.reports.get(setting, {}).get("verdict") or {}

    def said_of(self, setting: str, params: dict[str, Any]) -> str:
        """What the setting's verdict says of a configuration: "chosen", "tied" or nothing."""
        verdict = self.verdict(setting)
        key = params_key(params)
        if key == verdict.get("winner"):
            return "chosen"
        return "tied" if key in (verdict.get("tied") or []) else ""

    @property
    def budget(self) -> int:
        """Epochs of the predictor in a whole trial; 0 where the plan does not say."""
        return int(self.plan.get("epochs") or 0)


def view_of(ledger: Ledger, plan: SweepPlan) -> SweepView:
    """The sweep as the ledger has it now, with the history of every trial."""
    settings, reports = ledger.read(plan.budget)
    # In the plan's order, and those too of which nothing has begun.
    trials = {setting: list(settings.get(setting, {}).values()) for setting in plan.settings}
    ledger.read_histories([trial for of_setting in trials.values() for trial in of_setting])
    return SweepView(
        name=plan.name,
        plan=plan.record(),
        axes=plan.axes,
        objectives=plan.objectives,
        settings=trials,
        reports=reports,
        notes=ledger.notes(),
    )


def _by_figure(trial: TrialRecord) -> tuple[int, float]:
    value = figure(trial, "mpjpe_cm")
    return ORDER.index(trial.status), value if math.isfinite(value) else math.inf


def _by_rank(point: Point) -> tuple[int, int, float]:
    if point.finished:
        return 0, -len(point.finished), point.mean("mpjpe_cm")
    value = point.figure("mpjpe_cm")
    return 1 + ORDER.index(point.status), 0, value if math.isfinite(value) else math.inf
