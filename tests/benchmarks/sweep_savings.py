"""What a sweep spends on training against trying every pair from scratch, and whether its winner is as good.

    python -m tests.benchmarks.sweep_savings DATA --out DIR [--trials 8]

Four settings, four codebook sizes, four decoder depths. *Naive* trains each of the 64 pairs from scratch for all its
epochs; its seconds are those of every pair's own stages, where a codebook and an indexer that the exhaustive run trained
once and shared are counted for every pair. *Exhaustive* is that run: the grid without stopping. The *sweep* is TPE with
ASHA. Both run on a Ray head of this machine, with stores of their own. Winners are compared on the same validation clips, paired.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sweeps.assess import validation_errors
from sweeps.ledger import Ledger, TrialRecord
from sweeps.selection import params_key
from tests.ray_head import ray_head
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.significance import paired_p
from trainables.trial_config import TrialConfig
from zoo.store import open_store

ROOT = Path(__file__).resolve().parents[2]
CODES, DEPTHS = "64,128,256,512", "1,2,3,4"
FIXED = [
    *("width=32", "heads=2", "codebook_heads=2", "condition_width=16", "stride=12"),
    *("codebook_epochs=4", "indexer_epochs=1"),
]
EPOCHS = 8


def run(environment: dict[str, str], data: str, store: Path, name: str, *more: str) -> None:
    command = [sys.executable, str(ROOT / "sweeps" / "codebook_size.py"), "--data", data, "--split", "all"]
    command += ["--name", name, "--codes", CODES, "--depth", DEPTHS, "--epochs", str(EPOCHS)]
    command += ["--no-publish", "--no-warm-start", *more]
    command += [option for field in FIXED for option in ("--set", field)]
    subprocess.run(command, env=environment | {"LATENTACT_ZOO": f"file://{store}"}, cwd=ROOT, check=True)


def read(store: Path, name: str) -> tuple[dict[str, dict[str, TrialRecord]], dict[str, Any]]:
    ledger = Ledger(open_store(f"file://{store}"), name)
    return ledger.read(lambda setting, params: EPOCHS)


def config(setting: str, trial: TrialRecord) -> TrialConfig:
    fixed = {name: int(value) for name, value in (text.split("=") for text in FIXED)}
    return TrialConfig(setting=setting, epochs=EPOCHS, **fixed, **trial.params)


def stage_seconds(trials: dict[str, TrialRecord]) -> dict[tuple[str, int], float]:
    """What each codebook and each indexer took, by stage and size: depths of one size share both."""
    return {
        (stage, trial.params["codes"]): seconds
        for trial in trials.values()
        for stage, seconds in trial.stage_seconds.items()
        if stage != "predictor"
    }


def naive_seconds(every: dict[str, TrialRecord]) -> float:
    """Of every pair from scratch: its own predictor, and its codebook and indexer whoever trained them."""
    shared = stage_seconds(every)
    return sum(
        t.stage_seconds["predictor"]
        + sum(shared[stage, t.params["codes"]] for stage in ("codebook", "indexer"))
        for t in every.values()
    )


def alike_seconds(trials: dict[str, TrialRecord], every: dict[str, TrialRecord]) -> float:
    """What the sweep's epochs would have taken at the exhaustive run's pace, so that a busier machine is no cost."""
    shared = stage_seconds(every)
    predictor = {params_key(t.params): t.stage_seconds["predictor"] for t in every.values()}
    return sum(
        predictor[params_key(t.params)] * t.epochs / EPOCHS
        + sum(shared[stage, t.params["codes"]] for stage in t.stage_seconds if stage != "predictor")
        for t in trials.values()
    )


def spent(trials: dict[str, TrialRecord]) -> Counter[str]:
    """Seconds of each stage."""
    stages: Counter[str] = Counter()
    for trial in trials.values():
        stages.update(trial.stage_seconds)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument(
        "--out", type=Path, required=True, help="a folder for the stores and the figures; may hold them"
    )
    parser.add_argument("--trials", type=int, default=8)
    options = parser.parse_args()
    name = f"sweep-{options.trials}"
    kept = open_store(f"file://{options.out / 'exhaustive'}") if options.out.exists() else None
    exhaustive = kept is None or "grid" not in Ledger.names(kept)
    with ray_head() as environment:
        if exhaustive:  # else it lies there from another call, and only its figures are read
            grid = ("--search", "grid", "--stop-by", "none", "--trials", "16")
            run(environment, options.data, options.out / "exhaustive", "grid", *grid)
        run(environment, options.data, options.out / name, name, "--trials", str(options.trials))
    every, _ = read(options.out / "exhaustive", "grid")
    ours, reports = read(options.out / name, name)
    rows = []
    for setting in every:
        naive = naive_seconds(every[setting])
        stages = spent(ours[setting])
        best = min(every[setting].values(), key=lambda t: t.mpjpe_cm)
        taken = ours[setting][reports[setting]["identity"]]
        same = {t.identity: t for t in (best, taken)}
        errors = {
            identity: ClipErrors.from_json(reading["errors"])
            for identity, reading in validation_errors(
                options.data,
                {i: config(setting, t).to_json() for i, t in same.items()},
                {i: t.checkpoint for i, t in same.items()},
                "cpu",
            ).items()
        }
        theirs, mine = errors[best.identity], errors[taken.identity]
        rows.append(
            {
                "setting": setting,
                "naive_s": naive,
                "exhaustive_s": spent(every[setting]).total(),
                "sweep_s": stages.total(),
                "share": stages.total() / naive,
                "alike_s": alike_seconds(ours[setting], every[setting]),
                "codebooks_share": (stages["codebook"] + stages["indexer"]) / stages.total(),
                "epochs": sum(t.epochs for t in ours[setting].values()),
                "best": [best.params, best.mpjpe_cm],
                "chosen": [taken.params, taken.mpjpe_cm],
                "difference_cm": paired_difference(mine, theirs, "mpjpe_cm").to_json(),
                "p": 1.0 if best.identity == taken.identity else paired_p(mine, theirs, "mpjpe_cm"),
                "rank_of_16": 1 + sum(t.mpjpe_cm < taken.mpjpe_cm for t in every[setting].values()),
                "spread_of_16_cm": statistics.pstdev(t.mpjpe_cm for t in every[setting].values()),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    total = {key: sum(row[key] for row in rows) for key in ("naive_s", "exhaustive_s", "sweep_s", "alike_s")}
    for key in ("exhaustive_s", "sweep_s", "alike_s"):
        print(f"{key} / naive_s = {total[key] / total['naive_s']:.3f}")
    (options.out / f"{name}.json").write_text(json.dumps({"rows": rows, "total": total}, indent=1))


if __name__ == "__main__":
    main()
