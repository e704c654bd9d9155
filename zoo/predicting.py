"""From a photo, a sentence and a point to a trajectory in one call."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zoo.loading import load
from zoo.store import Store

if TYPE_CHECKING:
    from trainables.photo import Picture
    from trainables.trajectory import Trajectory


def predict(
    reference: str,
    *,
    text: str,
    image: Picture = None,
    contact_point: Any = None,
    last_image: Picture = None,
    last_contact_point: Any = None,
    out: str | os.PathLike[str] | None = None,
    mano_path: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    store: Store | None = None,
) -> Trajectory:
    """Predict one second of hand motion with the model `name[@version|@alias]`.

        trajectory = zoo.predict("latentact-world-objects", image="photo.jpg", text="push the mug left",
                                 contact_point=(0.02, 0.10, 0.55), out="push")
        trajectory.vertices_m, trajectory.contact_probability

    text, image, contact_point and their like for the last frame: see `trainables.prompt.Prompt`. out: where
    `zoo.write_trajectory` writes files, None = nowhere. For many predictions load the model once:
    `zoo.load(reference).predict_batch(prompts)`. Raises what `zoo.load`, `LatentAct.predict` and `write_trajectory` do.
    """
    model = load(reference, mano_path=mano_path, device=device, store=store)
    trajectory: Trajectory = model.predict(
        text=text,
        image=image,
        contact_point=contact_point,
        last_image=last_image,
        last_contact_point=last_contact_point,
    )
    if out is not None:
        from zoo.trajectory_files import write_trajectory

        write_trajectory(
            trajectory, out, title=reference, text=text, image=image, contact_point=contact_point
        )
    return trajectory
