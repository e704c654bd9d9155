"""The nodes that trials may count on: those that live, or as many as the cluster's autoscaler may start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

from sweeps.errors import SweepError

# The autoscaler's own file: where the variable names it, else where `ray up` leaves it on the head.
_VARIABLE, _OF_RAY_UP = "LATENTACT_AUTOSCALING_CONFIG", "~/ray_bootstrap_config.yaml"
# Every Ray head has 1 of this, and no other node has any.
_HEAD = "node:__internal_head__"
# Of a CPU core, or of the head: a desk only waits, but Ray gives nothing away for nothing.
_DESK = {"CPU": 0.01}
_DESK_ON_HEAD = {_HEAD: 0.0005}


@dataclass(frozen=True)
class Fleet:
    """`nodes` are the resources of each node; `scales` where an autoscaler starts and ends them."""

    nodes: tuple[Mapping[str, float], ...]
    scales: bool

    @classmethod
    def look(cls) -> Fleet:
        """At the cluster that this driver has joined. Raises SweepError for an autoscaler's file that cannot be read."""
        living = tuple(node["Resources"] for node in ray.nodes() if node["Alive"])
        return cls.of(living, Path(os.environ.get(_VARIABLE) or _OF_RAY_UP).expanduser())

    @classmethod
    def of(cls, living: tuple[Mapping[str, float], ...], file: Path) -> Fleet:
        """From the resources of the living nodes and the autoscaler's file, which is not there where none runs.

        Machines of one's own (Ray's provider `local`) are all started at once and stay: those count that live.
        """
        if not file.is_file():
            return cls(living, scales=False)
        try:
            config = yaml.safe_load(file.read_text())
            if config.get("provider", {}).get("type") == "local":
                return cls(living, scales=False)
            largest = _largest(config)
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise SweepError(
                f"{file} does not say which nodes the autoscaler may start ({error!r}): name its own file in "
                f"{_VARIABLE}, or say with --parallel how many trials shall run at once."
            ) from None
        head = tuple(node for node in living if _HEAD in node)
        return cls(head + largest, scales=True)

    @property
    def desk(self) -> dict[str, float]:
        """Resources of what only waits for workers: on a fleet it stays on the head, whose nodes come and go.

        There it keeps no idle node alive, and goes with none that is lost.
        """
        return _DESK_ON_HEAD if self.scales else _DESK


def _largest(config: Mapping[str, Any]) -> tuple[Mapping[str, float], ...]:
    """The worker nodes of an autoscaler's config when it has started all that it may."""
    nodes, most = [], int(config["max_workers"])
    for name, kind in config["available_node_types"].items():
        if name != config["head_node_type"]:
            resources = {key: float(value) for key, value in kind["resources"].items()}
            nodes += [(kind.get("priority", 0), resources)] * int(kind.get("max_workers", most))
    # The autoscaler's own order, where the types together are more than it may start.
    nodes.sort(key=lambda node: node[0], reverse=True)
    return tuple(resources for _, resources in nodes[:most])
