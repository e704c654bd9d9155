"""What cluster/aws.yaml stands on, made once for an AWS account and region, with an administrator's keys.

    python -m cluster.aws_ground cluster/aws.yaml      # makes what is missing, mends what is open, says what it did

- the security group of `provider.security_group.GroupName`: its members reach one another, nobody else reaches them.
  Rules that let others in are taken out;
- the instance profiles that the node types name, each with a role: nodes work in the file's bucket (workers not on the
  zoo in it), pull from ECR and are reached through Session Manager; the head's launches and ends the fleet's nodes too;
- Ray's token on this machine, in the folder that is mounted on the nodes (0600).

Nothing is deleted by it, and a second run changes nothing.
"""

import json
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import click
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from cluster.state import StackFolder

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
_SESSION_MANAGER = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
_REGISTRY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"


class GroundError(RuntimeError):
    """The ground cannot be laid; the message says why and what to do next."""


def lay(config: dict[str, Any]) -> Iterator[str]:
    """Make what a `ray up` file of AWS names and does not have; yields what was done, a sentence each."""
    if config["provider"]["type"] != "aws":
        raise GroundError(f"provider.type is {config['provider']['type']}: this is for AWS alone")
    region = config["provider"]["region"]
    if "<" in region:
        raise GroundError(f"provider.region is {region}: fill the file in first")
    yield from _security_group(boto3.client("ec2", region_name=region), config)
    yield from _profiles(boto3.client("iam"), config)
    yield from _token(config)


def _security_group(ec2: Any, config: dict[str, Any]) -> Iterator[str]:
    name = config["provider"]["security_group"]["GroupName"]
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise GroundError("the region has no default VPC: make one (aws ec2 create-default-vpc)")
    where = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]}]
    groups = ec2.describe_security_groups(Filters=where)["SecurityGroups"]
    if groups:
        group, rules = groups[0]["GroupId"], groups[0]["IpPermissions"]
    else:
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": "project", "Value": "latentact-zoo"}]}]
        about = "The nodes of a fleet, open to one another alone"
        made = ec2.create_security_group(
            GroupName=name, Description=about, VpcId=vpcs[0]["VpcId"], TagSpecifications=tags
        )
        group, rules = made["GroupId"], []
        yield f"made the security group {name} ({group})"
    foreign = [rule for rule in rules if not _is_inner(rule, group)]
    if foreign:
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=foreign)
        yield f"closed {len(foreign)} rules of {name} that let others in"
    if not any(_is_inner(rule, group) for rule in rules):
        inner = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[inner])
        yield f"opened {name} to its own members"


def _is_inner(rule: dict[str, Any], group: str) -> bool:
    others = rule.get("IpRanges") or rule.get("Ipv6Ranges") or rule.get("PrefixListIds")
    pairs = rule.get("UserIdGroupPairs") or []
    return not others and rule["IpProtocol"] == "-1" and all(pair["GroupId"] == group for pair in pairs)


def _profiles(iam: Any, config: dict[str, Any]) -> Iterator[str]:
    bucket = _bucket(config)
    profiles = {
        name: node_type["node_config"]["IamInstanceProfile"]["Name"]
        for name, node_type in config["available_node_types"].items()
    }
    head = profiles.pop(config["head_node_type"])
    workers = set(profiles.values())
    for profile in sorted({head, *workers}):
        policies = {"store": store_policy(bucket, publishes=profile == head)}
        if profile == head:
            policies["fleet"] = _fleet_policy(workers, config["provider"]["region"])
        yield from _profile(iam, profile, policies)


def _bucket(config: dict[str, Any]) -> str:
    bucket = _run_option(config, r"LATENTACT_ZOO=s3://([a-z0-9.-]+)")
    if bucket is None:
        raise GroundError("docker.run_options names no LATENTACT_ZOO=s3://bucket: fill the file in first")
    return bucket


def _run_option(config: dict[str, Any], pattern: str) -> str | None:
    found = re.search(pattern, yaml.safe_dump(config.get("docker"), width=1000))
    return found[1] if found else None


def _profile(iam: Any, name: str, policies: dict[str, dict[str, Any]]) -> Iterator[str]:
    """An instance profile and its role, both of one name."""
    try:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))
        yield f"made the role {name}"
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    for policy in (_SESSION_MANAGER, _REGISTRY):
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    for policy, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    try:
        iam.create_instance_profile(InstanceProfileName=name)
        yield f"made the instance profile {name}"
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    if not iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def store_policy(bucket: str, *, publishes: bool) -> dict[str, Any]:
    """What nodes may do in their bucket and in no other: read all, write ledger, checkpoints and data sets.

    The driver, on the head, publishes and promotes too, workers leave the zoo alone, and no node takes anything out of
    it. Narrower roles, for people: cluster/iam.
    """
    objects, models = f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}/models/*"
    work = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    policy = _policy(
        ([*work, "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], [objects]),
        (["s3:ListBucket", "s3:ListBucketMultipartUploads"], [f"arn:aws:s3:::{bucket}"]),
    )
    if publishes:
        # All but the marks by which publishers and `zoo gc` keep out of each other's way.
        kept = [f"{models}/{part}/*" for part in ("versions", "digests", "numbers", "aliases", "log", "gate")]
        denied = {"Effect": "Deny", "Action": ["s3:DeleteObject"], "Resource": kept}
    else:
        denied = {"Effect": "Deny", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": [models]}
    policy["Statement"].append(denied)
    return policy


def _fleet_policy(workers: set[str], region: str) -> dict[str, Any]:
    """Launch and tag nodes in one region, end those that Ray has tagged, hand the workers' roles to them."""
    roles = [f"arn:aws:iam::*:role/{worker}" for worker in sorted(workers)]
    policy = _policy(
        (["ec2:Describe*"], ["*"]),
        (["ec2:RunInstances", "ec2:CreateTags"], [f"arn:aws:ec2:{region}:*:*"]),
        (["ec2:RunInstances"], [f"arn:aws:ec2:{region}::image/*"]),
        (["iam:PassRole"], roles),
    )
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Action": ["ec2:TerminateInstances", "ec2:StopInstances"],
            "Resource": [f"arn:aws:ec2:{region}:*:instance/*"],
            "Condition": {"StringLike": {"ec2:ResourceTag/ray-cluster-name": "*"}},
        }
    )
    return policy


def _policy(*allowed: tuple[list[str], list[str]]) -> dict[str, Any]:
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resources} for actions, resources in allowed
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _token(config: dict[str, Any]) -> Iterator[str]:
    """Ray's token, in the folder that is mounted where the nodes read it."""
    remote = PurePosixPath(_run_option(config, r"RAY_AUTH_TOKEN_PATH=([^\s\"']+)") or "")
    local = (config.get("file_mounts") or {}).get(str(remote.parent))
    if local is None:
        return  # cluster.check says so
    file = Path(local).expanduser() / remote.name
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        StackFolder.write_private(file, secrets.token_hex(32))
        yield f"made Ray's token, {file}: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={file} ray job submit ..."


@click.command(help=__doc__)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    done = False
    for sentence in lay(yaml.safe_load(file.read_text())):
        click.echo(sentence)
        done = True
    if not done:
        click.echo("everything was there")


if __name__ == "__main__":
    try:
        main()
    except (GroundError, BotoCoreError, ClientError) as error:
        sys.exit(f"error: {error}")
