"""`zoo card NAME --html FILE`: a version's card as a page, with its gallery where that can be drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo import bundle, layout, settings
from zoo.card_page import CardPage
from zoo.errors import GalleryError
from zoo.gallery import GALLERY, Gallery, clips_from_data, embedded_clips, read_gallery
from zoo.names import parse_reference
from zoo.pulling import pull
from zoo.refusals import open_plain
from zoo.store import Store, open_store


def card_html(
    reference: str,
    *,
    data: str | None = None,
    mano_path: str | os.PathLike[str] | None = None,
    store: Store | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> str:
    """The card of `name[@version|@alias]` as one HTML page.

    data: the data set that the model was tested on (a folder or s3:// address), from which its gallery is drawn with
    the user's own hand file where the bundle does not hold it. `say` is told of each clip that is predicted.
    Raises what `pull` raises; GalleryError where `data` is given and does not make the gallery.
    """
    wanted, aliases = parse_reference(reference), []
    if not settings.offline():
        store = store or open_store()
        number, digest = layout.resolve(store, wanted)
        reference = f"{wanted.name}@{number}"
        states = layout.aliases(store, wanted.name)
        aliases = sorted(alias for alias, state in states.items() if state["digest"] == digest)
    folder = pull(reference, store=store)
    bundle.verify(folder)
    return folder_html(folder, reference, aliases=aliases, data=data, mano_path=mano_path, say=say)


def folder_html(
    folder: Path,
    reference: str,
    *,
    aliases: Sequence[str] = (),
    data: str | None = None,
    mano_path: str | os.PathLike[str] | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> str:
    """The page of the bundle in `folder`, which the caller made or has verified. Raises as `card_html`."""
    gallery = gallery_of(folder)
    more: dict[str, Any] = {}
    if data is not None:
        if gallery is None or not gallery.shown:
            raise GalleryError(
                f"{reference} has no gallery to draw from --data: it was published before there were galleries."
            )
        from zoo.loading import load_folder

        model = load_folder(folder, mano_path=mano_path)
        inputs = bundle.read_json_file(folder, bundle.METRICS).get("inputs") or {}
        more["clips"] = clips_from_data(gallery, model, data, inputs=inputs, say=say)
        more["faces"] = model.hand.faces.numpy()
    elif gallery is not None and gallery.is_embedded:
        from trainables.hand import load_hand

        hand = load_hand(mano_path) if mano_path else load_hand()
        try:
            more |= {"clips": embedded_clips(gallery, hand), "faces": hand.faces.numpy()}
        except GalleryError as error:
            more["why_not"] = f"It is not drawn here: {error}"
    elif gallery is not None:
        more["why_not"] = _kept_apart(gallery, reference)
    return CardPage(folder=folder, reference=reference, aliases=aliases, gallery=gallery, **more).html()


def gallery_of(folder: Path) -> Gallery | None:
    """The gallery of a bundle's folder; None in bundles from before there was one. Raises ContentRefused."""
    if not (folder / GALLERY).is_file():
        return None
    with open_plain(folder / GALLERY, GALLERY) as file:
        return read_gallery(file.read())


def _kept_apart(gallery: Gallery, reference: str) -> str:
    """Why a bundle names its gallery's clips and does not hold them."""
    mano = " and a hand derived from MANO" if gallery.hand == "mano" else ""
    return (
        f"The clips are not in the bundle: it would hold true motion and pictures of {gallery.data}{mano}, which others "
        f"license. Whoever has them draws the gallery: zoo card {reference} --html FILE --data CLIPS"
    )
