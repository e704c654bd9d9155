"""How long it takes to look into, and to promote in, a zoo of 10,000 versions over 100 names, on a real S3 server.

    python -m tests.benchmarks.zoo_scale                         # 100 names with 100 versions each
    python -m tests.benchmarks.zoo_scale --names 10 --versions 20
    python -m tests.benchmarks.zoo_scale --mlflow                # and promote with MLflow shown the alias
    LATENTACT_ZOO=s3://bucket/prefix python -m tests.benchmarks.zoo_scale

Bars: `zoo ls`, the whole command in a fresh process, at most 1 s; promote, the call with its gate, at most 200 ms.

What is in the store: for every version its number record and its digest's claim, byte for byte as publishing writes
them; of each name the last two versions are whole bundles that were published (the first of them promoted to
champion), the others have no files, which neither `ls` nor `promote` asks for. Without LATENTACT_ZOO the store is a
SeaweedFS of its own, removed afterwards. Times are the wall clock's, on a machine that should do nothing else; CPU
is what the fresh process took itself.
"""

from __future__ import annotations

import hashlib
import os
import resource
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click

import zoo
from tests.mlflow_server import running_mlflow
from tests.object_server import own_zoo
from tests.zoo_bundles import write_bundle
from zoo import layout
from zoo.identity import signature
from zoo.names import parse_reference
from zoo.store import Store, open_store, to_json

LS_BAR_S, PROMOTE_BAR_S = 1.0, 0.2
REPEATS, PROMOTED = 7, 20


def model_name(i: int) -> str:
    return f"latentact-data{i:03d}-objects"


def plant(store: Store, i: int, versions: int) -> None:
    """The number records and claims of all versions of a name but the last two."""
    for number in range(1, versions - 1):
        digest = hashlib.sha256(f"{i} {number}".encode()).hexdigest()
        record = {
            "schema": 1, "number": number, "digest": digest, "claimed": True,
            "tags": {"trial": digest, "sweep": f"sweep-{number % 7}", "team": "ours"},
            "figures": {"val_mpjpe_cm": 4 + number / 97, "test_mpjpe_cm": 5 + number / 89, "val_contact_f1": 0.4},
            **signature(),
        }  # fmt: skip
        store.put(layout.claim_key(model_name(i), digest), to_json({"schema": 1, "after": number - 1}))
        store.put(layout.number_key(model_name(i), number), to_json(record))


def publish(store: Store, folder: Path, i: int, versions: int) -> None:
    """The last two versions, and the first champion."""
    for number, error_cm in ((versions - 1, 3.0), (versions, 2.5)):
        bundle = write_bundle(
            folder / f"{i}-{number}", seed=number, data=f"data{i:03d}", errors_cm=[error_cm] * 6
        )
        published = zoo.publish(model_name(i), bundle, tags={"team": "ours"}, store=store)
        assert published.version == number, published
    zoo.promote(model_name(i), versions - 1, store=store)


def measure(what: str, calls: list[Callable[[], object]], bar_s: float | None = None) -> None:
    """Print the median of the calls' times, and the smallest and the largest."""
    took = []
    for call in calls:
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    median = statistics.median(took)
    verdict = "" if bar_s is None else f"   bar {bar_s:.1f} s: {'met' if median <= bar_s else 'MISSED'}"
    click.echo(
        f"{what:52} {1000 * median:7.0f} ms   [{1000 * min(took):.0f}, {1000 * max(took):.0f}]   "
        f"{len(took)} times{verdict}"
    )


def command(*args: str, lines: int | None = None) -> None:
    """A fresh process, which ends well; where `lines` is given it prints that many, so that an empty answer is noticed."""
    result = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert result.returncode == 0, result.stderr
    assert lines is None or len(result.stdout.splitlines()) == lines, result.stdout


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.option("--names", "count", default=100, show_default=True)
@click.option("--versions", default=100, show_default=True)
@click.option("--mlflow", is_flag=True, help="Also promote with a real MLflow server to be told.")
def main(count: int, versions: int, mlflow: bool) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(own_zoo(server="LATENTACT_ZOO" not in os.environ))
        os.environ["LATENTACT_ZOO"] = (
            f"{os.environ['LATENTACT_ZOO'].rstrip('/')}/zoo-scale-{uuid.uuid4().hex[:8]}"
        )
        store = open_store()
        begun = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: plant(store, i, versions), range(count)))
        click.echo(f"planted {count * (versions - 2)} versions in {time.perf_counter() - begun:.0f} s")
        measure("publish a small bundle twice, promote the first", [
            lambda i=i: publish(store, folder, i, versions) for i in range(count)  # type: ignore[misc]
        ])  # fmt: skip

        one = model_name(count // 2)
        measure("python -c pass (fresh process)", [lambda: command("-c", "pass")] * REPEATS)
        measure("zoo --help (fresh process)", [lambda: command("-m", "zoo", "--help")] * REPEATS)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ls = [lambda: command("-m", "zoo", "ls", lines=count + 1)]
        measure("zoo ls (fresh process)", ls * REPEATS, LS_BAR_S)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        click.echo(f"{'   of which CPU of the process':52} {1000 * cpu_s / REPEATS:7.0f} ms")
        ls = [lambda: command("-m", "zoo", "ls", one, "--versions", lines=versions + 1)]
        measure(f"zoo ls {one} --versions", ls * REPEATS)
        measure("zoo.ls() (open connection)", [lambda: zoo.ls(store=store)] * REPEATS)
        champion = parse_reference(f"{one}@champion")
        measure("champion resolved", [lambda: layout.resolve(store, champion)] * 100)

        def promotions(numbers: range) -> list[Callable[[], object]]:
            return [lambda i=i: zoo.promote(model_name(i), versions, store=store) for i in numbers]  # type: ignore[misc]

        promoted = min(PROMOTED, count // 2)
        measure("promote, with the gate", promotions(range(promoted)), PROMOTE_BAR_S)
        entries = {entry.name: entry.aliases for entry in zoo.ls(store=store)}
        assert all(entries[model_name(i)] == {"champion": versions} for i in range(promoted))
        if mlflow:
            (folder / "mlflow").mkdir()
            os.environ["MLFLOW_TRACKING_URI"] = stack.enter_context(running_mlflow(folder / "mlflow")).uri
            shown = range(promoted, promoted + min(5, promoted))
            measure("MLflow shown all versions of a name", [
                lambda i=i: zoo.rebuild_registry(model_name(i), store=store) for i in shown  # type: ignore[misc]
            ])  # fmt: skip
            measure("promote, with the gate, and MLflow told", promotions(shown), PROMOTE_BAR_S)


if __name__ == "__main__":
    main()
