"""What may stand in the texts, tables and pictures of a bundle. Anything that could act where it is shown is refused.

Cards are printed in terminals and rendered as Markdown, figures are opened in browsers: no escape sequences, no
scripts, no requests to other places, no picture that unpacks to more than a screen can hold.
"""

from __future__ import annotations

import html
import re
import urllib.parse
import zlib
from collections.abc import Callable

from zoo import strict_json
from zoo.errors import ContentRefused

MAX_PIXELS = 64_000_000
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_ACTIVE_TAG = re.compile(
    r"<\s*/?\s*(?:script|iframe|frame|frameset|object|embed|applet|form|input|button|textarea|select|meta|link|base|"
    r"style|svg|math|template|portal|audio|video|source|track)\b|<[a-z/!?][^>]*\bon[a-z]+\s*=",
    re.IGNORECASE,
)
_ACTIVE_URL = re.compile(
    r"""[(<="'\[\]:,](?:javascript|vbscript|livescript|data:(?!image/(?:png|jpeg|gif)[;,])[a-z]+/)[a-z0-9.+-]*[:;,]"""
)
_INNER_URL = re.compile(r"#[\w.-]+")
_CSS_ACTIVE = re.compile(
    r"@import|expression\s*\(|-moz-binding|behavior\s*:|\\|url\s*\((?!\s*['\"]?#)", re.IGNORECASE
)
_SVG_ELEMENTS = {
    "svg", "g", "defs", "symbol", "use", "title", "desc", "style", "metadata", "path", "rect", "circle", "ellipse",
    "line", "polyline", "polygon", "text", "tspan", "clipPath", "mask", "pattern", "marker", "linearGradient",
    "radialGradient", "stop",
    "RDF", "Work", "type", "date", "format", "creator", "Agent",  # of Matplotlib's metadata
}  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = {
    b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"bKGD", b"tEXt", b"tIME", b"IDAT", b"IEND",
}  # fmt: skip


def check_text(data: bytes, shown: str) -> str:
    """UTF-8 without control characters (terminals obey them) and without marks that reorder what is read."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _refused(shown, f"is not UTF-8 ({error.reason} at byte {error.start})") from None
    if match := _CONTROL.search(text):
        raise _refused(shown, f"holds the control character U+{ord(match[0]):04X} at {match.start()}")
    return text


def check_markdown(data: bytes, shown: str) -> None:
    """Text in which no HTML acts: no script, no frame, no form, no handler, no address that is code."""
    text = html.unescape(check_text(data, shown))
    if match := _ACTIVE_TAG.search(text):
        raise _refused(shown, f"holds HTML that acts ({match[0][:40]!r})")
    flat = re.sub(r"\s", "", urllib.parse.unquote(text).lower())
    if match := _ACTIVE_URL.search(flat):
        raise _refused(shown, f"holds an address that is code ({match[0][:40]!r})")


def check_json(data: bytes, shown: str) -> None:
    """Strict JSON, an object or a list."""
    try:
        value = strict_json.parse(data, limit=len(data))
    except strict_json.NotStrict as error:
        raise _refused(shown, f"is not sound JSON: {error}") from error
    if not isinstance(value, dict | list):
        raise _refused(shown, "holds neither an object nor a list")


def check_svg(data: bytes, shown: str) -> None:
    """A still picture: known elements, no script, no entity, no address outside of the file."""
    from xml.parsers import expat

    check_text(data, shown)
    parser = expat.ParserCreate(namespace_separator=" ")
    inside: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        element = name.rsplit(" ", 1)[-1]
        inside.append(element)
        if element not in _SVG_ELEMENTS or len(inside) > 100 or (len(inside) == 1 and element != "svg"):
            raise _refused(shown, f"holds the element <{element[:40]}>, which no still picture needs")
        for full_name, value in attributes.items():
            attribute = full_name.rsplit(" ", 1)[-1].lower()
            outside = attribute in ("href", "src", "base") and not _INNER_URL.fullmatch(value.strip())
            if attribute.startswith("on") or outside or _CSS_ACTIVE.search(value):
                raise _refused(shown, f"holds {attribute}={value[:40]!r}, which acts or leads elsewhere")

    def end(name: str) -> None:
        inside.pop()

    def text(value: str) -> None:
        if inside and inside[-1] == "style":
            styles.append(value)

    def entity(*declared: object) -> None:
        raise _refused(shown, "declares an entity")

    def doctype(name: str, system: str | None, public: str | None, internal: bool) -> None:
        if internal or name != "svg":
            raise _refused(shown, "declares a document type of its own")

    def instruction(target: str, value: str) -> None:
        raise _refused(shown, f"holds the processing instruction {target[:40]!r}")

    styles: list[str] = []
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, entity
    parser.StartDoctypeDeclHandler, parser.ProcessingInstructionHandler = doctype, instruction
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _refused(shown, f"is not well-formed ({error})") from error
    if _CSS_ACTIVE.search("".join(styles)):
        raise _refused(shown, "has a style that leads elsewhere")


def check_png(data: bytes, shown: str) -> None:
    """Known chunks with sound checksums, at most 64 million pixels, and nothing behind the end."""
    place, names = len(_PNG), []
    if not data.startswith(_PNG):
        raise _refused(shown, "is no PNG file")
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 12 + length
        if name not in _PNG_CHUNKS or end > len(data):
            raise _refused(shown, f"holds the chunk {name!r}, which is unknown or cut short")
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _refused(shown, f"has a damaged chunk {name.decode()}")
        names.append(name)
        if len(names) == 1:
            width, height = (int.from_bytes(data[place + 8 + i : place + 12 + i], "big") for i in (0, 4))
            if name != b"IHDR" or length != 13 or not 0 < width * height <= MAX_PIXELS:
                raise _refused(shown, f"declares no picture of 1 to {MAX_PIXELS} pixels")
        place = end
        if name == b"IEND":
            break
    if place != len(data) or names[-1:] != [b"IEND"] or b"IDAT" not in names or names.count(b"IHDR") != 1:
        raise _refused(shown, "is no whole PNG file, or has bytes behind its end")


def check_mlmodel(data: bytes, shown: str) -> None:
    """One of the texts that the zoo writes. Any other could name a loader, or code, that runs when it is loaded."""
    from zoo import mlmodel

    written = [
        mlmodel.files({"model": {"mode": mode}}, {})[mlmodel.MLMODEL] for mode in ("forecast", "interpolate")
    ]
    if data not in (mlmodel.WITHOUT_SIGNATURE, *written):
        raise ContentRefused(
            f"'{shown}' is not the zoo's own, and could name code to run: remove it, publishing adds the right one; or "
            "upgrade latentact-zoo, where a newer one wrote it."
        )


CHECKS: dict[str, Callable[[bytes, str], object]] = {
    ".json": check_json,
    ".md": check_markdown,
    ".txt": check_text,
    ".svg": check_svg,
    ".png": check_png,
}


def _refused(shown: str, reason: str) -> ContentRefused:
    return ContentRefused(f"'{shown}' {reason}: write it again without that, or leave it out.")
