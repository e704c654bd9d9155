"""The environment that connects every tool (zoo, sweeps, ray, mlflow, aws) to the one-machine stack."""

import os
import shlex
import sys
from pathlib import Path

from cluster.ports import Ports
from cluster.state import StackFolder

REGION = "us-east-1"
MODELS_BUCKET = "zoo"
ARTIFACTS_BUCKET = "mlflow"


def tool_environment(folder: StackFolder, ports: Ports) -> dict[str, str]:
    """What a driver, a worker or a command line needs; also the content of stack.env."""
    access_key, secret_key = folder.s3_keys()
    store = f"http://127.0.0.1:{ports.s3}"
    return {
        "LATENTACT_HOME": str(folder.path),
        "LATENTACT_ZOO": f"s3://{MODELS_BUCKET}",
        "LATENTACT_DATA": str(folder.world_data),
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": store,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports.mlflow}",
        "MLFLOW_S3_ENDPOINT_URL": store,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_ADDRESS": f"127.0.0.1:{ports.ray}",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports.dashboard}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        # A file that is there while an autoscaler runs: a sweep asks for as many places as that may bring.
        "LATENTACT_AUTOSCALING_CONFIG": str(folder.autoscaling_file),
        # On Linux, Ray turns 127.0.0.1 into the machine's outer address and listens there, unless
        # its switch for clusters of several machines, made for the other systems, is off.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # With the default of 2 s each train.report costs about as much.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    }


def server_environment(folder: StackFolder, ports: Ports) -> dict[str, str]:
    """The environment of the servers: the caller's, the tools', and this Python's programs first on PATH."""
    programs = str(Path(sys.executable).parent)
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **tool_environment(folder, ports), "PATH": path}


def write_environment_file(folder: StackFolder, ports: Ports) -> None:
    """Write stack.env (0600), one KEY=VALUE a line, quoted for a shell where needed."""
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in tool_environment(folder, ports).items()]
    folder.write_private(folder.environment_file, "".join(lines))
