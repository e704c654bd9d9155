"""What went wrong, how to do it again, and what the figures mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.redacted import redacted
from sweeps.report_view import SweepView
from sweeps.report_words import called, listed
from sweeps.selection import words

# Trials named for each reason, and reasons in all.
_MOST_NAMED, _MOST_REASONS = 12, 60
_NOVEL = {
    "objects": "novel objects",
    "actions": "novel actions",
    "tasks": "novel tasks",
    "scenes": "novel scenes",
    "subjects": "people it has not seen",
}

DEFINITIONS = (
    ("MPJPE, cm", "mean distance of the predicted hand joints from the true ones over the frames of a window, in its first camera frame; less is better"),
    ("contact F1, precision, recall", "of the hand's vertices predicted to touch the object, pooled over frames and vertices, between 0 and 1; more is better"),
    ("validation", "windows of held-out groups that no training saw. Every figure here is of that part unless it says test; gate and test choose nothing"),
    ("end to end", "codes come from the trial's own indexer, never from the true motion"),
    ("95% interval", "of the mean over validation clips, by resampling held-out groups and clips within them"),
    ("p", "of a paired test over validation clips that exchanges two configurations in whole groups, corrected (Holm) for the number compared"),
    ("chosen, tied", "the winner where the test separates it from all others; otherwise the cheapest of those that are not significantly worse than the best"),
    ("sd over seeds", "standard deviation over trainings of one configuration with different seeds"),
    ("parameters", "weights of the model that predicts, in thousands (k) or millions (M)"),
    ("latency, ms", "one prediction on the machine that trained it"),
    ("peak memory, MB", "the most that one worker held"),
    ("perplexity, live codes", "exp of the entropy of code use over validation frames: as many codes used alike would be as varied; the share of the codes that at least 1 in 10,000 frames selects"),
    ("stopped", "ended early because it would hardly win; its figures are those of its best epoch until then"),
    ("idle", "share of the places' time, from the first trial's begin to the last one's end of each session, in which no trial ran there; a trial that waits for a codebook is not idle"),
)  # fmt: skip


@dataclass(frozen=True)
class Trouble:
    """A reason with the trials that it befell."""

    reason: str
    count: int
    trials: list[str]
    left_out: int


def question(view: SweepView) -> str:
    """What the sweep asks, in a sentence."""
    what = listed([called(name) for name in view.fields]) or "configuration"
    # Folds of one setting ask for the same.
    to = dict.fromkeys(_NOVEL.get(setting.partition(":")[0], setting) for setting in view.settings)
    verb = "generalise" if len(view.fields) > 1 else "generalises"
    return f"Which {what} {verb} best to {listed(list(to)) or 'what'}?"


def failures(view: SweepView) -> list[Trouble]:
    """Failed trials by reason, most frequent first."""
    return _by_reason([trial for trial in view.trials if trial.status == "failed"], "no reason was given")


def remarks(view: SweepView) -> list[Trouble]:
    """What befell trials that ended well all the same, as one that ran out of memory and then finished alone."""
    return _by_reason([t for t in view.trials if t.status in ("finished", "stopped") and t.reason], "")


def _by_reason(trials: list[TrialRecord], unknown: str) -> list[Trouble]:
    found: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        found.setdefault(trial.reason or unknown, []).append(trial)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))[:_MOST_REASONS]
    return [
        Trouble(
            reason=redacted(reason),
            count=len(of_reason),
            trials=[
                f"{t.setting}: {words(t.params)}, {f'{t.attempts} attempts, ' if t.attempts != 1 else ''}{t.epochs} epochs"
                for t in of_reason[:_MOST_NAMED]
            ],
            left_out=max(len(of_reason) - _MOST_NAMED, 0),
        )
        for reason, of_reason in ordered
    ]


def stand_in(view: SweepView) -> str:
    """The notice that figures were made with the stand-in hand, "" where no report says so."""
    hands = {
        str(report["hand"])
        for report in view.reports.values()
        if report.get("hand") not in (None, "", "mano")
    }
    said = any("stand-in hand" in str(line) for r in view.reports.values() for line in r.get("lines") or [])
    if not hands and not said:
        return ""
    name = f" ({', '.join(sorted(hands))})" if hands else ""
    return f"Made with the project's stand-in hand{name}: figures do not carry over to MANO."


def commands(view: SweepView) -> list[str]:
    """The commands that ran the sweep, as its sessions noted them, oldest first."""
    found = []
    for note in view.notes:
        if note.get("kind") == "session" and (command := note.get("command")):
            found.append(redacted(str(command)))
    return list(dict.fromkeys(found))


def plan_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plan's record as rows, what decides a trial's identity first."""
    first = [name for name in ("data", "data_digest", "split", "code", "torch", "space") if name in plan]
    rows = []
    for name in [*first, *sorted(plan.keys() - set(first))]:
        value = plan[name]
        if isinstance(value, Mapping):
            value = "; ".join(f"{key} {text}" for key, text in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        rows.append((name.replace("_", " "), redacted(str(value))))
    return rows
