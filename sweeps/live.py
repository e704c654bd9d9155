"""Where a running sweep stands: a small object in the store, and what a log and a terminal show of it.

    ledger/sweeps/<name>/live.json     rewritten by the driver every few seconds; a view, and no truth about any trial

Whoever can read the store can watch, from any machine. Whether the driver lives is told from the object's changes and
not from the times in it, for the clocks of two machines may differ.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.selection import plain
from zoo.errors import ObjectMissing
from zoo.store import Store, parse_json, to_json

_BAR = 16
# How many running trials a line in the log names.
_NAMED = 4
_NO_PLACE = "waiting for a place on the cluster"


def write_live(store: Store, name: str, live: dict[str, Any]) -> None:
    """Put what `Progress.live` says of sweep `name` where others see it."""
    store.put(_key(name), to_json(live))


def read_live(store: Store, name: str) -> tuple[dict[str, Any], str] | None:
    """What the driver of sweep `name` wrote last, and a tag that every rewriting changes; None: it never did."""
    try:
        blob = store.get(_key(name))
    except ObjectMissing:
        return None
    return parse_json(blob.read(), f"{store.url}/{_key(name)}"), blob.tag


def _key(name: str) -> str:
    return f"ledger/sweeps/{name}/live.json"


def screen() -> Console:
    """Where lines and pictures are shown."""
    # Asked by itself: to rich, FORCE_COLOR, which many a job has set, makes a terminal of a log.
    return Console(highlight=False, emoji=False, force_terminal=sys.stdout.isatty())


def can_draw(console: Console) -> bool:
    """Whether it shows pictures, and not only lines."""
    return console.is_terminal and not console.is_dumb_terminal


def describe(params: dict[str, Any], phase: str = "") -> str:
    """`codes=256 decoder_depth=2 seed=1`; all trials of a search have one seed, which is left out there."""
    return " ".join(f"{k}={plain(v)}" for k, v in params.items() if k != "seed" or phase != "search")


def clock(seconds: float) -> str:
    """`0:07`, `12:30`; from an hour on `3 h 05 min`."""
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def log_line(live: dict[str, Any], setting: str, change: str) -> str:
    """`[objects] finished codes=308: 5.34 cm | 3/8 done, 2 running, best 5.34 cm (codes=308), about 1:20 left`.

    Without a `change` it names what is running, without a `setting` it speaks of all of them.
    """
    settings, trials = live["settings"], live["running"]
    done = f"{live['done']}/{live['total']} done"
    if setting and len(settings) > 1:
        done += f" ({settings[setting]['done']}/{settings[setting]['total']} of {setting})"
    running = f"{len(trials)} running"
    if not change:
        named = [
            f"{t['setting'] + ' ' if len(settings) > 1 else ''}{describe(t['params'], t['phase'])}: {_stage(t)}"
            for t in trials[:_NAMED]
        ]
        if len(trials) > _NAMED:
            named.append(f"and {len(trials) - _NAMED} more")
        running += f" ({'; '.join(named)})" if named else ""
        change = live["waiting"] or ("" if trials else _NO_PLACE)
    names = [setting] if setting else list(settings)
    best = [
        f"best{f' {name}' if len(names) > 1 else ''} {text}"
        for name in names
        if (text := _best(settings[name]))
    ]
    facts = ", ".join(filter(None, [done, running, *best, _left(live)]))
    return f"[{','.join(names)}] {change + ' | ' if change else ''}{facts}"


def picture(live: dict[str, Any], *, height: int) -> RenderableType:
    """Settings with their best, the running trials with their stages as far as `height` lines reach, spent and left."""
    settings = Table.grid(padding=(0, 2))
    for name, state in live["settings"].items():
        bar = ProgressBar(max(1, state["total"]), state["done"], width=_BAR)
        best = f"best {_best(state)}" if state["best"] else ""
        settings.add_row(Text(name, style="bold"), bar, Text(f"{state['done']}/{state['total']}"), Text(best))
    parts: list[RenderableType] = [settings]
    if live["running"]:
        parts.append(_running(live, rows=max(2, height - len(live["settings"]) - 5)))
    if live["state"] == "ended":
        parts.append(Text("ended", style="dim"))
    elif live["waiting"] or not live["running"]:
        parts.append(Text(live["waiting"] or _NO_PLACE, style="dim"))
    facts = [f"{live['done']}/{live['total']} done", f"{len(live['running'])} running", _left(live)]
    parts.append(Text(", ".join(filter(None, [*facts, f"spent {live['spent']}"])), style="bold"))
    return Group(*parts)


def _running(live: dict[str, Any], rows: int) -> Table:
    table = Table.grid(padding=(0, 2))
    trials = sorted(live["running"], key=lambda trial: (trial["began_s"], trial["identity"]))
    for trial in trials[:rows]:
        table.add_row(
            Text(f"  {trial['setting']}"),
            Text(describe(trial["params"], trial["phase"])),
            ProgressBar(max(1, trial["epochs"]), trial["epoch"], width=_BAR),
            Text(_stage(trial)),
            Text(clock(live["at_s"] - trial["began_s"])),
            Text(str(trial["slot"]), style="dim"),
        )
    if len(trials) > rows:
        table.add_row("", Text(f"and {len(trials) - rows} more", style="dim"))
    return table


def _left(live: dict[str, Any]) -> str:
    if live["done"] >= live["total"]:
        return ""
    if live["left_s"] is None:
        return "time left unknown until a first trial ends or its predictor trains"
    return f"about {clock(live['left_s'])} left"


def _stage(trial: dict[str, Any]) -> str:
    """`predictor 3/8 5.61 cm`."""
    if not trial["epochs"]:
        return str(trial["stage"])
    figure = "" if trial["mpjpe_cm"] is None else f" {trial['mpjpe_cm']:.2f} cm"
    return f"{trial['stage']} {trial['epoch']}/{trial['epochs']}{figure}"


def _best(state: dict[str, Any]) -> str:
    best = state["best"]
    return f"{best['mpjpe_cm']:.2f} cm ({describe(best['params'], best['phase'])})" if best else ""
