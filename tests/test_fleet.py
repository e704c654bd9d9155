"""A fleet of machines of one's own, rehearsed: `ray up cluster/onprem.yaml` over ssh, sweeps across its workers, `ray down`.

    make fleet-test

The machines are namespaces (tests/netns_hosts.py) with networks, processes and homes of their own: a laptop, a head
that also serves S3 and MLflow, and two workers with one core each.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from cluster_files import filled_in
from safetensors.torch import load_file

from tests.netns_hosts import HOME, Host, missing, network

DASHBOARD = "http://127.0.0.1:8265"  # of the laptop: `ray dashboard` forwards it to the head
CLIPS = "s3://zoo/clips/world"
SMALL = {
    "width": 16,
    "condition_width": 16,
    "window": 8,
    "quantizers": 2,
    "codebook_epochs": 2,
    "indexer_epochs": 1,
}
FETCH = """
import sys, boto3, botocore.config
s3 = boto3.client("s3", config=botocore.config.Config(s3={"addressing_style": "path"}))
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="zoo", Prefix=sys.argv[1]):
    for entry in page.get("Contents", []):
        if entry["Key"].endswith("/weights.safetensors"):
            s3.download_file("zoo", entry["Key"], f"{sys.argv[2]}/{entry['Key'].split('/')[-2]}")
"""

needs_hosts = pytest.mark.skipif(bool(missing()) and not os.environ.get("CI"), reason=missing() or "-")
pytestmark = [pytest.mark.fleet, needs_hosts, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Fleet:
    laptop: Host
    head: Host
    workers: tuple[Host, Host]
    file: Path
    served: list[str]  # processes of the head before `ray up`: those of S3 and MLflow
    tunnel: subprocess.Popen[bytes]  # `ray dashboard` on the laptop

    def submit(self, *script: str) -> str:
        """`ray job submit` from the laptop, as in the README; returns what the job printed."""
        job = (
            "ray",
            "job",
            "submit",
            "--log-color=false",
            "--address",
            DASHBOARD,
            "--working-dir",
            ".",
            "--",
        )
        return self.laptop.run(*job, "python", *script, timeout_s=600).stdout

    def list(self, what: str) -> list[dict[str, Any]]:
        """What Ray knows of its nodes or actors."""
        command = ("ray", "list", what, "--address", DASHBOARD, "--detail", "--limit=1000", "--format=json")
        out = self.laptop.run(*command).stdout
        # Where there are none it says so in words.
        return json.loads(out[out.index("[") :]) if "[" in out else []

    def trained_on(self) -> dict[str, str]:
        """The address of the host that each Ray Train worker so far ran on, by the worker's actor id."""
        hosts = {node["node_id"]: node["node_ip"] for node in self.list("nodes")}
        workers = [actor for actor in self.list("actors") if actor["class_name"] == "RayTrainWorker"]
        return {actor["actor_id"]: hosts[actor["node_id"]] for actor in workers}


def sweep(name: str, *options: str) -> list[str]:
    fields = [part for field, value in SMALL.items() for part in ("--set", f"{field}={value}")]
    about = ["--data", CLIPS, "--split", "objects", "--name", name]
    return ["sweeps/codebook_size.py", *about, *fields, *options]


def wait(condition: Any, what: str, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(1)


def of_the_user() -> dict[str, float]:
    """What lies where `ssh` and `ray` write, in the home of whoever runs the tests."""
    folders = [HOME / name for name in (".ssh", ".ray")]
    return {
        str(file): file.stat().st_mtime
        for folder in folders
        for file in [folder, *folder.rglob("*")]
        if file.exists()
    }


def inside(namespaces: set[str]) -> list[int]:
    """Processes of this machine that run in one of these networks."""
    found = []
    for pid in psutil.pids():
        try:
            if os.readlink(f"/proc/{pid}/ns/net") in namespaces:
                found.append(pid)
        except OSError:
            continue
    return found


def connect_laptop(laptop: Host, head: Host) -> None:
    """Start the team's servers on the head, and give the laptop what their users have."""
    servers = ("python", "-m", "tests.fleet_servers", head.address, "26400")
    out = head.run(*servers, timeout_s=400, LATENTACT_HOME=str(head.folder / "servers")).stdout
    told = json.loads(out.splitlines()[-1])
    folder = laptop.home / ".latentact-zoo" / "fleet"
    folder.mkdir(parents=True, mode=0o700)
    keys = f"[default]\naws_access_key_id={told['access_key']}\naws_secret_access_key={told['secret_key']}\n"
    for name, text in (("ray_token", secrets.token_hex(32)), ("aws_credentials", keys)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    seen = HOME / ".latentact-zoo" / "fleet"
    laptop.environment.update(
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=f"{seen}/ray_token", RAY_USAGE_STATS_ENABLED="0",
        AWS_SHARED_CREDENTIALS_FILE=f"{seen}/aws_credentials", AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL=told["store"], LATENTACT_ZOO="s3://zoo", MLFLOW_TRACKING_URI=told["mlflow"],
        MLFLOW_DISABLE_TELEMETRY="true", OMP_NUM_THREADS="1",
    )  # fmt: skip


def onprem_file(laptop: Host, head: Host, workers: tuple[Host, ...]) -> str:
    """cluster/onprem.yaml as a user fills it in; each worker says it had one core, and all memory is the one machine's."""
    text = filled_in(
        "onprem.yaml", HEAD=head.address, WORKERS=", ".join(worker.address for worker in workers), USER="root",
        KEY="~/.ssh/id_ed25519", BUCKET="zoo", STORE=laptop.environment["AWS_ENDPOINT_URL"],
        MLFLOW=laptop.environment["MLFLOW_TRACKING_URI"],
    )  # fmt: skip
    one_machine = {
        "ray start --block": "ray start --block --num-cpus=1",
        "RAY_USAGE_STATS_ENABLED=0": "RAY_USAGE_STATS_ENABLED=0\n    RAY_memory_monitor_refresh_ms=0",
    }
    for old, new in one_machine.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    before = of_the_user()
    with network(tmp_path_factory.mktemp("fleet")) as hosts:
        head, *workers = (hosts.add(name) for name in ("head", "worker1", "worker2"))
        laptop = hosts.add("laptop", sshd=False)
        public = laptop.make_key()
        for host in (head, *workers):
            host.allow_key(public)
        connect_laptop(laptop, head)
        file = laptop.home / "onprem.yaml"
        file.write_text(onprem_file(laptop, head, tuple(workers)))
        served = head.processes()
        laptop.run("python", "-m", "trainables.prepare", "world", CLIPS, "--clips", "60", timeout_s=300)
        laptop.run("ray", "up", "-y", "--no-config-cache", HOME / file.name, timeout_s=300)
        tunnel = laptop.start("ray", "dashboard", HOME / file.name, log=laptop.folder / "dashboard.log")
        forwarded = ("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8265")
        wait(lambda: laptop.run(*forwarded, check=False).returncode == 0, "the dashboard on the laptop")
        yield Fleet(laptop, head, (workers[0], workers[1]), HOME / file.name, served, tunnel)
    assert of_the_user() == before


def test_hosts_are_apart_and_end_with_the_block(tmp_path: Path) -> None:
    with network(tmp_path) as hosts:
        one, two = hosts.add("one"), hosts.add("two", sshd=False)
        namespaces = {os.readlink(f"/proc/{host.pid}/ns/net") for host in (one, two)}
        assert len(namespaces) == 2 and os.readlink("/proc/self/ns/net") not in namespaces
        ssh = (
            "ssh",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "BatchMode=yes",
            f"root@{one.address}",
            "hostname",
        )
        assert "Permission denied (publickey" in two.run(*ssh, check=False).stderr
        one.allow_key(two.make_key())
        assert two.run(*ssh).stdout == "one\n"
        assert (
            set(os.listdir(one.home)) >= {".bashrc", ".ssh"}
            and "one" not in two.run("ls", HOME, "/tmp").stdout
        )
        links = json.loads(one.run("ip", "-json", "link").stdout)
        assert {link["ifname"] for link in links} == {"lo", "eth0"}
        two.start("sleep", "1000", log=tmp_path / "sleep.log")
        wait(lambda: two.processes() == ["sleep 1000"], "a process of two", 60)
        assert one.processes() == []
    assert inside(namespaces) == []


@pytest.mark.slow
def test_up_brings_head_and_workers_that_ask_for_the_token(fleet: Fleet) -> None:
    addresses = {host.address for host in (fleet.head, *fleet.workers)}
    wait(
        lambda: {node["node_ip"] for node in fleet.list("nodes") if node["state"] == "ALIVE"} == addresses,
        "3 nodes",
    )
    cores = {node["node_ip"]: node["resources_total"].get("CPU", 0) for node in fleet.list("nodes")}
    assert cores == {fleet.head.address: 0} | {worker.address: 1 for worker in fleet.workers}
    refused = fleet.laptop.run(
        "ray", "list", "nodes", "--address", DASHBOARD, check=False, RAY_AUTH_MODE="disabled"
    )
    assert refused.returncode != 0 and "token authentication is enabled" in refused.stderr
    for host in (fleet.head, *fleet.workers):
        secret = host.home / ".latentact-zoo" / "secrets" / "aws_credentials"
        assert secret.stat().st_mode & 0o777 == 0o600
    # The dashboard is the head's own: nobody else on the network reaches it.
    outside = ("bash", "-c", f"exec 3<>/dev/tcp/{fleet.head.address}/8265")
    assert fleet.laptop.run(*outside, check=False).returncode != 0


@pytest.mark.slow
def test_a_sweep_runs_on_both_workers_and_its_model_is_pulled_on_the_laptop(fleet: Fleet) -> None:
    said = fleet.submit(*sweep("across", "--codes", "32:48", "--trials", "2", "--epochs", "1"))
    assert "2 trials at once" in said
    assert re.search(r"^Registered: +latentact-world-objects@1, champion\.", said, re.MULTILINE), said
    assert set(fleet.trained_on().values()) == {worker.address for worker in fleet.workers}
    # Data, checkpoints, ledger and model crossed between the hosts by S3, and figures by MLflow.
    listed = fleet.laptop.run("python", "-m", "sweeps", "ls").stdout
    assert "across" in listed
    runs = "import mlflow; print(len(mlflow.search_runs(search_all_experiments=True)))"
    assert int(fleet.laptop.run("python", "-c", runs).stdout.splitlines()[-1]) >= 2
    pulled = fleet.laptop.run("zoo", "pull", "latentact-world-objects@champion").stdout.strip()
    assert (fleet.laptop.home / Path(pulled).relative_to(HOME) / "model.safetensors").stat().st_size > 10_000


@pytest.mark.slow
def test_two_workers_on_two_hosts_give_the_codebook_of_two_on_one(fleet: Fleet) -> None:
    one_trial = ("--codes", "64", "--trials", "1", "--epochs", "1", "--workers", "2", "--no-publish")
    before = fleet.trained_on()
    fleet.submit(*sweep("two-hosts", *one_trial))
    ranks = {actor: host for actor, host in fleet.trained_on().items() if actor not in before}
    assert sorted(ranks.values()) == sorted(worker.address for worker in fleet.workers)

    own_ray = {
        "RAY_ADDRESS": "local",
        "RAY_memory_monitor_refresh_ms": "0",
        "LATENTACT_ZOO": "s3://zoo/one-host",
    }
    fleet.laptop.run("python", *sweep("one-host", *one_trial), timeout_s=600, **own_ray)
    books: dict[str, dict[str, Path]] = {}
    for store, prefix in (("two", "codebooks/"), ("one", "one-host/codebooks/")):
        folder = fleet.laptop.folder / store
        folder.mkdir()
        fleet.laptop.run("python", "-c", FETCH, prefix, folder)
        books[store] = {file.name: file for file in folder.iterdir()}
    ((identity, on_one),) = books["one"].items()
    one, two = load_file(on_one), load_file(books["two"][identity])
    assert one.keys() == two.keys() and len(one) > 10
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0, msg=name)


@pytest.mark.slow
def test_down_leaves_nothing_behind(fleet: Fleet) -> None:
    for process in psutil.Process(fleet.tunnel.pid).children(recursive=True):
        process.terminate()
    fleet.laptop.run("ray", "down", "-y", fleet.file, timeout_s=300)
    for host, left in ((fleet.head, fleet.served), *((worker, []) for worker in fleet.workers)):
        wait(lambda host=host, left=left: host.processes() == left, f"the end of Ray on {host.name}")
