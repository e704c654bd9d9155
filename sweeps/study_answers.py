"""The answers to a user study from databases and files, told apart with its key, and which raters count.

Raters count by the rule that was written into the key when the study was built: enough screens, and no more checks
missed than allowed. "No difference" in a check is a miss.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError
from sweeps.study_design import TRUE, A
from sweeps.study_store import read_database
from sweeps.study_votes import DATABASE, KEY, LEFT, RESULTS, SAME, Design, Vote, read_results


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One answer with what the key says of it."""

    vote: Vote
    check: bool
    repeat: bool
    value: float  # 1 for a (in a check: for the true motion), 0 for the other, one half for no difference
    a_left: bool
    clip: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All answers to a study, each once, and what must be said of them."""

    design: Design
    key: Mapping[str, Any]
    seen: list[Seen]
    warnings: list[str]


def gather(folder: Path, results: Sequence[Path] = ()) -> Gathered:
    """The answers in `results`, or in the folder's database and its `results/`.

    Raises:
        SweepError: there is no key or no answer, or a file is none of this study.
    """
    design = Design.read(folder)
    try:
        key = json.loads((folder / KEY).read_bytes())
    except (OSError, ValueError) as error:
        raise SweepError(
            f"{folder}/{KEY} cannot be read ({error}): answers can be told apart with the key alone; copy it here."
        ) from error
    if key.get("study") != design.study:
        raise SweepError(
            f"{folder}/{KEY} is of study {key.get('study')}, the folder of study {design.study}."
        )
    votes, warnings = _merged(design, _sources(folder, results))
    if not votes:
        raise SweepError(
            f"{folder} has no answers yet: name files or databases of answers, or wait for raters."
        )
    return Gathered(design=design, key=key, seen=_told_apart(design, key, votes), warnings=warnings)


def _sources(folder: Path, results: Sequence[Path]) -> list[Path]:
    wanted = results or [path for path in (folder / DATABASE, folder / RESULTS) if path.exists()]
    found: list[Path] = []
    for path in wanted:
        found += sorted(path.glob("*.json")) + sorted(path.glob("*.sqlite")) if path.is_dir() else [path]
    return found


def _merged(design: Design, sources: Iterable[Path]) -> tuple[list[Vote], list[str]]:
    """Every answer once, and what to say of those that came twice and differ: the first stands."""
    kept: dict[tuple[str, int], Vote] = {}
    differing = 0
    for path in sources:
        for vote in (read_database if path.suffix == ".sqlite" else read_results)(path, design):
            differing += kept.setdefault((vote.rater, vote.position), vote) != vote
    said = [f"{differing} answers came twice and differ; the first was taken."] if differing else []
    return list(kept.values()), said


def _told_apart(design: Design, key: Mapping[str, Any], votes: Sequence[Vote]) -> list[Seen]:
    pairs = {pair["pair"]: pair for pair in key["pairs"]}
    found = []
    for vote in sorted(votes, key=lambda vote: (vote.rater, vote.position)):
        pair = pairs[vote.pair]
        check = pair["kind"] == "check"
        on_left = pair["motions"][vote.left] == (TRUE if check else A)
        before = design.slots[vote.slot][: vote.position]
        index = design.slots[vote.slot][vote.position][0]
        value = 0.5 if vote.choice == SAME else float((vote.choice == LEFT) == on_left)
        found.append(
            Seen(
                vote=vote, check=check, repeat=any(index == other for other, _ in before), value=value, a_left=on_left,
                clip=pair["pair"], group=pair["group"],
            )
        )  # fmt: skip
    return found


def judge(gathered: Gathered) -> tuple[set[str], Counter[str]]:
    """The raters who count, and why the others do not."""
    key = gathered.key
    by_rater: dict[str, list[Seen]] = defaultdict(list)
    for one in gathered.seen:
        by_rater[one.vote.rater].append(one)
    counted, excluded = set(), Counter[str]()
    for rater, own in by_rater.items():
        missed = sum(one.check and one.value < 1 for one in own)
        if len(own) < key["rule"]["least_screens"]:
            excluded["too few screens"] += 1
        elif missed > key["rule"]["failed_checks_allowed"]:
            excluded["missed checks"] += 1
        else:
            counted.add(rater)
    return counted, excluded
