"""MANO's own two files, the right hand's and the left one's, for sources that store MANO coefficients and no joints.

Such a source means the hand of the file: the left one with the left file's template, mean pose and shape directions,
as they are. (MANO's left file repeats the right hand's shape directions without turning x about, vchoutas/smplx issue
48; data sets were fitted with it like that, so their joints come out right only with the file as it is.)
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.hand import Hand
from trainables.mano_file import HandFileError, read_mano
from trainables.source_errors import SourceError
from trainables.source_fields import file_stamp

SIDES = ("right", "left")


class NeedsMano(SourceError):
    """The source stores MANO coefficients, and MANO's own files are not there or not readable."""


@dataclass(frozen=True, kw_only=True)
class ManoSide:
    """One side's model. `hand` gives joints and skin in that side's own, unmirrored axes."""

    hand: Hand
    mean: NDArray[np.float64]  # (45,) radians, what a pose with flat_hand_mean=False is relative to
    components: NDArray[np.float64]  # (45, 45) rows: principal components of the pose


class ManoSides:
    """The hands of MANO_RIGHT and MANO_LEFT (.pkl or .npz), each read when it is first asked for.

    Args:
        source: the data set's folder, which errors name.
        mano_path: MANO's folder or its MANO_RIGHT file (the left one lies beside it); else $MANO_PATH.
    """

    def __init__(
        self, source: str | os.PathLike[str], mano_path: str | os.PathLike[str] | None = None
    ) -> None:
        path = mano_path or os.environ.get("MANO_PATH")
        if not path:
            raise NeedsMano(
                source,
                "the data set stores MANO coefficients, not joints, and needs MANO's own files; set MANO_PATH to "
                "the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl (mano.is.tue.mpg.de).",
            )
        self.source, self.path = os.fspath(source), Path(path)
        self._read: dict[str, ManoSide] = {}

    def __getitem__(self, side: str) -> ManoSide:
        """Of "right" or "left". Raises NeedsMano."""
        if side not in self._read:
            try:
                arrays = read_mano(self.file(side))
            except HandFileError as error:
                raise NeedsMano(self.source, f"its {side} hands need MANO: {error}") from error
            self._read[side] = ManoSide(
                hand=Hand(arrays, "mano"),
                mean=np.asarray(arrays["hands_mean"], dtype=np.float64),
                components=np.asarray(arrays["hands_components"], dtype=np.float64),
            )
        return self._read[side]

    def file(self, side: str) -> Path:
        """Where the side's file is, or should be."""
        if self.path.is_file():
            return self.path if side == "right" else self.path.with_name(f"MANO_LEFT{self.path.suffix}")
        stem = f"MANO_{side.upper()}"
        places = [
            self.path / f"{inner}{stem}{ending}" for inner in ("", "mano/") for ending in (".pkl", ".npz")
        ]
        return next((place for place in places if place.is_file()), places[0])

    def stamp(self) -> str:
        """sha256 (hex) of both files, after reading them. Raises NeedsMano."""
        digest = hashlib.sha256()
        for side in SIDES:
            _ = self[side]
            digest.update(file_stamp(self.file(side)).encode())
        return digest.hexdigest()
