"""What the workers of a sweep cost, and how much of it may be spent. A price that nobody gave is unknown."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from sweeps.errors import SweepError

_VARIABLE = "LATENTACT_USD_PER_HOUR"


def usd_per_hour(option: float | None) -> float | None:
    """USD an hour of one worker (a GPU with its core, or a core): `--usd-per-hour`, else $LATENTACT_USD_PER_HOUR.

    None where neither is given. Raises SweepError for what is no price.
    """
    text = os.environ.get(_VARIABLE, "") if option is None else str(option)
    if not text:
        return None
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not (0 <= price < math.inf):
        where = f"${_VARIABLE}" if option is None else "--usd-per-hour"
        raise SweepError(f"{where} is {text}; give the USD that one worker costs an hour, such as 1.20.")
    return price


def hours_unit(device: str) -> str:
    """What the hours of workers on a device ("cuda", or any other) are called."""
    return "GPU hours" if device == "cuda" else "core hours"


def describe_cost(worker_seconds: float, device: str, price: float | None) -> str:
    """`1.25 GPU hours, 3.10 USD`; core hours without a GPU, and no amount without a price."""
    hours = worker_seconds / 3600
    return f"{hours:.2f} {hours_unit(device)}" + ("" if price is None else f", {hours * price:.2f} USD")


@dataclass(frozen=True)
class Budget:
    """What a sweep may spend, over all its runs: hours of workers, USD, or both (None: no limit).

    USD are those of workers where `usd_per_hour` says what one costs, else of the cluster's nodes by their labels.
    """

    gpu_hours: float | None = None
    usd: float | None = None
    usd_per_hour: float | None = None

    def __post_init__(self) -> None:
        for option, limit in (("--budget-gpu-hours", self.gpu_hours), ("--budget-usd", self.usd)):
            if limit is not None and not (0 < limit < math.inf):
                raise SweepError(f"{option} {limit:g}: give a number above zero, or leave it out.")

    def spent(self, worker_seconds: float, nodes_usd: float | None = None) -> str | None:
        """Which limit `worker_seconds` (of all workers together) reaches, in words for the middle of a sentence; None below them.

        `nodes_usd` is what the cluster's nodes cost meanwhile, idle ones included.
        """
        hours = worker_seconds / 3600
        if self.gpu_hours is not None and hours >= self.gpu_hours:
            return (
                f"--budget-gpu-hours {self.gpu_hours:g} is used up: workers were held for {hours:.2f} hours"
            )
        if self.usd is not None and self.usd_per_hour is not None and hours * self.usd_per_hour >= self.usd:
            return (
                f"--budget-usd {self.usd:g} is used up: {hours:.2f} hours of workers at {self.usd_per_hour:g} USD "
                f"are {hours * self.usd_per_hour:.2f} USD"
            )
        if (
            self.usd is not None
            and self.usd_per_hour is None
            and nodes_usd is not None
            and nodes_usd >= self.usd
        ):
            return f"--budget-usd {self.usd:g} is used up: the cluster's nodes cost {nodes_usd:.2f} USD"
        return None


NO_LIMIT = Budget()
