"""What a sweep searches: fields of a trial with their values, from options or from a file.

A search-space file is TOML, a table a field of TrialConfig:

    [codes]
    low = 128
    high = 1024
    log = true

    [decoder_depth]
    choices = [1, 2, 4]
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeps.errors import SweepError
from trainables.trial_config import TrialConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Fields that options of their own decide, and those that no forecast may have (`without`: the oracle).
DECIDED = ("setting", "method", "protocol", "epochs", "seed", "without", "start_from")
# Fields that change which windows are seen: figures with different ones of them cannot be compared.
_OF_WINDOWS = ("window", "stride", "mode", "hand_free")
_KEYS = {"low", "high", "choices", "log"}


@dataclass(frozen=True)
class Axis:
    """One searched field: every number from `low` to `high`, or the listed `choices` alone.

    `log` spreads the draws of a range evenly over its magnitudes.
    """

    field: str
    kind: Literal["int", "float", "choice"]
    low: float = 0
    high: float = 0
    choices: tuple[Any, ...] = ()
    log: bool = False

    @classmethod
    def parse(cls, text: str, field: str, option: str) -> Axis:
        """Read `LOW:HIGH` (both included), `A,B,C` or `A`, whole numbers; raises SweepError that names `option`.

        A range whose end is eight times its beginning or more is searched by magnitude.
        """
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
            return cls(field, "int", low, high, log=high >= 8 * low)
        return cls(field, "choice", choices=tuple(sorted(set(bounds))))

    @property
    def values(self) -> Sequence[Any] | None:
        """All values in order; None where there are infinitely many."""
        if self.kind == "choice":
            return self.choices
        return range(int(self.low), int(self.high) + 1) if self.kind == "int" else None

    def contains(self, value: Any) -> bool:
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        """The same values for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        if self.kind == "choice":
            return ",".join(map(str, self.choices))
        return f"{self.low:g}:{self.high:g}" + (" log" if self.log else "")


def read_space(path: Path) -> tuple[Axis, ...]:
    """The axes that a search-space file describes. Raises SweepError that names the file, the field and the remedy."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SweepError(f"--space {path}: cannot be read ({error.strerror}); give a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SweepError(f"--space {path}: not TOML ({error}).") from None
    if not tables:
        raise SweepError(
            f"--space {path}: describes no field; write a table such as [codes] with low and high."
        )
    return tuple(_axis(field, table, f"--space {path}: [{field}]") for field, table in sorted(tables.items()))


def _axis(field: str, table: Any, where: str) -> Axis:
    defaults = {f.name: f.default for f in fields(TrialConfig) if f.name not in (*DECIDED, *_OF_WINDOWS)}
    if field not in defaults:
        raise SweepError(
            f"{where}: no field of a trial that can be searched; there are {', '.join(sorted(defaults))}."
        )
    remedy = "give low and high (and log = true to search by magnitude), or choices = [...]"
    if not isinstance(table, dict) or table.keys() - _KEYS or ("choices" in table) == ("low" in table):
        raise SweepError(f"{where}: {remedy}.")
    kind: Any = type(defaults[field])
    allowed = (int, float) if kind is float else (kind,)
    given = table.get("choices", [table.get("low"), table.get("high")])
    if not isinstance(given, list) or not given or any(type(value) not in allowed for value in given):
        raise SweepError(f"{where}: its values are {kind.__name__}s, such as {defaults[field]!r}; {remedy}.")
    if "choices" in table:
        return Axis(field, "choice", choices=tuple(kind(value) for value in dict.fromkeys(given)))
    if kind not in (int, float):
        raise SweepError(f"{where}: a {kind.__name__} has no range; give choices = [...].")
    low, high = given
    log = bool(table.get("log", False))
    if not -math.inf < low <= high < math.inf or (log and low <= 0):
        raise SweepError(
            f"{where}: low {low} and high {high} make no range" + (" by magnitude." if log else ".")
        )
    return Axis(field, "int" if kind is int else "float", low, high, log=log)


@dataclass(frozen=True)
class Objective:
    """A figure that a search looks for the best of."""

    metric: str
    mode: Literal["min", "max"]


OBJECTIVES = {
    objective.metric: objective
    for objective in (
        Objective("mpjpe_cm", "min"),
        Objective("contact_f1", "max"),
        Objective("parameters", "min"),
        Objective("latency_ms", "min"),
    )
}


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Read metrics with commas between; MPJPE comes first whatever their order. Raises SweepError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in OBJECTIVES:
            raise SweepError(f"--objectives {name}: there are {', '.join(OBJECTIVES)}.")
    if "mpjpe_cm" not in names:
        raise SweepError("--objectives: mpjpe_cm must be among them; selection rests on it.")
    return tuple(objective for name, objective in OBJECTIVES.items() if name in names)
