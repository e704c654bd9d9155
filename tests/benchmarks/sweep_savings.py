"""What a sweep spends on training against trying every pair from scratch, and whether its winner is as good.

    python -m tests.benchmarks.sweep_savings DATA [--out DIR] [--trials 8]

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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ray_head import ray_head

from sweeps.assess import validation_errors
from sweeps.ledger import Ledger, TrialRecord
from trainables.clip_errors import ClipErrors, paired_difference
from trainables.significance import paired_p
from trainables.trial_config import TrialConfig, stage_identities
from zoo.store import open_store

CODES, DEPTHS = "64,128,256,512", "1,2,3,4"
FIXED = [
    "width=32",
    "heads=2",
    "codebook_heads=2",
    "condition_width=16",
    "stride=12",
    "codebook_epochs=4",
    "indexer_epochs=1",
]
EPOCHS = 8


def run(environment: dict[str, str], data: str, store: Path, name: str, *more: str) -> None:
    command = [
        *(
            sys.executable,
            str(ROOT / "sweeps" / "codebook_size.py"),
            "--data",
            data,
            "--split",
            "all",
            "--name",
            name,
        ),
        *(
            "--codes",
            CODES,
            "--depth",
            DEPTHS,
            "--epochs",
            str(EPOCHS),
            "--no-publish",
            "--no-warm-start",
            *more,
        ),
        *(option for field in FIXED for option in ("--set", field)),
    ]
    subprocess.run(command, env=environment | {"LATENTACT_ZOO": f"file://{store}"}, cwd=ROOT, check=True)


def read(store: Path, name: str) -> tuple[dict[str, dict[str, TrialRecord]], dict[str, Any], dict[str, Any]]:
    ledger = Ledger(open_store(f"file://{store}"), name)
    return *ledger.read(lambda setting, params: EPOCHS), ledger.plan_record() or {}


def config(setting: str, trial: TrialRecord) -> TrialConfig:
    fixed = {name: int(value) for name, value in (text.split("=") for text in FIXED)}
    return TrialConfig(setting=setting, epochs=EPOCHS, **fixed, **trial.params)


def naive_seconds(trials: dict[str, TrialRecord], setting: str, digest: str) -> float:
    """Of every pair from scratch: its own predictor, and its codebook and indexer by whoever trained them."""
    known: dict[str, float] = {}
    stands_on = {
        t.identity: stage_identities(config(setting, t), digest, workers="1", device="cpu")
        for t in trials.values()
    }
    for trial in trials.values():
        for stage, identity in stands_on[trial.identity].items():
            if stage in trial.stage_seconds:
                known[identity] = trial.stage_seconds[stage]
    return sum(
        t.stage_seconds["predictor"] + sum(known[identity] for identity in stands_on[t.identity].values())
        for t in trials.values()
    )


def alike_seconds(
    trials: dict[str, TrialRecord], every: dict[str, TrialRecord], setting: str, digest: str
) -> float:
    """What the sweep's epochs would have taken at the exhaustive run's pace, so that a busier machine is no cost."""
    known = {
        (stage, identity): t.stage_seconds[stage]
        for t in every.values()
        for stage, identity in stage_identities(config(setting, t), digest, workers="1", device="cpu").items()
        if stage in t.stage_seconds
    }
    total = 0.0
    for trial in trials.values():
        stands_on = stage_identities(config(setting, trial), digest, workers="1", device="cpu")
        total += every[trial.identity].stage_seconds["predictor"] * trial.epochs / EPOCHS
        total += sum(known[stage, stands_on[stage]] for stage in trial.stage_seconds if stage != "predictor")
    return total


def spent(trials: dict[str, TrialRecord]) -> dict[str, float]:
    stages: dict[str, float] = {}
    for trial in trials.values():
        for stage, seconds in trial.stage_seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
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
    with ray_head() as environment:
        run(environment, options.data, options.out / "exhaustive", "grid", "--search", "grid", "--stop-by", "none", "--trials", "16")  # fmt: skip
        run(environment, options.data, options.out / name, name, "--trials", str(options.trials))
    every, _, plan = read(options.out / "exhaustive", "grid")
    ours, reports, _ = read(options.out / name, name)
    rows = []
    for setting in every:
        naive = naive_seconds(every[setting], setting, plan["data_digest"])
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
                "exhaustive_s": sum(spent(every[setting]).values()),
                "sweep_s": sum(stages.values()),
                "share": sum(stages.values()) / naive,
                "alike_s": alike_seconds(ours[setting], every[setting], setting, plan["data_digest"]),
                "codebooks_share": (stages.get("codebook", 0.0) + stages.get("indexer", 0.0))
                / sum(stages.values()),
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
