"""The YCB models that HO-3D's objects are posed with; HO-3D does not ship them.

Its README asks for "The YCB-Video 3D Models" of rse-lab.cs.washington.edu/projects/posecnn in a folder `models`:
models/021_bleach_cleanser/textured_simple.obj, metres.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.signed_distance import Mesh, read_mesh
from trainables.source_errors import MissingFile, WrongValue
from trainables.source_fields import inside

VARIABLE = "YCB_MODELS"
FILE = "textured_simple.obj"
HOW_TO = (
    f"fetch the YCB-Video 3D models and put them into SOURCE/models, or point {VARIABLE} at their folder "
    f"(it holds 021_bleach_cleanser/{FILE})"
)


def find_models(source: Path) -> Path | None:
    """The folder of the models: $YCB_MODELS, else SOURCE/models, else models beside SOURCE; None without any.

    Raises MissingFile where $YCB_MODELS is set and holds none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        places = [Path(named), Path(named) / "models"]
        found = next((place for place in places if any(place.glob(f"*/{FILE}"))), None)
        if found is None:
            raise MissingFile(named, f"{VARIABLE} names it, but it holds no <object>/{FILE}; {HOW_TO}.")
        return found
    places = [source / "models", source.resolve().parent / "models"]
    return next((place for place in places if any(place.glob(f"*/{FILE}"))), None)


def read_model(models: Path | None, name: str, box_m: NDArray[np.float64] | None, where: str) -> Mesh | None:
    """An object's mesh, None where there is no model of it. Raises SourceError where the model is not the object.

    box_m: the object's corners (8, 3) as its annotation gives them; where: the sequence that names the object.
    """
    if models is None:
        return None
    path = inside(models, name, file=where, field="objName") / FILE
    if not path.is_file():
        return None
    mesh = read_mesh(path)
    if box_m is not None:
        ratio = _diagonal(mesh.vertices_m) / max(_diagonal(box_m), 1e-9)
        if not 0.5 < ratio < 2:
            why = f"is {ratio:.3g} times the object's annotated size; use the YCB-Video model, in metres."
            raise WrongValue(path, why)
    return mesh


def _diagonal(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.ptp(points, axis=0)))
