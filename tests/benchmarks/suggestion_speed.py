"""Suggestions a second of the search as the trials of a sweep grow, with its window and without, and its memory.

    python -m tests.benchmarks.suggestion_speed
    python -m tests.benchmarks.suggestion_speed --only tpe --known 10000 --running 1000

CPU seconds of one core, not wall time: other processes on the machine count little. A suggestion is the telling of one
result and the asking for the next point, of a codebook's size and width, two depths and a learning rate.
"""

from __future__ import annotations

import os

# Before numpy and torch read it: the search takes one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import itertools
import random
import time
import tracemalloc
from typing import Any, ClassVar

import click

from sweeps.point_search import PointSearch
from sweeps.points import Params, Points
from sweeps.space import OBJECTIVES, Axis

AXES = (
    Axis("codes", "int", 32, 4096, log=True),
    Axis("width", "choice", choices=(64, 128, 256, 512)),
    Axis("decoder_depth", "int", 1, 8),
    Axis("encoder_depth", "int", 1, 8),
    Axis("learning_rate", "float", 1e-4, 1e-2, log=True),
)
CASES = (("random", 1), ("tpe", 1), ("tpe", 2), ("tpe", 4), ("gp", 1), ("gp", 2))
# A model of more is not waited for.
GP_UNBOUNDED = 1000


class Unbounded(PointSearch):
    windows: ClassVar[dict[str, int]] = dict.fromkeys(PointSearch.windows, 10**9)


def figures(params: Params, noise: random.Random) -> dict[str, float]:
    """Made-up figures of a point, no two alike, the objectives against each other."""
    size = params["codes"] * params["width"] * params["decoder_depth"]
    return {
        "mpjpe_cm": 4 + 30 / size**0.25 + noise.gauss(0, 0.05),
        "contact_f1": 0.5 + params["decoder_depth"] / 40 + noise.gauss(0, 0.02),
        "parameters": size + noise.random(),
        "latency_ms": params["decoder_depth"] + 2 * params["encoder_depth"] + noise.random(),
    }


def make(kind: type[PointSearch], method: str, objectives: int, known: int, running: int) -> PointSearch:
    noise = random.Random(0)
    chosen = tuple(OBJECTIVES.values())[:objectives]
    ended: list[Any] = []
    for params in Points(AXES, 1).spread(known):
        values = figures(params, noise)
        ended.append((params, tuple(values[objective.metric] for objective in chosen)))
    return kind(
        AXES,
        method=method,
        objectives=chosen,
        seed=0,
        trials=10**6,
        parallel=running,
        known=ended,
        unfinished=[],
    )


def rate(searcher: PointSearch, running: int, seconds: float) -> tuple[float, float]:
    """Suggestions a CPU second with so many trials running, and the slowest one (s)."""
    noise = random.Random(1)
    points = [(str(number), searcher.suggest(str(number))) for number in range(running)]
    took: list[float] = []
    # Long enough to have the search shorten its history several times, in proportion.
    for number in itertools.count(running):
        trial, params = points.pop(0)
        result = figures(params, noise)
        begun = time.process_time()
        searcher.on_trial_complete(trial, result)
        points.append((str(number), searcher.suggest(str(number))))
        took.append(time.process_time() - begun)
        if sum(took) > seconds and len(took) >= 5:
            return len(took) / sum(took), max(took)
    raise AssertionError


def bytes_a_trial(method: str, trials: int) -> float:
    """Memory that a search holds at the end of so many trials, a trial."""
    noise = random.Random(2)
    searcher = make(PointSearch, method, 1, 0, 16)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(trials):
        params = searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), figures(params, noise))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / trials


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(["random", "tpe", "gp"]), help="One method.")
@click.option(
    "--known", "sizes", type=int, multiple=True, default=(100, 1000, 5000, 10000), show_default=True
)
@click.option("--running", default=16, show_default=True, help="Trials that run at once.")
@click.option("--seconds", default=5.0, show_default=True, help="CPU seconds spent on each figure.")
@click.option("--unbounded/--no-unbounded", default=True, help="Also without a window.")
def main(only: str | None, sizes: tuple[int, ...], running: int, seconds: float, unbounded: bool) -> None:
    click.echo(f"{running} trials run at once; suggestions a CPU second (slowest, s)")
    click.echo(f"{'method':8}{'objectives':>11}{'known':>8}{'window':>20}{'none':>20}")
    for method, objectives in CASES:
        if only not in (None, method):
            continue
        for known in sizes:
            cells = []
            for kind in (PointSearch, Unbounded):
                skipped = kind is Unbounded and (not unbounded or (method == "gp" and known > GP_UNBOUNDED))
                if skipped:
                    cells.append("-")
                    continue
                speed, slowest = rate(make(kind, method, objectives, known, running), running, seconds)
                cells.append(f"{speed:.3g} ({slowest:.2g})")
            click.echo(f"{method:8}{objectives:>11}{known:>8}{cells[0]:>20}{cells[1]:>20}")
    if only != "gp":
        click.echo(f"memory of 3,000 random trials: {bytes_a_trial('random', 3000):.0f} bytes a trial")


if __name__ == "__main__":
    main()
