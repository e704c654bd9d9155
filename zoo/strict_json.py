"""JSON from people who are not trusted: no doubtful value, bounded in size, in depth and in memory.

Python's reader takes a name given twice, NaN, 1e999 (as infinity) and half a code point, and others read those
differently. What two readers can disagree about is refused here.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 40
MAX_VALUES = 1_000_000  # a hundred thousand gate clips have half of that; 1,000,000 take some 200 MB
MAX_INTEGER = 1 << 63


class NotStrict(ValueError):
    """The text is no JSON, or none that all readers agree about. The message is the end of a sentence."""


def parse(data: bytes, *, limit: int) -> Any:
    """The value of `data`, at most `limit` bytes of UTF-8. Raises NotStrict."""
    if len(data) > limit:
        raise NotStrict(f"it has more than {limit} bytes")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise NotStrict(f"it has more than {MAX_VALUES} values")
    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
        )
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict(f"it is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise NotStrict(str(error)) from error
    _check_depth(value)
    if "\\u" in text or "\\U" in text:
        _check_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1) if len(names) < 1000 else "a field"
        raise NotStrict(f"it gives {twice[:60]!r} twice")
    return found


def _constant(text: str) -> float:
    raise NotStrict(f"it holds {text}, which is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrict(f"it holds the number {text[:20]}, which is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -MAX_INTEGER <= (value := int(text)) < MAX_INTEGER:
        raise NotStrict(f"it holds the number {text[:20]}.., which has more than 64 bits")
    return value


def _check_depth(value: Any) -> None:
    """One level at a time, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise NotStrict(f"it is nested deeper than {MAX_DEPTH}")


def _check_text(value: Any) -> None:
    """Escapes can make halves of a code point, which no file name and no UTF-8 can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrict("it holds half a code point") from None
