"""How fast the store writes a large file and reads it in ranges, against bare boto3 in the same run.

    python -m tests.benchmarks.store_speed [--megabytes 100] [--repeats 7]
    python -m tests.benchmarks.store_speed --part-mb 8 16 --connections 4 8 16   # other settings, too

The server is a SeaweedFS of its own, on loopback, which shares the CPUs. The store and boto3's transfer take turns
(which one begins alternates). boto3 uploads and downloads with `upload_file` and `download_file`, once with its
defaults (parts of 8 MiB, 10 threads) and once with the store's settings. The store's download is 8 ranges at a time,
written to a file where they belong. Printed are the medians of MB/s, with least and most, and of the ratio of the
store's rate to that of boto3 in the same turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from tests.object_server import running_store
from zoo import multipart
from zoo.store import Store, open_store


def spread(values: list[float], unit: str = "", digits: int = 0) -> str:
    """The median in `unit`, with the least and the most."""
    return (
        f"{statistics.median(values):.{digits}f}{unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


def turns(
    functions: dict[str, Callable[[], object]], repeats: int, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each function in each turn, which begins with `before`; the first turn is not counted."""
    took: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        before()
        for name in list(functions)[:: 1 if turn % 2 else -1]:
            os.sync()
            start = time.perf_counter()
            functions[name]()
            if turn:
                took[name].append(time.perf_counter() - start)
    return took


def report(what: str, took: dict[str, list[float]], size: int) -> None:
    store = took.pop("store")
    line = f"{what}: {spread([size / 1e6 / s for s in store])} MB/s"
    for name, seconds in took.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds, store, strict=True)]
        line += f"; {name} {spread([size / 1e6 / s for s in seconds])} MB/s, ratio {spread(ratios, digits=2)}"
    print(line, flush=True)


def ranged(store: Store, key: str, path: Path, size: int, part_bytes: int, connections: int) -> None:
    """Download in ranges into the file."""

    def fetch(start: int) -> None:
        with open(path, "r+b") as file:
            file.seek(start)
            file.writelines(store.get(key, start=start, end=min(size, start + part_bytes)).chunks)

    with open(path, "wb") as file:
        file.truncate(size)
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(fetch, range(0, size, part_bytes)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--part-mb", type=int, nargs="+", default=[multipart.PART_BYTES >> 20])
    parser.add_argument("--connections", type=int, nargs="+", default=[multipart.CONNECTIONS])
    options = parser.parse_args()
    size = int(options.megabytes * 1e6)
    with tempfile.TemporaryDirectory() as folder, running_store(Path(folder)) as server:
        os.environ.update(server.env)
        here = Path(folder) / "file"
        here.write_bytes(os.urandom(size))
        store = open_store("s3://zoo/speed")
        client = boto3.client("s3", endpoint_url=server.endpoint, config=Config(max_pool_connections=32))
        where = {"Bucket": "zoo", "Key": "speed/boto3"}
        for part_mb in options.part_mb:
            for connections in options.connections:
                multipart.PART_BYTES, multipart.CONNECTIONS = part_mb << 20, connections
                same = TransferConfig(
                    multipart_threshold=part_mb << 20,
                    multipart_chunksize=part_mb << 20,
                    max_concurrency=connections,
                )
                label = f"parts of {part_mb} MiB, {connections} connections"
                there = Path(folder) / "there"
                up = {
                    "store": lambda: store.put("store", here),
                    "boto3": lambda: client.upload_file(str(here), **where),
                    "boto3 so": lambda: client.upload_file(str(here), **where, Config=same),  # noqa: B023
                }
                report(f"upload, {label}", turns(up, options.repeats), size)
                down = {
                    "store": lambda: ranged(store, "store", there, size, part_mb << 20, connections),  # noqa: B023
                    "boto3": lambda: client.download_file(*where.values(), str(there)),  # noqa: B023
                    "boto3 so": lambda: client.download_file(*where.values(), str(there), Config=same),  # noqa: B023
                }
                report(f"download, {label}", turns(down, options.repeats), size)
                assert there.read_bytes() == here.read_bytes()


if __name__ == "__main__":
    main()
