"""`python -m cluster.check` on files for `ray up`: what is shipped passes, each planted mistake is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster_files import ANSWERS, CLUSTER, DIGEST, ROOT, assert_found, each_mistake, filled_in, planted, told

from cluster import check as command
from cluster.check import check
from cluster.check_price import worst_case


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which the fleet's secrets lie as they should."""
    secrets = tmp_path / "home" / ".latentact-zoo" / "fleet"
    secrets.mkdir(parents=True)
    (secrets / "ray_token").touch(mode=0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_a_filled_in_file_has_nothing_to_change(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(filled_in(name))
    report = check(tmp_path / name)
    assert report.kind == "ray up" and report.findings == [], told(report)


@pytest.mark.parametrize(
    "name", ["aws.yaml", "gcp.yaml", "kuberay.yaml", "compose.yaml", "Dockerfile", "slurm.sh"]
)
def test_a_file_as_shipped_has_no_error_and_says_what_to_fill_in(name: str) -> None:
    report = check(CLUSTER / name)
    assert report.errors() == [], told(report)
    places = {place for place in ANSWERS if place in (CLUSTER / name).read_text()}
    assert all(any(place in found.problem for found in report.findings) for place in places)


OPEN = "IpPermissions: [{FromPort: 8265, ToPort: 8265, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}]"
MISTAKES = [
    ("a node that costs nobody knows what", "aws.yaml", 'usd-per-hour: "0.9776"', "usd: 1", "l4_spot.labels"),
    ("a misspelled field", "aws.yaml", "idle_timeout_minutes:", "idle_timeout_minute:", "Ray refuses it"),
    ("a head type that is not there", "aws.yaml", "head_node_type: head", "head_node_type: haed", "Ray refuses it"),
    ("no provider", "aws.yaml", "\nprovider:", "\nprovided:", "Ray refuses it"),
    ("no configuration of nodes", "aws.yaml", "node_config:", "node_configs:", "the rest was not checked"),
    ("idle before it has started", "aws.yaml", "idle_timeout_minutes: 15", "idle_timeout_minutes: 5", "idle_timeout"),
    ("nodes of a type idle too soon", "aws.yaml", "priority: 20", "idle_timeout_s: 60", "l4_spot.idle_timeout_s"),
    ("stopped, not terminated", "aws.yaml", "cache_stopped_nodes: false", "cache_stopped_nodes: true", "are stopped"),
    ("stopped by default", "aws.yaml", "cache_stopped_nodes: false", "vpc: none", "are stopped"),
    ("no limit of workers", "aws.yaml", "max_workers: 8\nup", "max_workers: -1\nup", "max_workers: -1"),
    ("no limit of a type", "aws.yaml", "max_workers: 2", "max_workers: -1", "l4x4_spot.max_workers: below zero"),
    ("no token", "aws.yaml", "RAY_AUTH_MODE=token", "RAY_SCHEDULER=1", "asks for no token"),
    ("authentication off", "aws.yaml", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled", "asks for no token"),
    ("no token's file", "aws.yaml", "RAY_AUTH_TOKEN_PATH=", "RAY_TOKEN=", "has no token to ask for"),
    ("a public dashboard", "aws.yaml", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "listens on 0.0.0.0"),
    ("no dashboard", "aws.yaml", "--dashboard-port=8265", "--include-dashboard=false", "no job can be submitted"),
    ("no autoscaler", "aws.yaml", "--autoscaling-config=~/ray_bootstrap_config.yaml", "", "would start no workers"),
    ("an open port", "aws.yaml", "GroupName: latentact-zoo", f"GroupName: latentact-zoo\n    {OPEN}",
     "open to the world"),
    ("Ray's own security group", "aws.yaml", "GroupName: latentact-zoo", "IpPermissions: []", "port 22 open"),
    ("training on the head", "aws.yaml", "resources: {CPU: 0}", "resources: {CPU: 4}", "trials would run on the head"),
    ("a head that can be reclaimed", "aws.yaml", "InstanceType: m6i.xlarge",
     "InstanceType: m6i.xlarge\n      InstanceMarketOptions: {MarketType: spot}", "the head is a spot instance"),
    ("no profile", "aws.yaml", "IamInstanceProfile: {Name: latentact-zoo-worker}", "Monitoring: {Enabled: false}",
     "cannot reach the store"),
    ("no profile of the head", "aws.yaml", "IamInstanceProfile: {Name: latentact-zoo-head}", "EbsOptimized: true",
     "may do everything"),
    ("keys in the file", "aws.yaml", "  region: us-west-2", "  region: us-west-2\n  aws_credentials: {a: b}",
     "keys stand in the file"),
    ("a disk in the clear", "aws.yaml", "Encrypted: true", "Encrypted: false", "a disk is not encrypted"),
    ("a disk that stays", "aws.yaml", "DeleteOnTermination: true", "DeleteOnTermination: false", "the disk stays"),
    ("reclaimed, and left behind", "aws.yaml", "InterruptionBehavior: terminate", "InterruptionBehavior: stop",
     "left behind"),
    ("forged requests for keys", "aws.yaml", "HttpTokens: required", "HttpTokens: optional", "IMDSv1"),
    ("a moving machine image", "aws.yaml", "ami-0123456789abcdef0", "resolve:ssm:/aws/latest", "another image tomorrow"),
    ("an unpinned image", "aws.yaml", DIGEST, "rayproject/ray:latest-gpu", "another image tomorrow"),
    ("an image of no tag", "aws.yaml", DIGEST, "example.org:5000/zoo", "another image tomorrow"),
    ("a tag that can move", "aws.yaml", DIGEST, "example.org/zoo:0.1.0", "can be moved"),
    ("an image of another Python", "aws.yaml", DIGEST, "rayproject/ray:2.60.0-py312-gpu", "is for Python 3.12"),
    ("an image of another Ray", "aws.yaml", DIGEST, "rayproject/ray:2.40.0-py311-gpu", "has Ray 2.40.0"),
    ("a wheel of another Python", "aws.yaml", "setup_commands: []\nhead",
     "setup_commands: [pip install ray-2.60.0-cp310-cp310-manylinux2014_x86_64.whl]\nhead", "is for Python 3.10"),
    ("installed at every start", "aws.yaml", "setup_commands: []\nhead", "setup_commands: [pip install x]\nhead",
     "packages are installed when a node starts"),
    ("Ray's own setup", "aws.yaml", "\nsetup_commands: []", "", "development build of Ray"),
    ("nodes that always run", "aws.yaml", "min_workers: 0", "min_workers: 1", "when nothing is to be done"),
    ("no fallback", "aws.yaml", "priority: 0\n    resources: {CPU: 8,", "resources: {CPU: 4,", "without spot capacity"),
    ("a fetched key", "aws.yaml", "--env RAY_USAGE_STATS_ENABLED=0", "--env AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7",
     "a secret stands in the file"),
    ("an access key", "aws.yaml", "--env RAY_USAGE_STATS_ENABLED=0", "--env KEY=AKIAIOSFODNN7EXAMPLE",
     "an AWS access key stands"),
    ("a token in the file", "aws.yaml", "--env RAY_USAGE_STATS_ENABLED=0", "--env RAY_AUTH_TOKEN=0123abcd",
     "a secret stands in the file"),
    ("a password in an address", "aws.yaml", "MLFLOW_DISABLE_TELEMETRY=true", "URI=https://me:hunter2@mlflow",
     "a password in an address"),
    ("a type of unknown price", "aws.yaml", "g5.2xlarge", "z9.mega", "nobody says what a z9.mega costs"),
    ("a public address", "gcp.yaml", "subnetworks/latentact-zoo",
     "subnetworks/latentact-zoo\n          accessConfigs: [{type: ONE_TO_ONE_NAT}]", "has a public address"),
    ("no service account", "gcp.yaml", "serviceAccounts: *worker", "tags: {items: []}", "no service account"),
    ("a stopped spot machine", "gcp.yaml", "instanceTerminationAction: DELETE", "instanceTerminationAction: STOP",
     "is stopped"),
    ("an image family", "gcp.yaml", "global/images/", "global/images/family/", "another image tomorrow"),
    ("a disk that stays", "gcp.yaml", "autoDelete: true", "autoDelete: false", "the disk stays"),
    ("the list that examples show", "gcp.yaml", "scheduling: {onHostMaintenance: TERMINATE, automaticRestart: false}",
     "scheduling: [{preemptible: false}]", "a list, Google wants a mapping"),
    ("stopped by wish", "gcp.yaml", "cache_stopped_nodes: false", "cache_stopped_nodes: true", "are stopped"),
]  # fmt: skip


@each_mistake(MISTAKES)
def test_a_planted_mistake_is_found(tmp_path: Path, name: str, old: str, new: str, found: str) -> None:
    assert_found(tmp_path, name, old, new, found)


def test_an_unencrypted_default_disk_is_found(tmp_path: Path) -> None:
    report = check(planted(tmp_path, "aws.yaml", "BlockDeviceMappings: *disk", "EbsOptimized: true"))
    assert "the disk is not encrypted, and small" in told(report)


def test_big_and_open_file_mounts_are_found(home: Path, tmp_path: Path) -> None:
    secrets = home / ".latentact-zoo" / "fleet"
    (secrets / "data.bin").write_bytes(bytes(1_500_000))
    (secrets / "ray_token").chmod(0o644)
    (tmp_path / "aws.yaml").write_text(filled_in("aws.yaml"))
    report = told(check(tmp_path / "aws.yaml"))
    assert "1.5 MB are copied to every node" in report and "others on this machine may read" in report


def test_worst_case_takes_the_dearest_nodes_and_counts_spot_as_on_demand() -> None:
    def node(machine: str, most: int) -> dict[str, object]:
        return {"node_config": {"InstanceType": machine}, "max_workers": most}

    config = {
        "provider": {"type": "aws", "region": "us-west-2"},
        "max_workers": 5,
        "head_node_type": "head",
        "available_node_types": {
            "head": node("m6i.xlarge", 0),
            "spot": node("g6.2xlarge", 8),
            "large": node("g6.12xlarge", 2),
        },
    }
    worst = worst_case(config)
    assert worst is not None and worst.nodes == {"m6i.xlarge": 1, "g6.12xlarge": 2, "g6.2xlarge": 3}
    assert worst.usd_per_hour == pytest.approx(0.192 + 2 * 4.6016 + 3 * 0.9776)
    config["provider"] = {"type": "aws", "region": "ap-south-1"}
    elsewhere = worst_case(config)
    assert elsewhere is not None and elsewhere.usd_per_hour == pytest.approx(1.4 * worst.usd_per_hour)
    assert "times 1.4 for ap-south-1" in elsewhere.sentence()


def test_command_line(tmp_path: Path) -> None:
    file = tmp_path / "aws.yaml"
    file.write_text(filled_in("aws.yaml"))
    runner = CliRunner()
    result = runner.invoke(command.main, ["--json", "--strict", str(file)])
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert report["kind"] == "ray up" and "at most 16.67 USD an hour" in report["notes"][0]
    dear = runner.invoke(command.main, ["--max-usd-per-hour", "10", str(file)])
    assert dear.exit_code == 1
    file.write_text((CLUSTER / "aws.yaml").read_text())
    assert runner.invoke(command.main, [str(file)]).exit_code == 0
    assert runner.invoke(command.main, ["--strict", str(file)]).exit_code == 1
    (tmp_path / "other.yaml").write_text("a: 1\n")
    assert runner.invoke(command.main, [str(tmp_path / "other.yaml")]).exit_code == 1


def test_the_module_prints_file_field_and_remedy(tmp_path: Path) -> None:
    file = planted(tmp_path, "aws.yaml", "Encrypted: true", "Encrypted: false")
    result = subprocess.run(
        [sys.executable, "-m", "cluster.check", str(file)],
        cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert str(file) in result.stdout and "node_config.BlockDeviceMappings: a disk" in result.stdout
    assert "-> Encrypted: true" in result.stdout
