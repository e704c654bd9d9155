"""Sweeps under fire: a real Ray head, S3 store and MLflow server, and kill -9 for each of them, and for the sweep's own
driver and workers, at moments drawn from a seed. Whoever is killed is started again by the same command.

A driver runs on the head's machine (`ray job submit`), so that one dies with the other.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sweeps.ledger import TrialRecord
from tests.killable_server import RayHead, Server, kill_all
from tests.mlflow_server import QUIET, MlflowServer, running_mlflow
from tests.object_server import running_store
from tests.ray_head import ray_head
from tests.sweep_driver import ROOT, TRIALS, logged_name, make_plan, read_trials
from tests.tiny_clips import tiny_clips
from zoo.s3 import S3Store
from zoo.store import Store, read_json

# A sweep's own processes, as Ray names them: those that train, and the others.
TRAINS, SERVES = "RayTrainWorker", ("WarmGroup", "ResourceTrainable", "TrainController")
# How often each is killed in ten.
KINDS = {"worker": 3, "driver": 2, "head": 2, "store": 2, "mlflow": 1}
# Without another kill a sweep ends within this time, and after no more than so many drivers that end by themselves.
_CALM_S, _ENDS = 170.0, 3
# Until the next kill: so many epochs more, and then seconds. How long a store or an MLflow server stays away.
_EPOCHS, _NEXT_S, _AWAY_S = (0, 2), (0.2, 3.0), (0.2, 4.0)


@dataclass
class Struck:
    """One kill: what (`victim`: a worker's title), and at what moment of its sweep."""

    kind: str
    at_s: float  # since the sweep's first start
    victim: str = ""


@dataclass
class Outcome:
    """What became of one sweep under fire; `ends` are the exits of drivers that nobody killed: status, last line."""

    kind: str
    name: str
    seconds: float = 0.0
    ends: list[tuple[int, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # reasons of trials that needed `--again`
    trials: dict[str, TrialRecord] = field(default_factory=dict)
    trained: Counter[str] = field(default_factory=Counter)  # lines of the driver's log
    problems: list[str] = field(default_factory=list)


class Chaos:
    """The cluster, and what kills parts of it."""

    def __init__(
        self, folder: Path, seed: int, environment: dict[str, str], head: RayHead, store: Server, mlflow: MlflowServer
    ) -> None:  # fmt: skip
        self.folder, self.data = folder, folder / "data"
        self.kills: list[Struck] = []
        self._random = random.Random(seed)
        self._environment, self._head, self._store, self._mlflow = environment, head, store, mlflow
        self._away: list[threading.Thread] = []
        self._bag: list[str] = []
        self._driver: subprocess.Popen[bytes] | None = None
        self._told = 0  # bytes of the log that are older than the driver

    def sweep(self, kind: str, name: str, kills: int, *, each_once: bool = False) -> Outcome:
        """Run one sweep of tests/sweep_driver.py to its end, with so many kills on the way."""
        if each_once:
            self._bag = self._random.sample(sorted(KINDS), len(KINDS))
        outcome = Outcome(kind, name)
        begun = last = time.monotonic()
        driver, wanted, ends = self._start(outcome), len(self.kills) + kills, 0
        while True:
            left = len(self.kills) < wanted
            status = self._wait(driver, outcome, strike=left)
            if status is None:
                if not left or time.monotonic() - last > _CALM_S:
                    outcome.problems.append(f"nothing more within {_CALM_S:.0f} s of a kill")
                    driver.kill()
                    driver.wait()
                    break
                driver = self._strike(self._next(), driver, outcome, time.monotonic() - begun)
                last, ends = time.monotonic(), 0
                continue
            words = self._log(outcome).read_bytes()[self._told :].decode().strip().splitlines()
            if status == 0:
                break
            outcome.ends.append((status, words[-1] if words else ""))
            reasons = [word for word in words if word.startswith("Failed: ")]
            outcome.failed += reasons
            ends += 1
            if ends > _ENDS:
                outcome.problems.append("drivers end by themselves again and again")
                break
            self._calm()
            driver = self._start(outcome, *(["--again"] if reasons else []))
        self._calm()
        outcome.seconds = time.monotonic() - begun
        self._look(outcome)
        return outcome

    def _wait(self, driver: subprocess.Popen[bytes], outcome: Outcome, *, strike: bool) -> int | None:
        """The status with which the driver ends, or None when it is time to strike, or nothing more happens."""
        deadline = time.monotonic() + _CALM_S
        if strike:
            wanted = len(self._epochs(outcome)) + self._random.randint(*_EPOCHS)
            while len(self._epochs(outcome)) < wanted and driver.poll() is None:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.1)
            deadline = time.monotonic() + self._random.uniform(*_NEXT_S)
        try:
            return driver.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def _epochs(self, outcome: Outcome) -> list[str]:
        """What the driver's workers have logged."""
        log = self.folder / f"{outcome.name}.epochs"
        return log.read_text().splitlines() if log.exists() else []

    def close(self) -> None:
        self._calm()
        if self._driver is not None:
            self._driver.kill()
            self._driver.wait()
        for server in (self._head, self._store):
            server.kill()

    def store(self, name: str) -> Store:
        """Every sweep has a part of the store for itself, so that none finds its trials trained already."""
        return S3Store(f"s3://zoo/{name}", self._environment)

    def _next(self) -> str:
        self._bag = self._bag or self._random.sample(list(KINDS), counts=list(KINDS.values()), k=10)
        return self._bag.pop()

    def _start(self, outcome: Outcome, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.sweep_driver", outcome.kind, outcome.name, str(self.data)]
        command += [f"s3://zoo/{outcome.name}", str(self.folder / f"{outcome.name}.epochs"), *more]
        with self._log(outcome).open("ab") as log:
            self._told = log.tell()
            driver = subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=log, stderr=log)
        self._driver = driver
        return driver

    def _log(self, outcome: Outcome) -> Path:
        return self.folder / f"{outcome.name}.log"

    def _strike(
        self, kind: str, driver: subprocess.Popen[bytes], outcome: Outcome, at_s: float
    ) -> subprocess.Popen[bytes]:
        """Kill one, and have it started again; returns the driver that now runs."""
        struck = Struck(kind, at_s)
        if kind == "worker":
            workers = [p for p in self._head.process.children(recursive=True) if _title(p)]
            if not workers:  # none has been started yet
                self._bag.insert(0, kind)
                return driver
            training = [p for p in workers if _title(p) == TRAINS]
            # Two times in three one that trains, where there is one.
            chosen = training if training and self._random.random() < 2 / 3 else workers
            victim = self._random.choice(sorted(chosen, key=_title))
            struck.victim = _title(victim)
            kill_all([victim])
        elif kind == "store":
            self._store.kill()
            self._later(self._store.start)
        elif kind == "mlflow":
            self._mlflow.kill()
            self._later(self._mlflow.start)
        else:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            if kind == "head":
                self._head.kill()
                self._head.start()
            driver = self._start(outcome)
        self.kills.append(struck)
        return driver

    def _later(self, start: Callable[[], None]) -> None:
        def after(away_s: float = self._random.uniform(*_AWAY_S)) -> None:
            time.sleep(away_s)
            start()

        self._calm()
        self._away = [threading.Thread(target=after)]
        self._away[0].start()

    def _calm(self) -> None:
        """Until all that was killed is there again."""
        for thread in self._away:
            thread.join()

    def _look(self, outcome: Outcome) -> None:
        """Read what the ledger and the log say, and check what holds for every sweep."""
        store = self.store(outcome.name)
        outcome.trials = read_trials(store, outcome.name)
        outcome.trained = Counter(self._epochs(outcome))
        trials, problems = outcome.trials, outcome.problems
        if len(trials) != TRIALS:
            problems.append(f"{len(trials)} trials instead of {TRIALS}")
        points = {logged_name(trial.params) for trial in trials.values()}
        if lost := {line.split()[0] for line in outcome.trained} - points:
            problems.append(f"lost: {lost}")
        if len(points) < len(trials):
            problems.append("a point was suggested twice")
        for identity, trial in trials.items():
            events = [read_json(store, key)["event"] for key in store.list(f"ledger/trials/{identity}/")]
            endings = Counter(event for event in events if event in ("finished", "stopped"))
            if endings != {trial.status: 1}:
                problems.append(
                    f"{logged_name(trial.params)} is {trial.status} ({trial.reason}), its endings: {dict(endings)}"
                )


def _title(process: psutil.Process) -> str:
    """`RayTrainWorker` of a process "ray::RayTrainWorker.execute"; nothing where it is not one of the sweep's."""
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:
        return ""
    name = words[0].removeprefix("ray::").partition(".")[0] if words else ""
    return name if name in (TRAINS, *SERVES) else ""


class Solo:
    """What each configuration comes to when it is trained by itself, in this process."""

    def __init__(self, data: Path) -> None:
        import torch

        from trainables.clips import read_clips

        torch.set_num_threads(1)
        self._data, self._clips = data, read_clips(data)
        self._known: dict[str, list[dict[str, Any]]] = {}

    def epochs(self, kind: str, trial: TrialRecord) -> list[dict[str, Any]]:
        """The figures of every epoch of the predictor."""
        from trainables.trial import train_trial

        config = make_plan(kind, "solo", str(self._data)).config(trial.setting, **trial.params)
        key = json.dumps(config.to_json())
        if key not in self._known:
            told: list[dict[str, Any]] = []
            train_trial(config, self._clips, report=lambda figures, save: told.append(figures))
            self._known[key] = [figures for figures in told if figures["stage"] == "predictor"]
        return self._known[key]

    def differences(self, outcome: Outcome) -> list[str]:
        """In which figure a trial, as far as it came, is not bit for bit the one trained by itself."""
        found = []
        for trial in outcome.trials.values():
            alone = self.epochs(outcome.kind, trial)[: trial.epochs]
            if trial.curve != [(figures["epoch"], figures["mpjpe_cm"]) for figures in alone]:
                found.append(f"{logged_name(trial.params)}: curve {trial.curve}")
                continue
            if not alone:  # it has not begun, which is a fault of its own
                continue
            best = min(alone, key=lambda figures: figures["mpjpe_cm"])
            for name in ("mpjpe_cm", "contact_f1"):
                if trial.metrics[name] != best[name]:
                    found.append(
                        f"{logged_name(trial.params)}: {name} {trial.metrics[name]!r}, alone {best[name]!r}"
                    )
        return found


def ranking(outcome: Outcome) -> list[tuple[str, float, float]]:
    """Identity, MPJPE and F1 of each finished trial, best first."""
    trials = [trial for trial in outcome.trials.values() if trial.status == "finished"]
    figures = [(t.identity, t.mpjpe_cm, t.metrics["contact_f1"]) for t in trials]
    return sorted(figures, key=lambda row: row[1])


@contextmanager
def chaos(folder: Path, seed: int) -> Iterator[Chaos]:
    """All servers, in `folder`; nothing of them is left when the block ends."""
    for name in ("weed", "mlflow", "store", "head"):
        (folder / name).mkdir()
    tiny_clips(folder / "data", clips=16)
    with (
        running_store(folder / "weed") as store,
        running_mlflow(folder / "mlflow") as mlflow,
        ray_head() as environment,
    ):
        # Ray has workers yield to every other program: on a busy machine they would hardly train.
        here = {"PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"}
        head = RayHead("ray", folder / "head", environment=store.env | here)
        environment |= store.env | here | QUIET | {"MLFLOW_TRACKING_URI": mlflow.uri}
        run = Chaos(folder, seed, environment, head, Server("weed", folder / "store"), mlflow)
        try:
            # Once more, with the store's keys.
            head.kill()
            head.start()
            yield run
        finally:
            run.close()
