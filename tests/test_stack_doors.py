"""Every port of the one-machine stack: on 127.0.0.1 alone, and deaf to who has no token or key."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import grpc
import psutil
import pytest
from botocore import UNSIGNED
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local_stack import ROOT, LocalStack, bare_environment, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# An actor, so that there are workers with ports of their own; it lives until its driver's input ends.
DRIVER = """
import os, sys, ray
ray.init(address="auto", log_to_driver=False)
class Keeper:
    def pid(self): return os.getpid()
keeper = ray.remote(num_cpus=0.1)(Keeper).remote()
print(ray.get(keeper.pid.remote()), flush=True)
sys.stdin.read()
"""
JOIN = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); print('joined')"

# What answers without a token, all of it without a word about the cluster's work: the page that asks for the token, and
# whether the head lives.
PUBLIC = {"/", "/favicon.ico", "/api/authentication_mode", "/api/gcs_healthz", "/api/local_raylet_healthz"}
DASHBOARD = (
    "/api/jobs/", "/api/version", "/api/cluster_status", "/nodes?view=summary", "/logical/actors", "/metrics", "/events",
    "/api/v0/actors", "/api/v0/tasks", "/api/v0/jobs", "/api/v0/workers", "/api/v0/logs", "/api/v0/logs/file",
    "/api/v0/objects", "/api/v0/runtime_envs", "/api/v0/cluster_metadata", "/api/serve/applications/",
    "/api/packages/gcs/_ray_pkg_0.zip", "/api/train/v2/runs/v1", "/worker/traceback", "/worker/cpu_profile",
    "/memory_profile", "/task/traceback", "/timezone", "/usage_stats_enabled",
)  # fmt: skip
# (whose port, as `ray start` calls it; method): one of every service that listens for gRPC.
CALLS = (
    ("port", "/ray.rpc.InternalKVGcsService/InternalKVKeys"),
    ("port", "/ray.rpc.InternalKVGcsService/InternalKVPut"),
    ("port", "/ray.rpc.JobInfoGcsService/GetAllJobInfo"),
    ("port", "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"),
    ("port", "/ray.rpc.ActorInfoGcsService/GetAllActorInfo"),
    ("port", "/ray.rpc.autoscaler.AutoscalerStateService/GetClusterStatus"),
    ("node-manager-port", "/ray.rpc.NodeManagerService/GetNodeStats"),
    ("node-manager-port", "/ray.rpc.NodeManagerService/RequestWorkerLease"),
    ("dashboard-agent-grpc-port", "/ray.rpc.ReporterService/GetTraceback"),
    ("dashboard-agent-grpc-port", "/ray.rpc.LogService/ListLogs"),
    ("ray-client-server-port", "/ray.rpc.RayletDriver/ClusterInfo"),
    ("ray-client-server-port", "/ray.rpc.RayletDriver/KVGet"),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "home") as stack:
        yield stack


@pytest.fixture(scope="module")
def actor(stack: LocalStack) -> Iterator[int]:
    """The pid of an actor's worker."""
    environment = bare_environment() | stack.environment
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert driver.stdin is not None and driver.stdout is not None
    try:
        yield int(driver.stdout.readline())
    finally:
        driver.stdin.close()
        driver.wait(60)


def listening(stack: LocalStack) -> dict[int, tuple[str, int]]:
    """Address and pid by port, of all that the stack's processes listen on."""
    ours = stack.members()
    return {
        connection.laddr.port: (connection.laddr.ip, connection.pid)
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }


def answer(port: int, path: str, token: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of a request; 0 where what listens speaks no HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def call(port: int, method: str, token: str | None = None) -> grpc.StatusCode:
    """How an empty gRPC call ends."""
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=60, metadata=metadata)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()


def test_all_of_it_listens_on_127_0_0_1_alone(stack: LocalStack, actor: int) -> None:
    deadline = time.monotonic() + 120
    wanted = {*stack.ports.ray_services().values(), *stack.ports.ray_metrics().values(), stack.ports.mlflow}
    wanted |= set(stack.ports.of_server("object-store"))
    while missing := wanted - listening(stack).keys():  # agents come a little after the head
        assert time.monotonic() < deadline, f"nothing listens on {missing}"
        time.sleep(0.5)
    found = listening(stack)
    assert actor in {pid for _, pid in found.values()}, "an actor's worker has a port too"
    strays = {
        port: place for port, place in found.items() if place[0] not in ("127.0.0.1", "::ffff:127.0.0.1")
    }
    assert not strays


def test_no_route_of_the_dashboard_answers_without_the_token(stack: LocalStack) -> None:
    port, token = stack.ports.dashboard, Path(stack.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    for path in DASHBOARD:
        assert answer(port, path)[0] == 401, path
        assert answer(port, path, "0" * 64)[0] == 403, path
    for method, path in (
        ("POST", "/api/jobs/"),
        ("PUT", "/api/packages/gcs/_ray_pkg_0.zip"),
        ("DELETE", "/api/jobs/x"),
    ):
        assert answer(port, path, method=method)[0] == 401, path
    assert answer(port, "/api/jobs/", token)[0] == 200
    for path in PUBLIC:
        body = answer(port, path)[1]
        assert token.encode() not in body and stack.environment["AWS_ACCESS_KEY_ID"].encode() not in body


def test_agents_answer_nobody_without_the_token(stack: LocalStack) -> None:
    services = stack.ports.ray_services()
    for port in (services["dashboard-agent-listen-port"], services["runtime-env-agent-port"]):
        for path in ("/", "/api/job_agent/jobs/", "/get_or_create_runtime_env", "/api/v0/logs"):
            assert answer(port, path)[0] == 401, (port, path)
            assert answer(port, path, "0" * 64)[0] == 403, (port, path)


def test_no_service_of_ray_takes_a_call_without_the_token(stack: LocalStack, actor: int) -> None:
    services = stack.ports.ray_services()
    token = Path(stack.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    (worker,) = [port for port, (_, pid) in listening(stack).items() if pid == actor]
    calls = [(services[name], method) for name, method in CALLS]
    calls += [
        (worker, f"/ray.rpc.CoreWorkerService/{method}")
        for method in ("PushTask", "Exit", "GetCoreWorkerStats")
    ]
    for port, method in calls:
        for wrong in (None, "0" * 64):
            assert call(port, method, wrong) == grpc.StatusCode.UNAUTHENTICATED, (port, method, wrong)
    known = (services["port"], "/ray.rpc.JobInfoGcsService/GetAllJobInfo")
    assert call(*known, token) == grpc.StatusCode.OK


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_a_driver_without_the_token_does_not_get_in(stack: LocalStack, mode: str) -> None:
    environment = bare_environment() | {"RAY_AUTH_MODE": mode, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    if mode == "token":
        environment["RAY_AUTH_TOKEN"] = "0" * 64
    result = subprocess.run(
        [sys.executable, "-c", JOIN, stack.environment["RAY_ADDRESS"]],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode != 0 and "joined" not in result.stdout
    assert "Authentication token is missing or incorrect" in result.stdout + result.stderr


def store_client(stack: LocalStack, secret: str | None) -> BaseClient:
    """A client that signs with `secret`, or not at all."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    if secret is None:
        config = config.merge(Config(signature_version=UNSIGNED))
    return boto3.client(
        "s3",
        endpoint_url=stack.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=stack.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or "",
        region_name="us-east-1",
        config=config,
    )


@pytest.mark.parametrize("secret", [None, "wrong" * 8])
def test_the_store_refuses_unsigned_and_wrongly_signed_requests(
    stack: LocalStack, secret: str | None
) -> None:
    store_client(stack, stack.environment["AWS_SECRET_ACCESS_KEY"]).put_object(
        Bucket="zoo", Key="kept", Body=b"kept"
    )
    stranger = store_client(stack, secret)
    for request in (
        lambda: stranger.list_buckets(),
        lambda: stranger.list_objects_v2(Bucket="zoo"),
        lambda: stranger.get_object(Bucket="zoo", Key="kept"),
        lambda: stranger.put_object(Bucket="zoo", Key="kept", Body=b"mine"),
        lambda: stranger.delete_object(Bucket="zoo", Key="kept"),
        lambda: stranger.create_bucket(Bucket="mine"),
    ):
        with pytest.raises(ClientError, match="SignatureDoesNotMatch|AccessDenied"):
            request()


def test_the_stores_inner_ports_obey_no_stranger(stack: LocalStack, tmp_path: Path) -> None:
    """As it comes, SeaweedFS's filer gives objects to anybody, and its master deletes all of them for one GET."""
    owner = store_client(stack, stack.environment["AWS_SECRET_ACCESS_KEY"])
    body = b"kept" * 100_000  # too long to lie in the filer itself
    owner.put_object(Bucket="zoo", Key="large", Body=body)
    ports = stack.ports.object_store()
    for port, path, method in (
        (ports["filer"], "/buckets/zoo/large", "GET"),
        (ports["filer"], "/buckets/zoo/large", "DELETE"),
        (ports["filer"], "/buckets/zoo/mine", "PUT"),
        (ports["master"], "/col/delete?collection=zoo", "GET"),
        (ports["master"], "/dir/assign", "GET"),
        *((ports["volume"], f"/{volume},01", "GET") for volume in range(1, 8)),
    ):
        assert answer(port, path, method=method)[0] in (401, 404), (port, path)
    # Each speaks gRPC 10000 higher, and hangs up on who shows no certificate.
    for name, port in ports.items():
        assert (
            call(port + 10000, "/filer_pb.SeaweedFiler/GetFilerConfiguration") == grpc.StatusCode.UNAVAILABLE
        ), name
    assert owner.get_object(Bucket="zoo", Key="large")["Body"].read() == body


def test_what_does_answer_without_a_token_is_known(stack: LocalStack, actor: int) -> None:
    """Every port is asked: MLflow, and numbers for Prometheus, have no guard but the address."""
    numbers = {
        stack.ports.ray_services()["metrics-export-port"],
        *stack.ports.ray_metrics().values(),
        stack.ports.object_store()["admin"],
    }
    for port in listening(stack):
        status, body = answer(port, "/metrics")
        if port in numbers:
            assert body.startswith(b"# HELP") and stack.environment["AWS_ACCESS_KEY_ID"].encode() not in body
        else:
            assert status != 200, port
    assert answer(stack.ports.mlflow, "/version")[0] == 200
