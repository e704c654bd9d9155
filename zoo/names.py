"""The naming grammar: `[<team>/]latentact[-codebook]-<data>-<setting>[-interpolate]`, then `@<version|alias>`.

latentact-world-objects@champion      latentact-dexycb-subjects@3      ourlab/latentact-codebook-world-scenes
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from zoo.errors import BadName, UnknownModel

SETTINGS = ("objects", "actions", "tasks", "scenes", "subjects")
DEFAULT_ALIAS = "champion"
EXAMPLE = "latentact-world-objects@champion"

NAME = re.compile(
    r"(?:(?P<team>[a-z0-9][a-z0-9_]*)/)?latentact(?P<codebook>-codebook)?-(?P<data>(?!codebook\b)[a-z0-9][a-z0-9_.]*)"
    rf"-(?P<setting>{'|'.join(SETTINGS)})(?P<interpolate>-interpolate)?"
)
ALIAS = re.compile(r"(?!latest$|v[0-9]+$)[a-z][a-z0-9_-]*")  # MLflow keeps `latest` and `v1` for itself
VERSION = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class Name:
    """The parts of a model's name. `str(name)` puts them together again."""

    data: str
    setting: str
    codebook: bool = False
    interpolate: bool = False
    team: str = ""

    @property
    def mode(self) -> str:
        """ "forecast" (from the first frame) or "interpolate" (first and last frame given)."""
        return "interpolate" if self.interpolate else "forecast"

    def __str__(self) -> str:
        team = f"{self.team}/" if self.team else ""
        codebook = "-codebook" if self.codebook else ""
        interpolate = "-interpolate" if self.interpolate else ""
        return f"{team}latentact{codebook}-{self.data}-{self.setting}{interpolate}"


@dataclass(frozen=True)
class Reference:
    """A name with the version or the alias that was asked for (exactly one of the two)."""

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version if self.version is not None else self.alias}"


def parse_name(text: str) -> Name:
    """Take a model's name apart. Raises BadName with an example, and a near match where there is one."""
    match = NAME.fullmatch(text)
    if match is None:
        raise BadName(
            f"'{text}' is not a model name: names are [<team>/]latentact[-codebook]-<data>-<setting>[-interpolate] "
            f"with a setting out of {', '.join(SETTINGS)}, for example {EXAMPLE.split('@')[0]}.{_repair(text)}"
        )
    return Name(
        data=match["data"],
        setting=match["setting"],
        codebook=match["codebook"] is not None,
        interpolate=match["interpolate"] is not None,
        team=match["team"] or "",
    )


def flat(name: str) -> str:
    """The name without a slash, as `team--latentact-..`: a folder's name, and MLflow's for the model."""
    return name.replace("/", "--")


def parse_reference(text: str, *, default_alias: str = DEFAULT_ALIAS) -> Reference:
    """Take `name[@version|@alias]` apart; without an `@`, the champion is meant. Raises BadName."""
    name, at, which = text.partition("@")
    parse_name(name)
    if not at:
        return Reference(name, alias=default_alias)
    if VERSION.fullmatch(which):
        return Reference(name, version=int(which))
    if ALIAS.fullmatch(which):
        return Reference(name, alias=which)
    raise BadName(
        f"'{text}' names no version: after the @ comes a version number or an alias in lower case, "
        f"for example {EXAMPLE} or {name}@1."
    )


def check_alias(alias: str) -> str:
    """The alias itself, or BadName: an alias begins with a letter, so that it cannot look like a version."""
    if not ALIAS.fullmatch(alias):
        raise BadName(
            f"'{alias}' is not an alias: use lower-case letters, digits, - and _ (not latest, not v1), for example champion."
        )
    return alias


def unknown_model(name: str, known: Iterable[str]) -> UnknownModel:
    """The error for a well-formed name that the store lacks, with the nearest names that it holds."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif known:
        hint = f"It holds: {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}."
    else:
        hint = "It is empty: publish a model with `zoo publish FOLDER NAME`, or run a sweep."
    return UnknownModel(f"There is no model '{name}' in this zoo. {hint}")


def _repair(text: str) -> str:
    """A sentence that offers the nearest settings for a name whose last word is misspelled."""
    words = [word for word in text.partition("@")[0].lower().split("-") if word]
    near = difflib.get_close_matches(words[-1], SETTINGS, n=1, cutoff=0.6) if words else []
    candidate = "-".join([*words[:-1], near[0]]) if near else ""
    return f" Did you mean {candidate}?" if NAME.fullmatch(candidate) else ""
