"""ARCTIC's folders: which sequences there are, what belongs to each, and what is missing, before anything is read.

    <root>/raw_seqs/<subject>/<object>_<verb>_<nn>.{mano,object,egocam.dist,smplx}.npy
           meta/misc.json, meta/object_vtemplates/<object>/{mesh.obj,parts.json}
           cropped_images/ or images/ (optional)

<root> is arctic_data/data of zc-alexfan/arctic's docs/data/data_doc.md; a folder above it is understood. Subject s03 is
not there: ARCTIC keeps it for its online evaluation.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from trainables.arctic_pictures import picture_folder, read_offsets
from trainables.arctic_sequence import Names
from trainables.mano_sides import SIDES
from trainables.source_errors import MissingField, SourceError, WrongValue
from trainables.source_fields import file_stamp

ENDINGS = {"mano": ".mano.npy", "object": ".object.npy", "egocam": ".egocam.dist.npy"}
TEMPLATE_FILES = ("mesh.obj", "parts.json")
_NAME = re.compile(r"([a-z]+)_([a-z]+)_(\d+)")
_ABOVE = ("", "data", "arctic_data/data", "data/arctic_data/data", "unpack/arctic_data/data")


class ArcticError(SourceError):
    """The source folder is not ARCTIC, or lacks what all its sequences need; says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One sequence's files. `key` is a digest of their contents, the object's and the names of its pictures."""

    names: Names
    files: dict[str, Path]  # by ENDINGS' names
    template: Path  # the object's folder
    template_key: str
    pictures: Path | None
    picture_offset: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Found:
    sequences: list[Sequence]
    dropped: dict[str, str]  # recording -> why


def find_sequences(source: Path) -> Found:
    """All sequences below `source`. What lacks a file is dropped with the reason. Raises ArcticError."""
    root = _root(source)
    finder = _Finder(root)
    sequences: list[Sequence] = []
    dropped: dict[str, str] = {}
    for path in sorted(root.glob(f"raw_seqs/*/*{ENDINGS['mano']}")):
        subject, name = path.parent.name, path.name.removesuffix(ENDINGS["mano"])
        try:
            sequences.append(finder.sequence(subject, name))
        except ArcticError:
            raise
        except SourceError as error:
            dropped |= {f"{subject}/{name}/{side}": str(error) for side in SIDES}
    for path in sorted(root.glob(f"raw_seqs/*/*{ENDINGS['object']}")):
        name = path.name.removesuffix(ENDINGS["object"])
        if not (mano := path.with_name(name + ENDINGS["mano"])).is_file():
            why = f"{mano}: is missing; restore it from the data set's distribution."
            dropped |= {f"{path.parent.name}/{name}/{side}": why for side in SIDES}
    if not sequences and not dropped:
        raise ArcticError(
            root / "raw_seqs", "holds no <subject>/<sequence>.mano.npy; unpack raw_seqs.zip there."
        )
    return Found(sequences=sequences, dropped=dropped)


def _root(source: Path) -> Path:
    if not source.is_dir():
        raise ArcticError(
            source, "no such folder; give ARCTIC's arctic_data/data, which holds raw_seqs/ and meta/."
        )
    root = next((source / inner for inner in _ABOVE if (source / inner / "raw_seqs").is_dir()), None)
    if root is None:
        raise ArcticError(source, "holds no raw_seqs/; give ARCTIC's arctic_data/data, unpacked.")
    if not (root / "meta" / "object_vtemplates").is_dir():
        raise ArcticError(
            root, "holds no meta/object_vtemplates/, the objects' shapes; unpack meta.zip there."
        )
    return root


class _Finder:
    """Remembers what sequences share: the objects' digests and the pictures' offsets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._templates: dict[str, str] = {}
        self._offsets: dict[str, int] | None = None

    def sequence(self, subject: str, name: str) -> Sequence:
        folder = self.root / "raw_seqs" / subject
        match = _NAME.fullmatch(name)
        if match is None:
            raise WrongValue(
                folder / f"{name}{ENDINGS['mano']}",
                "is not named <object>_<verb>_<number>, which says what is done; give it its name back.",
            )
        names = Names(subject=subject, sequence=name, object=match[1], verb=match[2])
        files = {kind: folder / f"{name}{ending}" for kind, ending in ENDINGS.items()}
        template = self.root / "meta" / "object_vtemplates" / names.object
        pictures = picture_folder(self.root, subject, name)
        offset = self._offset(subject) if pictures else 0
        template_key = self._template_key(template)
        parts = [names.of(""), template_key, *(file_stamp(path) for path in files.values())]
        if pictures:
            listed = sorted(pictures.glob("*.jpg"))
            parts += [str(offset), *(f"{path.name} {path.stat().st_size}" for path in listed)]
        return Sequence(
            names=names,
            files=files,
            template=template,
            template_key=template_key,
            pictures=pictures,
            picture_offset=offset,
            key=hashlib.sha256("\0".join(parts).encode()).hexdigest(),
        )

    def _template_key(self, template: Path) -> str:
        if template.name not in self._templates:
            self._templates[template.name] = "".join(file_stamp(template / file) for file in TEMPLATE_FILES)
        return self._templates[template.name]

    def _offset(self, subject: str) -> int:
        if self._offsets is None:
            try:
                self._offsets = read_offsets(self.root)
            except SourceError as error:  # without it no picture can be told from its neighbours
                raise ArcticError(error.file, error.why, field=error.field) from error
        if subject not in self._offsets:
            raise MissingField(
                self.root / "meta" / "misc.json", "is missing; fetch the file again.", field=subject
            )
        return self._offsets[subject]
