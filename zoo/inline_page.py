"""A page that is one file: style, script and data inside it, and a policy that lets it run and fetch nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

DATA_ID = "page-data"
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def asset(name: str) -> str:
    """The text of a file of `viewer_assets/`: `viewer.min.js` (the built bundle) or a style sheet."""
    return (resources.files("zoo") / "viewer_assets" / name).read_text("utf-8")


def inline_page(
    *, title: str, style: str, script: str, data: Any, body: str = "", connect: Sequence[str] = ()
) -> str:
    """A whole HTML page.

    title: text. style, script, body: this project's own CSS, JavaScript and markup, taken as they are; text that
    comes from data belongs in `data` and is put on the page by the script, as text. data: JSON-able, found by the
    script in the element `page-data`. connect: the origins, or `'self'`, that the script may send to, none by default.
    """
    allowed = {"script-src": [_hash_of(script)]} | ({"connect-src": list(connect)} if connect else {})
    data_and_script = f'<script type="application/json" id="{DATA_ID}">{json_in_html(data)}</script>\n<script>{script}</script>'
    return page_of_markup(title=title, style=style, body=f"{body}\n{data_and_script}", allowed=allowed)


def page_of_markup(*, title: str, style: str, body: str, allowed: Mapping[str, Sequence[str]]) -> str:
    """A page of finished markup. title: text. allowed: what its policy lets it do besides showing this style and data."""
    rules = {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        **allowed,
        "style-src": [_hash_of(style), *allowed.get("style-src", ())],
    }
    policy = "; ".join(" ".join([name, *sources]) for name, sources in rules.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def policy_of(page: str) -> dict[str, list[str]]:
    """The rules of a page that was made here."""
    found = _POLICY.search(page)
    assert found is not None
    rules = (rule.split() for rule in html.unescape(found[1]).split(";"))
    return {name: sources for name, *sources in rules}


def json_in_html(data: Any) -> str:
    """JSON that nothing inside a <script> element can end, start or comment out."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
