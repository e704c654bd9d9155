"""`ray up cluster/aws.yaml` against a simulated AWS (moto), up to the SSH step, and `ray down`.

The simulation answers EC2, IAM and STS on a loopback port; it starts no machines, so that nothing can be installed.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import cluster_files
import pytest
import yaml
from cluster_files import ROOT

from cluster import aws_ground
from cluster.aws_ground import store_policy
from tests.iam_policy import allows

REGION = "us-west-2"
PROGRAMS = Path(sys.executable).parent
TYPE_TAG = "ray-user-node-type"
LAUNCH_WORKERS = """
import sys, yaml
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider
config = _bootstrap_config(yaml.safe_load(open(sys.argv[1])), no_config_cache=True)
provider = _get_node_provider(config["provider"], config["cluster_name"])
for name, node_type in config["available_node_types"].items():
    if name != config["head_node_type"]:
        tags = {"ray-node-name": name, "ray-node-type": "worker", "ray-user-node-type": name}
        provider.create_node(node_type["node_config"], tags, 1)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Ray's launcher writes a key into ~/.ssh: it gets a home of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `ray up` and boto3 need to talk to the simulation, which runs as long as the test does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "simulated",
        "AWS_SECRET_ACCESS_KEY": "simulated",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE"):
        variables.pop(name, None)
    with open(tmp_path / "moto.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env=variables,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (
                    tmp_path / "moto.log"
                ).read_text()
                time.sleep(0.1)
        yield variables
    finally:
        server.terminate()
        server.wait(20)


def client(service: str, environment: dict[str, str]) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="simulated",
        aws_secret_access_key="simulated",
    )


def filled_in(environment: dict[str, str], folder: Path) -> Path:
    """cluster/aws.yaml as a user fills it in, with a machine image that the simulation has."""
    image = client("ec2", environment).describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    file = folder / "aws.yaml"
    file.write_text(cluster_files.filled_in("aws.yaml", REGION=REGION, AMI=image))
    return file


def run(*command: str | Path, environment: dict[str, str]) -> str:
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def up_to_ssh(file: Path, environment: dict[str, str], log: Path) -> None:
    """Run `ray up` until it waits for SSH on the head, then end it."""
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [str(PROGRAMS / "ray"), "up", "-y", "--no-config-cache", str(file)],
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 150
        while not re.search(r"uptime|SSH still not available", log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def living(environment: dict[str, str]) -> list[dict[str, Any]]:
    reservations = client("ec2", environment).describe_instances()["Reservations"]
    instances = [instance for reservation in reservations for instance in reservation["Instances"]]
    return [
        instance for instance in instances if instance["State"]["Name"] not in ("terminated", "shutting-down")
    ]


@pytest.mark.slow
def test_up_makes_a_closed_tagged_head_and_down_leaves_nothing(
    environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    file = filled_in(environment, tmp_path)
    first = run(sys.executable, "-m", "cluster.aws_ground", file, environment=environment)
    assert "made the security group latentact-zoo" in first and "made the instance profile" in first
    assert "everything was there" in run(
        sys.executable, "-m", "cluster.aws_ground", file, environment=environment
    )
    token = home / ".latentact-zoo" / "fleet" / "ray_token"
    assert token.stat().st_mode & 0o777 == 0o600 and len(token.read_text()) == 64
    # With what can be filled in filled in, and the ground laid, not even a warning is left.
    assert "nothing to change" in run(
        sys.executable, "-m", "cluster.check", "--strict", file, environment=environment
    )

    up_to_ssh(file, environment, tmp_path / "up.log")
    (head,) = living(environment)
    assert head["InstanceType"] == "m6i.xlarge"
    assert head["IamInstanceProfile"]["Arn"].endswith("/latentact-zoo-head")
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert tags["project"] == "latentact-zoo" and tags["ray-cluster-name"] == "latentact-zoo"
    assert tags["ray-node-type"] == "head" and tags["ray-user-node-type"] == "head"
    assert "InstanceLifecycle" not in head  # no spot instance

    ec2 = client("ec2", environment)
    (group,) = ec2.describe_security_groups(GroupIds=[each["GroupId"] for each in head["SecurityGroups"]])[
        "SecurityGroups"
    ]
    assert group["GroupName"] == "latentact-zoo"
    for rule in group["IpPermissions"]:
        assert not rule["IpRanges"] and not rule["Ipv6Ranges"] and not rule["PrefixListIds"], rule
        assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]
    volumes = [mapping["Ebs"]["VolumeId"] for mapping in head["BlockDeviceMappings"]]
    assert all(volume["Encrypted"] for volume in ec2.describe_volumes(VolumeIds=volumes)["Volumes"])

    # What the head's autoscaler would ask for: one node of each type of worker.
    run(sys.executable, "-c", LAUNCH_WORKERS, file, environment=environment)
    nodes = {
        tag["Value"]: node for node in living(environment) for tag in node["Tags"] if tag["Key"] == TYPE_TAG
    }
    assert set(nodes) == {"head", "l4_spot", "a10g_spot", "l4x4_spot", "l4_on_demand"}
    for name, node in nodes.items():
        assert (node.get("InstanceLifecycle") == "spot") == name.endswith("spot"), name
        profile = "latentact-zoo-head" if name == "head" else "latentact-zoo-worker"
        assert node["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert [each["GroupId"] for each in node["SecurityGroups"]] == [group["GroupId"]]

    run(PROGRAMS / "ray", "down", "-y", file, environment=environment)
    assert living(environment) == []
    left = ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["in-use", "available"]}])["Volumes"]
    assert left == []


def test_a_worker_leaves_the_zoo_alone_and_no_node_takes_anything_out() -> None:
    head, worker = (store_policy("my-zoo", publishes=publishes) for publishes in (True, False))
    model = "models/latentact-world-objects"
    version, alias = f"{model}/versions/1/card.md", f"{model}/aliases/x"
    for role in (head, worker):
        for key in ("clips/manifest.json", version, alias):
            assert may(role, "s3:GetObject", key)
        for key in ("ledger/trials/a/b.json", "trials/a/checkpoint"):
            assert may(role, "s3:PutObject", key) and may(role, "s3:DeleteObject", key)
        for part in ("versions", "digests", "numbers", "aliases", "log", "gate"):
            assert not may(role, "s3:DeleteObject", f"{model}/{part}/x")
        assert not may(role, "s3:GetObject", "x", bucket="another")
        assert not may(role, "s3:PutBucketPolicy", "")
    assert may(head, "s3:PutObject", version) and may(head, "s3:PutObject", alias)
    assert not may(worker, "s3:PutObject", version) and not may(worker, "s3:PutObject", alias)
    assert may(head, "s3:DeleteObject", f"{model}/publishing/x"), "its own mark, when it has published"


def may(policy: dict[str, Any], action: str, key: str, *, bucket: str = "my-zoo") -> bool:
    return allows(policy, action, f"arn:aws:s3:::{bucket}/{key}")


def test_the_token_is_made_once_and_only_in_the_folder_that_nodes_read_it_from(tmp_path: Path) -> None:
    config = yaml.safe_load(cluster_files.filled_in("aws.yaml"))
    config["file_mounts"] = {
        "/home/ray/secrets": f"{tmp_path}/fleet",
        "/home/ray/.mlflow": f"{tmp_path}/mlflow",
    }
    (made,) = aws_ground._token(config)
    token = tmp_path / "fleet" / "ray_token"
    assert str(token) in made and token.stat().st_mode & 0o777 == 0o600 and len(token.read_text()) == 64
    assert list(aws_ground._token(config)) == [] and not (tmp_path / "mlflow").exists()


@pytest.mark.slow
def test_ground_closes_a_group_that_is_open(environment: dict[str, str], tmp_path: Path) -> None:
    """Also the one that Ray makes itself where the ground was not laid: port 22, open to the world."""
    file = filled_in(environment, tmp_path)
    ec2 = client("ec2", environment)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="latentact-zoo", Description="open", VpcId=vpc)["GroupId"]
    world = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[world])
    assert "closed 1 rules" in run(sys.executable, "-m", "cluster.aws_ground", file, environment=environment)
    (rule,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert rule["UserIdGroupPairs"][0]["GroupId"] == group and not rule["IpRanges"]
