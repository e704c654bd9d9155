"""A real sweep on `python -m cluster.local up --nodes N`: nodes come, some are lost in the middle, all go at the end.

What is seen of it is sampled from Ray's state API every second or so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cluster.environment import tool_environment
from cluster.ports import Ports
from cluster.process import find_binary
from cluster.state import StackFolder
from tests.local_stack import free_base

ROOT = Path(__file__).resolve().parents[1]
# A trial of these trains for some 10 s on a core of its own.
SMALL = {"width": 32, "quantizers": 2, "window": 16, "stride": 4, "codebook_epochs": 2, "indexer_epochs": 1}
CODES = (16, 24, 32, 40, 48, 56)
NAME = "rehearsal"
# Long, since other programs may want the same cores.
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Sample:
    """`nodes` are the ids of the worker nodes alive, `trains` those of them with a worker that trains or waits for it."""

    at_s: float  # since the job was submitted
    nodes: tuple[str, ...]
    trains: tuple[str, ...]


@dataclass
class Record:
    """What was seen: `events` are (seconds, what happened); `trials` as the ledger has them, `endings` of each there."""

    samples: list[Sample] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # ids of nodes
    status: int = -1  # of the job
    log: str = ""
    trials: list[dict[str, Any]] = field(default_factory=list)
    endings: list[dict[str, int]] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if key != "log"}, indent=1)


class RehearsedFleet:
    """A stack in `folder` that grows to `nodes` nodes."""

    def __init__(self, folder: Path, *, nodes: int, idle_timeout_s: float) -> None:
        self.folder, self._nodes, self._idle_timeout_s = folder, nodes, idle_timeout_s
        self.home = StackFolder(folder / "home")
        self.ports = Ports(free_base())
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "MLFLOW_"))}
        self.environment = kept | {
            "LATENTACT_HOME": str(self.home.path),
            "LATENTACT_PORT_BASE": str(self.ports.base),
            "OMP_NUM_THREADS": "1",
            # Ray has workers yield to every other program: on a busy machine they would hardly train.
            "RAY_worker_niceness": "0",
        }

    def local(self, *words: str) -> str:
        """What `python -m cluster.local` prints."""
        command = [sys.executable, "-m", "cluster.local", *words]
        done = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        self.local("up", "--nodes", str(self._nodes), "--idle-timeout-s", f"{self._idle_timeout_s:g}")
        self.environment |= tool_environment(self.home, self.ports)
        self.environment.pop("LATENTACT_PORT_BASE")

    def down(self) -> None:
        self.local("down")
        shutil.rmtree(self.home.ray, ignore_errors=True)  # which lies elsewhere where the home's path is long

    def submit(self, data: Path, epochs: int, log: Path) -> subprocess.Popen[bytes]:
        """The sweep, by the README's script; the checkout goes along as a plain folder."""
        fixed = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
        command = [find_binary("ray"), "job", "submit", "--log-color=false", "--working-dir", str(ROOT), "--"]
        command += ["python", "sweeps/codebook_size.py", "--data", str(data), "--name", NAME]
        command += ["--codes", ",".join(map(str, CODES)), "--depth", "1", "--trials", str(len(CODES))]
        command += ["--search", "grid", "--stop-by", "none", "--epochs", str(epochs), *fixed]
        command += ["--no-publish", "--no-warm-start"]
        with log.open("wb") as output:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=output, stderr=output)

    def sample(self, begun_s: float) -> Sample:
        """Look at the cluster now; raises OSError where its head does not answer."""
        nodes = self._state("nodes", state="ALIVE")
        actors = self._state("actors", class_name="RayTrainWorker", state="ALIVE")
        return Sample(
            round(time.monotonic() - begun_s, 1),
            tuple(sorted(row["node_id"] for row in nodes if not row["is_head_node"])),
            tuple(sorted(row["node_id"] for row in actors)),
        )

    def _state(self, what: str, **filters: str) -> list[dict[str, Any]]:
        query = [("limit", "1000")]
        for key, value in filters.items():
            query += [("filter_keys", key), ("filter_predicates", "="), ("filter_values", value)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports.dashboard}/api/v0/{what}?{urllib.parse.urlencode(query)}",
            headers={"Authorization": f"Bearer {self.home.token_file.read_text().strip()}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            rows: list[dict[str, Any]] = json.load(reply)["data"]["result"]["result"]
        return rows

    def rehearse(self, data: Path, *, epochs: int, lose: int, tell: Callable[[str], None] = print) -> Record:
        """Run the sweep, lose nodes while they train, and wait for all nodes to go."""
        record, log, begun_s = Record(), self.folder / "job.log", time.monotonic()
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(1.0):
                try:
                    record.samples.append(self.sample(begun_s))
                except OSError:  # the head is busy, as the whole machine may be
                    continue

        def event(what: str) -> None:
            record.events.append((round(time.monotonic() - begun_s, 1), what))
            tell(f"{record.events[-1][0]:6.1f} s  {what}")

        def until(what: str, seen: Callable[[Sample], bool]) -> None:
            deadline = time.monotonic() + _PATIENCE_S
            while not (record.samples and seen(record.samples[-1])):
                assert time.monotonic() < deadline, f"never: {what}; {record.samples[-1:]}\n{log.read_text()}"
                assert job.poll() in (None, 0), log.read_text()
                time.sleep(0.2)
            event(what)

        job = self.submit(data, epochs, log)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            event("job submitted")
            until("first node", lambda sample: len(sample.nodes) >= 1)
            until(
                f"{lose + 1} nodes train",
                lambda sample: len(sample.trains) > lose and len(sample.nodes) > lose,
            )
            assert job.poll() is None, "the sweep was over before a node could be lost"
            record.lost = [
                line.split()[1] for line in self.local("lose-node", "--count", str(lose)).splitlines()
            ]
            event(f"{lose} nodes lost")
            record.status = job.wait(_PATIENCE_S)
            event("job ended")
            until("no node", lambda sample: not sample.nodes)
        finally:
            ended.set()
            watcher.join()
            if job.poll() is None:
                job.kill()
                job.wait()
            record.log = log.read_text()
        self._look(record)
        return record

    def _look(self, record: Record) -> None:
        """Into the ledger."""
        from sweeps.ledger import Ledger
        from zoo.s3 import S3Store
        from zoo.store import read_json

        store = S3Store(self.environment["LATENTACT_ZOO"], self.environment)
        for trial in Ledger(store, NAME).read(lambda setting, params: 0)[0].get("objects", {}).values():
            record.trials.append(
                {"codes": trial.params["codes"], "status": trial.status, "seconds": trial.seconds}
            )
            events = [
                read_json(store, key)["event"] for key in store.list(f"ledger/trials/{trial.identity}/")
            ]
            record.endings.append(dict(Counter(e for e in events if e in ("finished", "stopped"))))


@contextmanager
def rehearsed_fleet(folder: Path, *, nodes: int, idle_timeout_s: float) -> Iterator[RehearsedFleet]:
    """A fleet that runs until the block ends."""
    fleet = RehearsedFleet(folder, nodes=nodes, idle_timeout_s=idle_timeout_s)
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.down()


def small_world(folder: Path) -> Path:
    """A procedural world of seconds."""
    command = [sys.executable, "-m", "trainables.prepare", "world", str(folder), "--clips", "48"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=_PATIENCE_S)
    return folder
