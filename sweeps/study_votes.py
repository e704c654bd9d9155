"""Answers of a user study: what one is, and which are refused.

An answer must fit the study's design to the last field: that rater's sequence, that screen, that pair, that side. It
holds no name and no address: a rater is the random id that their own browser drew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError

# The parts of a study's folder, see sweeps/study_build.py.
PUBLIC, DESIGN, KEY, DATABASE, RESULTS = "public", "design.json", "key.json", "votes.sqlite", "results"
LEFT, RIGHT, SAME = "left", "right", "same"
_ID = re.compile("[0-9a-f]{32}")
_LONGEST_MS = 24 * 3600 * 1000


class VoteRefused(SweepError):
    """An answer that does not fit the study; the message says which field and why."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer.

    rater: 32 hex digits. position: the screen, from 0. left: id of the motion that stood left. choice: left, right or
    same. plays: how often both motions were played to the end. answer_ms: from the first frame to the answer.
    """

    rater: str
    slot: int
    position: int
    pair: str
    left: str
    choice: str
    plays: int
    answer_ms: int


@dataclass(frozen=True)
class Design:
    """The public half of a study (design.json): pairs and sequences by opaque ids."""

    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Design:
        """Raises SweepError where the folder holds no study."""
        try:
            record = json.loads((folder / DESIGN).read_bytes())
        except FileNotFoundError:
            raise SweepError(
                f"{folder} holds no {DESIGN}: give the folder that `python -m sweeps.study build` wrote."
            ) from None
        except ValueError as error:
            raise SweepError(f"{folder}/{DESIGN} is not JSON ({error}): build the study again.") from error
        if record.get("schema") != 1:
            raise SweepError(
                f"{folder}/{DESIGN} has schema {record.get('schema')}, this version reads 1: build the study again."
            )
        return cls(record)

    @property
    def study(self) -> str:
        return str(self.record["study"])

    @property
    def slots(self) -> list[list[list[int]]]:
        return list(self.record["slots"])

    @property
    def screens(self) -> int:
        """How many answers a whole sequence has."""
        return len(self.slots[0])

    def vote(self, sent: object) -> Vote:
        """The answer that was sent, checked. Raises VoteRefused."""
        names = {field.name for field in fields(Vote)}
        if not isinstance(sent, dict) or set(sent) != names | {"study"}:
            raise VoteRefused(f"an answer has the fields study, {', '.join(sorted(names))} and no others")
        if sent["study"] != self.study:
            raise VoteRefused(
                f"this is study {self.study}, and the answer belongs to another: reload the page"
            )
        self.check_rater(sent["rater"])
        for name, most in (
            ("slot", len(self.slots) - 1), ("position", self.screens - 1), ("plays", 10_000), ("answer_ms", _LONGEST_MS),
        ):  # fmt: skip
            if type(sent[name]) is not int or not 0 <= sent[name] <= most:
                raise VoteRefused(f"{name} is not a whole number from 0 to {most}")
        pair, left = self.screen(sent["slot"], sent["position"])
        if (sent["pair"], sent["left"]) != (pair, left):
            raise VoteRefused(
                f"screen {sent['position']} of sequence {sent['slot']} shows another pair or side"
            )
        if sent["choice"] not in (LEFT, RIGHT, *([SAME] if self.record["ties"] else [])):
            raise VoteRefused("choice is none of the answers of this study")
        if sent["plays"] < 1:
            raise VoteRefused("plays is 0: an answer comes after both motions were seen")
        return Vote(**{name: sent[name] for name in names})

    def screen(self, slot: int, position: int) -> tuple[str, str]:
        """Ids of the pair and of its left motion."""
        index, left = self.slots[slot][position]
        pair = self.record["pairs"][index]
        return pair["id"], pair["motions"][left]

    def check_rater(self, rater: object) -> str:
        if not isinstance(rater, str) or not _ID.fullmatch(rater):
            raise VoteRefused("rater is not 32 hex digits")
        return rater


def read_results(path: Path, design: Design) -> list[Vote]:
    """The answers in a file that a rater's page has saved. Raises SweepError."""
    try:
        record = json.loads(path.read_bytes())
        common = {name: record[name] for name in ("study", "rater", "slot")}
        return [design.vote({**vote, **common}) for vote in record["votes"]]
    except VoteRefused as error:
        raise SweepError(f"{path}: {error}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"{path} is no file of answers ({error}): ask the rater to save it again."
        ) from error
