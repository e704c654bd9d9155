"""The card of a model: Markdown for people, and above it a block of metadata for programs.

    ---
    license: "apache-2.0"
    setting: "objects"
    seeds: {"model": 3, "compared": [3, 4, 5]}
    ---
    # latentact-world-objects
    ...

Each line of the block is a field and its value in JSON, which is YAML too: whatever reads cards of the Hugging Face
hub reads these, and the zoo needs no YAML library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zoo.errors import BundleError

_EDGE = "---"

# What a card must say before its model may become a champion, and what that is.
FIELDS = {
    "license": "the licence of the weights, as an SPDX name in lower case, or `other`",
    "method": "the method and where it is published",
    "data": "the name of the data it was trained on",
    "data_digest": "the digest of that data's manifest",
    "setting": "what the held-out groups are: objects, actions, tasks, scenes, subjects",
    "mode": "forecast or interpolate",
    "protocol": "where the contact point comes from: first or goal",
    "window": "frames of a window",
    "seeds": "of this model, and of the trainings that it was chosen among",
    "code": "version of the package, and digest of the code that trained it",
    "hardware": "device, its name, workers",
    "training_cost": "seconds by stage, hours of workers, USD where a price was given",
    "hand": "the hand model, by name",
    "mano": "whether MANO is needed to use it, and that it is not in the bundle",
    "test_reads": "how often the test part was read for this model",
    "sweep": "the sweep that trained it",
    "trial": "the identity of its trial",
    "codebook": "the identity of the codebook that it stands on",
}


def write(metadata: Mapping[str, Any], body: str) -> str:
    """A card: the metadata (JSON values, in the order given) above the Markdown."""
    lines = [f"{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in metadata.items()]
    return "\n".join([_EDGE, *lines, _EDGE, "", body.lstrip("\n")])


def metadata(text: str) -> dict[str, Any]:
    """The metadata of a card; empty where it has none. Raises BundleError, which names the line that is wrong."""
    block, _ = _split(text)
    found: dict[str, Any] = {}
    for number, line in enumerate(block, 2):
        field, colon, value = line.partition(":")
        try:
            if not colon or field in found:
                raise ValueError
            found[field] = json.loads(value)
        except (ValueError, RecursionError):
            raise BundleError(
                f"Line {number} of card.md is not a field of its own with a JSON value: write it as, for example, "
                'setting: "objects".'
            ) from None
    return found


def body(text: str) -> str:
    """The Markdown of a card, without its metadata."""
    return _split(text)[1]


def missing(text: str) -> list[str]:
    """Names of the fields that a complete card has and this one lacks or leaves empty; none for a complete card.

    Metadata that cannot be read says nothing, so that all fields are missing.
    """
    try:
        found = metadata(text)
    except BundleError:
        found = {}
    return [field for field in FIELDS if found.get(field) in (None, "", [], {})]


def _split(text: str) -> tuple[list[str], str]:
    """Lines of the metadata block, and what comes after it."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != _EDGE:
        return [], text
    for end, line in enumerate(lines[1:], 1):
        if line.rstrip() == _EDGE:
            block = [line for line in lines[1:end] if line.strip()]
            return block, "\n".join(lines[end + 1 :]).lstrip("\n") + "\n"
    return [], text
