"""A team's MLflow on PostgreSQL under 32 trials that report at once: how long a call takes, and what a restart loses.

    python -m tests.benchmarks.team_mlflow [--trials 32] [--seconds 20] [--workers 2 1 4] [--sign-on password proxy]

Wants two quiet cores, on which clients, MLflow, PostgreSQL (fsync on, as it comes) and the S3 store run together. For
each server (`cluster.team_server`, a user with a password who is no administrator):

*clients*: a thread a trial, each sending an epoch (`log_batch` of 8 figures, by the client and in the form of sweeps/) once
a second; first spread over the second, as trials are, then all in the same moment. *sweep*: the one thread of a sweep's driver
that shows the same trials. Both once more with the server killed (kill -9) and started again in the middle. After each,
every figure is read back and compared. The bar: the 95th percentile of a call of spread clients and of the sweep is at
most 100 ms, and nothing is lost.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from sweeps.mlflow_client import client_of
from sweeps.mlflow_entries import epoch_figures, stages_before
from tests.object_server import running_store
from tests.postgres_server import running_postgres
from tests.shown_sweep import Driver
from tests.team_server import TeamServer, environment_of, running_team

_BAR_MS = 100
Told = dict[str, set[tuple[str, float, int, int]]]


def epoch_of(trial: int, epoch: int) -> dict[str, Any]:
    """An entry of a trial's history as a sweep of one stage reports it."""
    return {
        "stage": "predictor", "epoch": epoch, "epochs": 10_000, "step": 7 * epoch, "at_s": time.time(),
        "loss": 1 / epoch + trial / 1000, "val_loss": 1 / epoch, "seconds": 1.0, "mpjpe_cm": 5 + 1 / epoch + trial / 1000,
        "contact_f1": 1 - 1 / (epoch + 1), "latency_ms": 4.25,
        "system/cpu_utilization_percentage": 50.0 + trial, "system/system_memory_usage_megabytes": 900.0 + epoch,
    }  # fmt: skip


def clients(
    uri: str,
    trials: int,
    seconds: float,
    name: str,
    *,
    spread: bool,
    middle: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float], Told]:
    """Milliseconds of the calls that went through at once, and of those that were tried again; what was told, by run."""
    client = client_of(uri)
    experiment = client.create_experiment(name)
    runs = [client.create_run(experiment).info.run_id for _ in range(trials)]
    took_ms: list[float] = []
    late_ms: list[float] = []
    told: Told = {run: set() for run in runs}
    begin_s = time.monotonic() + 1.0

    def report(trial: int) -> None:
        offset_s = trial / trials if spread else 0.0
        for epoch in range(1, int(seconds) + 1):
            time.sleep(max(0.0, begin_s + offset_s + epoch - 1 - time.monotonic()))
            if trial == 0 and epoch == int(seconds) // 3:
                middle()
            figures = list(epoch_figures(epoch_of(trial, epoch), {}))
            told[runs[trial]] |= set(figures)
            metrics = [Metric(key, value, at_ms, step) for key, value, step, at_ms in figures]
            asked_s, tries = time.monotonic(), 0
            while True:
                tries += 1
                try:
                    client.log_batch(runs[trial], metrics=metrics)
                    break
                except Exception:  # noqa: BLE001 the server is away; a sweep's writer tries again whatever it was
                    time.sleep(0.5)
            (took_ms if tries == 1 else late_ms).append(1000 * (time.monotonic() - asked_s))

    with ThreadPoolExecutor(trials) as pool:
        list(pool.map(report, range(trials)))
    return took_ms, late_ms, told


def sweep(
    uri: str, trials: int, seconds: float, name: str, folder: Path, middle: Callable[[], None] = lambda: None
) -> tuple[list[float], float, Told]:
    """Milliseconds of the requests with figures, seconds from the last report until all of it is shown, what was told."""
    driver = Driver(folder, uri, name=name, data_name=name, trials=trials)
    driver.tracking.setting("objects")
    records = [driver.start(1000 + trial) for trial in range(trials)]
    driver.written()
    # System figures go on counting where the stages before have ended.
    before = stages_before(driver.plan.config("objects", **records[0].params).to_json())
    told: dict[str, set[tuple[str, float, int, int]]] = {}
    with timed_calls() as took_ms:
        begin_s = time.monotonic()
        for report in range(int(seconds) * trials):
            time.sleep(max(0.0, begin_s + report / trials - time.monotonic()))
            if report == int(seconds) // 3 * trials:
                middle()
            trial, epoch = report % trials, report // trials + 1
            entry = epoch_of(trial, epoch)
            told.setdefault(records[trial].identity, set()).update(epoch_figures(entry, before))
            driver.report(records[trial], [entry])
        ended_s = time.monotonic()
        driver.written()
        shown_s = time.monotonic() - ended_s
    runs: Told = {}
    for record in records:
        run = driver.tracking.run_id(record.identity)
        assert run is not None
        runs[run] = told[record.identity]
        driver.end(record)
    driver.close()
    return took_ms, shown_s, runs


@contextmanager
def timed_calls() -> Iterator[list[float]]:
    """Milliseconds of every log_batch of this process that went through, until the block ends."""
    took_ms: list[float] = []
    plain = MlflowClient.log_batch

    def timed(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        asked_s = time.monotonic()
        done = plain(self, *args, **kwargs)
        took_ms.append(1000 * (time.monotonic() - asked_s))
        return done

    MlflowClient.log_batch = timed  # type: ignore[method-assign]
    try:
        yield took_ms
    finally:
        MlflowClient.log_batch = plain  # type: ignore[method-assign]


def lost(uri: str, told: Told) -> int:
    """Figures that MLflow lacks, or has otherwise; figures that it has twice count too."""
    client, wrong = client_of(uri), 0
    for run, figures in told.items():
        found = [
            (m.key, m.value, m.step, m.timestamp)
            for name in {figure[0] for figure in figures}
            for m in client.get_metric_history(run, name)
            if m.step <= max(step for _, _, step, _ in figures)
        ]
        wrong += len(figures ^ set(found)) + len(found) - len(set(found))
    return wrong


@contextmanager
def restarting(team: TeamServer) -> Iterator[Callable[[], None]]:
    """What kills the server and starts it again, beside whoever calls it; done when the block ends."""

    def again() -> None:
        team.kill()
        team.again()

    thread = threading.Thread(target=again)
    yield thread.start
    thread.join()


def told_of(took_ms: list[float]) -> str:
    cuts = statistics.quantiles(took_ms, n=20)
    return f"{len(took_ms):5} calls  p50 {statistics.median(took_ms):6.1f}  p95 {cuts[18]:6.1f}  most {max(took_ms):6.0f} ms"


def measure(team: TeamServer, options: argparse.Namespace, folder: Path, label: str) -> bool:
    """Whether the bar is met."""
    n, seconds = options.trials, options.seconds
    met = True

    def line(what: str, took_ms: list[float], told: Told, more: str = "", *, bar: bool = False) -> None:
        nonlocal met
        gone, count = lost(team.uri, told), sum(map(len, told.values()))
        is_met = gone == 0 and (not bar or statistics.quantiles(took_ms, n=20)[18] <= _BAR_MS)
        met = met and is_met
        print(
            f"{label}  {what:24} {told_of(took_ms)}  {gone} of {count} figures lost{more}"
            f"{'' if is_met else '  BAR MISSED'}",
            flush=True,
        )

    kept: list[tuple[str, Callable[[], tuple[list[float], list[float], Told]]]] = [
        ("clients, spread", lambda: clients(team.uri, n, seconds, "spread", spread=True)),
        ("clients, in step", lambda: clients(team.uri, n, seconds, "step", spread=False)),
    ]
    for what, run in kept:
        took_ms, late_ms, told = run()
        line(what, took_ms, told, f", {len(late_ms)} calls repeated", bar="spread" in what)
    with restarting(team) as kill:
        took_ms, late_ms, told = clients(team.uri, n, seconds, "restart", spread=True, middle=kill)
    late = f", {len(late_ms)} calls repeated, {max(late_ms, default=0) / 1000:.0f} s at most"
    line("clients, restarted", took_ms, told, late)
    took_ms, shown_s, told = sweep(team.uri, n, seconds, f"quiet-{team.port}", folder)
    line("sweep", took_ms, told, f", all shown {shown_s:.1f} s after the last report", bar=True)
    with restarting(team) as kill:
        took_ms, shown_s, told = sweep(team.uri, n, seconds, f"restarted-{team.port}", folder, kill)
    line("sweep, restarted", took_ms, told, f", all shown {shown_s:.1f} s after the last report")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="at least 3")
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--sign-on", nargs="+", default=["password"], choices=["password", "proxy"])
    options = parser.parse_args()
    met = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(running_postgres())
        (folder / "weed").mkdir()
        store = stack.enter_context(running_store(folder / "weed"))
        for sign_on in options.sign_on:
            for workers in options.workers:
                name = f"{sign_on}_{workers}"
                (folder / name).mkdir()
                more = ("--workers", str(workers), "--sign-on", sign_on)
                with running_team(folder / name, postgres, name, store, *more) as team:
                    user = team.user("sweeper") if sign_on == "password" else {}
                    with environment_of({**store.env, **user}):
                        label = f"{sign_on}, {workers} workers"
                        met[name] = measure(team, options, folder / name, label)
    print("; ".join(f"{name}: {'met' if is_met else 'missed'}" for name, is_met in met.items()))


if __name__ == "__main__":
    main()
