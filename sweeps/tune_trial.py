"""A Tune trial: it hands its configuration to the warm group of its slot, and passes the group's reports on to Tune."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

NAMESPACE = "latentact"


class GroupTrial(tune.Trainable):
    """With `reuse_actors` one such actor serves one trial after another, and starts in no time."""

    def setup(self, config: dict[str, Any]) -> None:
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._identity: str = config["identity"]
        self._last: dict[str, Any] = {}
        self._group = ray.get_actor(config["slot"], namespace=NAMESPACE)
        ray.get(self._group.train.remote(config))

    def step(self) -> dict[str, Any]:
        waiting: Any = self._group.next.remote(self._identity)
        told: dict[str, Any] = ray.get(waiting)
        if (outcome := told.get("outcome")) is not None:
            return {**self._last, **outcome, "ended": True, "done": True}
        self._last = {**told, **told.get("best", {})}
        self._last.pop("history")
        return {**self._last, "history": told["history"]}
