"""Text without what nobody but its owner may read: keys, tokens, passwords, signed addresses.

What leaves a process for a place that others look at (MLflow, a study, a log) goes through here. Secrets are known by
their value, where an environment variable holds them, and by their place: before the @ of an address, in its query,
after a name such as `token=`. A secret that stands alone and is in no variable cannot be known.
"""

from __future__ import annotations

import functools
import html
import json
import os
import re
from urllib.parse import quote

REMOVED = "[removed]"

_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|SIGNATURE", re.IGNORECASE)
# Shorter values are words such as "true", which stand everywhere.
_SHORTEST = 6
_SECRET_NAME = r"(?:secret|token|passw(?:or)?d|passphrase|credential|signature|(?:api|access|private)[_-]?key)[\w-]{0,40}"

_BY_PLACE = [
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        (r"(://)[^\s/?#\"'<>\\]*@", 0, r"\1"),  # user:password@
        (
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?-----END [A-Z ]{0,40}PRIVATE KEY-----",
            re.DOTALL,
            REMOVED,
        ),
        (r"(\b(?:bearer|basic)\s{1,3})(?=\S*\d)[\w.~+/=-]{16,}", re.IGNORECASE, rf"\1{REMOVED}"),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}", 0, REMOVED),
        (r"(\bAWS_\w{1,40}\\?[\"']?\s{0,3}[=:]\s{0,3})[^\s,;&]+", 0, rf"\1{REMOVED}"),
        (
            rf"({_SECRET_NAME}\\?[\"']?\s{{0,3}}[=:]\s{{0,3}})(\\?\"[^\"]*\"|'[^']*'|[^\s\"',;&<>]{{4,}})",
            re.IGNORECASE,
            rf"\1{REMOVED}",
        ),
    )
]

_ADDRESS = re.compile(r"://[^\s\"'<>\\]*")


def redacted(text: str) -> str:
    """The text with every secret that can be known replaced, or, in an address, left out."""
    values = frozenset(
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST
    )
    if values:
        text = _any_of(values).sub(REMOVED, text)
    text = _ADDRESS.sub(lambda address: address[0].partition("?")[0], text)
    for pattern, replacement in _BY_PLACE:
        text = pattern.sub(replacement, text)
    return text


@functools.lru_cache(maxsize=4)
def _any_of(values: frozenset[str]) -> re.Pattern[str]:
    """Matches each value, also as it stands in an address, in JSON or in HTML; the longest first."""
    forms = {
        form
        for value in values
        for form in (value, quote(value, safe=""), json.dumps(value)[1:-1], html.escape(value))
    }
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
