"""Secrets that stand in a file: keys, tokens and passwords belong into 0600 files, profiles or Kubernetes secrets."""

import re
from collections.abc import Iterator

from cluster.check_finding import Finding, Sheet

_SHAPES = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a password in an address": re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@'\"]+:(?P<value>[^\s@/'\"]+)@"),
    # NAME=value and NAME: value, where NAME speaks of a secret and the value is neither a path nor a reference.
    "a secret": re.compile(
        r"(?i)\b([a-z0-9_.-]*(?:secret_?access_?key|secret_key|password|passwd|auth_token|api_?key|"
        r"tracking_token))\b[\"']?\s*[=:]\s*[\"']?(?P<value>[^\s\"',}]+)"
    ),
}
_REFERENCE = re.compile(r"^(?:[$<~/.&*]|/run/|file:|!|\{)|^(?:true|false|null|none)$", re.IGNORECASE)
# Variables that hold a secret, by name; those that hold the path of one do not.
_SECRET_NAME = re.compile(r"(?i)password|passwd|secret|token(?!izer)|access_key|api_?key|credential")
_FILE_NAME = re.compile(r"(?i)_(?:file|path)$")


def names_secret(variable: str) -> bool:
    return bool(_SECRET_NAME.search(variable)) and not _FILE_NAME.search(variable)


def secrets_in(text: str, sheet: Sheet) -> Iterator[Finding]:
    """An error for each line that holds a secret. The secret itself is not repeated."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") and "PRIVATE KEY" not in line:
            continue
        for what, shape in _SHAPES.items():
            found = shape.search(line)
            if found and not _is_reference(found):
                yield sheet.error(
                    f"line {number}",
                    f"{what} stands in the file",
                    "take it out and make a new one; docs/cluster.md says how secrets reach workers",
                )
                break


def _is_reference(found: re.Match[str]) -> bool:
    value = found.groupdict().get("value")
    return value is not None and bool(_REFERENCE.search(value))
