"""The report of a sweep: one HTML file that needs nothing else, made from the ledger alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sweeps.report_board import boards
from sweeps.report_chart import Card
from sweeps.report_codes import MOST_ROWS, by_size, code_cards, codebooks
from sweeps.report_cost import Cost, cost, memory_mb
from sweeps.report_curves import curve_cards, loss_cards
from sweeps.report_facts import DEFINITIONS, commands, failures, plan_facts, question, remarks, stand_in
from sweeps.report_front import front_cards
from sweeps.report_heat import heat_fields, heat_map
from sweeps.report_importance import importance, why_not
from sweeps.report_parallel import parallel_card
from sweeps.report_sessions import Session, idle_share, is_own, is_timed, sessions
from sweeps.report_template import PAGE
from sweeps.report_timeline import timeline
from sweeps.report_view import ORDER, STAGES, SweepView, view_of
from sweeps.report_words import UNKNOWN, called, counted, metric_name, moment, share, time_told, told, usd
from trainables.inspect_charts import bars

__all__ = ["SweepView", "view_of", "write_report"]

_SECTIONS = (
    ("leaderboard", "leaderboard"),
    ("map", "map"),
    ("parallel", "configurations"),
    ("importance", "importance"),
    ("curves", "curves"),
    ("front", "Pareto fronts"),
    ("codebooks", "codebooks"),
    ("cluster", "timeline"),
    ("cost", "cost"),
    ("failures", "failures"),
    ("again", "how to repeat"),
    ("words", "definitions"),
)


def write_report(view: SweepView) -> str:
    """The page as text, a few seconds for a thousand trials. What is left out to keep it small is said in its place."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {"called": called, "number": _number}
    environment.filters.update(filters)
    found, spent = sessions(view), cost(view)
    metrics = [objective.metric for objective in view.objectives]
    # What a model weighs and how long it takes is known beforehand; what makes it good is not.
    of_interest = [m for m in metrics if m in ("mpjpe_cm", "contact_f1")]
    weights = {(setting, m): importance(view, setting, m) for setting in view.settings for m in of_interest}
    fields = heat_fields(view, _summed(weights))
    heat = {setting: heat_map(view, setting, fields) for setting in view.settings}
    parallel = [parallel_card(view, setting) for setting in view.settings]
    books = codebooks(view)
    return environment.from_string(PAGE).render(
        view=view,
        plan={"data": "unknown", "protocol": "unknown", "mode": "", **view.plan},
        question=question(view),
        written=moment(time.time()),
        stand_in=stand_in(view),
        boards=boards(view),
        tiles=_tiles(view, found, spent),
        sections=_SECTIONS,
        heat_title=" × ".join(map(called, fields)).capitalize() or "Map",
        heat=[Card(setting, svg) for setting, svg in heat.items() if svg is not None],
        parallel=[card for card in parallel if card is not None],
        importances=[
            (setting, metric_name(m), _bars(shares), why_not(view, setting, m))
            for (setting, m), shares in weights.items()
        ],
        curves=curve_cards(view),
        losses=loss_cards(view),
        fronts=[(setting, front_cards(view, setting)) for setting in view.settings],
        objectives=[metric_name(m) for m in metrics],
        books=books,
        sizes=by_size(books),
        most_books=MOST_ROWS,
        code_cards=code_cards(view, books),
        timeline=timeline(view, found),
        idle_words=_idle_words(found),
        untimed=_untimed(view),
        runs=[_run(session) for session in found],
        cost_lines=_cost_lines(spent),
        stages=(*STAGES, "other"),
        cost_rows=_cost_rows(spent),
        saved=[
            (name, f"{_minus(s)}{time_told(abs(s))}", f"{_minus(s)}{share(abs(s) / spent.naive_s)}")
            for name, s in spent.saved_s.items()
            if abs(s) >= 0.05 and spent.naive_s > 0
        ],
        failures=failures(view),
        remarks=remarks(view),
        commands=commands(view),
        plan_facts=plan_facts(view.plan),
        definitions=DEFINITIONS,
    )


def _tiles(view: SweepView, found: list[Session], spent: Cost) -> list[tuple[str, str]]:
    """The numbers at the top, with what they count."""
    status = [trial.status for trial in view.trials]
    words = ", ".join(f"{status.count(s)} {s}" for s in ORDER if s in status) or "none begun"
    tiles = [
        (f"{len(status):,}", f"trials: {words}"),
        (time_told(spent.spent_s), "of training, by this sweep"),
    ]
    if math.isfinite(spent.ratio):
        tiles.append((share(spent.ratio), "of what naive training takes"))
    if math.isfinite(idle := idle_share(found)):
        tiles.append((share(idle), "idle on the cluster"))
    if spent.others:
        tiles.append((f"{spent.others:,}", "trials found trained"))
    if spent.usd is not None:
        tiles.append((_range(spent.usd, usd), "for the training"))
    if math.isfinite(memory := memory_mb(view)):
        tiles.append((told("peak_memory_mb", memory), "the most that a worker held"))
    return tiles


def _summed(weights: dict[tuple[str, str], dict[str, float]]) -> dict[str, float]:
    """Field -> its importance for the MPJPE, over the settings."""
    total: dict[str, float] = {}
    for (_, metric), shares in weights.items():
        if metric == "mpjpe_cm":
            for name, value in shares.items():
                total[name] = total.get(name, 0.0) + value
    return total


def _bars(shares: dict[str, float]) -> Markup | None:
    names = [called(name) for name in shares]
    return (
        Markup(bars(names, list(shares.values()), "of the explained differences", share=True))
        if shares
        else None
    )


def _idle_words(found: list[Session]) -> str:
    ran = [session for session in found if session.trials]
    held, busy = sum(s.held_s for s in ran), sum(s.busy_s for s in ran)
    one = f"{counted(len(ran), 'session')} of {time_told(sum(s.span_s for s in ran))} in all"
    return (
        f"{share(idle_share(found))} idle: trials ran for {time_told(busy)} of the {time_told(held)} that the places "
        f"were there for, in {one}. What lies between sessions does not count."
    )


def _untimed(view: SweepView) -> str:
    own = [trial for trial in view.trials if is_own(view, trial) and trial.attempts]
    count = sum(not is_timed(view, trial) for trial in own)
    return f"{counted(count, 'trial')} of this sweep without a known place and time." if count else ""


def _run(session: Session) -> list[str]:
    price = session.usd_per_hour
    workers = sorted({f"{count:g}" for count in session.workers}, key=float)
    return [
        moment(session.at_s),
        session.device or "unknown",
        f"{session.slots}",
        " to ".join(workers),
        f"{price:.4g}" if math.isfinite(price) else "unknown",
        time_told(session.start_s),
        time_told(session.span_s),
        f"{len(session.trials)}",
        share(idle_share([session])),
    ]


def _cost_lines(spent: Cost) -> list[str]:
    unit = "GPU hours" if spent.device == "cuda" else "core hours"
    price = _range(spent.usd, usd) if spent.usd is not None else "at an unknown price"
    lines = [
        f"Training took {time_told(spent.spent_s)}: {_range(spent.worker_hours, '{:.3g}'.format)} {unit}, {price}."
    ]
    if spent.spent_s > 0:
        parts = {"repeats over seeds": spent.repeats_s, "trials that failed": spent.failed_s}
        of_it = [f"{share(s / spent.spent_s)} on {name}" for name, s in parts.items() if s > 0]
        of_it.insert(0, f"{share(spent.stage_total('codebook') / spent.spent_s)} of it on codebooks")
        lines.append(f"{', '.join(of_it)}.")
    if spent.nodes_usd is not None:
        cost = usd(spent.nodes_usd)
        lines.append(f"The cluster's nodes cost {cost} over the sessions, idle ones and the head included.")
    elif spent.held_usd is not None:
        lines.append(
            f"The cluster's places cost {_range(spent.held_usd, usd)} over the sessions, idle time included."
        )
    if spent.codebooks:
        lines.append(
            f"{counted(spent.codebook_users, 'trial')} stand on {counted(spent.codebooks, 'codebook')}, "
            f"of which this sweep trained {spent.codebooks_trained}."
        )
    if spent.others:
        lines.append(f"{counted(spent.others, 'trial was', 'trials were')} found trained by other sweeps.")
    if math.isfinite(spent.naive_s):
        lines.append(
            f"Naive training of the same trials takes {time_told(spent.naive_s)}: this sweep spent {share(spent.ratio)} of that."
        )
    return lines


def _cost_rows(spent: Cost) -> list[tuple[str, list[str]]]:
    rows = [
        (setting, [*(time_told(s) for s in stages.values()), time_told(sum(stages.values()))])
        for setting, stages in spent.stage_s.items()
    ]
    if len(rows) > 1:
        totals = [spent.stage_total(stage) for stage in (*STAGES, "other")]
        rows.append(("all settings", [*map(time_told, totals), time_told(sum(totals))]))
    return rows


def _range(pair: tuple[float, float], show: Callable[[float], str]) -> str:
    low, high = map(show, pair)
    return low if low == high else f"{low} to {high}"


def _minus(value: float) -> str:
    return "−" if value < 0 else ""


def _number(value: float, form: str) -> str:
    return form % value if math.isfinite(value) else UNKNOWN
