"""The cluster's nodes while a sweep's drivers ran: their types, hours and price, idle ones and the head included."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.errors import SweepError
from sweeps.ledger import Ledger
from trainables.node_labels import node_type, node_usd_per_hour

# What a driver that is killed leaves uncounted, at most.
_NOTED_EVERY_S = 300.0
# Between two looks; a node that came and went between them was never used.
_LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class NodeType:
    """Nodes of one type and price (USD an hour, None: unknown): their hours together, and how many there were at once."""

    name: str
    usd_per_hour: float | None
    hours: float
    most: int

    @property
    def usd(self) -> float | None:
        return None if self.usd_per_hour is None else self.hours * self.usd_per_hour


class NodeHours:
    """Counts the nodes of the cluster that this driver has joined, and notes them in its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._before = noted(ledger.notes())
        self._kinds: dict[tuple[str, float | None], tuple[float, int]] = {}
        self._looked_s = self._noted_s = time.monotonic()
        self._count(0.0)

    def look(self) -> None:
        """Count what has passed since the last look; does nothing a few seconds after one."""
        now = time.monotonic()
        if now - self._looked_s >= _LOOK_EVERY_S:
            self._count(now - self._looked_s)
            self._looked_s = now
        if now - self._noted_s >= _NOTED_EVERY_S:
            self._note()

    def close(self) -> None:
        """Count and note what is left; the cluster must still be there."""
        now = time.monotonic()
        self._count(now - self._looked_s)
        self._looked_s = now
        self._note()

    def usd(self) -> float | None:
        """What nodes cost over all sessions of this sweep; None where one has no price."""
        return total_usd([*self._before, *self._types()])

    def require_prices(self, asked_for_by: str) -> None:
        """Raises SweepError where a node of the cluster has no price."""
        if unknown := sorted({name for name, price in self._kinds if price is None}):
            raise SweepError(
                f"{asked_for_by}: nobody knows what a node of type {', '.join(unknown)} costs; give --usd-per-hour (of a "
                "worker) or set $LATENTACT_USD_PER_HOUR, or label the nodes latentact/usd-per-hour (docs/cluster.md)."
            )

    def _count(self, seconds: float) -> None:
        import ray

        living = [(node_type(n["Labels"]), node_usd_per_hour(n["Labels"])) for n in ray.nodes() if n["Alive"]]
        for kind in living:
            hours, most = self._kinds.get(kind, (0.0, 0))
            self._kinds[kind] = hours + seconds / 3600, max(most, living.count(kind))

    def _types(self) -> list[NodeType]:
        return [
            NodeType(name, price, hours, most)
            for (name, price), (hours, most) in sorted(self._kinds.items(), key=str)
        ]

    def _note(self) -> None:
        self._noted_s = time.monotonic()
        types = [
            {"type": t.name, "usd_per_hour": t.usd_per_hour, "hours": round(t.hours, 5), "most": t.most}
            for t in self._types()
        ]
        self._ledger.note("nodes", types=types)


def noted(notes: Iterable[Mapping[str, Any]]) -> list[NodeType]:
    """What a sweep's notes say of nodes: of each session its last word, types of the same name and price together."""
    last = {note["session"]: note["types"] for note in notes if note["kind"] == "nodes"}
    merged: dict[tuple[str, float | None], NodeType] = {}
    for types in last.values():
        for t in types:
            key = t["type"], t["usd_per_hour"]
            known = merged.get(key, NodeType(*key, 0.0, 0))
            merged[key] = NodeType(*key, known.hours + t["hours"], max(known.most, t["most"]))
    return list(merged.values())


def total_usd(types: Sequence[NodeType]) -> float | None:
    """None where there are none, or one has no price."""
    costs = [cost for t in types if (cost := t.usd) is not None]
    return sum(costs) if types and len(costs) == len(types) else None
