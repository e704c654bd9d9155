"""What `zoo predict` was asked, and which of its options go together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import click

from zoo.batch_table import Asked, slug


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The command's arguments by their own names; see `zoo predict --help`."""

    name: str
    image: Path | None
    text: str | None
    contact: list[float] | None
    contact_pixel: list[float] | None
    depth: float | None
    camera: list[float] | None
    focal_px: float | None
    clicks: bool
    last_image: Path | None
    last_contact: list[float] | None
    batch: Path | None
    data: str | None
    split: str | None
    part: str | None
    limit: int | None
    device: str
    out: Path | None
    formats: tuple[str, ...]
    as_json: bool

    def check(self) -> None:
        """Raises click.UsageError where options contradict each other or one is missing."""
        given = {
            "--image": self.image, "--text": self.text, "--contact": self.contact,
            "--contact-pixel": self.contact_pixel, "--depth": self.depth, "--camera": self.camera,
            "--focal-px": self.focal_px, "--click": self.clicks or None, "--last-image": self.last_image,
            "--last-contact": self.last_contact, "--batch": self.batch, "--data": self.data, "--split": self.split,
            "--part": self.part, "--limit": self.limit,
        }  # fmt: skip
        there = {option for option, value in given.items() if value is not None}
        takes = {
            "--data": {"--data", "--split", "--part", "--limit"},
            "--batch": {"--batch", "--text", "--contact", "--camera", "--focal-px"},
            "--click": {"--click", "--image", "--text", "--camera", "--focal-px"},
        }
        for way, options in takes.items():
            if way in there and (other := sorted(there - options)):
                raise click.UsageError(f"{other[0]} does not go with {way}.")
        if self.clicks and self.as_json:
            raise click.UsageError("--json does not go with --click.")
        for option, needs in {
            "--split": "--data", "--part": "--data", "--limit": "--data", "--click": "--image", "--contact-pixel": "--image",
            "--depth": "--contact-pixel",
        }.items():  # fmt: skip
            if option in there and needs not in there:
                raise click.UsageError(f"{option} needs {needs}.")
        if "--contact-pixel" in there and "--depth" not in there:
            raise click.UsageError("--contact-pixel needs --depth: metres along the camera's axis.")
        if {"--contact", "--contact-pixel"} <= there:
            raise click.UsageError("Give --contact or --contact-pixel, not both.")
        if {"--camera", "--focal-px"} & there and not {"--image", "--batch"} & there:
            raise click.UsageError("--camera and --focal-px are of an image: give --image.")
        if self.depth is not None and not (math.isfinite(self.depth) and self.depth > 0):
            raise click.BadParameter(f"{self.depth:g} m is not before the camera", param_hint="--depth")
        if self.text is None and not {"--batch", "--data", "--click"} & there:
            raise click.UsageError("Say the action with --text, such as --text 'lift the mug'.")
        if self.text is not None and not self.text.strip():
            raise click.BadParameter(
                "it is empty; say the action, such as 'lift the mug'", param_hint="--text"
            )

    def asked(self) -> Asked:
        """The one prediction that these options ask for."""
        return Asked(
            where=str(self.image or self.name),
            name=self.name,
            text=self.text or "",
            image=self.image,
            contact=self.contact,
            pixel=self.contact_pixel,
            depth_m=self.depth,
            last_image=self.last_image,
            last_contact=self.last_contact,
        )

    def place(self, *words: str) -> Path:
        """`--out`, else a new folder in the working folder, named after `words`."""
        return self.out or new_folder(Path(), *words)


def new_folder(parent: Path, *words: str) -> Path:
    """A folder of `parent` that is not there yet, named after `words`."""
    name = "-".join(filter(None, map(slug, words))) or "prediction"
    number, place = 1, parent / name
    while place.exists():
        number += 1
        place = parent / f"{name}-{number}"
    return place
