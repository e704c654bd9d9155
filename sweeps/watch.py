"""Following a sweep and ending one, from any machine that sees the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click
from rich.live import Live

from sweeps.drivers import Driver, driver_of, is_beating
from sweeps.ledger import Ledger
from sweeps.live import can_draw, clock, picture, read_live, screen
from zoo.errors import StoreError
from zoo.store import Store

_POLL_S = 2.0
# A driver writes every few seconds: after the first it is worth a word, after the second nobody waits for it.
_SILENT_S = 30.0
_GIVEN_UP_S = 300.0
# Longer than any driver promises to beat within.
_DEAD_S = 25.0
# Of the log before somebody began to watch.
_LAST_LINES = 5


def watch(store: Store, name: str) -> int:
    """Show how a running sweep goes until it ends: a table on a terminal, else its lines; the exit status.

    1 where its driver is not heard, or no more.
    """
    driver = driver_of(store, name)
    if driver.state != "running":
        click.echo(_not_running(name, driver))
        return 0 if driver.live and driver.live["state"] == "ended" else 1
    shown: _Picture | _Lines = _Lines()
    if can_draw(console := screen()):
        shown = _Picture(console=console, auto_refresh=False)
    with shown:
        warned = False
        for live, silent_s in _looks(store, name, driver):
            if live is not None:
                warned = False
                shown.show(live)
                if live["state"] == "ended":
                    return 0
            elif silent_s > _SILENT_S and not warned:
                warned = True
                if (now := driver_of(store, name)).state != "running":
                    click.echo(_not_running(name, now))
                if now.state == "none":
                    break
            elif silent_s > _GIVEN_UP_S:
                break
    return 1


def stop(store: Store, name: str) -> int:
    """Ask the driver of a sweep to end it, and wait until its trials are parked; the exit status."""
    ledger, driver = Ledger(store, name), driver_of(store, name)
    if driver.state == "silent":
        click.echo(f"Listening for {driver.holder}, which has been silent for {clock(driver.silent_s())} ...")
        if is_beating(store, driver.holder, _DEAD_S):
            driver = replace(driver, state="running")
    if driver.state != "running":
        click.echo(f"{_not_running(name, driver)} There is nothing to stop.")
        return 0
    ledger.ask_stop()
    click.echo(
        f"Asked {driver.holder} to stop {name}; its running trials are parked with what they have learnt."
    )
    said = ""
    try:
        for live, silent_s in _looks(store, name, driver):
            if live is not None and live["state"] == "ended":
                break
            if live is not None:
                running = f"{len(live['running'])} still running, {live['done']}/{live['total']} done"
                if running != said:
                    click.echo(said := running)
            elif silent_s > _SILENT_S:
                if (now := driver_of(store, name)).state == "none":
                    break
                if now.state == "silent":
                    ledger.clear_stop()  # it would stop the next driver, which nobody asked to
                    click.echo(f"{_not_running(name, now)} The request was taken back.")
                    return 1
    except KeyboardInterrupt:
        click.echo(f"The request stands: {name} stops as soon as its driver sees it.")
        return 1
    click.echo(
        f"{name} has stopped. `python -m sweeps status {name}` shows the command that goes on with it."
    )
    return 0


def _looks(store: Store, name: str, driver: Driver) -> Iterator[tuple[dict[str, Any] | None, float]]:
    """Every few seconds: what the driver wrote since the last look (None: nothing), and how long it has been silent.

    While the store itself does not answer, nothing is known and nobody is silent.
    """
    found = read_live(store, name)
    # A driver that still starts has written nothing, and what is there says how the one before it ended.
    tag = found[1] if found and found[0]["session"] != driver.holder else ""
    heard_s = time.monotonic()
    while True:
        try:
            found = read_live(store, name)
            if found is not None and found[1] != tag:
                tag, heard_s = found[1], time.monotonic()
                yield found[0], 0.0
            else:
                yield None, time.monotonic() - heard_s
        except StoreError as error:
            heard_s = time.monotonic()
            click.echo(f"The store does not answer, trying again: {error}", err=True)
        time.sleep(_POLL_S)


def _not_running(name: str, driver: Driver) -> str:
    if driver.state == "none":
        return f"Nobody runs {name}; `python -m sweeps status {name}` shows what it came to."
    return (
        f"{driver.holder}, which runs {name}, has been silent for {clock(driver.silent_s())}: it was killed, or its "
        f"network is down. `python -m sweeps status {name}` shows the command that goes on with it."
    )


class _Picture(Live):
    """The table of a terminal, redrawn."""

    def show(self, live: dict[str, Any]) -> None:
        self.update(picture(live, height=self.console.height), refresh=True)


class _Lines(nullcontext[None]):
    """The lines of the driver's log that were not printed yet."""

    def __init__(self) -> None:
        super().__init__()
        self._session: str | None = None
        self._printed = 0

    def show(self, live: dict[str, Any]) -> None:
        first, lines = live["lines_before"], live["lines"]
        if self._session is None:
            self._printed = first + len(lines) - _LAST_LINES
        elif self._session != live["session"]:  # another driver went on with the sweep
            self._printed = 0
        self._session = live["session"]
        for line in lines[max(0, self._printed - first) :]:
            click.echo(line)
        self._printed = first + len(lines)
