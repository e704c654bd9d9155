"""A page that is one file: style, script and data inside it, and a policy that lets it run and fetch nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

DATA_ID = "page-data"


def asset(name: str) -> str:
    """The text of a file of `viewer_assets/`: `viewer.min.js` (the built bundle) or a style sheet."""
    return (resources.files("zoo") / "viewer_assets" / name).read_text("utf-8")


def inline_page(
    *, title: str, style: str, script: str, data: Any, body: str = "", connect: Sequence[str] = ()
) -> str:
    """A whole HTML page.

    title: text. style, script, body: this project's own CSS, JavaScript and markup, taken as they are; text that
    comes from data belongs in `data` and is put on the page by the script, as text. data: JSON-able, found by the
    script in the element `page-data`. connect: the origins that the script may send to, none by default.
    """
    policy = [
        "default-src 'none'",
        f"script-src {_hash_of(script)}",
        f"style-src {_hash_of(style)}",
        "img-src data:",
        *([f"connect-src {' '.join(connect)}"] if connect else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape("; ".join(policy))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="{DATA_ID}">{json_in_html(data)}</script>
<script>{script}</script>
</body>
</html>
"""


def json_in_html(data: Any) -> str:
    """JSON that nothing inside a <script> element can end, start or comment out."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
