"""How a plan is carried out, as far as the user has a say in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweeps.prices import NO_LIMIT, Budget

# Until workers without a trial give their place back.
IDLE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How a plan is carried out; nothing of it changes what a trial comes to.

    `parallel` trials at once (None: as many as the cluster has places for), `budget` over all runs, `hang_after_s` until
    an epoch counts as hung, `idle_s` until workers without a trial give their place back, `train` in place of
    trainables.trial.train_trial.
    """

    parallel: int | None = None
    budget: Budget = NO_LIMIT
    hang_after_s: float = 1200.0
    idle_s: float = IDLE_S
    retry_failed: bool = False
    train: Callable[..., Any] | None = None
