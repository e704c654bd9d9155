"""Forecasting on DexYCB, unseen objects and unseen subjects, against predictors that any model must beat.

    python -m trainables.prepare dexycb ../shared/data/dexycb /tmp/dexycb
    python -m tests.benchmarks.dexycb_forecast /tmp/dexycb --out /tmp/dexycb-forecast

Every group (object or subject) is held out once. Each fold trains the three stages from nothing for every contact
protocol and seed, selects epoch and threshold on its own validation groups and reads its test groups once. About two
minutes a fold, protocol and seed on one core. Finished folds are kept in --out and not trained again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import torch

from trainables.clips import read_clips
from trainables.code_digest import code_digest
from trainables.dexycb import PHASES
from trainables.evaluate import best_contact_threshold, evaluate
from trainables.evaluation import Evaluation, average_seeds, join_folds
from trainables.splits import fold_settings, setting_group
from trainables.trial import part_windows, train_trial
from trainables.trial_config import TrialConfig
from trainables.trivial import evaluate_trivial

FOLDS = {"objects": 6, "subjects": 8}
PROTOCOLS = ("first", "goal")
RIVALS = {
    "mean_trajectory": "(a) mean trajectory",
    "moved_trajectory": "(b) moved to the contact",
    "constant_pose": "(c) constant mean pose",
}
CONTACT_RIVALS = {
    "vertex_frequency_oracle": "vertex frequency, best test threshold",
    "text_frequency_oracle": "vertex frequency by text, best test threshold",
}
TITLES = {name.split()[0]: name for name in PHASES}  # an evaluation's phases are first words
BUDGET = {"stride": 8, "learning_rate": 1e-3, "codebook_epochs": 4, "indexer_epochs": 3, "epochs": 6}


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    arrays = {f"metric.{k}": v for k, v in evaluation.metrics.items()}
    for field in fields(evaluation):
        if field.name != "metrics":
            arrays[field.name] = np.asarray(getattr(evaluation, field.name))
    unfinished = path.with_suffix(".tmp.npz")
    np.savez_compressed(unfinished, **arrays)
    unfinished.rename(path)


def load_evaluation(path: Path) -> Evaluation:
    with np.load(path) as file:
        arrays = dict(file)
    metrics = {k.removeprefix("metric."): arrays.pop(k) for k in list(arrays) if k.startswith("metric.")}
    scalars = {"group": str(arrays.pop("group")), "contact_threshold": float(arrays.pop("contact_threshold"))}
    return Evaluation(metrics=metrics, clip_ids=arrays.pop("clip_ids").tolist(), **scalars, **arrays)


def run_fold(data: str, out: str, setting: str, protocol: str, seed: int) -> None:
    """Train one fold and write its test evaluations: the model's, with true codes (oracle), and the rivals'."""
    stem = f"{setting.replace(':', '-').replace('/', 'of')}-{protocol}"
    done = Path(out, f"{stem}-seed{seed}.json")
    if done.exists():
        return
    torch.set_num_threads(1)
    started = time.perf_counter()
    clips = read_clips(data)
    config = TrialConfig(setting=setting, protocol=protocol, seed=seed, **BUDGET)
    history = []
    model = train_trial(config, clips, report=lambda metrics, save: history.append(metrics))
    train, val, test = (part_windows(config, clips, part) for part in ("train", "val", "test"))
    group, threshold = setting_group(clips, setting), float(model.contact_threshold)
    scored = evaluate(model.forecast, test, group, contact_threshold=threshold)
    save_evaluation(Path(out, f"{stem}-seed{seed}-model.npz"), scored)
    oracle_threshold, _ = best_contact_threshold(model.forecast_oracle, val)
    oracle = evaluate(model.forecast_oracle, test, group, contact_threshold=oracle_threshold)
    save_evaluation(Path(out, f"{stem}-seed{seed}-oracle.npz"), oracle)
    if not Path(out, f"{stem}-constant_pose.npz").exists():  # the rivals know no seed
        for name, evaluation in evaluate_trivial(train, val, test, group).items():
            save_evaluation(Path(out, f"{stem}-{name}.npz"), evaluation)
    rivals = {name: load_evaluation(Path(out, f"{stem}-{name}.npz")) for name in RIVALS | CONTACT_RIVALS}
    record = {
        "setting": setting,
        "protocol": protocol,
        "seed": seed,
        "data_digest": clips.digest,
        "code_digest": code_digest(),
        "config": config.to_json(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.perf_counter() - started),
        "history": history,
    }
    done.write_text(json.dumps(record))
    figures = {
        name: e.means()["mpjpe_cm"] for name, e in {"model": scored, "oracle": oracle, **rivals}.items()
    }
    f1 = {name: e.means()["contact_f1"] for name, e in {"model": scored, **rivals}.items()}
    print(
        stem,
        seed,
        {k: round(v, 2) for k, v in figures.items()},
        {k: round(v, 3) for k, v in f1.items()},
        flush=True,
    )


def _row(name: str, evaluation: Evaluation, rivals: dict[str, Evaluation], oracle: Evaluation) -> str:
    mpjpe = evaluation.interval("mpjpe_cm")
    cells = [name, f"{len(evaluation)}", f"{mpjpe.estimate:.2f} [{mpjpe.low:.2f}, {mpjpe.high:.2f}]"]
    for rival in rivals.values():
        difference = evaluation.difference(rival, "mpjpe_cm")
        cells.append(f"{difference.estimate:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]")
    cells.append(f"{oracle.means()['mpjpe_cm']:.2f}")
    return "| " + " | ".join(cells) + " |"


def report(out: Path, seeds: int) -> str:
    """Markdown of all folds found in `out`."""
    lines = []
    for setting, folds in FOLDS.items():
        for protocol in PROTOCOLS:
            stems = [
                f"{s.replace(':', '-').replace('/', 'of')}-{protocol}" for s in fold_settings(setting, folds)
            ]
            if not all(
                Path(out, f"{stem}-seed{seed}.json").exists() for stem in stems for seed in range(seeds)
            ):
                continue

            def joined(name: str, stems: list[str] = stems) -> Evaluation:
                return join_folds([load_evaluation(Path(out, f"{stem}-{name}.npz")) for stem in stems])

            def seeded(name: str) -> Evaluation:
                return average_seeds([joined(f"seed{seed}-{name}") for seed in range(seeds)])

            model, oracle = seeded("model"), seeded("oracle")
            rivals = {name: joined(name) for name in RIVALS}
            groups = len(set(model.group_W.tolist()))
            lines += [
                f"\n**Unseen {setting}** ({groups} groups, each held out once), contact point `{protocol}`\n"
            ]
            lines += [
                f"| windows starting in | windows | MPJPE cm | minus {' | minus '.join(RIVALS.values())} | oracle codes |"
            ]
            lines += ["| --- " * (4 + len(RIVALS)) + "|", _row("all", model, rivals, oracle)]
            phases, oracle_phases = model.by_phase(), oracle.by_phase()
            rival_phases = {name: rival.by_phase() for name, rival in rivals.items()}
            for phase, part in phases.items():
                lines.append(
                    _row(
                        TITLES[phase],
                        part,
                        {n: r[phase] for n, r in rival_phases.items()},
                        oracle_phases[phase],
                    )
                )
            f1 = model.interval("contact_f1")
            lines.append(f"\nContact F1 {f1.estimate:.3f} [{f1.low:.3f}, {f1.high:.3f}]")
            for name, title in CONTACT_RIVALS.items():
                rival = joined(name)
                difference = model.difference(rival, "contact_f1")
                lines[-1] += (
                    f"; {title} {rival.means()['contact_f1']:.3f}, "
                    f"difference {difference.estimate:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
                )
            means = model.means()
            lines.append(
                f"MPJPE root-aligned {means['mpjpe_ra_cm']:.2f} cm, Procrustes {means['mpjpe_pa_cm']:.2f} cm. "
            )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("data")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=2, show_default=True)
@click.option("--settings", default="objects,subjects", show_default=True)
@click.option("--protocols", default="first,goal", show_default=True)
@click.option("--processes", default=os.cpu_count(), show_default=True)
def main(data: str, out: Path, seeds: int, settings: str, protocols: str, processes: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tasks = [
        (data, str(out), fold, protocol, seed)
        for seed in range(seeds)
        for setting in settings.split(",")
        for protocol in protocols.split(",")
        for fold in fold_settings(setting, FOLDS[setting])
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(run_fold, tasks, chunksize=1)
    text = report(out, seeds)
    (out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
