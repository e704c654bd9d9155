"""A model's card as one HTML file: figures with intervals, the gallery in the viewer, the card's text and pictures.

What comes from a bundle is put there as text, and its Markdown without raw HTML; the page may run the viewer's script
alone and fetch nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import bundle, model_card
from zoo.card_chart import metric_chart
from zoo.card_markdown import render_markdown
from zoo.card_style import STYLE
from zoo.errors import BundleError
from zoo.gallery import Gallery
from zoo.inline_page import page_of_markup, policy_of

if TYPE_CHECKING:
    import numpy as np

    from zoo.viewer import ViewerClip

_ROLES = "the best, the median and the worst clip, and others drawn by a seed that data and setting give"


@dataclass(frozen=True, kw_only=True)
class CardPage:
    """What stands on the page of the bundle in `folder`, which the caller has verified.

    reference: its exact name, `latentact-world-objects@3`. clips: of the gallery, with the hand's faces (F, 3); none
    where they cannot be drawn, and then the page says how to see them.
    """

    folder: Path
    reference: str
    aliases: Sequence[str] = ()
    clips: Sequence[ViewerClip] = ()
    faces: np.ndarray | None = None
    gallery: Gallery | None = None
    why_not: str = ""

    def html(self) -> str:
        """The whole page."""
        card = (self.folder / bundle.CARD).read_text("utf-8")
        metrics = bundle.read_json_file(self.folder, bundle.METRICS)
        config = bundle.read_json_file(self.folder, bundle.CONFIG)["model"]
        try:
            metadata = model_card.metadata(card)
        except BundleError:
            metadata = {}
        viewer = self._viewer()
        body = [
            self._header(metadata, config, metrics),
            _figures(metrics),
            self._gallery(viewer),
            f'<section id="card"><h2>Card</h2>{render_markdown(_without_title(model_card.body(card)), self.folder)}</section>',
            _metadata(metadata),
        ]
        return _page(self.reference, "\n".join(body), viewer)

    def _viewer(self) -> str:
        if not self.clips or self.faces is None:
            return ""
        from zoo.viewer import viewer_page

        return viewer_page(self.clips, self.faces, title=f"{self.reference}: gallery")

    def _header(self, metadata: dict[str, Any], config: dict[str, Any], metrics: dict[str, Any]) -> str:
        badges = "".join(f'<span class="badge">{escape(alias)}</span>' for alias in self.aliases)
        hand = str(config.get("hand", ""))
        parts = [
            '<header id="top">',
            f"<h1>{escape(self.reference)}{badges}</h1>",
            f'<p class="soft">{escape(str(metadata.get("method", "")))}</p>',
            f"<p>{_said(config)}.</p>",
        ]
        if hand.startswith("standin"):
            parts.append(
                f'<p class="notice"><b>Made with the stand-in hand {escape(hand)}: figures do not carry over to MANO.</b></p>'
            )
        parts.append(f'<div class="numbers">{"".join(_tiles(metrics))}</div></header>')
        return "\n".join(parts)

    def _gallery(self, viewer: str) -> str:
        found = self.gallery
        if found is None:
            return ""
        known = f"{found.clips} clips of {found.part} in {found.groups} held-out groups ({found.group})"
        chosen = (
            f"{len(found.shown)} of {escape(known)}: {_ROLES}. Of a clip that second is shown whose error is nearest to the "
            "clip's mean. Chosen from the errors of the one reading of test; nothing was selected by looking, and nothing "
            "should be."
        )
        made = (
            f"Data {escape(found.data)} <code>{escape(found.data_digest[:16])}</code>, setting {escape(found.setting)}, "
            f"protocol {escape(found.protocol)}, hand {escape(found.hand)}. The true hand is the ghost; colour is the "
            "predicted probability of contact."
        )
        said = [f"<p>{chosen}</p>", f'<p class="soft">{made}</p>']
        if viewer:
            said.append(
                f'<iframe title="gallery" sandbox="allow-scripts" loading="lazy" srcdoc="{escape(viewer)}"></iframe>'
            )
        else:
            said.append(f'<p class="notice">{escape(self.why_not)}</p>')
        said.append(_clips_table(found))
        return f'<section id="gallery"><h2>Gallery</h2>{"".join(said)}</section>'


def _said(config: dict[str, Any]) -> str:
    said = {
        "data": "Data {}",
        "setting": "setting {}",
        "mode": "mode {}",
        "protocol": "contact point by protocol {}",
        "window": "window of {} frames",
    }
    return ", ".join(
        words.format(escape(str(config[name]))) for name, words in said.items() if name in config
    )


def _tiles(metrics: dict[str, Any]) -> list[str]:
    test, trivial = _object(metrics, "test"), _object(metrics, "trivial")
    found = []
    for name, words, digits in (("mpjpe_cm", "test MPJPE, cm", 2), ("contact_f1", "test contact F1", 3)):
        interval = _object(_object(test, "metrics"), name)
        if isinstance(estimate := interval.get("estimate"), int | float):
            found.append(f"<div><b>{estimate:.{digits}f}</b>{words}<i>{_range(interval, digits)}</i></div>")
    difference = _object(trivial, "difference")
    if isinstance(estimate := difference.get("estimate"), int | float):
        rival = escape(str(trivial.get("predictor", "")))
        found.append(
            f"<div><b>{estimate:+.2f}</b>cm against the {rival}<i>{_range(difference, 2, '+')}</i></div>"
        )
    if isinstance(clips := test.get("clips"), int):
        groups = escape(f"{test.get('groups')} groups ({test.get('group')})")
        found.append(f"<div><b>{clips}</b>test clips<i>{groups}</i></div>")
    return found


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    """What a bundle of anybody's says under a name, where that is an object."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _range(interval: dict[str, Any], digits: int, sign: str = "") -> str:
    low, high = interval.get("low"), interval.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return "no interval"
    return f"95%: {low:{sign}.{digits}f} to {high:{sign}.{digits}f}"


def _figures(metrics: dict[str, Any]) -> str:
    val, test = (_object(_object(metrics, part), "metrics") for part in ("val", "test"))
    charts = [metric_chart(val, test, unit) for unit in ("cm", "share")]
    charts = [f'<div class="wide" tabindex="0">{chart}</div>' for chart in charts if chart]
    if not charts:
        return ""
    return (
        '<section id="figures"><h2>Figures</h2><p class="soft">End to end. Bars are 95% intervals over held-out groups, and '
        f"clips within them.</p>{''.join(charts)}</section>"
    )


def _clips_table(found: Gallery) -> str:
    rows = [
        f"<tr><td>{escape(' and '.join(entry.roles))}</td><td>{escape(entry.clip)}</td><td>{escape(entry.group)}</td>"
        f'<td>{escape(entry.text)}</td><td class="n">{entry.clip_mpjpe_cm:.2f}</td>'
        f'<td class="n">{"" if entry.clip_contact_f1 is None else f"{entry.clip_contact_f1:.3f}"}</td>'
        f'<td class="n">{entry.window_mpjpe_cm:.2f}</td></tr>'
        for entry in found.shown
    ]
    return (
        '<div class="wide" tabindex="0"><table><tr><th></th><th>clip</th>'
        f'<th>{escape(found.group)}</th><th>action</th><th class="n">MPJPE, cm</th><th class="n">contact F1</th>'
        f'<th class="n">shown second, cm</th></tr>{"".join(rows)}</table></div>'
    )


def _metadata(metadata: dict[str, Any]) -> str:
    if not metadata:
        return ""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_value(value)}</dd>" for name, value in metadata.items())
    return f'<section id="metadata"><h2>Metadata</h2><dl>{rows}</dl></section>'


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{escape(str(key))} {_value(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value)
    return escape(str(value))


def _without_title(text: str) -> str:
    """The page has a title of its own."""
    first, _, rest = text.partition("\n")
    return rest if first.startswith("# ") else text


def _page(title: str, body: str, viewer: str) -> str:
    """An inner page obeys the policy of the outer one besides its own, so the outer one allows what the viewer needs."""
    return page_of_markup(title=title, style=STYLE, body=body, allowed=policy_of(viewer) if viewer else {})
