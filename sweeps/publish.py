"""From a setting's best trial to a named, registered model; test is read once for each candidate."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

import zoo
from sweeps import assess
from sweeps.bundle_figures import write_figures
from sweeps.card import Chosen, show, write_card
from sweeps.ledger import TrialRecord
from sweeps.mlflow_entries import summary
from sweeps.mlflow_files import CARD
from sweeps.origin import origin
from sweeps.plan import SweepPlan
from sweeps.readings import keep, kept, trial_key
from sweeps.selection import compared, rank
from sweeps.verdict import candidate, verdict
from trainables.model_folder import fetch_model
from zoo.card_html import folder_html
from zoo.errors import GateRefused
from zoo.gallery import GALLERY
from zoo.names import Name
from zoo.store import Store

if TYPE_CHECKING:
    from sweeps.session import Session

# Beyond these places a leaderboard shows figures without intervals.
_WITH_INTERVAL = 16


def model_name(plan: SweepPlan, setting: str) -> str:
    """The name that a setting's best model is published under; a fold has its setting's."""
    interpolate = dict(plan.fixed).get("mode") == "interpolate"
    return str(Name(data=plan.data_name, setting=setting.partition(":")[0], interpolate=interpolate))


def conclude(
    plan: SweepPlan, setting: str, trials: list[TrialRecord], session: Session, *, publish: bool
) -> dict[str, Any]:
    """Choose among the finished trials, offer the winner to the zoo and its gate, and write down what came of it.

    Selection knows validation figures alone. Returns the report that the ledger keeps (JSON); its `lines` end the
    leaderboard. A gate that refuses is no error: the champion stays, and the report says why.
    """
    device, store = session.slots.capacity.device, session.store
    task = session.slots.capacity.task
    considered = compared(trials, plan.finalists)
    shown = [t for c in (*considered, *rank(trials)) for t in c.trials]
    shown = list({t.identity: t for t in shown if t.checkpoint}.values())[:_WITH_INTERVAL]
    read = {t.identity for t in shown}
    considered = [c for c in considered if all(t.identity in read for t in c.trials)]
    if not considered:
        return {
            "lines": [f"The checkpoints of {setting}'s best trials were swept away: nothing to choose from."]
        }
    print(f"[{setting}] reading validation errors of {len(shown)} trials", flush=True)
    errors = ray.get(
        task(assess.validation_errors).remote(
            plan.data,
            {t.identity: plan.config(setting, **t.params).to_json() for t in shown},
            {t.identity: t.checkpoint for t in shown},
            device,
        )
    )
    decided = verdict([candidate(c, errors) for c in considered], seeds=len(considered[0].trials))
    winner = next(c for c in considered if c.key == decided.winner)
    best = winner.trials[0]
    report: dict[str, Any] = {
        "identity": best.identity,
        "val": {identity: reading["interval"] for identity, reading in errors.items()},
        "verdict": decided.to_json(),
        "lines": [],
    }
    if publish:
        print(f"[{setting}] reading gate and test for {winner.name}", flush=True)
        config = plan.config(setting, **best.params).to_json()
        metrics = _examine_once(plan, best, config, store, task(assess.examine), device)
        report |= {"test": metrics["test"], "trivial": metrics["trivial"], "hand": metrics["hand"]}
        lines, tags = _figures(metrics), {}
        if ":" in setting:
            lines.append("One fold's model stands for no setting: it is not published.")
        else:
            session.ledger.read_histories([best])
            chosen = Chosen(
                name=model_name(plan, setting), plan=plan, setting=setting, best=best, metrics=metrics,
                made=origin(plan, session.ledger, store, best, trials, metrics),
            )  # fmt: skip
            tags = _offer(chosen, session, lines)
            best.history = []
        report |= {"lines": lines, **tags}
    figures, tags = summary({best.identity: best}, report)
    session.tracking.summarised(setting, figures, tags)
    report["summary"] = {"metrics": figures, "tags": tags}
    if (address := session.tracking.address(setting)) is not None:
        report["lines"].append(f"MLflow:      {address}")
    session.ledger.published(setting, report)
    return report


def _examine_once(
    plan: SweepPlan, best: TrialRecord, config: dict[str, Any], store: Store, task: Any, device: str
) -> dict[str, Any]:
    """Gate and test figures of one candidate: read from the store where they have been made before.

    `test_reads` counts this reading, and one by a comparison before it.
    """
    key = f"evaluations/{best.identity}-{best.epochs}-{plan.protocol}.json"
    if (metrics := kept(store, key)) is not None:
        return metrics
    reads = 1 if kept(store, trial_key(best.identity, best.epochs)) is None else 2
    metrics = ray.get(task.remote(plan.data, config, best.checkpoint, device))
    return keep(store, key, {**metrics, "test_reads": reads})


def _offer(chosen: Chosen, session: Session, lines: list[str]) -> dict[str, str]:
    """Publish and promote; adds what a reader wants to know to `lines` and returns it as tags."""
    name, best, metrics, store = chosen.name, chosen.best, chosen.metrics, session.store
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fetch_model(best.checkpoint, folder)
        write_bundle(folder, chosen)
        tags = {"identity": best.identity, "sweep": chosen.plan.name, "hand": metrics["hand"]}
        if run := session.tracking.run_id(best.identity):
            tags["run_id"] = run
        published = zoo.publish(name, folder, tags=tags, store=store)
        page = _page(folder, f"{name}@{published.version}", session)
    if page:
        session.tracking.artefacts(chosen.setting, {CARD: page})
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


def write_bundle(folder: Path, chosen: Chosen) -> None:
    """Figures, metrics, gallery and card beside the model in `folder`; the trial has its history read.

    An evaluation from before there were galleries has none, and test is not read again for one.
    """
    metrics = {part: value for part, value in chosen.metrics.items() if part not in ("samples", "gallery")}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True))
    if "gallery" in chosen.metrics:
        text = json.dumps(chosen.metrics["gallery"], separators=(",", ":"), sort_keys=True)
        (folder / GALLERY).write_text(text)
    pictures = write_figures(folder, chosen.name, chosen.best, chosen.metrics.get("samples", []))
    (folder / "card.md").write_text(write_card(chosen, pictures), encoding="utf-8")


def _page(folder: Path, reference: str, session: Session) -> str:
    """The card as a page, for MLflow; "" where there is no MLflow, or the page cannot be made."""
    if session.tracking.uri is None:
        return ""
    try:
        return folder_html(folder, reference)
    except Exception as error:  # noqa: BLE001 any failure of a view must leave the sweep alone
        print(f"Warning: {reference} has no {CARD} in MLflow: {error}", file=sys.stderr, flush=True)
        return ""


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
