"""A sweep without training, for tests of what MLflow shows of it: its driver, and all that MLflow has in the end."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.space import OBJECTIVES, Axis
from sweeps.tracking import Tracking
from trainables.code_digest import code_digest
from zoo.store import Store, open_store

CODE = code_digest()[:16]
EPOCHS = 3
BEGAN_S = 1_790_000_000.0


def plan(**changes: Any) -> SweepPlan:
    base = SweepPlan(
        data="s3://bucket/world",
        data_name="world",
        data_digest="d" * 64,
        settings=("objects", "actions"),
        axes=(Axis("codes", "int", 128, 1024, log=True), Axis("decoder_depth", "choice", choices=(1, 2, 4))),
        objectives=(OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"]),
        trials=4,
        epochs=EPOCHS,
        seeds=1,
        seed=0,
        workers="1",
        protocol="first",
        fixed=(("codebook_epochs", 2), ("indexer_epochs", 1)),
        environment=(("code", CODE), ("torch", "2.13.0")),
        name="mine",
    )
    return replace(base, **changes)


def history(codes: int, epochs: int = EPOCHS, *, began_s: float = BEGAN_S) -> list[dict[str, Any]]:
    """Every epoch of a trial, one a second."""
    stages = [("codebook", n, 2) for n in (1, 2)] + [("indexer", 1, 1)]
    stages += [("predictor", n, EPOCHS) for n in range(1, epochs + 1)]
    entries = []
    for second, (stage, epoch, of) in enumerate(stages, 1):
        entry: dict[str, Any] = {"stage": stage, "epoch": epoch, "epochs": of, "step": 7 * epoch}
        entry |= {"loss": 1.0 / second + 1e-9, "seconds": 1.0 + codes / 1e7, "at_s": began_s + second}
        entry |= {
            "system/cpu_utilization_percentage": 50.0 + second,
            "system/system_memory_usage_megabytes": 900.0,
        }
        if stage == "codebook":
            entry |= {"val_loss": 2.0 / epoch, "live_codes": float(codes - epoch)}
        elif stage == "indexer":
            entry |= {"val_loss": 3.0, "code_accuracy": 0.25}
        else:
            entry |= {"mpjpe_cm": 5 + codes / 1000 + 1 / epoch, "contact_f1": 0.1 * epoch + 1 / 3}
        entries.append(entry)
    return entries


class Driver:
    """What a sweep's driver tells ledger and MLflow, in its order; Tune and training are left out."""

    def __init__(self, folder: Path, uri: str | None, **changes: Any) -> None:
        self.plan = plan(**changes)
        self.store: Store = open_store(f"file://{folder}")
        self.ledger = Ledger(self.store, self.plan.name, "driver")
        self.ledger.plan(self.plan.record())
        self.ledger.note("session", slots=2, device="cpu", workers="1", data=self.plan.data)
        self.tracking = Tracking(uri, self.plan, {"latentact.code": CODE}, self.store)

    def start(self, codes: int, setting: str = "objects", *, attempt: int = 1) -> TrialRecord:
        params = {"codes": codes, "decoder_depth": 2, "seed": 0}
        trial = TrialRecord(f"{setting}-{codes:012d}", setting, "search", params, attempts=attempt)
        self.ledger.started(trial.identity, setting, "search", params, attempt)
        trial.slot, trial.began_s, trial.codebook = "1", BEGAN_S, "c" * 16
        self.tracking.started(trial, self.plan.config(setting, **params).to_json())
        return trial

    def report(self, trial: TrialRecord, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            trial.history.append(entry)
            self.tracking.reported(trial.identity, entry)

    def end(self, trial: TrialRecord, status: Any = "finished", reason: str = "") -> None:
        epochs = [entry for entry in trial.history if entry["stage"] == "predictor"]
        trial.status, trial.reason, trial.sweep = status, reason, self.plan.name
        trial.epochs, trial.seconds, trial.ended_s = len(epochs), 6.5, trial.began_s + 7
        trial.curve = [(entry["epoch"], entry["mpjpe_cm"]) for entry in epochs]
        if epochs:
            best = {name: epochs[-1][name] for name in ("mpjpe_cm", "contact_f1")}
            trial.metrics = best | {"epoch": epochs[-1]["epoch"], "parameters": 1234567.0, "latency_ms": 4.25}
        trial.stage_seconds = {"codebook": 2.0, "indexer": 1.0, "predictor": 3.0}
        trial.checkpoint = f"{self.store.url}/trials/{trial.identity}/checkpoint_000001"
        if status != "unfinished":
            self.ledger.ended(trial)
        trial.history = []
        self.tracking.ended(trial)

    def run(self, codes: int, setting: str = "objects", status: str = "finished") -> TrialRecord:
        """One trial from its start to its end."""
        trial = self.start(codes, setting)
        self.report(trial, history(codes, EPOCHS if status == "finished" else 1))
        self.end(trial, status, "" if status != "failed" else "loss is nan")
        return trial

    def written(self, key: str = "objects") -> str:
        """Wait until MLflow has all that was told so far, however busy this machine is; the run of `key`."""
        deadline = time.monotonic() + 150
        while (run := self.tracking.run_id(key)) is None:
            assert time.monotonic() < deadline, f"MLflow has no run of {key}"
            time.sleep(0.2)
        return run

    def close(self) -> None:
        self.written()
        self.tracking.close()

    def conclude(self, setting: str, trial: TrialRecord) -> None:
        """Assess, publish and tell."""
        test = {
            "metrics": {
                "mpjpe_cm": {"estimate": 5.5, "low": 5.0, "high": 6.0},
                "contact_f1": {"estimate": None},
            }
        }
        tags = {"model": f"latentact-world-{setting}@1", "digest": "abc", "gate": "champion. the first"}
        figures = {"best_val_mpjpe_cm": trial.mpjpe_cm, "best_val_contact_f1": trial.metrics["contact_f1"]}
        self.tracking.summarised(setting, {**figures, "test_mpjpe_cm": 5.5}, tags)
        self.ledger.published(setting, {"identity": trial.identity, "test": test, "lines": [], **tags})


def shown(uri: str, experiment: str = "latentact-world") -> dict[str, dict[str, Any]]:
    """All that MLflow has of an experiment, by the keys of its runs; what it names by itself is left out."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    keys = {run.info.run_id: run.data.tags["latentact.key"] for run in runs}
    assert len(set(keys.values())) == len(runs), "a run is there twice"
    everything = {}
    for run in runs:
        tags = dict(run.data.tags)
        if parent := tags.pop("mlflow.parentRunId", None):
            tags["parent"] = keys[parent]
        figures = {
            name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        if not parent:  # made when the sweep says so, not when something happened
            figures = {
                name: [(step, value, 0) for step, value, _ in points] for name, points in figures.items()
            }
        everything[keys[run.info.run_id]] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time) if parent else None,
            "params": dict(run.data.params),
            "tags": tags,
            "figures": {name: sorted(points) for name, points in figures.items()},
            "data": [
                (i.dataset.to_dictionary(), [(t.key, t.value) for t in i.tags])
                for i in run.inputs.dataset_inputs
            ],
            "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
        }
    return everything
