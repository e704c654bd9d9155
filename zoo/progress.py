"""A bar with the time left, on stderr, for transfers that take more than a moment; silent where no terminal is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

WORTH_A_BAR_BYTES = 16 << 20
T = TypeVar("T")


@contextmanager
def transfer_bar(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to be called with the bytes that were transferred; any thread may call it."""
    if total_bytes < WORTH_A_BAR_BYTES or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total_bytes)
        yield lambda count: bars.advance(task, count)


def counted(what: str, items: Sequence[T]) -> Iterator[T]:
    """The items, with a bar of how many are done."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, what, console=Console(stderr=True), transient=True)
