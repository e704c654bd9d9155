"""Conditions on models and versions: `test_mpjpe_cm<6`, `tag.team=ours`, `tag.sweep!=codebook-*`, and orders.

A condition is FIELD OPERATOR VALUE, the operator one of < <= > >= = != (== is = too). Two numbers compare as numbers.
Otherwise = and != compare text, and the value may hold the wildcards * and ? and [abc]. What lacks the field
fulfils no condition but !=. Of several conditions, all must be fulfilled.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from zoo.errors import BadFilter

Facts = dict[str, "float | str"]  # field -> value, of one model or version
T = TypeVar("T")

_CONDITION = re.compile(r"\s*([\w.-]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def select(items: Sequence[T], facts: Callable[[T], Facts], where: Iterable[str]) -> list[T]:
    """The items that fulfil every condition.

    Raises BadFilter for one that is not FIELD OPERATOR VALUE, or whose field no item has.
    """
    known = {field for item in items for field in facts(item)}
    tests = [_condition(text, known) for text in where]
    return [item for item in items if all(test(facts(item)) for test in tests)]


def order(items: Sequence[T], facts: Callable[[T], Facts], field: str) -> list[T]:
    """The items by one field, smallest first, or with `-field` largest first; those that lack it come last.

    Raises BadFilter where no item has the field.
    """
    name = field.removeprefix("-")
    _check_field(name, field, {known for item in items for known in facts(item)})

    def rank(item: T) -> tuple[bool, float, str]:
        value = facts(item)[name]
        return (True, 0.0, value) if isinstance(value, str) else (False, value, "")

    having = sorted((item for item in items if name in facts(item)), key=rank, reverse=field.startswith("-"))
    return having + [item for item in items if name not in facts(item)]


def _condition(text: str, known: set[str]) -> Callable[[Facts], bool]:
    match = _CONDITION.fullmatch(text)
    if match is None or not match[3]:
        raise BadFilter(
            f"'{text}' is not a condition: write FIELD, one of < <= > >= = !=, and a VALUE, for example "
            f"'test_mpjpe_cm<6' or 'tag.team=ours' (in quotes, since < and > mean something to the shell)."
        )
    field, sign, value = match[1], match[2].replace("==", "="), match[3]
    _check_field(field, text, known)
    number = _number(value)
    if number is None and sign not in ("=", "!="):
        raise BadFilter(
            f"'{text}' asks whether something is {sign} '{value}', which is not a number: give a number, or compare "
            "text with = or !=."
        )

    def holds(facts: Facts) -> bool:
        if field not in facts:
            return sign == "!="
        there = _number(facts[field])
        if number is not None and there is not None:
            return _COMPARE[sign](there, number)
        return sign in ("=", "!=") and fnmatch.fnmatchcase(str(facts[field]), value) is (sign == "=")

    return holds


def _number(value: float | str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_field(field: str, text: str, known: set[str]) -> None:
    if field in known or not known:
        return
    near = difflib.get_close_matches(field, known, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise BadFilter(
        f"'{text}' names the field '{field}', which no model here has.{hint} Fields: {', '.join(sorted(known))}."
    )
