"""Mistakes that are AWS's own: profiles, disks, security groups, images, what a spot reclaim leaves behind."""

import re
from collections.abc import Iterator
from typing import Any

from cluster.check_finding import Finding, Sheet, at

_ANYWHERE = ("0.0.0.0/0", "::/0")


def findings(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    yield from _security_group(config, sheet)
    if at(config, "provider", "aws_credentials"):
        remedy = "leave it out: your own profile launches, instance profiles work"
        yield sheet.error("provider.aws_credentials", "keys stand in the file", remedy)
    for name, node_type in config["available_node_types"].items():
        field, node = f"available_node_types.{name}.node_config", node_type["node_config"]
        if not node.get("IamInstanceProfile"):
            head = name == config["head_node_type"]
            problem = "no instance profile: " + (
                "Ray makes one that may do everything in S3 and EC2"
                if head
                else "the node cannot reach the store"
            )
            remedy = "IamInstanceProfile: {Name: latentact-zoo-%s}" % ("head" if head else "worker")
            yield sheet.error(f"{field}.IamInstanceProfile", problem, remedy)
        yield from _disks(node, field, sheet)
        yield from _machine_image(node, field, sheet)
        if at(node, "MetadataOptions", "HttpTokens") != "required":
            problem = "a request forged on the node is given the profile's keys (IMDSv1)"
            yield sheet.warning(f"{field}.MetadataOptions", problem, "{HttpTokens: required}")
        behaviour = at(node, "InstanceMarketOptions", "SpotOptions", "InstanceInterruptionBehavior")
        if behaviour in ("stop", "hibernate"):
            problem = f"a reclaimed node is left behind ({behaviour}), and its disk goes on costing"
            yield sheet.error(
                f"{field}.InstanceMarketOptions", problem, "InstanceInterruptionBehavior: terminate"
            )


def _security_group(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    group = at(config, "provider", "security_group") or {}
    nodes = {name: node["node_config"] for name, node in config["available_node_types"].items()}
    without = [name for name, node in nodes.items() if not node.get("SecurityGroupIds")]
    if without and not group.get("GroupName"):
        yield sheet.error(
            "provider.security_group",
            f"none named for {', '.join(without)}: Ray makes one with port 22 open to the world",
            "{GroupName: latentact-zoo}, made by `python -m cluster.aws_ground`",
        )
    for rule in group.get("IpPermissions") or []:
        sources = [at(each, "CidrIp") for each in rule.get("IpRanges") or []]
        sources += [at(each, "CidrIpv6") for each in rule.get("Ipv6Ranges") or []]
        for source in sources:
            ports = f"{rule.get('FromPort', 'all')} to {rule.get('ToPort', 'all')}"
            where = "to the world" if source in _ANYWHERE else f"to {source}"
            remedy = "leave it out: `ray dashboard` and `ray attach` go through Session Manager"
            level = sheet.error if source in _ANYWHERE else sheet.warning
            yield level("provider.security_group.IpPermissions", f"ports {ports} are open {where}", remedy)


def _disks(node: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    disks = node.get("BlockDeviceMappings") or []
    remedy = "- {DeviceName: /dev/sda1, Ebs: {VolumeSize: 150, VolumeType: gp3, Encrypted: true}}"
    if not disks:
        yield sheet.error(f"{field}.BlockDeviceMappings", "the disk is not encrypted, and small", remedy)
    for disk in disks:
        if "Ebs" in disk and disk["Ebs"].get("Encrypted") is not True:
            yield sheet.error(f"{field}.BlockDeviceMappings", "a disk is not encrypted", "Encrypted: true")
        if at(disk, "Ebs", "DeleteOnTermination") is False:
            problem = "the disk stays, and costs, when its node is gone"
            yield sheet.error(f"{field}.BlockDeviceMappings", problem, "DeleteOnTermination: true")


def _machine_image(node: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    image = node.get("ImageId", "")
    if not image:
        problem = "not given: Ray's default is an Ubuntu 18.04 of 2022"
        yield sheet.error(f"{field}.ImageId", problem, "the comment at the top of cluster/aws.yaml finds one")
    elif not re.match(r"ami-|<", image):
        yield sheet.error(
            f"{field}.ImageId", f"{image} is another image tomorrow", "the ami-... that it is today"
        )
