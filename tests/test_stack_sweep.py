"""A small sweep on the one-machine stack, as a job of a checkout with an uncommitted change.

Planted secrets are searched for wherever it leaves something: they may lie in the files that keep them alone. And what it
cost is told.
"""

import contextlib
import json
import re
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from mlflow import MlflowClient

from cluster import process
from cluster.state import StackFolder
from tests.local_stack import ROOT, LocalStack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ACCESS, SECRET = "PLANTEDACCESSKEY0001", "planted/secret+key/of-the-object-store/0001"
TOKEN = "planted0ray0token0" * 3
PASSWORD = "planted-mlflow-password-0001"
PLANTED = {"access key": ACCESS, "secret key": SECRET, "Ray token": TOKEN, "MLflow password": PASSWORD}
# What keeps secrets, each 0600; no other file may.
KEEPERS = {
    "secrets.json": {"access key", "secret key"},
    "stack.env": {"access key", "secret key"},
    "ray_token": {"Ray token"},
}
NAME = "searched-sweep"
SWEEP = (
    "python", "sweeps/codebook_size.py", "--split", "objects", "--codes", "16:32", "--trials", "1", "--epochs", "1",
    "--set", "width=16", "--set", "condition_width=16", "--set", "codebook_epochs=1", "--set", "indexer_epochs=1",
    "--set", "batch=64", "--name", NAME, "--usd-per-hour", "1.5",
)  # fmt: skip
# What Ray tells of jobs, tasks and actors to holders of the token.
ACTORS = "/api/v0/actors?detail=1&limit=10000"
TOLD_BY_RAY = (
    "/api/jobs/", "/api/v0/jobs?detail=1", ACTORS, "/api/v0/tasks?detail=1&limit=10000",
    "/api/v0/workers?detail=1&limit=10000", "/api/v0/runtime_envs?detail=1", "/api/v0/nodes?detail=1", "/logical/actors",
    "/nodes?view=summary", "/api/cluster_status", "/events",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with planted secrets, after a sweep that ran as a job of a checkout with an uncommitted file."""
    folder = tmp_path_factory.mktemp("stack")
    home = folder / "home"
    home.mkdir(mode=0o700)
    for name, text in (
        ("secrets.json", json.dumps({"access_key": ACCESS, "secret_key": SECRET})),
        ("ray_token", TOKEN),
    ):
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    with running_stack(home, MLFLOW_TRACKING_USERNAME="planted", MLFLOW_TRACKING_PASSWORD=PASSWORD) as stack:
        data = stack.environment["LATENTACT_DATA"]
        stack.run(sys.executable, "-m", "trainables.prepare", "world", data, "--clips", "60")
        checkout = checkout_with_a_change(stack, folder / "checkout")
        package = stack.run(sys.executable, "-m", "cluster.job_package", cwd=checkout).strip()
        ray = process.find_binary("ray")
        log = stack.run(
            ray, "job", "submit", "--working-dir", package, "--", *SWEEP, cwd=checkout, timeout_s=800
        )
        (folder / "job.log").write_text(log)
        assert "Registered:" in log and "the uncommitted line" in log, log
        stack.run(sys.executable, "-m", "sweeps", "status", NAME)
        yield stack


def checkout_with_a_change(stack: LocalStack, checkout: Path) -> Path:
    """What a user has who has just changed a line."""
    stack.run("git", "clone", "-q", ROOT, checkout)
    for name in stack.run("git", "ls-files", "-mo", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    script = checkout / "sweeps" / "codebook_size.py"
    text = script.read_text()
    assert text.count("    main()\n") == 1
    script.write_text(
        text.replace("    main()\n", '    print("the uncommitted line", flush=True)\n    main()\n')
    )
    return checkout


def found_in(content: bytes) -> set[str]:
    """Which of the planted secrets stand in it, as they are or as an address or JSON spells them."""
    forms = {
        name: {value, urllib.request.quote(value, safe=""), json.dumps(value)[1:-1]}
        for name, value in PLANTED.items()
    }
    return {name for name, values in forms.items() if any(value.encode() in content for value in values)}


def bucket_contents(stack: LocalStack, bucket: str) -> Iterator[tuple[str, bytes]]:
    client = boto3.client(
        "s3", endpoint_url=stack.environment["AWS_ENDPOINT_URL"], aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET, region_name="us-east-1", config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            yield entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()


def test_files_of_the_stack_keep_secrets_where_they_should_alone(stack: LocalStack) -> None:
    """Ray's logs, working folders and session files, every server's log, the report, the store's own volumes."""
    found, looked = {}, []
    for file in (*stack.home.rglob("*"), *StackFolder(stack.home).ray.rglob("*")):
        if file.is_file() and not file.is_symlink():
            looked.append(file.name)
            if secrets := found_in(file.read_bytes()):
                found[file.name] = secrets
    assert {"raylet.out", "runtime_env_agent.log", "gcs_server.out", "mlflow.log", f"{NAME}.html"} <= set(
        looked
    )
    assert any(name.startswith("job-driver-") for name in looked)
    assert found == KEEPERS
    assert {(stack.home / name).stat().st_mode & 0o777 for name in KEEPERS} == {0o600}
    assert not found_in((stack.home.parent / "job.log").read_bytes()), "what `ray job submit` printed"


def test_rays_listings_show_no_secret(stack: LocalStack) -> None:
    told = {}
    for path in TOLD_BY_RAY:
        request = urllib.request.Request(
            stack.environment["RAY_API_SERVER_ADDRESS"] + path, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            told[path] = reply.read()
    assert b"codebook_size.py" in told["/api/jobs/"] and b"PL_DISABLE_FORK" in told[ACTORS], (
        "Tune's runtime environment is looked at"
    )
    assert not {path: secrets for path, content in told.items() if (secrets := found_in(content))}
    listed = stack.run(process.find_binary("ray"), "job", "list", "--log-color=false")
    assert "codebook_size.py" in listed and not found_in(listed.encode())


def test_command_lines_show_no_secret(stack: LocalStack) -> None:
    shown = 0
    for member in stack.members().values():
        with contextlib.suppress(psutil.Error):
            assert not found_in("\0".join(member.cmdline()).encode()), member
            shown += 1
    assert shown > 10


def test_mlflow_holds_no_secret(stack: LocalStack) -> None:
    """Parameters, tags, metrics, data sets: all that its database says."""
    with contextlib.closing(sqlite3.connect(stack.home / "mlflow.db")) as database:
        said = "\n".join(database.iterdump())
    assert re.search(r"latentact\.identity", said) and "codebook_epochs" in said
    assert not found_in(said.encode())


@pytest.mark.parametrize(
    ("bucket", "holds"), [("zoo", "ledger/sweeps/"), ("zoo", "models/"), ("mlflow", "report.html")]
)
def test_no_object_holds_a_secret(stack: LocalStack, bucket: str, holds: str) -> None:
    """Ledger, checkpoints, bundles and their cards; artefacts in MLflow."""
    contents = dict(bucket_contents(stack, bucket))
    assert any(holds in key for key in contents), contents.keys()
    assert not {key: secrets for key, content in contents.items() if (secrets := found_in(content))}


def test_what_it_cost_is_told_by_command_ledger_and_mlflow(stack: LocalStack) -> None:
    told = json.loads(stack.run(sys.executable, "-m", "sweeps", "costs", NAME, "--json"))
    (node,) = told["nodes"]
    assert (node["type"], node["most"], node["usd_per_hour"]) == ("unlabelled", 1, None)
    hours = told["trials"]["objects"]["worker_hours"]
    assert 0 < hours < node["hours"] and told["price"] == "--usd-per-hour 1.5 of a worker"
    assert told["trials_usd"] == pytest.approx(1.5 * hours) and told["nodes_usd"] is None
    shown = stack.run(sys.executable, "-m", "sweeps", "costs", NAME)
    assert "unlabelled" in shown and "unknown" in shown and "core hours" in shown

    client = MlflowClient(stack.environment["MLFLOW_TRACKING_URI"])
    (experiment,) = [e for e in client.search_experiments() if e.name.startswith("latentact-")]
    (run,) = client.search_runs([experiment.experiment_id], "tags.latentact.identity != ''")
    assert run.data.tags["latentact.node_type"] == "unlabelled"
    assert run.data.metrics["usd_per_worker_hour"] == 1.5
    assert run.data.metrics["worker_hours"] == pytest.approx(hours, rel=1e-4)
    assert run.data.metrics["usd"] == pytest.approx(1.5 * hours, rel=1e-4)
