"""Load a model of the zoo for prediction. Torch is imported here, and only when a model is really loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo import bundle
from zoo.errors import InputError
from zoo.pulling import pull
from zoo.store import Store

FINGERS = ("thumb", "index", "middle", "ring", "little")


def load(
    reference: str,
    *,
    mano_path: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    store: Store | None = None,
) -> Any:
    """The model `name[@version|@alias]`, ready for `.predict(image=, text=, contact_point=)`.

    Every byte is verified first, and nothing is unpickled but the user's own MANO file, from `mano_path` or
    `$MANO_PATH`, where the model was trained with MANO. device: "cpu", "cuda", "cuda:1", ...
    Raises what `pull` raises, InputError where there is no such device, ModelError for another hand.
    """
    if device != "cpu":
        _check_device(device)
    folder = pull(reference, store=store)
    bundle.verify(folder)
    return load_folder(folder, mano_path=mano_path, device=device)


def load_folder(folder: Path, *, mano_path: str | os.PathLike[str] | None = None, device: str = "cpu") -> Any:
    """The model in a bundle's folder, which the caller has verified."""
    from trainables.hand import load_hand
    from trainables.model_folder import load_model
    from zoo.architecture import check_architecture

    hand = load_hand(mano_path) if mano_path else load_hand()
    check_architecture(folder, hand)
    return load_model(folder, hand=hand, device=device)


def _check_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        raise InputError(
            f"There is no device '{device}' here ({said}): choose another, such as cpu."
        ) from error


def trajectory_arrays(trajectory: Any) -> dict[str, np.ndarray]:
    """A predicted trajectory as flat NumPy arrays: the hand's parameters, joints, vertices, contact."""
    fields = {
        **trajectory.parameters,
        "joints_m": trajectory.joints_m,
        "vertices_m": trajectory.vertices_m,
        "contact_probability": trajectory.contact_probability,
    }
    return {name: np.asarray(value) for name, value in fields.items()}


def contact_by_finger(trajectory: Any) -> dict[str, float]:
    """For each finger, the highest contact probability of any of its vertices at any time, highest first.

    A vertex belongs to the finger whose joint it is nearest to in the first frame; those nearest to the wrist
    count for none. Joints are in OpenPose order: wrist, then four of each finger from the thumb on.
    """
    arrays = trajectory_arrays(trajectory)
    joints_J3, vertices_V3 = arrays["joints_m"][0], arrays["vertices_m"][0]
    nearest_V = np.linalg.norm(vertices_V3[:, None] - joints_J3[None], axis=-1).argmin(axis=1)
    peak_V = arrays["contact_probability"].max(axis=0)
    peaks = {}
    for i, finger in enumerate(FINGERS):
        own_V = (nearest_V - 1) // 4 == i
        peaks[finger] = float(peak_V[own_V & (nearest_V > 0)].max(initial=0.0))
    return dict(sorted(peaks.items(), key=lambda item: -item[1]))
