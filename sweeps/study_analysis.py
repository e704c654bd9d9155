"""What the answers of a user study say. The record (JSON):

schema 1, study, names (a and b), data, asked (as built), rule
raters       answered, finished, counted; excluded: reason -> number
answers      all; counted: those of counted raters on pairs, first showings alone; a, b, same: what they chose
preference   share of answers for A (a tie counts half), low, high (95%), p against one half, degrees
sign_tests   over raters and over groups: prefer_a, prefer_b, even, p
left         the same figures as preference, for the left side in place of A; a_left: how often A stood left
agreement    alpha (estimate, low, high), agreed: share of pairs of raters with one answer
repeats      same, shown: pairs answered again, with sides exchanged
checks       passed, shown, of all raters with enough screens
answer_s     median and quartiles, plays: median
power        variances, least_share and raters_for (see sweeps/study_power.py), or null
groups, pairs    share and answers of each held-out group, and of each pair with its clip
warnings     sentences
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.study_agreement import agreement, alpha
from sweeps.study_answers import Gathered, Seen, gather, judge
from sweeps.study_power import least_raters, least_share
from sweeps.study_statistics import Answers, preference, sign_test, variances
from sweeps.study_votes import LEFT, SAME

RESULTS = "results"
FEW = 5
PLANNED_SHARE = 0.6


def analyse_study(folder: Path, results: Sequence[Path] = ()) -> dict[str, Any]:
    """The record above, from databases and files of answers or folders of them. Raises what `gather` raises."""
    gathered = gather(folder, results)
    counted, excluded = judge(gathered)
    return _record(gathered, counted, excluded)


def _record(gathered: Gathered, counted: set[str], excluded: Mapping[str, int]) -> dict[str, Any]:
    design, key, seen, warnings = gathered.design, gathered.key, gathered.seen, gathered.warnings
    screens = Counter(one.vote.rater for one in seen)
    chosen = [one for one in seen if one.vote.rater in counted and not one.check and not one.repeat]
    looked = [one for one in seen if one.check and screens[one.vote.rater] >= key["rule"]["least_screens"]]
    record: dict[str, Any] = {
        "schema": 1,
        "study": design.study,
        **{name: key[name] for name in ("names", "data", "asked", "rule")},
        "raters": {
            "answered": len(screens),
            "finished": sum(count == design.screens for count in screens.values()),
            "counted": len(counted),
            "excluded": dict(excluded),
        },
        "answers": {"all": len(seen), "counted": len(chosen)} | _choices(chosen),
        "checks": {"passed": sum(one.value == 1 for one in looked), "shown": len(looked)},
    }
    if not chosen:
        return record | {"warnings": [*warnings, "No rater counts by the rule: there is nothing to analyse."]}
    answers = _answers(chosen, [one.value for one in chosen])
    found = preference(answers)
    group_N = answers.group_C[answers.clip_N]
    left = preference(_answers(chosen, [_left(one) for one in chosen]))
    record |= {
        "preference": _plain(asdict(found)),
        "sign_tests": {
            "raters": asdict(sign_test(answers, answers.rater_N)),
            "groups": asdict(sign_test(answers, group_N)),
        },
        "left": _plain(asdict(left)) | {"a_left": float(np.mean([one.a_left for one in chosen]))},
        "agreement": _agreement(chosen),
        "repeats": _repeats(seen, counted),
        **_times(chosen),
        "power": _power(answers, key),
        "groups": _shares(chosen, "group"),
        "pairs": _pairs(chosen, key),
    }
    return record | {"warnings": warnings + _warnings(record, answers)}


def _answers(chosen: Sequence[Seen], values: Sequence[float]) -> Answers:
    return Answers.of(
        values,
        [one.vote.rater for one in chosen],
        [one.clip for one in chosen],
        [one.group for one in chosen],
    )


def _left(one: Seen) -> float:
    return 0.5 if one.vote.choice == SAME else float(one.vote.choice == LEFT)


def _choices(chosen: Sequence[Seen]) -> dict[str, int]:
    counts = Counter(one.value for one in chosen)
    return {"a": counts[1.0], "b": counts[0.0], "same": counts[0.5]}


def _agreement(chosen: Sequence[Seen]) -> dict[str, Any]:
    raters = sorted({one.vote.rater for one in chosen})
    groups = {one.clip: one.group for one in chosen}
    clips = sorted(groups)
    table = np.full((len(raters), len(clips)), np.nan)
    for one in chosen:
        table[raters.index(one.vote.rater), clips.index(one.clip)] = one.value
    found = alpha(table, [groups[clip] for clip in clips]).to_json()
    return _plain(
        {"alpha": {name: found[name] for name in ("estimate", "low", "high")}, "agreed": agreement(table)}
    )


def _repeats(seen: Sequence[Seen], counted: set[str]) -> dict[str, int]:
    first = {(one.vote.rater, one.clip): one.value for one in seen if not one.repeat}
    again = [one for one in seen if one.repeat and one.vote.rater in counted]
    return {
        "same": sum(first.get((one.vote.rater, one.clip)) == one.value for one in again),
        "shown": len(again),
    }


def _times(chosen: Sequence[Seen]) -> dict[str, Any]:
    low, median, high = np.quantile([one.vote.answer_ms / 1000 for one in chosen], [0.25, 0.5, 0.75])
    plays = float(np.median([one.vote.plays for one in chosen]))
    return {"answer_s": {"median": float(median), "low": float(low), "high": float(high)}, "plays": plays}


def _power(answers: Answers, key: Mapping[str, Any]) -> dict[str, Any] | None:
    if (parts := variances(answers)) is None:
        return None
    per_rater = max(1, round(len(answers.value_N) / answers.raters))
    return {
        "variances": asdict(parts),
        "raters": answers.raters,
        "clips": answers.clips,
        "per_rater": per_rater,
        "least_share": least_share(parts, raters=answers.raters, clips=answers.clips, per_rater=per_rater),
        "planned_share": PLANNED_SHARE,
        "raters_for": least_raters(
            PLANNED_SHARE, parts, clips=answers.clips, per_rater=key["sizes"]["per_rater"]
        ),
    }


def _shares(chosen: Sequence[Seen], what: str) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = defaultdict(list)
    for one in chosen:
        values[getattr(one, what)].append(one.value)
    rows = [{what: name, "share": float(np.mean(own)), "answers": len(own)} for name, own in values.items()]
    return sorted(rows, key=lambda row: (-row["share"], row[what]))


def _pairs(chosen: Sequence[Seen], key: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = {
        pair["pair"]: {name: pair[name] for name in ("clip", "start", "group", "text")}
        for pair in key["pairs"]
    }
    return [told[row.pop("clip")] | row for row in _shares(chosen, "clip")]


def _warnings(record: Mapping[str, Any], answers: Answers) -> list[str]:
    said = []
    for count, what in (
        (answers.raters, "raters"),
        (answers.groups, f"held-out groups ({record['asked']['group']})"),
    ):
        if count < 2:
            said.append(f"There is 1 of the {what}: nothing can be said beyond it, and there is no interval.")
        elif count < FEW:
            said.append(f"Only {count} {what}: intervals are rough and wide.")
    raters = record["raters"]
    if raters["answered"] > 4 * max(1, raters["counted"]) / 3:
        said.append("More than a quarter of the raters are not counted: say so where the figures are shown.")
    if raters["finished"] < raters["counted"]:
        said.append("Some counted raters have not seen all of their screens.")
    if record["left"]["p"] < 0.05:
        said.append(
            "Raters prefer one side, whatever stands there: sides are balanced, but answers say less."
        )
    if abs(record["left"]["a_left"] - 0.5) > 0.05:
        said.append(
            f"A stood left in {record['left']['a_left']:.0%} of the answers: sides are not balanced yet."
        )
    return said


def _plain(record: Any) -> Any:
    """NaN, which JSON does not know, as None."""
    if isinstance(record, dict):
        return {name: _plain(value) for name, value in record.items()}
    return None if isinstance(record, float) and not np.isfinite(record) else record
