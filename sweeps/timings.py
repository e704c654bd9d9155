"""What earlier trials on the same data took: seconds an epoch of each stage, and who may be asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import Plan
from trainables.trial_config import ConfigError, TrialConfig
from zoo.store import Store

_FIELDS = {field.name for field in fields(TrialConfig)}
# Fields that change what is learnt, and not what an epoch takes; any other field does change that.
_FREE = {
    *("setting", "protocol", "seed", "epochs", "codebook_epochs", "indexer_epochs", "start_from"),
    *("learning_rate", "schedule", "warmup_steps", "weight_decay", "clip_norm", "weight_average"),
    *("dropout", "codebook_dropout", "indexer_dropout", "quantizer_dropout", "temperature", "ema_decay"),
    *("commitment_weight", "dead_below_per_row", "contact_weight", "joint_weight", "codebook_joint_weight"),
}


@dataclass(frozen=True)
class Span:
    """Seconds: the least, the expected and the most."""

    least: float = 0.0
    mean: float = 0.0
    most: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.least + other.least, self.mean + other.mean, self.most + other.most)

    def times(self, least: float, mean: float, most: float) -> Span:
        return Span(self.least * least, self.mean * mean, self.most * most)


@dataclass(frozen=True)
class PastTrial:
    """A trial that finished or was stopped, and what it was configured with."""

    trial: TrialRecord
    config: TrialConfig


def past_trials(store: Store, plan: Plan, device: str) -> list[PastTrial]:
    """Those of other sweeps on this plan's data, with as many workers of the same device."""
    past = []
    for name in Ledger.names(store):
        ledger = Ledger(store, name)
        record = ledger.plan_record()
        if name == plan.name or not record:
            continue
        if record["data_digest"] != plan.data_digest or str(record["workers"]) != str(plan.workers):
            continue
        devices = [note["device"] for note in ledger.notes() if note["kind"] == "session"]
        if devices[-1:] == [device]:
            past += _read(ledger, record)
    return past


def _read(ledger: Ledger, record: dict[str, Any]) -> list[PastTrial]:
    settings, _ = ledger.read(lambda setting, params: int(record["epochs"]))
    trials = [trial for trials in settings.values() for trial in trials.values()]
    past = [PastTrial(t, c) for t in trials if (c := _config(record, t))]
    return [done for done in past if done.trial.status in ("finished", "stopped")]


def _config(record: dict[str, Any], trial: TrialRecord) -> TrialConfig | None:
    """What a trial of the plan with this record was configured with; None where this version cannot say."""
    contender = record.get("contenders", {}).get(trial.params.get("contender"), {})
    fixed = {name: value for name, value in record.items() if name in _FIELDS}
    searched = {name: value for name, value in trial.params.items() if name in _FIELDS}
    try:
        return TrialConfig(**{**fixed, **contender, **searched, "setting": trial.setting})
    except (ConfigError, TypeError):
        return None


def stage_epochs(config: TrialConfig) -> dict[str, int]:
    """Epochs of each of its stages, in order."""
    epochs = {
        "codebook": config.codebook_epochs,
        "indexer": config.indexer_epochs,
        "predictor": config.epochs,
    }
    return {stage: epochs[stage] for stage in config.stages}


class Timings:
    """Seconds of a stage from trials that ended: of the same configuration in the same setting where there are any,
    else of one that differs in its setting, or in the `searched` fields, or in both alone.
    """

    def __init__(self, past: Iterable[PastTrial], searched: Iterable[str]) -> None:
        priced = sorted(_FIELDS - _FREE)
        unsearched = [name for name in priced if name not in set(searched)]
        # From the closest likeness to the faintest.
        self._likenesses: list[Callable[[TrialConfig], tuple[Any, ...]]] = [
            lambda config: (config.setting, *(getattr(config, name) for name in priced)),
            lambda config: tuple(getattr(config, name) for name in priced),
            lambda config: (config.setting, *(getattr(config, name) for name in unsearched)),
            lambda config: tuple(getattr(config, name) for name in unsearched),
        ]
        self._known: dict[tuple[Any, ...], list[tuple[str, float]]] = {}
        self.used: set[str] = set()  # identities of the trials that answers came from
        for done in past:
            epochs = {**stage_epochs(done.config), "predictor": done.trial.epochs}
            for stage, seconds in done.trial.stage_seconds.items():
                if epochs.get(stage):
                    for key in self._keys(stage, done.config):
                        entry = (done.trial.identity, seconds / epochs[stage])
                        self._known.setdefault(key, []).append(entry)

    def span(self, stage: str, config: TrialConfig) -> Span | None:
        """What the stage takes with all its epochs; None where nothing like it was timed."""
        for key in self._keys(stage, config):
            if entries := self._known.get(key):
                self.used |= {identity for identity, _ in entries}
                seconds = [second for _, second in entries]
                epochs = stage_epochs(config)[stage]
                span = Span(min(seconds), fmean(seconds), max(seconds))
                return span.times(epochs, epochs, epochs)
        return None

    def _keys(self, stage: str, config: TrialConfig) -> list[tuple[Any, ...]]:
        return [(stage, place, *likeness(config)) for place, likeness in enumerate(self._likenesses)]
