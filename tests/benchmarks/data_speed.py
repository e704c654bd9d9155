"""How fast a data set becomes batches, and what it costs a worker to hold it.

    python -m tests.benchmarks.data_speed DEXYCB [--clips 20000] [--windows 512] [--folder /tmp/data-speed]

DEXYCB is a data set made by `python -m trainables.prepare dexycb`. From its clips a set of `--clips` clips is made, each
with noise of its own so that none compresses better than a recorded one, and 224 pixel pictures in none. Then, each in
fresh processes:

1. warm: windows a second of batches of `--windows`, shuffled, two threads: forecasting (first frame's contact point) and
   the codebook (the contact point of every frame);
2. opening: seconds until `read_clips` returns, with the node's copy there and not there; private (anonymous) memory of a
   worker after an epoch's start of 200 batches, beyond what the process had before it opened the data;
3. from s3://: bytes of the shards over the seconds until the tensors are mapped and every one was read once, against the
   rate at which the same reader fetches the shards and does nothing with them; on plain loopback and behind a proxy of
   100 MB/s. Both rates in turn, three times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import torch

from tests.object_server import running_store
from tests.slow_network import slow_network
from trainables.clip_folder import open_folder
from trainables.clip_reader import read_clips, read_manifest, shard_tables
from trainables.clip_table import ARROW_SCHEMA
from trainables.clip_writer import write_clips
from trainables.windows import Windows

NOISED = ("global_orient", "hand_pose", "transl_m", "joints_m")
BATCHES = 200


def make_large(source: str, dest: Path, clips: int) -> None:
    """`clips` clips from those of `source`, with noise of a tenth of a millimetre and a ten-thousandth of a radian."""
    manifest = read_manifest(source)
    tables = list(shard_tables(open_folder(source), manifest))
    with write_clips(
        dest, name="large", hand=manifest["hand"], source={"copies of": manifest["name"]}
    ) as writer:
        if writer.finished:
            return
        made = 0
        while made < clips:
            rng = np.random.default_rng(made)
            for table in tables:
                rows = table.slice(0, clips - made)
                columns = {name: rows[name].combine_chunks() for name in ARROW_SCHEMA.names}
                for name in NOISED:
                    values = columns[name].flatten().to_numpy()
                    noisy = values + rng.normal(0, 1e-4, len(values)).astype(np.float32)
                    columns[name] = pa.ListArray.from_arrays(columns[name].offsets, pa.array(noisy))
                columns["clip_id"] = pa.array([f"{made + i:06d}" for i in range(len(rows))])
                writer.add_rows(pa.table([columns[n] for n in ARROW_SCHEMA.names], schema=ARROW_SCHEMA))
                made += len(rows)
        writer.settings = {
            name: {"group": setting["group"], "parts": setting["parts"]}
            for name, setting in manifest["settings"].items()
        }


def anonymous_mb() -> float:
    """Memory of this process that it shares with nobody and no file, MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024


def gather(data: str, size: int, mode: str) -> dict[str, float]:
    """What one worker sees: seconds to open, windows a second, private MB."""
    torch.set_num_threads(2)
    before = anonymous_mb()
    begun = time.perf_counter()
    clips = read_clips(data)
    opened = time.perf_counter() - begun
    windows = Windows(clips, torch.arange(len(clips)))
    if mode == "codebook":
        windows = windows.with_every_frame_given()
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    batches = [order[i * size : (i + 1) * size] for i in range(min(BATCHES, len(order) // size))]
    for batch in batches:  # the first pass brings the pages into memory
        windows.gather(batch)
    rates = []
    for part in range(5):
        begun = time.perf_counter()
        mine = batches[part::5]
        for batch in mine:
            windows.gather(batch)
        rates.append(len(mine) * size / (time.perf_counter() - begun))
    return {
        "open_s": opened, "windows_per_s": statistics.median(rates), "least": min(rates), "most": max(rates),
        "private_mb": anonymous_mb() - before, "clips": len(clips), "windows": len(windows),
    }  # fmt: skip


def first_pass(data: str) -> dict[str, float]:
    """Seconds of fetching alone, and of all until every tensor was read, with nothing there before."""
    folder, manifest = open_folder(data), read_manifest(data)
    names = [shard["file"] for shard in manifest["shards"]]
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        size = sum(pool.map(lambda name: len(folder.read(name) or b""), names))
    raw = time.perf_counter() - begun
    begun = time.perf_counter()
    clips = read_clips(data)
    for values in vars(clips).values():
        if isinstance(values, torch.Tensor) and values.numel():
            values.view(-1)[:: 4096 // values.element_size()].sum()  # every page
    return {"mb": size / 1e6, "raw_s": raw, "pass_s": time.perf_counter() - begun}


def alone(environment: dict[str, str], kind: str, size: int, data: str) -> dict[str, float]:
    """The result of this module's worker in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.data_speed", data, "--worker", kind, str(size)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def fresh_cache() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as name:
        yield {"LATENTACT_CACHE": name}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--folder", default="/tmp/data-speed")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        kind, size = given.worker
        made = first_pass(given.data) if kind == "first" else gather(given.data, int(size), kind)
        print(json.dumps(made))
        return
    large = Path(given.folder) / f"clips-{given.clips}"
    make_large(given.data, large, given.clips)
    with fresh_cache() as cache:
        for data in (given.data, str(large)):
            for kind in ("forecast", "codebook"):
                cold = alone(cache, kind, given.windows, data)
                warm = alone(cache, kind, given.windows, data)
                print(
                    f"{Path(data).name}, {kind}: {warm['windows_per_s']:.0f} windows/s "
                    f"({warm['least']:.0f} to {warm['most']:.0f}); opened in {cold['open_s']:.2f} s, then "
                    f"{warm['open_s']:.3f} s; {warm['private_mb']:.0f} MB private; {warm['clips']} clips, "
                    f"{warm['windows']} windows",
                    flush=True,
                )
    with ExitStack() as stack:
        store = stack.enter_context(running_store(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        os.environ |= store.env
        there = open_folder("s3://zoo/large")
        for file in sorted(large.iterdir(), key=lambda file: file.suffix == ".json"):
            there.write(file.name, file.read_bytes())
        place = urlsplit(store.endpoint)
        slow = stack.enter_context(slow_network(str(place.hostname), int(place.port or 80), 100e6))
        for name, endpoint in (("loopback", store.endpoint), ("100 MB/s", f"http://127.0.0.1:{slow}")):
            shares, raw = [], []
            for _ in range(3):
                with fresh_cache() as cache:
                    got = alone(cache | {"AWS_ENDPOINT_URL": endpoint}, "first", 0, "s3://zoo/large")
                shares.append(got["raw_s"] / got["pass_s"])
                raw.append(got["mb"] / got["raw_s"])
            print(
                f"first pass from s3 ({name}): {statistics.median(shares):.2f} ({min(shares):.2f} to "
                f"{max(shares):.2f}) of the raw rate, {statistics.median(raw):.0f} MB/s; {got['mb']:.0f} MB",
                flush=True,
            )
    shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
