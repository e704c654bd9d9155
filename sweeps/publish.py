"""From a setting's best trial to a named, registered model; test is read once for each candidate."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import ray

import zoo
from sweeps import assess
from sweeps.capacity import Capacity
from sweeps.card import show, write_card
from sweeps.ledger import Ledger, TrialRecord
from sweeps.plan import SweepPlan
from sweeps.readings import keep, kept
from sweeps.selection import rank
from sweeps.tracking import Tracking
from trainables.model_folder import fetch_model
from trainables.ray_train import CPUS_PER_WORKER
from zoo.errors import GateRefused
from zoo.names import Name
from zoo.store import Store

# Beyond these places a leaderboard shows figures without intervals.
_WITH_INTERVAL = 8


def model_name(plan: SweepPlan, setting: str) -> str:
    """The name that a setting's best model is published under; a fold has its setting's."""
    interpolate = dict(plan.fixed).get("mode") == "interpolate"
    return str(Name(data=plan.data_name, setting=setting.partition(":")[0], interpolate=interpolate))


def publish_best(
    plan: SweepPlan,
    setting: str,
    trials: list[TrialRecord],
    store: Store,
    ledger: Ledger,
    capacity: Capacity,
    tracking: Tracking,
) -> dict[str, Any]:
    """Assess the finished trials, offer the best to the zoo and its gate, and write down what came of it.

    Selection knows validation figures alone. Returns the report that the ledger keeps (JSON); its `lines` end the
    leaderboard. A gate that refuses is no error: the champion stays, and the report says why.
    """
    ranked = rank(trials)
    best = ranked[0].trials[0]
    shown = [trial for configuration in ranked for trial in configuration.trials][:_WITH_INTERVAL]
    print(f"[{setting}] reading gate and test for the best: {best.params}", flush=True)
    task = ray.remote(num_cpus=CPUS_PER_WORKER, num_gpus=1 if capacity.use_gpu else 0)
    config = plan.config(setting, **best.params).to_json()
    intervals = task(assess.validation_intervals).remote(
        plan.data, config, {trial.identity: trial.checkpoint for trial in shown}, capacity.device
    )
    metrics = _examine_once(plan, best, config, store, task(assess.examine), capacity.device)
    report: dict[str, Any] = {
        "identity": best.identity,
        "val": ray.get(intervals),
        "test": metrics["test"],
        "trivial": metrics["trivial"],
    }
    lines = _figures(metrics)
    tags = {}
    if ":" in setting:
        lines.append("One fold's model stands for no setting: it is not published.")
    else:
        tags = _offer(plan, setting, best, metrics, store, tracking, lines)
    tracking.summarised(setting, _summary(best, metrics), tags)
    if (address := tracking.address(setting)) is not None:
        lines.append(f"MLflow:      {address}")
    report |= {"lines": lines, **tags}
    ledger.published(setting, report)
    return report


def _examine_once(
    plan: SweepPlan, best: TrialRecord, config: dict[str, Any], store: Store, task: Any, device: str
) -> dict[str, Any]:
    """Gate and test figures of one candidate: read from the store where they have been made before."""
    key = f"evaluations/{best.identity}-{best.epochs}-{plan.protocol}.json"
    if (metrics := kept(store, key)) is not None:
        return metrics
    return keep(store, key, ray.get(task.remote(plan.data, config, best.checkpoint, device)))


def _offer(
    plan: SweepPlan,
    setting: str,
    best: TrialRecord,
    metrics: dict[str, Any],
    store: Store,
    tracking: Tracking,
    lines: list[str],
) -> dict[str, str]:
    """Publish and promote; adds what a reader wants to know to `lines` and returns it as tags."""
    name = model_name(plan, setting)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fetch_model(best.checkpoint, folder)
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True))
        (folder / "card.md").write_text(write_card(name, plan, setting, best, metrics))
        tags = {"identity": best.identity, "sweep": plan.name, "hand": metrics["hand"]}
        if run := tracking.run_id(best.identity):
            tags["run_id"] = run
        published = zoo.publish(name, folder, tags=tags, store=store)
    try:
        promotion = zoo.promote(name, published.version, store=store)
        verdict, reference = f"champion. {promotion.reason}", f"{name}@champion"
        error = published.registry_error and promotion.registry_error
    except GateRefused as refusal:
        verdict, reference = f"not champion: {refusal}", f"{name}@{published.version}"
        error = published.registry_error
    lines.append(f"Registered:  {name}@{published.version}, {verdict}")
    if error:
        lines.append(f"Warning:     {error}")
    example = metrics["example"]
    point = example["contact_point"]
    shell = f" --contact-point={','.join(map(str, point))}" if point else ""
    python = f", contact_point={point}" if point else ""
    lines += [
        f'Run it:      zoo predict {reference} --text "{example["text"]}"{shell} [--image FIRST_FRAME.png]',
        f'In Python:   zoo.load("{reference}").predict(image=None, text="{example["text"]}"{python})',
    ]
    return {"model": f"{name}@{published.version}", "digest": published.digest, "gate": verdict}


def _figures(metrics: dict[str, Any]) -> list[str]:
    test, trivial = metrics["test"], metrics["trivial"]
    stand_in = "" if metrics["hand"] == "mano" else f"; made with the stand-in hand {metrics['hand']}"
    figures = (
        f"Test:        MPJPE {show(test['metrics']['mpjpe_cm'])} cm, contact F1 "
        f"{show(test['metrics']['contact_f1'])}; {test['groups']} groups ({test['group']}), {test['clips']} clips"
        f"{stand_in}"
    )
    rival = (
        f"Against the {trivial['predictor']} ({show(trivial['test'])} cm): "
        f"{show(trivial['difference'], sign='+')} cm, negative is better"
    )
    return [figures, rival]


def _summary(best: TrialRecord, metrics: dict[str, Any]) -> dict[str, float]:
    """The best trial's figures for MLflow, where they are numbers."""
    figures = {
        f"best_val_{name}": value
        for name, value in best.metrics.items()
        if name.startswith(("mpjpe", "contact"))
    }
    for name, value in metrics["test"]["metrics"].items():
        if value["estimate"] is not None:
            figures[f"test_{name}"] = value["estimate"]
    return figures
