"""What MLflow calls to load a bundle: `mlflow.pyfunc.load_model("models:/latentact-world-objects@champion")`.

Each bundle's MLmodel names this module as its loader, so that no code and no pickle travels with the weights.
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

        Keys: `image` (path, PIL image or uint8 array (H,W,3)), `text`, and `contact_point` (3 numbers,
        metres, in the image's camera), of which image and contact_point may be absent; where the model interpolates,
        `last_image` and `last_contact_point` too. Each result holds
        joints_m (T,21,3), vertices_m (T,778,3), contact_probability (T,778) and the hand's parameters.
        """
        rows = model_input.to_dict("records") if hasattr(model_input, "to_dict") else model_input
        return [self._predict_one(row) for row in ([rows] if isinstance(rows, dict) else rows)]

    def _predict_one(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        from zoo.loading import trajectory_arrays

        optional = ("image", "contact_point", "last_image", "last_contact_point")
        result = self.model.predict(text=row.get("text", ""), **{name: row.get(name) for name in optional})
        return trajectory_arrays(result)
