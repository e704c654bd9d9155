"""The S3 object store of the one-machine stack: SeaweedFS, from its wheel."""

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cluster.environment import ARTIFACTS_BUCKET, MODELS_BUCKET, REGION, server_environment
from cluster.ports import Ports
from cluster.process import find_binary
from cluster.server import NotReady, Server
from cluster.state import StackFolder
from cluster.store_doors import DOOR_OPTIONS, door_environment

_PROBE_KEY = ".readiness-probe"


def object_store(folder: StackFolder, ports: Ports, host: str = "127.0.0.1") -> Server:
    """The store, listening on the address `host` alone."""
    http = ports.object_store()
    client = s3_client(folder, ports, host)

    def command() -> list[str]:
        return [
            find_binary("weed"),
            "mini",
            f"-dir={folder.store}",
            # The default is every address of the machine.
            f"-ip={host}",
            f"-ip.bind={host}",
            f"-bucket={ARTIFACTS_BUCKET}",
            *(f"-{name}.port={port}" for name, port in http.items()),
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            # By default deleting a bucket deletes what is in it, and a PUT makes missing buckets.
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",
            *DOOR_OPTIONS,
        ]

    environment = {
        # Without credentials in its environment it would accept any key, and readers without one.
        **server_environment(folder, ports),
        **door_environment(folder.path / "store_certificate.pem", folder.s3_keys()[1]),
        "WEED_FILER_OPTIONS_S3_EMPTY_FOLDER_CLEANUP_DELAY": "1s",
        # It grows to 700 MB otherwise. A limit of 200 MB is too near to what it holds when idle: its
        # garbage collector then took 14% of a core for ever, against 0.4% with this one.
        "GOMEMLIMIT": "400MiB",
    }
    return Server(
        name="object-store",
        address=f"http://{host}:{ports.s3}",
        command=command,
        environment=environment,
        ports=ports.of_server("object-store"),
        check=lambda: _check(client),
        start_timeout_s=120,
        stop_patience_s=15,
    )


def s3_client(folder: StackFolder, ports: Ports, host: str = "127.0.0.1") -> BaseClient:
    access_key, secret_key = folder.s3_keys()
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{ports.s3}",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=10,
        ),
    )


def _check(client: BaseClient) -> None:
    """A real put and get: a listing answers earlier than reads do."""
    try:
        _make_bucket(client)
        client.put_object(Bucket=MODELS_BUCKET, Key=_PROBE_KEY, Body=b"ready")
        body = client.get_object(Bucket=MODELS_BUCKET, Key=_PROBE_KEY)["Body"].read()
        client.delete_object(Bucket=MODELS_BUCKET, Key=_PROBE_KEY)
        client.head_bucket(Bucket=ARTIFACTS_BUCKET)
    except (BotoCoreError, ClientError) as error:
        raise NotReady(str(error)) from error
    if body != b"ready":
        raise NotReady(f"it returned {body!r} for what was put")


def _make_bucket(client: BaseClient) -> None:
    try:
        client.create_bucket(Bucket=MODELS_BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
            raise
        return
    # What an upload that was cut off has left takes no space for ever.
    rule = {
        "ID": "abort-incomplete-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    client.put_bucket_lifecycle_configuration(Bucket=MODELS_BUCKET, LifecycleConfiguration={"Rules": [rule]})
