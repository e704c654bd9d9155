"""Who runs a sweep, and whether that driver is alive, as far as can be seen from outside without claiming anything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from sweeps.live import read_live
from zoo.errors import ObjectMissing
from zoo.store import Store, read_json

# A driver that wrote so lately, by this machine's clock, needs no second look.
_FRESH_S = 30.0
# Longer than a heartbeat's interval, so that a living one is seen to change.
_LOOK_S = 8.0


@dataclass(frozen=True)
class Driver:
    """`state` is "none" (nobody runs it), "running", or "silent": not heard for a while, and not known to have left."""

    state: Literal["none", "running", "silent"]
    holder: str = ""
    live: dict[str, Any] | None = None  # what it, or the one before it, wrote last (sweeps.live)

    def silent_s(self) -> float:
        """Since it wrote last, as far as the clocks of the two machines agree."""
        return 0.0 if self.live is None else max(0.0, time.time() - self.live["at_s"])


def driver_of(store: Store, name: str, *, look_s: float = _LOOK_S) -> Driver:
    """The driver of sweep `name`; takes `look_s` where only its heartbeat can tell, as while it starts."""
    found = read_live(store, name)
    live = found[0] if found else None
    holder = _json(store, f"ledger/claims/sweep/{name}.json").get("holder", "")
    if not holder or _heartbeat(store, holder) is None:
        return Driver("none", "", live)
    if live is not None and live["session"] == holder:
        if live["state"] == "ended":
            return Driver("none", "", live)
        fresh = abs(time.time() - live["at_s"]) < _FRESH_S
        return Driver("running" if fresh else "silent", holder, live)
    return Driver("running" if is_beating(store, holder, look_s) else "silent", holder, live)


def is_beating(store: Store, holder: str, look_s: float = _LOOK_S) -> bool:
    """Whether a holder's heartbeat changes within `look_s`, which no clock of another machine enters."""
    before, until = _heartbeat(store, holder), time.monotonic() + look_s
    while before is not None and time.monotonic() < until:
        time.sleep(min(0.5, look_s / 4))
        now = _heartbeat(store, holder)
        if now != before:
            return now is not None
    return False


def _heartbeat(store: Store, holder: str) -> dict[str, Any] | None:
    """As it stands (every beat differs); None where there is none, or its holder has left."""
    beat = _json(store, f"ledger/holders/{holder}.json")
    return None if not beat or beat.get("left") else beat


def _json(store: Store, key: str) -> dict[str, Any]:
    try:
        return read_json(store, key)
    except ObjectMissing:
        return {}
