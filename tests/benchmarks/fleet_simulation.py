"""Does the driver keep up with a fleet? 10,000 trials over 1,000 virtual workers: all is real but training and the clock.

    python -m tests.benchmarks.fleet_simulation                          # 10,000 trials, ledger and claims in a folder
    python -m tests.benchmarks.fleet_simulation --trials 2000 --s3       # in a real SeaweedFS, by the wall clock
    python -m tests.benchmarks.fleet_simulation --trials 1000 --workers 100 --seed 1 --profile profile.out

Tune's controller, the search, the stoppers, the claims, the ledger, the recorder and the progress lines are those of a
sweep (see tests/virtual_fleet.py). Virtual workers train epochs of about 60 s. The driver's work takes virtual time:
its CPU time and, for each request to the store, `--latency-ms`; with `--s3` what the wall clock says. Not in it are
Ray's own calls to actors. `utilisation` is the driver's share of the time in which it worked: from 1 on it is the limit.
A report waits from when it is there until Tune has it, and its worker waits with it.
"""

from __future__ import annotations

import os

# Before numpy and torch read it: the search takes one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cProfile
import gc
import sys
import tempfile
import types
from collections import Counter
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import psutil

from sweeps import session
from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.search import SweepSearch
from sweeps.space import Axis
from sweeps.sweep import _search
from tests.object_server import running_store
from tests.virtual_clock import CountedStore, VirtualClock
from tests.virtual_fleet import Fleet, VirtualSession
from zoo.store import open_store

SETTINGS = ("objects", "actions", "tasks", "scenes")


def fleet_plan(trials: int, codebooks: int, seed: int, search: str = "tpe") -> SweepPlan:
    """So many trials in all, on `codebooks` different codebooks a setting."""
    return SweepPlan(
        data="data/world",
        data_name="world",
        data_digest="d" * 64,
        settings=SETTINGS,
        axes=(
            Axis("codes", "choice", choices=tuple(32 * n for n in range(1, codebooks + 1))),
            Axis("dropout", "float", 0.0, 0.5),
        ),
        search=search,
        stopping="asha",
        trials=trials // len(SETTINGS),
        epochs=16,
        seeds=2,
        seed=seed,
        workers="1",
        protocol="first",
        name="fleet",
    )


class Watch:
    """What is measured on the way, against the number of trials that have begun or ended."""

    def __init__(self, fleet: Fleet, settings: dict[str, dict[str, TrialRecord]]) -> None:
        self._fleet, self._settings = fleet, settings
        self.suggested: list[tuple[float, float]] = []  # virtual time, seconds that the suggestion took
        self.refused: list[float] = []  # seconds that the search took to say that nothing can start
        self.memory: list[tuple[int, int]] = []  # trials that have begun, resident bytes
        self.running: list[tuple[float, int]] = []  # virtual time, workers at work
        self._process = psutil.Process()

    def timed(self) -> type[SweepSearch]:
        watch, clock = self, self._fleet.clock

        class Timed(SweepSearch):
            def suggest(self, trial_id: str) -> Any:
                begun_s = clock.monotonic()
                answer = super().suggest(trial_id)
                took_s = clock.monotonic() - begun_s
                if isinstance(answer, dict):
                    watch.suggested.append((begun_s, took_s))
                elif took_s > 0.001:
                    watch.refused.append(took_s)
                return answer

        return Timed

    def step(self) -> None:
        now_s, begun = self._fleet.clock.monotonic(), len(self.suggested)
        if not self.running or now_s - self.running[-1][0] >= 10:
            self.running.append((now_s, len(self._fleet.controller._running_trials)))
        if begun // 250 > (self.memory[-1][0] // 250 if self.memory else -1):
            gc.collect()
            self.memory.append((begun, self._process.memory_info().rss))
            print(f"{begun} trials begun, {self.memory[-1][1] / 1e6:.0f} MB", file=sys.stderr, flush=True)

    def bytes_a_trial(self) -> float:
        """The slope of the memory once the fleet is full."""
        full = [point for point in self.memory if point[0] >= len(self.suggested) / 4] or self.memory
        begun, resident = np.array(full, dtype=float).T
        return float(np.polyfit(begun, resident, 1)[0]) if len(full) > 1 else float("nan")


def size_of(*roots: Any) -> int:
    """Bytes of all that is reached from here, other than code."""
    seen, left, total = set(), list(roots), 0
    while left:
        item = left.pop()
        if id(item) in seen or isinstance(
            item, type | types.ModuleType | types.FunctionType | types.MethodType
        ):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        left += gc.get_referents(item)
    return total


@click.command(help=__doc__)
@click.option("--trials", default=10_000, show_default=True)
@click.option("--workers", default=1000, show_default=True)
@click.option("--codebooks", default=16, show_default=True, help="Different ones a setting.")
@click.option("--epoch-s", default=60.0, show_default=True, help="Virtual seconds of an epoch, on the mean.")
@click.option(
    "--latency-ms", default=20.0, show_default=True, help="Of a request to the store, without --s3."
)
@click.option("--search", default="tpe", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--s3", is_flag=True, help="A SeaweedFS of its own, and the wall clock.")
@click.option("--folder", type=Path, help="Where stores lie; a temporary folder otherwise.")
@click.option("--profile", type=Path, help="Write a cProfile there.")
def main(
    trials: int, workers: int, codebooks: int, epoch_s: float, latency_ms: float, search: str, seed: int,
    s3: bool, folder: Path | None, profile: Path | None,
) -> None:  # fmt: skip
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="fleet-")))
        url = f"file://{here}"
        if s3:
            server = stack.enter_context(running_store(here))
            stack.enter_context(patch.dict(os.environ, server.env))
            url = "s3://zoo/fleet"
        clock = VirtualClock(cpu=not s3)
        inner = open_store(url)
        store = CountedStore(inner, clock, 0.0 if s3 else latency_ms / 1000)
        fleet = Fleet(clock, inner, epoch_s)
        plan = fleet_plan(trials, codebooks, seed, search=search)
        log = stack.enter_context(open(here / "log", "w"))
        profiler = cProfile.Profile()
        with fleet.in_place(), VirtualSession(plan, store, workers) as driver:
            settings, _ = driver.ledger.read(plan.budget)
            watch = Watch(fleet, settings)
            fleet.actors.stepped = watch.step
            before = (clock.monotonic(), clock.busy_s, store.requests)
            with patch.object(session, "SweepSearch", watch.timed()), redirect_stdout(log):
                if profile:
                    profiler.enable()
                _search(driver, plan, settings, warm_start=False)
                profiler.disable()
            after = (clock.monotonic(), clock.busy_s, store.requests)
            if profile:
                profiler.dump_stats(profile)
            report(watch, fleet, settings, workers, [b - a for a, b in zip(before, after, strict=True)])


def report(
    watch: Watch,
    fleet: Fleet,
    settings: dict[str, dict[str, TrialRecord]],
    workers: int,
    spent: list[float],
) -> None:
    """`spent`: virtual seconds, those of them in which the driver worked, requests to the store."""
    took_s, busy_s, requests = spent
    records = [trial for trials in settings.values() for trial in trials.values()]
    statuses = Counter(f"{trial.phase} {trial.status}" for trial in records)
    late_s, steps_s = np.array(fleet.actors.late_s), np.array([busy for _, busy in fleet.actors.steps])
    click.echo(
        f"{len(records)} trials on {workers} workers in {took_s / 3600:.2f} virtual hours: {dict(statuses)}"
    )
    click.echo(
        f"driver busy {busy_s:.0f} s, utilisation {busy_s / took_s:.3f}; {requests / len(records):.1f} requests to the "
        f"store and {1000 * busy_s / len(records):.0f} ms a trial; {len(late_s)} events"
    )
    # The last trials of a sweep leave the others' places idle, whatever the driver does.
    full = [at for at, running in watch.running if running >= 0.95 * workers]
    began_s = watch.running[0][0]
    if full:
        until_s = max(full)
        filled = [running / workers for at, running in watch.running if full[0] <= at <= until_s]
        click.echo(
            f"95% of the workers at work after {full[0] - began_s:.0f} s; from then to {until_s - began_s:.0f} s "
            f"{np.mean(filled):.1%} at work"
        )
        steady = [busy for at, busy in fleet.actors.steps if full[0] <= at <= until_s]
        click.echo(f"utilisation meanwhile {sum(steady) / max(until_s - full[0], 1e-9):.3f}")
        steps_s = np.array(steady)
    peak = max(fleet.actors.steps, key=lambda step: step[1])
    click.echo(
        f"longest stall {peak[1]:.1f} s, {peak[0] - began_s:.0f} s after the start; with a full fleet "
        f"{steps_s.max():.2f} s, of 1,000 steps 999 below {1000 * np.quantile(steps_s, 0.999):.0f} ms"
    )
    click.echo(
        f"reports wait {np.mean(late_s):.3f} s on the mean, median {np.median(late_s):.3f} s, 99% below "
        f"{np.quantile(late_s, 0.99):.2f} s, at most {late_s.max():.1f} s; that is {late_s.sum() / 3600:.2f} of "
        f"{workers * took_s / 3600:.0f} worker hours"
    )
    click.echo("suggestions a second of the driver's work (slowest, s), by trials begun before:")
    took = np.array([seconds for _, seconds in watch.suggested])
    for part in np.array_split(np.arange(len(took)), min(10, len(took))):
        click.echo(f"  {part[0]:>6} {len(part) / took[part].sum():8.1f} ({took[part].max():.2f})")
    refused = sum(watch.refused)
    click.echo(
        f"  saying that nothing can start: {len(watch.refused)} times more than 1 ms, {refused:.0f} s in all"
    )
    end_mb = psutil.Process().memory_info().rss / 1e6
    click.echo(f"Tune's own writing at the end: {fleet.saving_s:.1f} s, then {end_mb:.0f} MB")
    parts = {
        "records": (settings,),
        "Tune's trials": (fleet.controller._trials,),
        "Tune's saved states": (fleet.controller._trial_metadata,),
    }
    kept = ", ".join(f"{name} {size_of(*roots) / len(records) / 1000:.1f}" for name, roots in parts.items())
    click.echo(
        f"memory: {watch.bytes_a_trial() / 1000:.1f} kB a trial (slope of the process, {watch.memory[0][1] / 1e6:.0f} to "
        f"{watch.memory[-1][1] / 1e6:.0f} MB); kB a trial of {kept}"
    )


if __name__ == "__main__":
    main()
