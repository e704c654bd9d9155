"""How long a sweep still takes, from what its trials took so far; nothing is said where nothing is known."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

# The latest trials say best how long the next ones take: codebooks come to be shared as a sweep goes on.
_LATEST = 20
# From so many waiting trials on, the answer may be a second old.
_MANY = 200


@dataclass
class Pace:
    """How fast one running trial goes; all times are monotonic seconds.

    Only the predictor, the last stage, tells how long the whole trial takes: what the others take was spent by then.
    """

    since: float
    first: tuple[float, int] | None = None  # when the predictor's training began here, and after which epoch
    latest: tuple[float, int, int] | None = None  # its last report: when, epoch, epochs

    def reported(self, stage: str, epoch: int, epochs: int, seconds: float) -> None:
        """An epoch that took `seconds` ended just now."""
        if stage != "predictor":
            return
        now = time.monotonic()
        if self.first is None:
            self.first = (max(self.since, now - seconds), epoch - 1)
        self.latest = (now, epoch, epochs)

    def expected_s(self) -> float | None:
        """How long the trial takes in all if nothing stops it; None before an epoch of its predictor."""
        if self.first is None or self.latest is None:
            return None
        now, epoch, epochs = self.latest
        epoch_s = (now - self.first[0]) / max(1, epoch - self.first[1])
        return now - self.since + (epochs - epoch) * epoch_s


class TimeLeft:
    """Learns what trials of each setting take."""

    def __init__(self) -> None:
        self._took_s: dict[str, deque[float]] = {}
        self._answer: tuple[float, float | None] = (float("-inf"), None)

    def took(self, setting: str, seconds: float) -> None:
        """A trial of the setting ended after so long."""
        self._took_s.setdefault(setting, deque(maxlen=_LATEST)).append(seconds)

    def left_s(
        self, running: Iterable[tuple[str, Pace]], waiting: dict[str, int], slots: int
    ) -> float | None:
        """Seconds until the last of `slots` falls idle; None where nothing is known to go by.

        `running` are settings and paces, `waiting` counts the trials to come by setting. A trial takes what its own
        pace says, else the mean of its setting, else the mean of all.
        """
        now = time.monotonic()
        if sum(waiting.values()) >= _MANY and now - self._answer[0] < 1.0:
            return self._answer[1]
        self._answer = (now, self._simulate(list(running), waiting, slots, now))
        return self._answer[1]

    def _simulate(
        self, running: list[tuple[str, Pace]], waiting: dict[str, int], slots: int, now: float
    ) -> float | None:
        own_s = [pace.expected_s() for _, pace in running]
        known = [s for took in self._took_s.values() for s in took] or [s for s in own_s if s is not None]
        wanted = {setting for setting, _ in running} | {setting for setting, n in waiting.items() if n > 0}
        if not known:
            return None if wanted else 0.0
        mean_s = {setting: fmean(self._took_s.get(setting) or known) for setting in wanted}
        free_in_s = [
            max(0.0, (mean_s[setting] if own is None else own) - (now - pace.since))
            for (setting, pace), own in zip(running, own_s, strict=True)
        ]
        free_in_s += [0.0] * max(slots - len(free_in_s), 0 if free_in_s else 1)
        heapq.heapify(free_in_s)
        for setting, trials in waiting.items():
            for _ in range(trials):
                heapq.heapreplace(free_in_s, free_in_s[0] + mean_s[setting])
        return max(free_in_s)
