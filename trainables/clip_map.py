"""A data set's tensors as files that every process of a node maps into its memory: one copy, read as it is needed.

    with MapWriter(folder, where) as writer:
        for clips in shards: writer.add(clips)
    clips = open_map(folder, manifest)

One raw file a tensor, and `index.json`, written last, with shapes, texts, groups and names.
"""

from __future__ import annotations

import contextlib
import json
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from trainables.clip_assembly import IMAGE_SIDE_WHEN_NONE
from trainables.clip_format import AGAIN, GROUPS, ClipsError, manifest_digest
from trainables.clip_set import Clips

LAYOUT = 1  # of these files, part of their folder's name
INDEX = "index.json"
TENSORS = tuple(field.name for field in fields(Clips) if field.type in ("Tensor", Tensor))
# Their rows point into other tensors, so that each shard's must be moved behind those of the shards before it.
_POINTERS = {"image_F": ("images_I", "image_IF"), "hand_free_F": ("hand_free_I", "hand_free_IF")}
_PICTURES = ("images_I", "hand_free_I")
_AT_ONCE = 1 << 20


class MapWriter:
    """Writes the files of a data set shard by shard, holding one shard in memory. Call `close` when all are added."""

    def __init__(self, folder: Path, where: str) -> None:
        self._folder, self._where = folder, where
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()
        self._tails: dict[str, list[int]] = {}
        self._rows: dict[str, int] = dict.fromkeys(TENSORS, 0)
        self._types: dict[str, str] = {}
        self._ids: list[str] = []
        self._groups: dict[str, list[str | None]] = {group: [] for group in GROUPS}
        self._texts: dict[str, int] = {}

    def __enter__(self) -> Self:
        for name in TENSORS:
            self._files[name] = self._stack.enter_context((self._folder / name).open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if kind is None:
            self._finish()

    def add(self, clips: Clips) -> None:
        """Append one shard. Raises ClipsError where its pictures or features have another size than those before."""
        first_frame = self._rows["transl_F3"]
        images_before = {name: max(self._rows[of] for of in tables) for name, tables in _POINTERS.items()}
        for name in TENSORS:
            values = getattr(clips, name)
            if name == "offsets_C1":
                values = values[1 if self._ids else 0 :] + first_frame
            elif name in _POINTERS:
                values = torch.where(values >= 0, values + images_before[name], values)
            elif name == "text_F":
                values = self._text_numbers(clips)
            elif name == "text_XF":
                values = self._new_text_features(clips)
            self._append(name, values)
        self._texts |= {text: len(self._texts) + i for i, text in enumerate(self._new_texts(clips))}
        self._ids += clips.clip_ids
        for group, values in self._groups.items():
            values += clips.groups[group]

    def _new_texts(self, clips: Clips) -> list[str]:
        return [text for text in clips.texts if text not in self._texts]

    def _text_numbers(self, clips: Clips) -> Tensor:
        known = self._texts | {text: len(self._texts) + i for i, text in enumerate(self._new_texts(clips))}
        return torch.tensor([known[text] for text in clips.texts])[clips.text_F]

    def _new_text_features(self, clips: Clips) -> Tensor:
        rows = [i for i, text in enumerate(clips.texts) if text not in self._texts]
        return clips.text_XF[rows] if len(clips.text_XF) else clips.text_XF

    def _append(self, name: str, values: Tensor) -> None:
        if not len(values):
            return
        tail, kind = list(values.shape[1:]), str(values.numpy().dtype)
        if self._tails.setdefault(name, tail) != tail:
            raise ClipsError(
                f"{self._where}, field {name}: rows of {tail} follow rows of {self._tails[name]}; give all "
                f"pictures and features one size. {AGAIN}"
            )
        self._types[name] = kind
        self._rows[name] += len(values)
        self._files[name].write(np.ascontiguousarray(values.numpy()).data)

    def _finish(self) -> None:
        if len(set(self._ids)) != len(self._ids):
            raise ClipsError(f"{self._where}, field clip_id: two clips share a name; {AGAIN}")
        sizes = {tuple(self._tails[name]) for name in _PICTURES if name in self._tails}
        if len(sizes) > 1:
            raise ClipsError(
                f"{self._where}, field hand_free_png: its pictures have another size than those of image_png; "
                "give both one size."
            )
        side = sizes.pop() if sizes else (IMAGE_SIDE_WHEN_NONE, IMAGE_SIDE_WHEN_NONE, 3)
        shapes = {}
        for name in TENSORS:
            tail = self._tails.get(name, list(side) if name in _PICTURES else [0])
            shapes[name] = [self._rows[name], *tail]
        texts = self._sort_texts(shapes)
        index = {
            "shapes": shapes,
            "types": {
                name: self._types.get(name, "uint8" if name in _PICTURES else "float32") for name in TENSORS
            },
            "clip_ids": self._ids,
            "groups": self._groups,
            "texts": texts,
        }
        (self._folder / INDEX).write_text(json.dumps(index))

    def _sort_texts(self, shapes: dict[str, list[int]]) -> list[str]:
        """Number the texts by their order, whatever the shards: as if they had been read at once."""
        texts = sorted(self._texts)
        old = [self._texts[text] for text in texts]
        if old == list(range(len(old))):
            return texts
        new = np.empty(len(old), dtype=np.int64)
        new[old] = np.arange(len(old))
        numbers = np.memmap(self._folder / "text_F", dtype=np.int64, mode="r+", shape=tuple(shapes["text_F"]))
        for begin in range(0, len(numbers), _AT_ONCE):
            numbers[begin : begin + _AT_ONCE] = new[numbers[begin : begin + _AT_ONCE]]
        numbers.flush()
        if shapes["text_XF"][0]:
            rows = np.fromfile(self._folder / "text_XF", dtype=np.float32).reshape(shapes["text_XF"])
            rows[old].tofile(self._folder / "text_XF")
        return texts


def open_map(folder: Path, manifest: dict[str, Any]) -> Clips | None:
    """The data set of these files, mapped and not read; None where they are not whole.

    The maps are private: a tensor that is written to changes for this process alone.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
        tensors = {
            name: _mapped(folder / name, index["shapes"][name], index["types"][name]) for name in TENSORS
        }
    except (OSError, ValueError, KeyError):
        return None
    with contextlib.suppress(OSError):  # of another user, perhaps: only says when it was last opened
        os.utime(folder / INDEX)
    return Clips(
        name=manifest["name"],
        hand=manifest["hand"],
        digest=manifest_digest(manifest),
        manifest=manifest,
        clip_ids=index["clip_ids"],
        groups=index["groups"],
        texts=index["texts"],
        **tensors,
    )


def _mapped(path: Path, shape: list[int], kind: str) -> Tensor:
    dtype = np.dtype(kind)
    expected = int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, not {expected}")
    if expected == 0:  # an empty file cannot be mapped
        return torch.from_numpy(np.zeros(shape, dtype=dtype))
    return torch.from_numpy(np.memmap(path, dtype=dtype, mode="c", shape=tuple(shape)))
