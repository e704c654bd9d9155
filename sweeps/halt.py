"""Why a sweep is to end before its time: somebody asked for it, or the budget is used up. Running trials are parked."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from ray.tune import Stopper

# How often the ledger is asked whether somebody wants the sweep to stop.
_ASK_EVERY_S = 2.0


class Halt(Stopper):
    """Tune stops every trial at its next report as soon as there is a `reason`.

    Args:
        stop_asked: whether the ledger holds a wish to stop.
        used_up: why the budget allows no more, if it does not.
    """

    def __init__(self, stop_asked: Callable[[], bool], used_up: Callable[[], str | None]) -> None:
        self.reason = ""
        self._stop_asked, self._used_up = stop_asked, used_up
        self._asked_s = 0.0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self.reason)

    def stop_all(self) -> bool:
        """Never at once: each trial ends with a checkpoint at its next report."""
        return False

    def look(self) -> str:
        """Find out; the reason, empty where there is none."""
        if not self.reason and time.monotonic() - self._asked_s >= _ASK_EVERY_S:
            self._asked_s = time.monotonic()
            if self._stop_asked():
                self.reason = "asked to stop"
            else:
                self.reason = self._used_up() or ""
        return self.reason

    @contextmanager
    def on_signals(self) -> Any:
        """SIGINT and SIGTERM, which `ray job stop` sends, park the trials; a second one ends the process at once."""

        def caught(number: int, frame: Any) -> None:
            if self.reason:
                raise KeyboardInterrupt
            self.reason = f"{signal.Signals(number).name} received"
            print(f"{self.reason}: parking what runs; once more ends at once.", flush=True)

        before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its parts for a resume of its own, and connections cannot be pickled.
        return {}
