"""How the report writes numbers and fields: every figure with its unit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sweeps.ledger import TrialRecord
from trainables.inspect_page import duration

UNKNOWN = "–"
# Fields of a trial that a reader knows by another word; the rest is called as in TrialConfig.
_CALLED = {"codes": "codebook size", "decoder_depth": "decoder depth"}
# Metric -> what it is called and its unit.
_METRICS = {
    "mpjpe_cm": ("MPJPE", "cm"),
    "contact_f1": ("contact F1", "share"),
    "parameters": ("parameters", "weights"),
    "latency_ms": ("latency", "ms"),
    "peak_memory_mb": ("peak memory", "MB"),
}
_DECIMALS = {
    "mpjpe_cm": 2,
    "contact_f1": 3,
    "latency_ms": 1,
    "peak_memory_mb": 0,
}


def called(field: str) -> str:
    return _CALLED.get(field, field.replace("_", " "))


def metric_name(metric: str) -> str:
    """`MPJPE, cm`."""
    name, unit = _METRICS.get(metric, (metric.replace("_", " "), ""))
    return f"{name}, {unit}" if unit else name


def figure(trial: TrialRecord, metric: str) -> float:
    """A metric of a trial; NaN where it is missing or no finite number."""
    return finite(trial.metrics.get(metric))


def finite(value: Any) -> float:
    """The number, or NaN for all that is none, infinities too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def mean(values: Iterable[float]) -> float:
    """Of those that are finite; NaN where none is."""
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan


def told(metric: str, value: float, *, unit: bool = True) -> str:
    """A metric's value as text, `5.31 cm`; a dash where it is unknown."""
    if not math.isfinite(value):
        return UNKNOWN
    if metric == "parameters":
        return short(value)
    text = f"{value:.{_DECIMALS[metric]}f}" if metric in _DECIMALS else f"{value:.4g}"
    word = _METRICS.get(metric, ("", ""))[1]
    return f"{text} {word}" if unit and word not in ("", "share") else text


def short(number: float) -> str:
    """`1.24 M`, `356 k`, `0.002`: three digits that say the size."""
    if not math.isfinite(number):
        return UNKNOWN
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * (1 if letter != "k" else 10):
            return f"{number / size:.3g} {letter}"
    return f"{number:.4g}"


def time_told(seconds: float) -> str:
    return duration(seconds) if math.isfinite(seconds) and seconds >= 0 else UNKNOWN


def usd(amount: float) -> str:
    return f"USD {amount:,.2f}" if amount >= 1 else f"USD {amount:.3g}"


def share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else UNKNOWN


def moment(at_s: float) -> str:
    """A Unix time as `2026-03-01 12:30 UTC`."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC" if at_s > 0 else UNKNOWN


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
