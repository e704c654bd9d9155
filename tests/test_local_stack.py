"""The one-machine stack: really started, used, killed, stopped and started again."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cluster import process
from cluster.environment import tool_environment
from cluster.ports import Ports, check_free
from cluster.state import StackFolder
from tests.local_stack import cluster_local, free_base, members


def s3(environment: dict[str, str], *, secret: str | None = None):
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "home"


@pytest.fixture(scope="module")
def base() -> int:
    return free_base()


@pytest.fixture(scope="module")
def stack(home: Path, base: int) -> Iterator[dict[str, str]]:
    """The running stack's environment, as a driver has it."""
    try:
        result = cluster_local("up", home, base)
        assert result.returncode == 0, result.stdout + result.stderr
        yield tool_environment(StackFolder(home), Ports(base))
    finally:
        cluster_local("down", home, base)


@pytest.mark.slow
class TestStack:
    def test_up_again_keeps_what_runs(self, stack: dict[str, str], home: Path, base: int) -> None:
        before = (home / "state.json").read_text()
        result = cluster_local("up", home, base)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("was running") == 3
        assert (home / "state.json").read_text() == before
        assert cluster_local("status", home, base).returncode == 0

    def test_store_takes_its_own_key_only(self, stack: dict[str, str]) -> None:
        s3(stack).put_object(Bucket="zoo", Key="kept.txt", Body=b"kept")
        assert s3(stack).get_object(Bucket="zoo", Key="kept.txt")["Body"].read() == b"kept"
        with pytest.raises(ClientError, match="SignatureDoesNotMatch|AccessDenied"):
            s3(stack, secret="wrong").get_object(Bucket="zoo", Key="kept.txt")
        with pytest.raises(ClientError):  # a full bucket is not deleted, a missing one not made
            s3(stack).delete_bucket(Bucket="zoo")
        with pytest.raises(ClientError):
            s3(stack).put_object(Bucket="missing", Key="a", Body=b"a")
        rules = s3(stack).get_bucket_lifecycle_configuration(Bucket="zoo")["Rules"]
        assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}

    def test_mlflow_keeps_artefacts_in_the_store(self, stack: dict[str, str], tmp_path: Path) -> None:
        from mlflow import MlflowClient

        (tmp_path / "note.txt").write_text("an artefact")
        client = MlflowClient(stack["MLFLOW_TRACKING_URI"])
        run_id = client.create_run(client.create_experiment("kept"), run_name="kept").info.run_id
        client.log_metric(run_id, "mpjpe_cm", 1.5)
        client.log_artifact(run_id, str(tmp_path / "note.txt"))
        keys = [row["Key"] for row in s3(stack).list_objects_v2(Bucket="mlflow").get("Contents", [])]
        assert any(key.endswith(f"{run_id}/artifacts/note.txt") for key in keys), keys

    def test_job_runs_with_the_token_and_not_without(self, stack: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "job.py").write_text(
            "import os, ray\n"
            "ray.init(address='auto', log_to_driver=False)\n"
            "seen = ray.get(ray.remote(num_cpus=0.1)(lambda: os.environ['RAY_TRAIN_HEALTH_CHECK_INTERVAL_S']).remote())\n"
            "print('seen', seen, os.environ['AWS_ENDPOINT_URL'])\n"
        )
        command = [
            process.find_binary("ray"),
            "job",
            "submit",
            "--working-dir",
            str(tmp_path),
            "--",
            "python",
            "job.py",
        ]
        environment = {**os.environ, **stack}
        result = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=200
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"seen 0.1 {stack['AWS_ENDPOINT_URL']}" in result.stdout
        (tmp_path / "token").write_text("0" * 64)
        environment["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
        refused = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=100
        )
        assert refused.returncode != 0
        assert "invalid or incorrect" in refused.stdout + refused.stderr

    def test_secrets_are_the_owners_alone(self, stack: dict[str, str], home: Path) -> None:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        for name in ("secrets.json", "ray_token", "store_certificate.pem", "stack.env", "state.json"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name
        assert not re.search(stack["AWS_SECRET_ACCESS_KEY"], (home / "logs" / "object-store.log").read_text())

    def test_killed_server_is_reported_and_restarted(
        self, stack: dict[str, str], home: Path, base: int
    ) -> None:
        pid = json.loads((home / "state.json").read_text())["processes"]["object-store"]["pid"]
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        status = cluster_local("status", home, base)
        assert status.returncode == 1 and "died" in status.stdout
        again = cluster_local("up", home, base)
        assert again.returncode == 0, again.stderr
        assert again.stdout.count("was running") == 2
        assert s3(stack).get_object(Bucket="zoo", Key="kept.txt")["Body"].read() == b"kept"

    def test_other_ports_are_refused_while_it_runs(
        self, stack: dict[str, str], home: Path, base: int
    ) -> None:
        result = cluster_local("up", home, base + 40)
        assert result.returncode == 1 and "stop it first" in result.stderr

    def test_down_ends_all_of_it_and_only_it_and_state_survives(
        self, stack: dict[str, str], home: Path, base: int
    ) -> None:
        from mlflow import MlflowClient

        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(200)"])
        try:
            assert len(members(home)) > 5
            result = cluster_local("down", home, base)
            assert result.returncode == 0, result.stderr
            assert not members(home)
            assert bystander.poll() is None
            assert not (StackFolder(home).ray / "ray_current_cluster").exists()
            assert cluster_local("status", home, base).returncode == 1
            assert "nothing was running" in cluster_local("down", home, base).stdout
            check_free("ray", Ports(base).of_server("ray"))
        finally:
            bystander.kill()
            bystander.wait()
        again = cluster_local("up", home, base)
        assert again.returncode == 0, again.stderr
        assert s3(stack).get_object(Bucket="zoo", Key="kept.txt")["Body"].read() == b"kept"
        client = MlflowClient(stack["MLFLOW_TRACKING_URI"])
        experiment = client.get_experiment_by_name("kept")
        assert client.search_runs([experiment.experiment_id])[0].data.metrics == {"mpjpe_cm": 1.5}


def test_taken_port_is_named_with_its_holder(tmp_path: Path) -> None:
    base = free_base()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", Ports(base).mlflow))
        holder.listen()
        result = cluster_local("up", tmp_path / "home", base)
    assert result.returncode == 1
    assert f"port {base + 10}, which the mlflow server wants, is taken" in result.stderr
    assert "LATENTACT_PORT_BASE" in result.stderr and "Traceback" not in result.stderr
    if sys.platform == "linux":
        assert f"pid {os.getpid()}" in result.stderr
    assert not (tmp_path / "home" / "state.json").exists()  # nothing had been started
