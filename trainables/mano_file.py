"""Reading a MANO file (.pkl as published, .npz) without running anything that it holds."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from trainables.plain_pickle import ArraysOnly, Refused

_FIELDS = {
    "v_template": (778, 3), "f": (-1, 3), "shapedirs": (778, 3, -1), "posedirs": (778, 3, 135),
    "J_regressor": (16, 778), "weights": (778, 16), "kintree_table": (2, 16), "hands_components": (45, 45),
    "hands_mean": (45,),
}  # fmt: skip


class HandFileError(ValueError):
    """A MANO file that is missing or damaged; the message names file, field and remedy."""


class _Chumpy:
    """What is left of a chumpy array in the official pickle: its state, read without chumpy."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def numpy(self) -> np.ndarray:
        if "idxs" in self.__dict__:  # chumpy.reordering.Select
            picked = _plain(self.__dict__["a"]).ravel()[self.__dict__["idxs"]]
            return picked.reshape(self.__dict__["preferred_shape"])
        return np.asarray(self.__dict__["x"])


class _ManoArrays(ArraysOnly):
    """Knows scipy.sparse and chumpy arrays too."""

    admitted = ArraysOnly.admitted | {("copyreg", "_reconstructor"), ("builtins", "object")}

    def find_class(self, module: str, name: str) -> Any:
        root = module.split(".")[0]
        if root == "chumpy":
            return _Chumpy
        if root == "scipy" and name in {"csc_matrix", "csr_matrix", "coo_matrix"}:
            return getattr(scipy.sparse, name)
        return super().find_class(module, name)


def _plain(value: Any) -> np.ndarray:
    if isinstance(value, _Chumpy):
        return value.numpy()
    return value.toarray() if scipy.sparse.issparse(value) else np.asarray(value)


def read_mano(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Arrays of a MANO file (.pkl as published, or .npz), or of MANO_RIGHT.pkl/.npz in a folder.

    Raises:
        HandFileError: no such file, not a MANO file, or a pickle that holds anything but arrays.
    """
    given = Path(path)
    names = ["MANO_RIGHT.pkl", "MANO_RIGHT.npz", "mano/MANO_RIGHT.pkl", "mano/MANO_RIGHT.npz"]
    file = next((given / n for n in names if (given / n).is_file()), None) if given.is_dir() else given
    if file is None or not file.is_file():
        raise HandFileError(
            f"{given}: no MANO file there; point MANO_PATH at MANO_RIGHT.pkl (mano.is.tue.mpg.de), "
            "or unset it to use the stand-in hand"
        )
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as data:
                raw: dict[str, Any] = dict(data)
        else:
            raw = _ManoArrays(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        arrays = {name: _plain(raw[name]) for name in _FIELDS}
    except Refused as error:
        raise HandFileError(
            f"{file}: holds {error}, which is not an array; use MANO_RIGHT as published"
        ) from error
    except KeyError as error:
        raise HandFileError(f"{file}: field {error} is missing; use MANO_RIGHT as published") from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise HandFileError(
            f"{file}: not readable as MANO arrays ({error}); use MANO_RIGHT as published"
        ) from error
    for name, shape in _FIELDS.items():
        got = arrays[name].shape
        if len(got) != len(shape) or any(w not in (-1, g) for g, w in zip(got, shape, strict=True)):
            raise HandFileError(
                f"{file}: field {name} has shape {got}, not {shape}; use MANO_RIGHT as published"
            )
    arrays["shapedirs"] = arrays["shapedirs"][:, :, :10]
    if arrays["shapedirs"].shape[2] != 10:
        raise HandFileError(
            f"{file}: field shapedirs has fewer than 10 directions; use MANO_RIGHT as published"
        )
    return arrays
