"""A file for `ray up`: Ray's own validation, then the mistakes that it lets pass on every cloud."""

import copy
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster import check_aws, check_gcp, check_onprem
from cluster.check_finding import (
    Finding,
    Sheet,
    asks_for_token,
    at,
    image_pin,
    public_dashboard,
    python_match,
)
from cluster.check_price import instance_type, worst_case

MAX_MOUNT_BYTES = 1_000_000
# Where a file does not say how long its nodes take: boot, image, Ray.
_NODE_START_MINUTES = 5.0
_CLOUDS = {"aws": check_aws.findings, "gcp": check_gcp.findings}


def findings(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    yield from _refused_by_ray(config, sheet)
    if at(config, "provider", "type") == "local":
        yield from check_onprem.findings(config, sheet)
        yield from _start_commands(config, sheet)
        yield from _file_mounts(config, sheet)
        return
    types = config.get("available_node_types")
    if not isinstance(types, dict) or config.get("head_node_type") not in types:
        return  # Ray has said so above
    yield from _workers(config, sheet)
    yield from _head(config, sheet)
    yield from _lifetimes(config, sheet)
    yield from _token(config, sheet)
    yield from _start_commands(config, sheet)
    yield from _image(config, sheet)
    yield from _file_mounts(config, sheet)
    cloud = _CLOUDS.get(config["provider"]["type"])
    if cloud is not None:
        yield from cloud(config, sheet)


def _refused_by_ray(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    """What prepare_config and validate_config of the installed Ray say."""
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler._private.util").setLevel(logging.WARNING)

    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except jsonschema.ValidationError as error:
        field = ".".join(str(part) for part in error.absolute_path) or "top level"
        yield sheet.error(
            field, f"Ray refuses it: {error.message}", "see ray-schema.json of the installed Ray"
        )
    except Exception as error:  # noqa: BLE001 - whatever Ray trips over is what `ray up` would trip over
        what = f"{error!r}" if isinstance(error, KeyError | AttributeError | TypeError) else str(error)
        yield sheet.error("top level", f"Ray refuses it: {what}", "docs.ray.io, cluster YAML configuration")


def node_types(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(field, node type, is it the head's?) of every node type."""
    for name, node_type in config["available_node_types"].items():
        yield f"available_node_types.{name}", node_type, name == config["head_node_type"]


def is_spot(node_config: dict[str, Any]) -> bool:
    scheduling = node_config.get("scheduling") or {}
    for part in scheduling if isinstance(scheduling, list) else [scheduling]:
        if part.get("preemptible") or part.get("provisioningModel") == "SPOT":
            return True
    return at(node_config, "InstanceMarketOptions", "MarketType") == "spot"


def _workers(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    most = config.get("max_workers")
    if most is None:
        yield sheet.error("max_workers", "not set, Ray takes 2", "say how many workers there may be")
    elif most < 0:
        yield sheet.error("max_workers", f"{most} is no limit, but no worker at all", "give a number from 1")
    spot: dict[str, str] = {}
    firm = set()
    for field, node_type, head in node_types(config):
        if head:
            continue
        if node_type.get("max_workers", 0) < 0:
            yield sheet.error(f"{field}.max_workers", "below zero", "give a number from 1, or leave it out")
        if node_type.get("min_workers", 0) > 0:
            problem = f"{node_type['min_workers']} nodes run and cost also when nothing is to be done"
            yield sheet.warning(f"{field}.min_workers", problem, "0, the autoscaler starts what is asked for")
        resources = node_type.get("resources") or {}
        shape = str(sorted((name, amount) for name, amount in resources.items() if name in ("CPU", "GPU")))
        if is_spot(node_type["node_config"]):
            spot.setdefault(shape, field)
        else:
            firm.add(shape)
    if not spot:
        remedy = "trials survive the loss of a node: make GPU workers spot instances"
        yield sheet.warning("available_node_types", "no worker is a spot instance", remedy)
    if spot and not firm & spot.keys():
        remedy = f"add a type like {next(iter(spot.values()))} without spot and with a lower priority"
        yield sheet.warning("available_node_types", "without spot capacity nothing runs at all", remedy)


def _head(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    name = config["head_node_type"]
    field, head = f"available_node_types.{name}", config["available_node_types"][name]
    if at(head, "resources", "CPU") != 0:
        yield sheet.error(f"{field}.resources.CPU", "trials would run on the head", "0; workers train")
    if at(head, "resources", "GPU"):
        yield sheet.error(f"{field}.resources.GPU", "the head needs no GPU", "leave it out; workers train")
    if is_spot(head["node_config"]):
        remedy = "the head on demand: with it goes every trial's driver"
        yield sheet.error(f"{field}.node_config", "the head is a spot instance", remedy)


def _lifetimes(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    start = float(at(config, "metadata", "node_start_minutes") or _NODE_START_MINUTES)
    limits = [("idle_timeout_minutes", config.get("idle_timeout_minutes", 5))]
    for field, node_type, _ in node_types(config):
        if node_type.get("idle_timeout_s") is not None:
            limits.append((f"{field}.idle_timeout_s", node_type["idle_timeout_s"] / 60))
    for field, minutes in limits:
        if minutes <= start:
            problem = f"a node is idle after {minutes:g} minutes, and takes {start:g} to start: it may go before it works"
            remedy = f"more than {start:g} minutes (metadata.node_start_minutes says how long a start takes)"
            yield sheet.error(field, problem, remedy)
    provider = config["provider"]
    if provider.get("cache_stopped_nodes", provider["type"] == "aws"):
        problem = "idle nodes are stopped, and their disks go on costing; `ray down` leaves them too"
        yield sheet.error("provider.cache_stopped_nodes", problem, "false: nodes are terminated")


def _words(config: dict[str, Any], side: str) -> str:
    """All that sets up the container and starts Ray on one side, `head` or `worker`."""
    docker = config.get("docker") or {}
    options = [*(docker.get("run_options") or []), *(docker.get(f"{side}_run_options") or [])]
    return "\n".join(str(line) for line in [*options, *(config.get(f"{side}_start_ray_commands") or [])])


def _token(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    for side in ("head", "worker"):
        if not asks_for_token(_words(config, side)):
            yield sheet.error(
                "docker.run_options",
                f"Ray on the {side} asks for no token: whoever reaches its ports runs code",
                "- --env RAY_AUTH_MODE=token (and the same before `ray` on your machine)",
            )
        elif "RAY_AUTH_TOKEN_PATH" not in _words(config, side) and not any(
            str(path).endswith(".ray/auth_token") for path in config.get("file_mounts") or {}
        ):
            yield sheet.error(
                "docker.run_options",
                f"the {side} has no token to ask for",
                "- --env RAY_AUTH_TOKEN_PATH=/home/ray/secrets/ray_token, a file in a file mount",
            )


def _start_commands(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    field = "head_start_ray_commands"
    text = _words(config, "head")
    host = public_dashboard(text)
    start = "ray start" in text
    if not start:
        problem = "not given: Ray's own starts the dashboard on every address"
        yield sheet.error(field, problem, "ray start --head --dashboard-host=127.0.0.1 ...")
    if host:
        remedy = "--dashboard-host=127.0.0.1, and `ray dashboard FILE` to reach it"
        yield sheet.error(field, f"the dashboard listens on {host}", remedy)
    if re.search(r"--include-dashboard[= ]\W?[Ff]alse", text):
        yield sheet.error(field, "without the dashboard no job can be submitted", "leave the option out")
    if start and "--autoscaling-config" not in text:
        remedy = "--autoscaling-config=~/ray_bootstrap_config.yaml"
        yield sheet.error(field, "the head would start no workers", remedy)


def _image(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    docker = config.get("docker") or {}
    images = {
        f"docker.{name}": docker[name] for name in ("image", "head_image", "worker_image") if docker.get(name)
    }
    for field, node_type, _ in node_types(config):
        own = at(node_type, "docker", "worker_image")
        if own:
            images[f"{field}.docker.worker_image"] = own
    if not images:
        remedy = "an image with everything in it (cluster/Dockerfile)"
        yield sheet.error("docker.image", "nodes install what they need when they start", remedy)
    for field, image in images.items():
        yield from image_pin(image, field, sheet)
        yield from python_match(image, field, sheet)
    for field in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        text = "\n".join(str(line) for line in config.get(field) or [])
        yield from python_match(text, field, sheet)
        if field not in config:
            problem = "not given: Ray's own defaults install a development build of Ray"
            yield sheet.error(field, problem, "[] where everything is in the image")
        elif re.search(r"\b(?:pip|conda|apt-get|apt)\b.*\binstall\b", text):
            remedy = "put it into the image: a start takes longer, and nodes of today and tomorrow differ"
            yield sheet.warning(field, "packages are installed when a node starts", remedy)


def _file_mounts(config: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    for remote, local in (config.get("file_mounts") or {}).items():
        field = f"file_mounts.{remote}"
        path = Path(str(local)).expanduser()
        if not path.exists():
            yield sheet.warning(field, f"{local} does not exist on this machine", "make it before `ray up`")
            continue
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        if size > MAX_MOUNT_BYTES:
            problem = f"{size / 1e6:.1f} MB are copied to every node at every start"
            yield sheet.error(field, problem, "data from the store, code with the job, the rest in the image")
        loose = [file.name for file in files if file.stat().st_mode & 0o077]
        if loose and "secret" in str(remote):
            remedy = f"chmod -R go= {local}"
            yield sheet.error(
                field, f"others on this machine may read {', '.join(sorted(loose)[:3])}", remedy
            )


def price_findings(
    config: dict[str, Any], sheet: Sheet, *, max_usd_per_hour: float | None
) -> tuple[str | None, list[Finding]]:
    """The sentence about the worst case (None without a table), and what is wrong with it."""
    try:
        worst = worst_case(config)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, []  # a file that Ray refuses
    if worst is None:
        return None, []
    found = []
    for name in worst.unknown:
        fields = [
            field for field, node, _ in node_types(config) if instance_type(node["node_config"]) == name
        ]
        remedy = "add its price to cluster/prices.yaml"
        found.append(sheet.warning(fields[0], f"nobody says what a {name} costs", remedy))
    for field, node, _ in node_types(config):
        if not re.fullmatch(r"\d+(\.\d+)?", str(at(node, "labels", "latentact/usd-per-hour"))):
            problem = "no sweep can tell what such a node costs, nor stop at --budget-usd"
            remedy = 'latentact/usd-per-hour: "0.98", beside latentact/node-type'
            found.append(sheet.warning(f"{field}.labels", problem, remedy))
    if max_usd_per_hour is not None and worst.usd_per_hour > max_usd_per_hour:
        problem = (
            f"{worst.usd_per_hour:,.2f} USD an hour at worst, more than the {max_usd_per_hour:g} allowed"
        )
        found.append(sheet.error("max_workers", problem, "fewer workers, or cheaper types"))
    return worst.sentence(), found
