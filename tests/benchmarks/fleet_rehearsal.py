"""Records a sweep on the one-machine fleet: how many nodes live and train over time, while three of them are lost.

    python -m tests.benchmarks.fleet_rehearsal --out record.json --svg docs/pictures/fleet_rehearsal.svg
    python -m tests.benchmarks.fleet_rehearsal --record record.json --svg picture.svg     # draws a record again

The nodes are processes that share this machine's cores, so that seconds say nothing about a real fleet's: what is seen is
the order of things. About three minutes on two quiet cores. Ends with 1 where a trial was lost or ended twice.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import click

from tests.rehearsed_fleet import CODES, rehearsed_fleet, small_world

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 860, 330, 44, 16, 76, 44
# Alive, and among them those that train: one hue, light and dark.
_ALIVE, _TRAINS, _TEXT, _GRID = "#a9c8ea", "#1f5fa8", "#333333", "#e4e4e4"


@click.command()
@click.option("--nodes", default=5, show_default=True, help="To which the fleet may grow.")
@click.option("--lose", default=3, show_default=True, help="Nodes lost while they train.")
@click.option("--epochs", default=24, show_default=True, help="Of each trial's predictor.")
@click.option("--idle-timeout-s", default=15.0, show_default=True, help="Until a node without work goes.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the record is written.")
@click.option("--svg", type=click.Path(path_type=Path), help="Where it is drawn.")
@click.option("--record", type=click.Path(path_type=Path, exists=True), help="Draw this one, run nothing.")
def main(
    nodes: int, lose: int, epochs: int, idle_timeout_s: float, out: Path | None, svg: Path | None, record: Path | None
) -> None:  # fmt: skip
    """Run it, or read its record, say what was seen and draw it."""
    if record is not None:
        seen = json.loads(record.read_text())
    else:
        with (
            tempfile.TemporaryDirectory(prefix="fleet-") as name,
            rehearsed_fleet(Path(name), nodes=nodes, idle_timeout_s=idle_timeout_s) as fleet,
        ):
            data = small_world(Path(name) / "world")
            seen = json.loads(fleet.rehearse(data, epochs=epochs, lose=lose, tell=click.echo).to_json())
        seen |= {"nodes": nodes, "cores": os.cpu_count(), "idle_timeout_s": idle_timeout_s}
    if out is not None:
        out.write_text(json.dumps(seen, indent=1))
    if svg is not None:
        svg.write_text(draw(seen))
    whole = len(seen["trials"]) == len(CODES) and all(e == {"finished": 1} for e in seen["endings"])
    click.echo(
        f"most nodes {max(len(sample['nodes']) for sample in seen['samples'])} of {seen['nodes']}, "
        f"{len(seen['lost'])} lost, {_replaced(seen)} came after that; "
        f"{sum(trial['status'] == 'finished' for trial in seen['trials'])} of {len(CODES)} trials finished, "
        f"{'each once' if whole else 'NOT each once: ' + str(seen['endings'])}"
    )
    sys.exit(0 if whole and seen["status"] == 0 else 1)


def _replaced(seen: dict[str, Any]) -> int:
    """How many nodes came after the loss."""
    lost_s = next(at_s for at_s, what in seen["events"] if what.endswith("lost"))
    before = {node for s in seen["samples"] if s["at_s"] <= lost_s for node in s["nodes"]}
    return len({node for s in seen["samples"] for node in s["nodes"]} - before)


def draw(seen: dict[str, Any]) -> str:
    """The record as a picture: nodes alive and nodes that train as steps over time, events as lines."""
    end_s = max(seen["samples"][-1]["at_s"], seen["events"][-1][0])
    most = seen["nodes"] + 1

    def x(at_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / end_s

    def y(count: float) -> float:
        return _HEIGHT - _FOOT - (_HEIGHT - _TOP - _FOOT) * count / most

    def steps(counts: Sequence[tuple[float, int]]) -> str:
        path, height = f"M{x(0):.1f},{y(0):.1f}", 0
        for at_s, count in counts:
            path += f"H{x(at_s):.1f}" + (f"V{y(count):.1f}" if count != height else "")
            height = count
        return f"{path}H{x(end_s):.1f}V{y(0):.1f}Z"

    alive = [(s["at_s"], len(s["nodes"])) for s in seen["samples"]]
    trains = [(s["at_s"], len(set(s["trains"]) & set(s["nodes"]))) for s in seen["samples"]]
    parts = []
    for count in range(most):
        parts.append(
            f'<path d="M{_LEFT},{y(count):.1f}H{_WIDTH - _RIGHT}" stroke="{_GRID}"/>'
            f'<text x="{_LEFT - 10}" y="{y(count) + 4:.1f}" text-anchor="end">{count}</text>'
        )
    tick_s = next(t for t in (10, 20, 30, 60, 120, 300, 600) if end_s / t <= 10 or t == 600)
    for at_s in range(0, int(end_s) + 1, tick_s):
        parts.append(f'<text x="{x(at_s):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{at_s}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">seconds since the job was submitted</text>')  # fmt: skip
    parts.append(f'<path d="{steps(alive)}" fill="{_ALIVE}"/><path d="{steps(trains)}" fill="{_TRAINS}"/>')
    free = [-math.inf, -math.inf]  # where the text of each of two rows ends
    for at_s, what in seen["events"]:
        if what in ("job submitted", "first node"):
            continue
        row = 0 if x(at_s) > free[0] else 1
        width = 6.3 * len(what)
        anchor, ends = ("end", x(at_s)) if x(at_s) + width > _WIDTH else ("start", x(at_s) + width)
        free[row] = ends + 8
        top = 52 + 15 * row
        parts.append(
            f'<path d="M{x(at_s):.1f},{top + 3}V{y(0):.1f}" stroke="{_TEXT}" stroke-dasharray="2 3"/>'
            f'<text x="{x(at_s):.1f}" y="{top}" text-anchor="{anchor}">{escape(what)}</text>'
        )
    legend = (
        f'<rect x="{_LEFT}" y="12" width="12" height="12" fill="{_ALIVE}"/><text x="{_LEFT + 18}" y="22">worker nodes alive</text>'
        f'<rect x="{_LEFT + 150}" y="12" width="12" height="12" fill="{_TRAINS}"/>'
        f'<text x="{_LEFT + 168}" y="22">with the worker of a trial</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'fill="{_TEXT}" role="img" aria-label="nodes of a fleet over time"><rect width="100%" height="100%" fill="white"/>'
        f"{legend}{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    main()
