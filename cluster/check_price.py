"""The most that a fleet can cost an hour, told before its launch, from the dated table in prices.yaml."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TABLE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """Every node that the file allows, the dearest first, spot at the price of on demand."""

    usd_per_hour: float
    nodes: dict[str, int]  # by instance type, the head among them
    unknown: tuple[str, ...]  # instance types without a price, counted as nothing
    basis: str  # where the prices come from

    def sentence(self) -> str:
        nodes = " + ".join(f"{count} {name}" for name, count in self.nodes.items())
        open_end = f", and what {', '.join(self.unknown)} cost" if self.unknown else ""
        return (
            f"at most {self.usd_per_hour:,.2f} USD an hour ({self.usd_per_hour * 24:,.0f} a day){open_end}: "
            f"{nodes}; {self.basis}"
        )


@functools.cache
def price_table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(_TABLE.read_text())
    return table


def instance_type(node_config: dict[str, Any]) -> str:
    """`g6.2xlarge` or `g2-standard-8`, as AWS and Google name it in a node's configuration."""
    return str(node_config.get("InstanceType") or node_config.get("machineType") or "unnamed").rpartition(
        "/"
    )[2]


def worst_case(config: dict[str, Any]) -> WorstCase | None:
    """Of a `ray up` file; None for providers without a table (local, external)."""
    provider = config["provider"]
    table = price_table().get(provider["type"])
    if table is None:
        return None
    region = str(provider.get("region", ""))
    known_region = region.startswith("<") or region == table["region"]
    factor = 1.0 if known_region else float(table["elsewhere"])
    basis = f"{table['region']}, {table['dated']}, {table['source']}"
    if not known_region:
        basis += f", times {factor:g} for {region}"
    prices: dict[str, float] = table["usd_per_hour"]

    head = config["head_node_type"]
    slots = max(0, int(config.get("max_workers", 2)))
    offers = []
    for name, node_type in config["available_node_types"].items():
        machine = instance_type(node_type["node_config"])
        most = 0 if name == head else max(0, int(node_type.get("max_workers", slots)))
        offers.append((prices.get(machine, 0.0), machine, most))
    nodes = {instance_type(config["available_node_types"][head]["node_config"]): 1}
    for _, machine, most in sorted(offers, reverse=True):
        count = min(most, slots)
        slots -= count
        if count:
            nodes[machine] = nodes.get(machine, 0) + count
    return WorstCase(
        usd_per_hour=factor * sum(prices.get(machine, 0.0) * count for machine, count in nodes.items()),
        nodes=nodes,
        unknown=tuple(sorted({machine for _, machine, _ in offers if machine not in prices})),
        basis=basis,
    )
