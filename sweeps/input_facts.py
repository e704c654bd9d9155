"""What a model is told, counted over windows: kept in a bundle of its training, compared with that of other data.

{"words": {"push": 420, ...}    word of an action text -> windows whose text has it
 "image_share": 1.0             of windows, that give a picture of the first frame
 "point_share": 0.41            of windows, that give a contact point
 "recorded_fps": {"30": 400}    frames per second -> clips recorded at that rate
 "contact_radius_m": 0.005      below which skin counts as in contact
 "hand_free": false             pictures from which the hand was removed
 "hidden": ""}                  the input that was taken away
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from trainables.frozen_encoders import TEXT_WIDTHS
from trainables.recorded_rates import recorded_rates

if TYPE_CHECKING:
    from trainables.windows import Windows

_LOOKED_AT = 2048  # windows, evenly spread: a share is then known to 2 in 100
_SHARES_DIFFER = 0.1
_WORDS_SHOWN = 8


def input_facts(data: str, windows: Windows) -> dict[str, Any]:
    """Facts of the windows of the data set at `data` (plain values)."""
    words: Counter[str] = Counter()
    for text, count in text_counts(windows).items():
        words.update(dict.fromkeys(words_of(text), count))
    rows = torch.linspace(0, len(windows) - 1, min(_LOOKED_AT, len(windows))).long()
    batches = [windows.gather(some) for some in rows.split(256)]
    radius_m = windows.clips.manifest.get("contact_radius_m")
    return {
        "words": dict(sorted(words.items())),
        "image_share": float(torch.cat([batch.image_known_BS[:, 0] for batch in batches]).float().mean()),
        "point_share": float(torch.cat([batch.point_known_B for batch in batches]).float().mean()),
        "recorded_fps": {f"{rate:g}": clips for rate, clips in recorded_rates(data).items()},
        "contact_radius_m": None if radius_m is None else float(radius_m),
        "hand_free": windows.hand_free,
        "hidden": windows.hidden,
    }


def text_counts(windows: Windows) -> dict[str, int]:
    """Text of a first frame -> number of windows that begin with it."""
    clips = windows.clips
    text_N = clips.text_F[clips.offsets_C1[windows.clip_N] + windows.start_N]
    counts = torch.bincount(text_N, minlength=len(clips.texts)).tolist()
    return {text: count for text, count in zip(clips.texts, counts, strict=True) if count}


def words_of(text: str) -> set[str]:
    """The words of a text, taken apart as `trainables.text_encoder` does."""
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def unknown_words(trained: Mapping[str, int], texts: Mapping[str, int]) -> tuple[float, list[str]]:
    """Share of windows whose text has a word that is not among the trained ones, and these words, commonest first."""
    unknown: Counter[str] = Counter()
    windows = 0
    for text, count in texts.items():
        if new := words_of(text) - trained.keys():
            windows += count
            unknown.update(dict.fromkeys(sorted(new), count))
    return windows / max(1, sum(texts.values())), [word for word, _ in unknown.most_common()]


def input_warnings(
    trained: Mapping[str, Any] | None, given: Mapping[str, Any], texts: Mapping[str, int], text_encoder: str
) -> list[str]:
    """Sentences on where a data set tells a model less, or other things, than its training did."""
    found = []
    if given["point_share"] < 1:
        during = f" (training: {1 - trained['point_share']:.0%})" if trained else ""
        found.append(f"The contact point is unknown in {1 - given['point_share']:.0%} of windows{during}.")
    if trained is None:
        return found + [
            (
                "What the model was told in training is not written beside it (a checkpoint, or an older bundle): words, "
                "pictures, frame rates and contact radius could not be compared."
            )
        ]
    share, words = unknown_words(trained["words"], texts)
    if words and trained["hidden"] != "text":
        shown = ", ".join(words[:_WORDS_SHOWN]) + (" ..." if len(words) > _WORDS_SHOWN else "")
        but = (
            f" The frozen text encoder ({text_encoder}) may know them." if text_encoder in TEXT_WIDTHS else ""
        )
        found.append(
            f"{share:.0%} of windows have a word in their text that the model never saw in training: {shown}.{but}"
        )
    if given["image_share"] < trained["image_share"] - _SHARES_DIFFER:
        found.append(
            f"A picture is given in {given['image_share']:.0%} of windows, in training it was in "
            f"{trained['image_share']:.0%}: the model does without an input it learned to use."
        )
    if given["recorded_fps"].keys() != trained["recorded_fps"].keys():
        ours, theirs = (", ".join(facts["recorded_fps"]) for facts in (given, trained))
        found.append(
            f"These clips were recorded at {ours} frames per second and are brought to 30; training's were at {theirs}."
        )
    if given["contact_radius_m"] != trained["contact_radius_m"]:
        ours, theirs = (_millimetres(facts["contact_radius_m"]) for facts in (given, trained))
        found.append(
            f"Contact here means nearer than {ours}, in training {theirs}: contact figures do not compare."
        )
    return found


def _millimetres(radius_m: float | None) -> str:
    return "an unknown distance" if radius_m is None else f"{1000 * radius_m:g} mm"
