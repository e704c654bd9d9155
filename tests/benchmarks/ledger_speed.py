"""How fast the ledger writes, and how fast a large sweep is read again ("resume decided"), on a real S3 server.

    python -m tests.benchmarks.ledger_speed                    # 25,000 trials, 100,000 events of the sweep
    python -m tests.benchmarks.ledger_speed --trials 1000      # small
    LATENTACT_ZOO=s3://bucket/prefix python -m tests.benchmarks.ledger_speed

Each trial is started, fails, is started again and finishes: 4 events of the sweep and 2 under the trial. Some
processes write them through the ledger itself, each a session, and the last one is as if killed: its page stays open,
and 16 trials have no end. Without LATENTACT_ZOO the store is a SeaweedFS of its own, removed afterwards. CPU seconds are
this process's alone; the wall clock also counts what the server and others on the machine take.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from sweeps.ledger import Ledger, TrialRecord
from tests.object_server import running_store
from zoo.store import open_store

EPOCHS, THREADS, UNFINISHED, TRIAL_EVENTS = 8, 16, 16, 6
METRICS = [
    *("mpjpe_cm", "contact_f1", "contact_precision", "contact_recall", "root_aligned_cm", "procrustes_cm"),
    *("mpjpe_first_cm", "mpjpe_last_cm", "wrist_cm", "fingertips_cm", "perplexity", "live_codes"),
    *("index_accuracy", "loss", "parameters", "latency_ms", "peak_memory_mb"),
]


def trial(i: int) -> TrialRecord:
    """A trial such as a sweep has, about to end."""
    record = TrialRecord(f"{i:064x}", "objects", "search", {"codes": i, "decoder_depth": 2, "seed": 0})
    record.epochs, record.metrics = EPOCHS, {name: 1.234567 + i / (k + 7) for k, name in enumerate(METRICS)}
    record.curve = [(epoch, 5.0 + i / 977 + 1 / epoch) for epoch in range(1, EPOCHS + 1)]
    record.checkpoint = f"s3://zoo/trials/{record.identity}/checkpoint_000008"
    record.seconds, record.stage_seconds = 23.456, {"codebook": 11.5, "indexer": 5.25, "predictor": 6.75}
    record.codebook, record.slot = f"{i // 50:064x}", f"10.0.0.{i % 250}/0"
    record.began_s, record.ended_s = 1_790_000_000.0 + i, 1_790_000_030.0 + i
    record.history = [
        {"stage": stage, "epoch": epoch, "epochs": EPOCHS, "seconds": 1.5, "at_s": record.began_s + epoch}
        | {name: value / epoch for name, value in record.metrics.items()}
        | {f"system/{name}": 12.345 for name in ("cpu_percent", "memory_mb", "gpu_percent", "gpu_memory_mb")}
        for stage in record.stage_seconds
        for epoch in range(1, EPOCHS + 1)
    ]
    return record


def write(url: str, session: str, first: int, count: int, last: bool) -> None:
    """One session's share: `count` trials from the number `first` on."""
    ledger = Ledger(open_store(url), "large", session)

    def run(i: int) -> None:
        record = trial(i)
        for attempt, status in enumerate(("failed", "finished"), 1):
            ledger.started(record.identity, record.setting, record.phase, record.params, attempt)
            record.attempts, record.status = attempt, status  # type: ignore[assignment]
            if last and i >= first + count - UNFINISHED:
                return
            ledger.ended(record)

    ledger.note("session", slots=THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(first, first + count)))
    if not last:
        ledger.compact()


@contextmanager
def clock(what: str, count: int, unit: str) -> Iterator[None]:
    begun, cpu = time.perf_counter(), time.process_time()
    yield
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    click.echo(f"{what:44} {took:8.2f} s  (CPU {cpu:7.2f} s)  {count / took:10,.0f} {unit}/s")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.option("--trials", default=25_000, show_default=True)
@click.option("--writers", default=2, show_default=True, help="Processes that write, 16 threads each.")
def main(trials: int, writers: int) -> None:
    with ExitStack() as stack:
        if "LATENTACT_ZOO" not in os.environ:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            os.environ.update(stack.enter_context(running_store(folder)).env)
        url = f"{os.environ['LATENTACT_ZOO'].rstrip('/')}/ledger-speed-{uuid.uuid4().hex[:8]}"
        store = open_store(url)

        share = trials // writers
        with clock("written, events of sweep and trials", trials * TRIAL_EVENTS, "events"):
            spawn = multiprocessing.get_context("spawn")
            sessions = [
                spawn.Process(target=write, args=(url, f"s{n}", n * share, share, n == writers - 1))
                for n in range(writers)
            ]
            for session in sessions:
                session.start()
            for session in sessions:
                session.join()
        assert all(session.exitcode == 0 for session in sessions)

        before_mb = peak_mb()
        ledger = Ledger(store, "large")
        with clock("read: resume decided", trials * 4, "events"):
            found = ledger.read(lambda setting, params: EPOCHS)[0]["objects"]
        states = [record.status for record in found.values()]
        assert (len(found), states.count("finished")) == (share * writers, share * writers - UNFINISHED)
        click.echo(
            f"{'memory, at most, while it was read':44} {(peak_mb() - before_mb) * 1024 / trials:8.1f} kB a trial"
        )
        with clock("notes", trials * 4, "events"):
            assert len(ledger.notes()) == writers
        some = [record for record in found.values() if record.status == "finished"][:1000]
        with clock(f"histories of {len(some)} trials", len(some), "trials"):
            ledger.read_histories(some)
        assert all(len(record.history) == 3 * EPOCHS for record in some)
        one = Ledger(store, "one", "session")
        with clock("one writer: 200 trials one after another", 800, "events"):
            for i in range(200):
                record = trial(trials + i)
                one.started(record.identity, record.setting, record.phase, record.params, 1)
                record.status = "finished"
                one.ended(record)


if __name__ == "__main__":
    main()
