"""A card's Markdown as HTML that fetches nothing and runs nothing.

Raw HTML in it is shown as text. Pictures are those that lie in the bundle, put into the page; any other is named and not
shown. Links leave the page only when a reader follows them.
"""

from __future__ import annotations

import base64
from collections.abc import MutableMapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from zoo import bundle_paths, refusals
from zoo.errors import BundleError

_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


def render_markdown(text: str, folder: Path) -> str:
    """HTML of Markdown text (CommonMark and tables) whose pictures lie in `folder`, a bundle."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", lambda *given: _picture(folder, *given))
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("table_open", lambda *given: '<div class="wide" tabindex="0"><table>')
    parser.add_render_rule("table_close", lambda *given: "</table></div>")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # below the page's own headings
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        # The page's policy allows no style in an element.
        if token.attrs.pop("style", "") == "text-align:right":
            token.attrs["class"] = "n"
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def _data_address(path: Path, shown: str) -> str:
    """A picture of a bundle as a data: address; "" where there is none that a bundle may hold."""
    media = _MEDIA.get(bundle_paths.suffix(shown))
    try:
        bundle_paths.check_path(shown)
        if media is None:
            return ""
        refusals.check_file(path, shown)
    except BundleError:
        return ""
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _picture(
    folder: Path,
    renderer: RendererHTML,
    tokens: Sequence[Token],
    place: int,
    options: Any,
    env: MutableMapping[str, Any],
) -> str:
    token = tokens[place]
    source, words = str(token.attrs.get("src", "")), renderer.renderInlineAsText(token.children, options, env)
    if address := _data_address(folder / source, source):
        return f'<img src="{address}" alt="{escape(words)}">'
    return f'<span class="soft">[picture: {escape(words or source)}]</span>'


def _link(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    address = str(tokens[place].attrs.get("href", ""))
    if not address.lower().startswith(("https://", "http://", "#")):
        return "<a>"
    return f'<a href="{escape(address)}" rel="noopener noreferrer" target="_blank">'
