"""What a comparison came to: a row a contender, with intervals and paired tests over the held-out groups."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.comparison_plan import ComparisonPlan
from sweeps.ledger import TrialRecord
from sweeps.readings import trial_key, untrained_key
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.intervals import Interval
from trainables.joined_errors import average_seeds, join_folds
from trainables.significance import holm, paired_p
from trainables.trial_config import stage_identities

METRICS = ("mpjpe_cm", "contact_f1")
Readings = Mapping[str, Mapping[str, Any]]  # by their key in the store


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's figures on test; differences are to the reference, p-values corrected by Holm in each metric."""

    name: str
    rank: int | None = None  # by MPJPE; None for what is no forecast
    oracle: bool = False
    errors: ClipErrors
    seeds: tuple[int, ...] = ()  # none of an untrained predictor
    epochs: str = ""  # of the trained stages in their order
    seconds: float | None = None  # of training, mean over trials
    seconds_are_least: bool = False  # the codebook was trained elsewhere, for a time that is not known
    parameters: int = 0
    chosen: str = ""  # by an untrained predictor on validation windows
    longer: bool = False  # than the budget: another sweep has continued a trial
    figures: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    p: Mapping[str, float]
    p_corrected: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows of a setting, ranked ones first, and what stands below them."""

    plan: ComparisonPlan
    setting: str
    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # contenders without a complete seed
    hand: str
    windows: int

    @property
    def groups(self) -> int:
        return len(set(self.rows[0].errors.groups)) if self.rows else 0

    @property
    def clips(self) -> int:
        return len(self.rows[0].errors.clip_ids) if self.rows else 0


def untrained_keys(plan: ComparisonPlan, setting: str, name: str) -> list[str]:
    """Where an untrained predictor's readings are kept, fold by fold."""
    windows = (plan.config(setting, **params) for params in fold_params(plan))
    return [untrained_key(name, config, plan.data_digest) for config in windows]


def fold_params(plan: ComparisonPlan) -> list[dict[str, Any]]:
    """The reference's params on every fold, first seed: they say which windows there are."""
    return [p for p in plan.points() if p["contender"] == plan.reference and p["seed"] == plan.seed]


def compare(
    plan: ComparisonPlan, setting: str, trials: Sequence[TrialRecord], readings: Readings
) -> Comparison:
    """Average seeds, join folds and compare; a pure function of what the ledger and the store hold."""
    rows = [row for name in plan.contenders if (row := _trained(plan, setting, name, trials, readings))]
    missing = [name for name in plan.contenders if name not in {row.name for row in rows}]
    for name in plan.untrained:
        found = [readings.get(key) for key in untrained_keys(plan, setting, name)]
        complete = [reading for reading in found if reading is not None]
        if len(complete) < len(found):
            missing.append(name)
            continue
        chosen = dict.fromkeys(reading["chosen"] for reading in complete if reading["chosen"])
        rows.append(_row(name, _joined(complete), chosen="; ".join(chosen)))
    rows = _ranked(_tested(rows, plan.reference))
    hands = {reading["hand"] for reading in readings.values()}
    windows = int(rows[0].errors.totals["mpjpe_cm"][:, 1].sum()) if rows else 0
    return Comparison(
        plan=plan,
        setting=setting,
        rows=tuple(rows),
        missing=tuple(missing),
        hand=", ".join(sorted(hands)),
        windows=windows,
    )


def _trained(
    plan: ComparisonPlan, setting: str, name: str, trials: Sequence[TrialRecord], readings: Readings
) -> Row | None:
    """The row of a trained contender over all its seeds that are complete; None without any."""
    by_place = {
        (trial.params["seed"], trial.params.get("fold", 0)): trial
        for trial in trials
        if trial.params["contender"] == name and trial.status == "finished"
    }
    seeds: dict[int, list[TrialRecord]] = {}
    for seed in range(plan.seed, plan.seed + plan.seeds):
        own = [by_place[seed, fold] for fold in plan.fold_numbers() if (seed, fold) in by_place]
        known = [trial for trial in own if trial_key(trial.identity, trial.epochs) in readings]
        if len(known) == len(plan.fold_numbers()):
            seeds[seed] = known
    if not seeds:
        return None

    def reading(trial: TrialRecord) -> Mapping[str, Any]:
        return readings[trial_key(trial.identity, trial.epochs)]

    every = [trial for own in seeds.values() for trial in own]
    config = plan.config(setting, **every[0].params)
    epochs = {"codebook": config.codebook_epochs, "indexer": config.indexer_epochs}
    times = [_seconds(plan, setting, trial, trials) for trial in every]
    return _row(
        name,
        average_seeds([_joined([reading(trial) for trial in own]) for own in seeds.values()]),
        oracle=config.without == "indexer",
        seeds=tuple(seeds),
        epochs="+".join(str(epochs.get(stage, every[0].epochs)) for stage in config.stages),
        seconds=statistics.fmean(seconds for seconds, _ in times),
        seconds_are_least=any(least for _, least in times),
        parameters=reading(every[0])["parameters"],
        longer=any(trial.epochs > config.epochs for trial in every),
    )


def _row(name: str, errors: ClipErrors, **more: Any) -> Row:
    figures = {metric: errors.interval(metric) for metric in METRICS}
    return Row(name=name, errors=errors, figures=figures, differences={}, p={}, p_corrected={}, **more)


def _joined(readings: Sequence[Mapping[str, Any]]) -> ClipErrors:
    return join_folds([ClipErrors.from_json(reading["errors"]) for reading in readings])


def _seconds(
    plan: ComparisonPlan, setting: str, trial: TrialRecord, trials: Sequence[TrialRecord]
) -> tuple[float, bool]:
    """Seconds of a trial's training, with those of stages that it took from the shelf; whether one of them is unknown."""
    seconds, unknown = sum(trial.stage_seconds.values()), False
    for stage, identity in _stages_of(plan, setting, trial).items():
        if stage in trial.stage_seconds:
            continue
        others = [
            other.stage_seconds[stage]
            for other in trials
            if stage in other.stage_seconds and _stages_of(plan, setting, other).get(stage) == identity
        ]
        seconds, unknown = seconds + (others[0] if others else 0.0), unknown or not others
    return seconds, unknown


def _stages_of(plan: ComparisonPlan, setting: str, trial: TrialRecord) -> dict[str, str]:
    """Equal, stage by stage, for trials that stand on the same codebook and indexer."""
    config = plan.config(setting, **trial.params)
    return stage_identities(config, plan.data_digest, workers=plan.workers, device="")


def _tested(rows: Sequence[Row], reference: str) -> list[Row]:
    """The rows with differences to the reference and their p-values; what is no forecast is not tested."""
    base = next((row for row in rows if row.name == reference), None)
    if base is None:
        return list(rows)
    tested = []
    for row in rows:
        if row is not base:
            differences = {m: paired_difference(row.errors, base.errors, m) for m in METRICS}
            p = {} if row.oracle else {m: paired_p(row.errors, base.errors, m) for m in METRICS}
            row = replace(row, differences=differences, p=p)
        tested.append(row)
    for metric in METRICS:
        places = [i for i, row in enumerate(tested) if metric in row.p]
        corrected = holm([tested[i].p[metric] for i in places])
        for i, value in zip(places, corrected, strict=True):
            tested[i] = replace(tested[i], p_corrected={**tested[i].p_corrected, metric: value})
    return tested


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Forecasts by their MPJPE, then oracles in their order, unranked."""

    def figure(row: Row) -> float:
        value = row.figures["mpjpe_cm"].estimate
        return value if math.isfinite(value) else math.inf

    forecasts = sorted((row for row in rows if not row.oracle), key=figure)
    ranked = [replace(row, rank=place) for place, row in enumerate(forecasts, 1)]
    return ranked + [row for row in rows if row.oracle]
