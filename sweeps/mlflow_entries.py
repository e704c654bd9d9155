"""What of a sweep and its trials goes to MLflow, in the words and within the limits that MLflow has.

Figures are (name, value, step, Unix time in ms). An epoch's have the epoch within its stage as their step, those of the
machine the epoch counted over all stages; a trial's last figures have its number of predictor epochs.
"""

from __future__ import annotations

import functools
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.redacted import redacted
from sweeps.trial_record import TrialRecord, numbers, rounded

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

Figure = tuple[str, float, int, int]

STATES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "unfinished": "SCHEDULED"}
WRITTEN = "latentact.written"
# Of what became of a trial.
LAST_TAGS = tuple(
    f"latentact.{fact}"
    for fact in ("attempts", "trained_by", "codebook", "checkpoint", "slot", "node_type", "reason")
)
# MLflow's own limits are 6,000 and 8,000 characters.
PARAM_LENGTH, TAG_LENGTH = 500, 2000

_NO_FIGURE = ("epoch", "epochs", "step", "at_s")
# What several stages have; the names of other figures are of one stage alone.
_OF_STAGE = ("loss", "val_loss", "seconds")
# What a trial has from its first epoch to its last.
_OF_TRIAL = ("parameters", "latency_ms", "peak_memory_mb")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What all runs of a sweep have in common; `params` stand on the parent runs, `tags` on all."""

    sweep: str
    data_name: str
    data_digest: str
    data_url: str
    workers: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, sweep: str, record: Mapping[str, Any], data_url: str, tags: Mapping[str, str]) -> Heading:
        """From the record of a plan, as the plan gives it or the ledger keeps it."""
        return cls(
            sweep=sweep,
            data_name=record["data"],
            data_digest=record["data_digest"],
            data_url=data_url,
            workers=str(record["workers"]),
            params=dict(_flat(record)),
            tags=tags,
        )


def _flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested names with a / between, lists with commas."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}/")
        else:
            yield before + name, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def data_set(heading: Heading) -> DatasetInput:
    """What a sweep trains on, for MLflow's lineage."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    url = redacted(heading.data_url)
    scheme, there, _ = url.partition("://")
    dataset = Dataset(
        name=redacted(heading.data_name),
        digest=heading.data_digest[:16],  # MLflow takes 36 characters, a person fewer
        source_type=scheme if there and scheme != "file" else "local",
        source=json.dumps({"uri": url}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def stages_before(config: Mapping[str, Any]) -> dict[str, int]:
    """How many epochs come before each stage's first, in a trial of this configuration that trains all of them."""
    codebook, indexer = config.get("codebook_epochs", 0), config.get("indexer_epochs", 0)
    return {"indexer": codebook, "predictor": codebook + indexer}


def epoch_figures(entry: Mapping[str, Any], before: Mapping[str, int]) -> Iterator[Figure]:
    """Those of an entry of a TrialRecord's history; losses and seconds carry the stage in their name."""
    stage, epoch = entry["stage"], int(entry["epoch"])
    at_ms = milliseconds(entry.get("at_s", 0.0))
    # As the ledger has them, so that the same figure is equal wherever it comes from.
    for name, value in rounded(dict(entry)).items():
        if name in _NO_FIGURE or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        step = before.get(stage, 0) + epoch if name.startswith("system/") else epoch
        yield valid_name(f"{stage}/{name}" if name in _OF_STAGE else name), float(value), step, at_ms


def history_figures(trial: TrialRecord, before: Mapping[str, int]) -> Iterator[Figure]:
    """Those of all its epochs; of a record without a history those of its curve."""
    curve = (
        {"stage": "predictor", "epoch": epoch, "mpjpe_cm": value, "at_s": trial.ended_s}
        for epoch, value in trial.curve
    )
    for entry in trial.history or curve:
        yield from epoch_figures(entry, before)


def last_figures(trial: TrialRecord, workers: str) -> Iterator[Figure]:
    """What a trial came to: `best_...` of its best epoch, its size and speed, and what it took: seconds, hours of its
    `workers` (the fewest, where their number changes), USD where a worker's price is known.
    """
    at_ms = milliseconds(trial.ended_s)
    count = float(workers.partition(":")[0])
    seconds = round(trial.seconds, 3)  # as the ledger has them
    cost = {"worker_hours": seconds / 3600 * count}
    if trial.usd_per_hour is not None:
        cost |= {"usd_per_worker_hour": trial.usd_per_hour, "usd": cost["worker_hours"] * trial.usd_per_hour}
    if seconds and trial.status != "unfinished":
        for name, value in cost.items():
            yield name, float(f"{value:.6g}"), trial.epochs, at_ms
    if trial.status not in ("finished", "stopped"):
        return
    best = {
        name if name in _OF_TRIAL else f"best_{name}": value
        for name, value in trial.metrics.items()
        if name not in ("epochs", "step", "at_s", "seconds") and not name.startswith("system/")
    }
    spent = {"total_seconds": seconds}
    spent |= {f"{stage}/total_seconds": round(seconds, 3) for stage, seconds in trial.stage_seconds.items()}
    for name, value in numbers(best | spent).items():
        yield valid_name(name), value, trial.epochs, at_ms


def last_tags(trial: TrialRecord) -> dict[str, str]:
    """What became of a trial."""
    values = (
        str(trial.attempts),
        trial.sweep,
        trial.codebook,
        trial.checkpoint,
        trial.slot,
        trial.node_type,
        trial.reason,
    )
    return {key: value for key, value in zip(LAST_TAGS, values, strict=True) if value}


def written_mark(trial: TrialRecord) -> str:
    """Says of a run that all of this record is in it; a trial that goes on later has another."""
    return f"{trial.status} after {trial.epochs} epochs, attempt {trial.attempts}"


def summary(
    trials: Mapping[str, TrialRecord], report: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, str]]:
    """Figures and tags of a setting's parent run, from the report that the ledger keeps of it.

    A report may say both itself (`summary`: {"metrics", "tags"}); else they are the best trial's validation figures, its
    test figures, and the name it was published under.
    """
    if (said := report.get("summary")) is not None:
        return dict(said["metrics"]), dict(said["tags"])
    best = trials.get(report.get("identity", ""))
    figures = {
        f"best_val_{name}": value
        for name, value in (best.metrics if best else {}).items()
        if name.startswith(("mpjpe", "contact"))
    }
    for name, interval in report.get("test", {}).get("metrics", {}).items():
        if interval["estimate"] is not None:
            figures[f"test_{name}"] = interval["estimate"]
    return figures, {key: report[key] for key in ("model", "digest", "gate") if key in report}


def texts(values: Mapping[str, Any], length: int) -> dict[str, str]:
    """Parameters or tags as MLflow takes them."""
    return {valid_name(key): redacted(str(value))[:length] for key, value in values.items()}


# The same few names come with every epoch.
@functools.lru_cache(maxsize=1000)
def valid_name(name: str) -> str:
    """A name as MLflow takes it, which may come to make a path of it."""
    name = re.sub(r"[^\w\-. /]", "_", redacted(name))[:250]
    return "/".join(part for part in name.split("/") if part.strip(".")) or "_"


def milliseconds(at_s: float) -> int:
    """A Unix time for MLflow; 0.0, which is unknown, becomes now."""
    return round((at_s if at_s and math.isfinite(at_s) else time.time()) * 1000)
