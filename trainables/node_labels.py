"""What a node of the cluster is and costs, as its own labels say: `labels:` of its type in the cluster's file.

    labels: {latentact/node-type: g6.2xlarge-spot, latentact/usd-per-hour: "0.98"}

The price is of the whole node, in USD. A node without labels costs nobody knows what.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TYPE, PRICE = "latentact/node-type", "latentact/usd-per-hour"
UNLABELLED = "unlabelled"


def node_type(labels: Mapping[str, str]) -> str:
    return labels.get(TYPE) or UNLABELLED


def node_usd_per_hour(labels: Mapping[str, str]) -> float | None:
    """None where no label gives a price, or what it gives is none."""
    try:
        price = float(labels.get(PRICE, ""))
    except ValueError:
        return None
    return price if 0 <= price < math.inf else None


def place(node: Mapping[str, Any], asked: Mapping[str, float], usd_per_hour: float | None) -> dict[str, Any]:
    """`node_type` and `usd_per_hour` of a worker that asked for these resources of a node, as `ray.nodes()` tells of it.

    A worker's price is what the user said, else its share of the node's: of the GPUs where it has any, else of whole
    cores, which is what it keeps from others. None where neither is known.
    """
    price, resources = node_usd_per_hour(node["Labels"]), node["Resources"]
    if usd_per_hour is None and price is not None:
        gpu = asked.get("GPU", 0.0)
        taken = gpu / resources["GPU"] if gpu else math.ceil(asked["CPU"]) / resources["CPU"]
        usd_per_hour = price * min(1.0, taken)
    return {"node_type": node_type(node["Labels"]), "usd_per_hour": usd_per_hour}
