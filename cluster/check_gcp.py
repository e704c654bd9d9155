"""Mistakes that are Google Cloud's own. Its disks are always encrypted."""

from collections.abc import Iterator
from typing import Any

from cluster.check_finding import Finding, Sheet, at


def findings(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    if not at(config, "provider", "project_id"):
        yield sheet.error("provider.project_id", "not given", "the project that pays")
    for name, node_type in config["available_node_types"].items():
        field, node = f"available_node_types.{name}.node_config", node_type["node_config"]
        if not node.get("serviceAccounts"):
            problem = "no service account: the head's would be one that Ray makes, a worker would have none"
            remedy = "- email: latentact-zoo-worker@PROJECT.iam.gserviceaccount.com"
            yield sheet.error(f"{field}.serviceAccounts", problem, remedy)
        yield from _network(node, field, sheet)
        yield from _scheduling(node, field, sheet)
        for disk in node.get("disks") or []:
            image = str(at(disk, "initializeParams", "sourceImage") or "")
            if "/family/" in image:
                problem = f"{image} is another image tomorrow"
                yield sheet.error(f"{field}.disks", problem, "the image that the family stands for today")
            if disk.get("autoDelete") is not True:
                problem = "the disk stays, and costs, when its node is gone"
                yield sheet.error(f"{field}.disks", problem, "autoDelete: true")


def _network(node: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    interfaces = node.get("networkInterfaces")
    remedy = "a subnetwork without accessConfigs; SSH goes through Identity-Aware Proxy"
    if not interfaces:
        problem = "none given: Ray takes the first network it finds, with a public address"
        yield sheet.error(f"{field}.networkInterfaces", problem, remedy)
    for interface in interfaces or []:
        if interface.get("accessConfigs"):
            yield sheet.error(f"{field}.networkInterfaces", "the node has a public address", remedy)


def _scheduling(node: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    scheduling = node.get("scheduling") or {}
    if isinstance(scheduling, list):
        yield sheet.error(
            f"{field}.scheduling", "a list, Google wants a mapping", "{provisioningModel: SPOT, ...}"
        )
        return
    if (
        scheduling.get("provisioningModel") == "SPOT"
        and scheduling.get("instanceTerminationAction") != "DELETE"
    ):
        problem = "a reclaimed node is stopped, and its disk goes on costing"
        yield sheet.error(f"{field}.scheduling", problem, "instanceTerminationAction: DELETE")
