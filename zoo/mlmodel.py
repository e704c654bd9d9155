"""What makes a bundle an MLflow model: the loader, the signature and an input example, in MLflow's own format.

    MLmodel                       names the loader, and the signature that MLflow's page shows and its `predict` enforces
    input_example.json            a DataFrame of one row, out of metrics.json's "example"
    serving_input_example.json    the same as a request to `mlflow models serve`

Written here and not by mlflow.models.Model, which stamps times and random ids: they follow from config.json and
metrics.json alone, so that the same weights keep the same digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MLMODEL = "MLmodel"
EXAMPLE, SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"

_LOADER = """\
flavors:
  python_function:
    loader_module: zoo.flavor
    data: .
    python_version: "3.11"
"""
# Bundles from before there was a signature have this and no example. Theirs to keep: other bytes, another digest.
WITHOUT_SIGNATURE = _LOADER.encode()

_SIGNED = (
    _LOADER
    + """\
saved_input_example_info:
  artifact_path: {example}
  pandas_orient: split
  serving_input_path: {serving_example}
  type: dataframe
signature:
  inputs: '{inputs}'
  outputs: '{outputs}'
  params: null
"""
)
_TEXT = "reach for the object"  # of the example, where metrics.json has none

# Names of a model's outputs -> how many dimensions they have; all are float32. See `zoo.loading.trajectory_arrays`.
OUTPUTS = {
    "global_orient": 2,
    "hand_pose": 2,
    "betas": 2,
    "transl_m": 2,
    "camera_rotation": 3,
    "camera_translation_m": 2,
    "joints_m": 3,
    "vertices_m": 3,
    "contact_probability": 2,
}


def files(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, bytes]:
    """Path -> content of what publishing adds to a bundle with this config.json and metrics.json."""
    interpolates = config["model"].get("mode") == "interpolate"
    example = _example(metrics)
    signed = _SIGNED.format(
        example=EXAMPLE,
        serving_example=SERVING_EXAMPLE,
        inputs=json.dumps(_inputs(interpolates)),
        outputs=json.dumps([_array(name, dimensions) for name, dimensions in OUTPUTS.items()]),
    )
    return {
        MLMODEL: signed.encode(),
        EXAMPLE: _to_bytes(example),
        SERVING_EXAMPLE: _to_bytes({"dataframe_split": example}),
    }


def _inputs(interpolates: bool) -> list[dict[str, Any]]:
    """`text` is required; a picture may be a path, pixels or nothing, which MLflow calls `any`."""
    given = ("", "last_") if interpolates else ("",)
    inputs: list[dict[str, Any]] = [{"type": "string", "name": "text", "required": True}]
    for last in given:
        inputs.append({"type": "any", "name": f"{last}image", "required": False})
        point = {"type": "array", "items": {"type": "double"}}
        inputs.append({**point, "name": f"{last}contact_point", "required": False})
    return inputs


def _array(name: str, dimensions: int) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "float"}
    for _ in range(dimensions):
        kind = {"type": "array", "items": kind}
    return {**kind, "name": name, "required": True}


def _example(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A DataFrame of one row, as pandas splits it. An unknown contact point is left out: MLflow takes no empty cell."""
    known = metrics.get("example")
    known = known if isinstance(known, dict) else {}
    text, point = known.get("text"), known.get("contact_point")
    row: dict[str, Any] = {"text": text if isinstance(text, str) and text else _TEXT}
    if isinstance(point, list) and len(point) == 3 and all(isinstance(value, int | float) for value in point):
        row["contact_point"] = [float(value) for value in point]
    return {"columns": list(row), "data": [list(row.values())]}


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
