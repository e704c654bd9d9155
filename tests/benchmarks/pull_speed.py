"""How fast a pull is, against a bare boto3 download of the same bytes in the same run.

    python -m tests.benchmarks.pull_speed [--megabytes 100] [--repeats 9]

A real S3 server holds a bundle with weights of the given size. Cold pulls (an empty cache each time, every byte
verified) and boto3's own multipart download take turns, on plain loopback and behind a proxy that lets
100 MB/s through. Printed are medians, and least and most, of the ratio of the two rates. Then warm pulls: the library
call by alias, and the command by number and by alias in fresh processes. Then a real small model: from the command's
start to its first prediction.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import numpy as np
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from safetensors.numpy import save_file

import zoo
from tests.benchmarks.store_speed import spread, turns
from tests.object_server import running_store
from tests.zoo_bundles import write_bundle
from zoo import layout

OBJECTS, TINY = "latentact-world-objects", "latentact-world-actions"
RATE_BYTES_PER_S = 100e6
# boto3's defaults but for the threads, which are as many as the zoo's: the bare transfer at its best.
TRANSFER = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=8)


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def bare_client(endpoint: str) -> object:
    return boto3.client(
        "s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}, max_pool_connections=16)
    )


def cold(place: Path, endpoint: str, key: str, megabytes: float, repeats: int) -> str:
    """The rate of cold verified pulls over that of bare downloads, in turns."""
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    client = bare_client(endpoint)

    def empty() -> None:
        shutil.rmtree(place / "cache", ignore_errors=True)
        (place / "bare").unlink(missing_ok=True)

    def bare() -> None:
        client.download_file("zoo", key, str(place / "bare"), Config=TRANSFER)  # type: ignore[attr-defined]

    took = turns({"pull": lambda: zoo.pull(f"{OBJECTS}@1"), "bare": bare}, repeats, before=empty)
    shares = [theirs / ours for ours, theirs in zip(took["pull"], took["bare"], strict=True)]
    pulls, bares = ([megabytes / s for s in took[name]] for name in ("pull", "bare"))
    return f"{spread(shares, digits=2)} of boto3's rate; pull {spread(pulls, ' MB/s')}, boto3 {spread(bares, ' MB/s')}"


@contextmanager
def network_of_its_own(endpoint: str) -> Iterator[str]:
    """The endpoint behind the slow network, which runs in another process: it must not share this one's lock."""
    parts = urlsplit(endpoint)
    script = f"""
import sys
from tests.slow_network import slow_network
with slow_network({parts.hostname!r}, {parts.port}, {RATE_BYTES_PER_S}) as port:
    print(port, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdin and proxy.stdout
        yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        proxy.stdin.close()


def command(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "zoo", *args], check=True, capture_output=True)


def publish_tiny(folder: Path) -> None:
    """A model with random weights, as training leaves it."""
    import torch

    from tests.zoo_bundles import metrics
    from trainables.hand import load_hand
    from trainables.latentact import LatentAct, LatentActConfig
    from trainables.model_folder import save_model

    torch.manual_seed(0)
    config = LatentActConfig(data="world", data_digest="d" * 64, setting="actions", hand=load_hand().name)
    save_model(LatentAct(config, load_hand()).eval(), folder)
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (folder / "card.md").write_text(f"# {TINY}\n")
    zoo.publish(TINY, folder)


FIRST_PREDICTION = f"""
import time; start = time.perf_counter()
import numpy as np, zoo
image = np.zeros((48, 64, 3), dtype=np.uint8)
model = zoo.load("{TINY}@1"); loaded = time.perf_counter()
model.predict(image=image, text="grasp the mug", contact_point=[0.02, -0.05, 0.6]); first = time.perf_counter()
model.predict(image=image, text="grasp the mug", contact_point=[0.02, -0.05, 0.6]); second = time.perf_counter()
print(loaded - start, first - start, second - first)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (place / "weed").mkdir()
        server = stack.enter_context(running_store(place / "weed"))
        os.environ |= server.env | {"LATENTACT_ZOO_CACHE": str(place / "cache")}
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        folder = write_bundle(place / "bundle")
        weights = np.random.default_rng(0).integers(0, 256, given.megabytes * 1_000_000, dtype=np.uint8)
        save_file({"weight": weights}, folder / "model.safetensors")
        digest = zoo.publish(OBJECTS, folder).digest
        zoo.promote(OBJECTS, 1, force="the benchmark needs an alias")
        key = f"{layout.version_folder(OBJECTS, digest)}/model.safetensors"
        megabytes = (folder / "model.safetensors").stat().st_size / 1e6

        print(f"cold, loopback: {cold(place, server.endpoint, key, megabytes, given.repeats)}", flush=True)
        slow_endpoint = stack.enter_context(network_of_its_own(server.endpoint))
        print(f"cold, 100 MB/s: {cold(place, slow_endpoint, key, megabytes, given.repeats)}", flush=True)

        os.environ["AWS_ENDPOINT_URL"] = server.endpoint
        zoo.pull(OBJECTS)
        calls = [1e3 * seconds(lambda: zoo.pull(OBJECTS)) for _ in range(50)]
        print(f"warm, library call by alias: {spread(calls, ' ms', 1)}", flush=True)
        for reference in (f"{OBJECTS}@1", OBJECTS):
            runs = [1e3 * seconds(lambda name=reference: command("pull", name)) for _ in range(given.repeats)]
            print(f"warm, command `zoo pull {reference}`: {spread(runs, ' ms')}", flush=True)

        publish_tiny(place / "tiny")
        times = []
        for _ in range(3):
            shutil.rmtree(place / "cache")
            done = subprocess.run(
                [sys.executable, "-c", FIRST_PREDICTION], check=True, capture_output=True, text=True
            )
            times.append([float(word) for word in done.stdout.split()])
        loaded, first, second = (list(column) for column in zip(*times, strict=True))
        size = sum(file.stat().st_size for file in (place / "tiny").iterdir()) / 1e6
        print(
            f"a model of {size:.0f} MB, empty cache, fresh process: loaded after {spread(loaded, ' s', 2)}, first "
            f"prediction after {spread(first, ' s', 2)}; a second one takes {spread(second, ' s', 2)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
