"""Units of an import in parallel: processes of this machine, or tasks on a Ray cluster; and how far it is."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
_SAY_EVERY_S = 10.0


def map_unordered(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) as they are finished. On Ray where RAY_ADDRESS says that there is a cluster."""
    if os.environ.get("RAY_ADDRESS"):
        from trainables.ray_map import map_on_ray

        yield from map_on_ray(function, items, workers=workers)
        return
    count = min(workers or os.cpu_count() or 1, len(items))
    if count <= 1:
        yield from ((item, function(item)) for item in items)
        return
    # Fresh processes: torch's and pyarrow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_alone_on_a_core)
    try:
        running = {pool.submit(function, item): item for item in items}
        for future in as_completed(running):
            yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone_on_a_core() -> None:
    import torch

    torch.set_num_threads(1)


def progress_over(results: Iterable[Result], *, done: int, total: int, show: bool) -> Iterator[Result]:
    """The results as they come, with a bar on a terminal, else a line now and then, on stderr."""
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield from _in_lines(results, done, total) if show else results
        return
    columns = (
        TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, completed=done)
        for result in results:
            bar.advance(task)
            yield result


def _in_lines(results: Iterable[Result], done: int, total: int) -> Iterator[Result]:
    begun = said = time.monotonic()
    for count, result in enumerate(results, 1):
        now = time.monotonic()
        if now - said >= _SAY_EVERY_S and done + count < total:
            left_s = (now - begun) / count * (total - done - count)
            print(f"converted {done + count} of {total}, {left_s:.0f} s left", file=sys.stderr, flush=True)
            said = now
        yield result
