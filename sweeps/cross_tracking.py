"""Cross-data evaluations in MLflow: a run each, in the experiment `latentact-cross-data`.

As all tracking it is a view: where MLflow does not answer, one warning says so and the figures stand. The same
evaluation again goes into the same run, which is found by its tags.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sweeps.mlflow_client import client_of
from sweeps.mlflow_entries import PARAM_LENGTH, TAG_LENGTH, milliseconds, texts
from sweeps.redacted import redacted
from trainables.code_digest import code_digest

EXPERIMENT = "latentact-cross-data"


def track(uri: str, record: dict[str, Any]) -> tuple[str, int]:
    """Write a record (see sweeps/cross_data.py) into MLflow.

    Returns the web page of its run, and how many other evaluations have read the same part of the same data before.
    Raises whatever MLflow raises.
    """
    client = client_of(uri)
    from mlflow.entities import Metric, Param

    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    tags = texts(_tags(record), TAG_LENGTH)
    part = {name: tags[name] for name in ("latentact.data_digest", "latentact.split", "latentact.part")}
    where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in part.items())
    runs = client.search_runs([experiment], where, max_results=1000)
    same = [run.info.run_id for run in runs if run.data.tags.get("latentact.key") == tags["latentact.key"]]
    name = f"{record['model']['reference'].rpartition('/')[2]} on {record['data']['name']}"
    run = same[0] if same else client.create_run(experiment, run_name=redacted(name), tags=tags).info.run_id
    now_ms = milliseconds(0.0)
    client.log_batch(
        run,
        metrics=[Metric(metric, value, now_ms, 0) for metric, value in _figures(record).items()],
        params=[Param(key, value) for key, value in texts(_params(record), PARAM_LENGTH).items()],
    )
    client.log_text(run, redacted(json.dumps(record, indent=1)), "evaluation.json")
    client.set_terminated(run, status="FINISHED")
    return f"{redacted(uri)}/#/experiments/{experiment}/runs/{run}", len(runs) - len(same)


def _tags(record: dict[str, Any]) -> dict[str, str]:
    """What finds a run again; equal keys are equal evaluations."""
    key = {"model": record["model"]["tensors"], "data": record["data"], "asked": record["asked"]}
    named = json.dumps({**key, "code": code_digest()}, sort_keys=True)
    return {
        "latentact.kind": "cross-data",
        "latentact.key": hashlib.sha256(named.encode()).hexdigest()[:16],
        "latentact.data_digest": record["data"]["digest"],
        "latentact.split": record["asked"]["split"] or "none",
        "latentact.part": record["asked"]["part"],
        "latentact.code": code_digest()[:16],
        "hand": record["data"]["hand"],
    }


def _params(record: dict[str, Any]) -> dict[str, Any]:
    return {
        **{f"model_{name}": value for name, value in record["model"].items()},
        **{f"data_{name}": value for name, value in record["data"].items()},
        **record["asked"],
    }


def _figures(record: dict[str, Any]) -> dict[str, float]:
    """Every figure that is a number, with its bounds: mpjpe_cm, mpjpe_cm_low, mean_pose/mpjpe_cm, ..."""
    figures: dict[str, float] = {name: float(count) for name, count in record["counts"].items()}
    for predictor, row in record["predictors"].items():
        prefix = "" if predictor == "model" else f"{predictor}/"
        for metric, interval in row["metrics"].items():
            for bound, suffix in (("estimate", ""), ("low", "_low"), ("high", "_high")):
                if interval[bound] is not None:
                    figures[f"{prefix}{metric}{suffix}"] = interval[bound]
    return figures
