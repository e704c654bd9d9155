"""What MLflow calls to load a bundle: `mlflow.pyfunc.load_model("models:/latentact-world-objects@champion")`.

Each bundle's MLmodel (see `zoo.mlmodel`) names this module as its loader, so that no code and no pickle travels with
the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo import bundle

MLFLOW_ADDS = ("registered_model_meta",)  # written by MLflow's client into what it downloads


def _load_pyfunc(path: str) -> Predictor:
    """MLflow's hook: verify the folder it downloaded and load the model."""
    from zoo.loading import load_folder

    folder = Path(path)
    bundle.verify(folder, also=MLFLOW_ADDS)
    return Predictor(load_folder(folder))


class Predictor:
    """LatentAct behind MLflow's `predict`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, np.ndarray]]:
        """Predict for each row of a DataFrame, each dict of a list, or one dict.

        Keys: `text`, `image` (path, PIL image, or pixels 0 to 255 (H,W,3) as an array or, from a served model's request,
        as lists) and `contact_point` (3 numbers, metres, in the image's camera); image and contact_point may be absent,
        and in a batch where only some rows have a point, the others give None or []. Where the model interpolates,
        `last_image` and `last_contact_point` too. Each result holds joints_m (T,21,3), vertices_m (T,778,3),
        contact_probability (T,778) and the hand's parameters.
        """
        rows = model_input.to_dict("records") if hasattr(model_input, "to_dict") else model_input
        return [self._predict_one(row) for row in ([rows] if isinstance(rows, dict) else rows)]

    def _predict_one(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        from zoo.loading import trajectory_arrays

        optional = ("image", "contact_point", "last_image", "last_contact_point")
        given = {name: _plain(row.get(name), is_picture=name.endswith("image")) for name in optional}
        return trajectory_arrays(self.model.predict(text=row.get("text", ""), **given))


def _plain(value: Any, *, is_picture: bool) -> Any:
    """An empty cell as None, and lists of pixels as an array."""
    if (isinstance(value, float) and np.isnan(value)) or (isinstance(value, list) and not value):
        return None
    if is_picture and isinstance(value, list):
        pixels = np.asarray(value)
        return pixels.astype(np.uint8) if np.all((pixels >= 0) & (pixels <= 255)) else pixels
    return value
