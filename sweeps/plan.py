"""What a sweep will try: its settings, ranges and budget, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trainables.trial_config import TrialConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class SweepError(ValueError):
    """A request that cannot be carried out; the message says what is wrong and what to do about it."""


@dataclass(frozen=True)
class Axis:
    """One searched whole number: every value from `low` to `high`, or the listed `choices` alone.

    `log` spreads the draws of a range evenly over its magnitudes.
    """

    low: int
    high: int
    choices: tuple[int, ...] = ()
    log: bool = False

    @classmethod
    def parse(cls, text: str, option: str, *, log: bool = False) -> Axis:
        """Read `LOW:HIGH` (both included), `A,B,C` or `A`; raises SweepError that names `option`."""
        remedy = f"{option} takes LOW:HIGH, A,B,C or one whole number above zero; it was given {text!r}"
        try:
            bounds = [int(part) for part in re.split("[:,]", text)]
        except ValueError:
            raise SweepError(f"{remedy}.") from None
        if min(bounds) < 1 or (":" in text and ("," in text or len(bounds) != 2)):
            raise SweepError(f"{remedy}.")
        if ":" in text:
            low, high = bounds
            if low > high:
                raise SweepError(f"{option} {text}: the range is empty; did you mean {high}:{low}?")
            return cls(low, high, log=log)
        choices = tuple(sorted(set(bounds)))
        return cls(choices[0], choices[-1], choices)

    @property
    def values(self) -> Sequence[int]:
        return self.choices or range(self.low, self.high + 1)

    def distribution(self) -> BaseDistribution:
        """The same values for Optuna."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        return IntDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return ",".join(map(str, self.choices)) or f"{self.low}:{self.high}"


@dataclass(frozen=True, kw_only=True)
class Plan(ABC):
    """What every kind of plan has; two of one name must agree in all of their record.

    `epochs` is the budget of the predictor in a trial, `seeds` how often a configuration is trained, `fixed` what
    every trial has instead of its default (fields of TrialConfig), and `environment` names what a trial's identity
    depends on besides its configuration (code, library versions).
    """

    kind: str  # of plan: names begin with it
    data: str
    data_name: str
    data_digest: str
    settings: tuple[str, ...]
    epochs: int
    seeds: int
    seed: int
    workers: int
    protocol: str
    fixed: tuple[tuple[str, Any], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    start_url: str = ""  # of the model that training begins with; its digest is among `fixed`
    name: str = ""

    def __post_init__(self) -> None:
        for option, value in self.counts().items():
            if value < 1:
                raise SweepError(f"{option} {value}: at least 1 is needed.")
        if not self.settings:
            raise SweepError("--split names no setting; give one or more, such as objects,actions.")
        if not self.name:
            digest = hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()
            object.__setattr__(self, "name", f"{self.kind}-{self.data_name}-{digest[:8]}")
        if not _NAME.fullmatch(self.name):
            raise SweepError(
                f"--name {self.name!r}: use lower-case letters, digits, '.', '_' and '-', at most 80 of them."
            )

    def counts(self) -> dict[str, int]:
        """Options that must be above zero."""
        return {"--epochs": self.epochs, "--seeds": self.seeds, "--workers": self.workers}

    def record(self) -> dict[str, Any]:
        """The plan as the ledger keeps and compares it (JSON); where the data lies is no part of it."""
        return {
            "data": self.data_name,
            "data_digest": self.data_digest,
            "split": ",".join(self.settings),
            "epochs": self.epochs,
            "seeds": self.seeds,
            "seed": self.seed,
            "workers": self.workers,
            "protocol": self.protocol,
            **dict(self.fixed),
            **dict(self.environment),
        }

    @abstractmethod
    def config(self, setting: str, **params: Any) -> TrialConfig:
        """The trial that stands for one point of the plan; `params` are those of its TrialRecord."""

    def budget(self, setting: str, params: dict[str, Any]) -> int:
        """Epochs of the predictor after which that trial is finished."""
        return self.config(setting, **params).epochs


@dataclass(frozen=True, kw_only=True)
class SweepPlan(Plan):
    """A search: `trials` is the number of suggestions a setting, `seeds` how often its finalists are trained in all."""

    kind: str = "codebook-size"
    codes: Axis
    depth: Axis
    trials: int

    def counts(self) -> dict[str, int]:
        return {"--trials": self.trials, **super().counts()}

    def record(self) -> dict[str, Any]:
        searched = {"codes": str(self.codes), "depth": str(self.depth), "trials": self.trials}
        return super().record() | searched

    def trials_of(self) -> int:
        """How many suggestions a setting can give at most: the space may hold fewer than asked for."""
        return min(self.trials, len(self.codes.values) * len(self.depth.values))

    def config(self, setting: str, **params: Any) -> TrialConfig:
        """`params`: codes, depth and, where it is not the plan's, seed."""
        return TrialConfig(
            setting=setting,
            protocol=self.protocol,
            codes=params["codes"],
            decoder_depth=params["depth"],
            epochs=self.epochs,
            seed=params.get("seed", self.seed),
            **dict(self.fixed),
        )


# Fields of a trial that options of their own decide, and those that no forecast may have (`without`: the oracle).
_DECIDED = ("setting", "method", "protocol", "epochs", "seed", "without", "start_from")
SEARCHED = ("codes", "decoder_depth")


def parse_fixed(texts: Sequence[str], decided: Sequence[str] = SEARCHED) -> tuple[tuple[str, Any], ...]:
    """Read `--set FIELD=VALUE`, each a field of TrialConfig and none that the script itself has `decided`.

    Raises SweepError that lists the fields.
    """
    defaults = {f.name: f.default for f in fields(TrialConfig) if f.name not in (*_DECIDED, *decided)}
    fixed = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in defaults:
            raise SweepError(f"--set {text}: give FIELD=VALUE with one of {', '.join(sorted(defaults))}.")
        kind: Any = type(defaults[name])
        try:
            fixed[name] = {"true": True, "false": False}[value] if kind is bool else kind(value)
        except (KeyError, ValueError):
            raise SweepError(
                f"--set {text}: {name} takes a {kind.__name__}, such as {defaults[name]}."
            ) from None
    return tuple(sorted(fixed.items()))


def choose_settings(text: str, manifest: dict[str, Any]) -> tuple[str, ...]:
    """The settings that `--split` names, in its order; `all` means every one the data set has.

    Raises SweepError for a name that the manifest does not know, and lists those it does.
    """
    known = sorted(manifest["settings"])
    names = known if text == "all" else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name.partition(":")[0] not in known:
            raise SweepError(
                f"--split {name}: data set {manifest['name']} has no such setting; it has {', '.join(known)}."
            )
    return tuple(dict.fromkeys(names))


def describe_difference(planned: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """One phrase for each field in which two records of a plan differ."""
    return [
        f"{field} was {planned.get(field)} and is now {asked.get(field)}"
        for field in sorted(planned.keys() | asked.keys())
        if planned.get(field) != asked.get(field)
    ]
