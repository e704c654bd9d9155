"""What a sweep will try: its settings, ranges and budget, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sweeps.errors import SweepError
from sweeps.space import DECIDED, OBJECTIVES, Axis, Objective
from trainables.trial_config import TrialConfig

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


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
    workers: str  # of a trial: "2", or "1:4" where Ray Train may grow and shrink it
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
        return {"--epochs": self.epochs, "--seeds": self.seeds}

    def record(self) -> dict[str, Any]:
        """The plan as the ledger keeps and compares it (JSON); where the data lies is no part of it."""
        return {
            "kind": self.kind,
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


SEARCHES = ("tpe", "random", "grid", "gp")
STOPPINGS = ("asha", "hyperband", "pareto", "none")


@dataclass(frozen=True, kw_only=True)
class SweepPlan(Plan):
    """A search over `axes`: `trials` suggestions a setting, then `finalists` trained again with up to `seeds` seeds.

    `search` (of SEARCHES) says how points are chosen, `stopping` (of STOPPINGS) which trials end early.
    """

    kind: str = "codebook-size"
    axes: tuple[Axis, ...]
    search: str = "tpe"
    objectives: tuple[Objective, ...] = (OBJECTIVES["mpjpe_cm"],)
    stopping: str = "asha"
    trials: int
    finalists: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        searched = [axis.field for axis in self.axes]
        if twice := [name for name in dict(self.fixed) if name in searched]:
            raise SweepError(f"--set {twice[0]}: this sweep searches it; leave one of the two out.")
        # What cannot be is refused before anything is trained.
        for axis in self.axes:
            for value in axis.choices or (axis.low, axis.high):
                kind = int if axis.kind == "int" else type(value)
                others = {
                    a.field: (a.choices or (a.low,))[0]
                    for a in self.axes
                    if a is not axis and a.kind != "int"
                }
                others |= {a.field: int(a.low) for a in self.axes if a is not axis and a.kind == "int"}
                self.config(self.settings[0], **others, **{axis.field: kind(value)})

    def counts(self) -> dict[str, int]:
        return {"--trials": self.trials, "--finalists": self.finalists, **super().counts()}

    def record(self) -> dict[str, Any]:
        return super().record() | {
            "space": {axis.field: str(axis) for axis in self.axes},
            "search": self.search,
            "objectives": [objective.metric for objective in self.objectives],
            "stopping": self.stopping,
            "trials": self.trials,
            "finalists": self.finalists,
        }

    def trials_of(self) -> int:
        """How many suggestions a setting can give at most: the space may hold fewer than asked for."""
        sizes = [len(axis.values) if axis.values is not None else self.trials for axis in self.axes]
        return min(self.trials, math.prod(sizes))

    def point(self, params: dict[str, Any]) -> dict[str, Any]:
        """The searched fields of a trial's params: trials of one point may differ in seed and batch."""
        return {axis.field: params[axis.field] for axis in self.axes}

    def config(self, setting: str, **params: Any) -> TrialConfig:
        """`params`: a value for every axis and, where it is not the plan's, seed."""
        return TrialConfig(
            setting=setting,
            protocol=self.protocol,
            epochs=self.epochs,
            **{"seed": self.seed, **dict(self.fixed), **params},
        )


def parse_fixed(texts: Sequence[str], decided: Sequence[str] = ()) -> tuple[tuple[str, Any], ...]:
    """Read `--set FIELD=VALUE`, each a field of TrialConfig and none that the script itself has `decided`.

    Raises SweepError that lists the fields.
    """
    defaults = {f.name: f.default for f in fields(TrialConfig) if f.name not in (*DECIDED, *decided)}
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
