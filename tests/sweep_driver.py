"""A sweep whose trials learn nothing, as a program of its own: `python tests/sweep_driver.py DATA STORE LOG`.

Every epoch adds a line `codes-depth-seed epoch` to LOG. The trial that comes first writes its name to LOG.first and
stays in its third epoch until LOG.go exists, so that a test can strike while it runs and others have ended.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

TRIALS, EPOCHS = 3, 6


def stand_in(
    log: str, config: Any, clips: Any, *, report: Callable[..., None], resume_from: Path | None, **_: Any
) -> None:
    """Has the signature of trainables.trial.train_trial, and checkpoints every epoch."""
    from trainables import ray_train

    ray_train.CHECKPOINT_EVERY_S = 0.0
    name = f"{config.codes}-{config.decoder_depth}-{config.seed}"
    first = Path(f"{log}.first")
    if not first.exists():
        first.write_text(name)
    done = json.loads((resume_from / "trial.json").read_text())["epoch"] if resume_from else 0
    for epoch in range(done + 1, config.epochs + 1):
        while epoch == 3 and first.read_text() == name and not Path(f"{log}.go").exists():
            time.sleep(0.1)
        with open(log, "a") as file:
            file.write(f"{name} {epoch}\n")
        value = 5.0 + config.codes / 1000 + 1.0 / epoch

        def save(folder: Path, epoch: int = epoch) -> None:
            (folder / "trial.json").write_text(json.dumps({"epoch": epoch}))

        figures = {
            "stage": "predictor",
            "epoch": epoch,
            "epochs": config.epochs,
            "loss": value,
            "mpjpe_cm": value,
        }
        report(figures, save)


if __name__ == "__main__":
    data, store, log = sys.argv[1:]
    from sweeps import sweep
    from sweeps.plan import Axis, SweepPlan
    from trainables.clip_format import manifest_digest
    from trainables.clips import read_manifest
    from zoo.store import open_store

    manifest = read_manifest(data)
    plan = SweepPlan(
        data=data,
        data_name=manifest["name"],
        data_digest=manifest_digest(manifest),
        settings=("objects",),
        codes=Axis(128, 1024, log=True),
        depth=Axis(1, 4),
        trials=TRIALS,
        epochs=EPOCHS,
        seeds=1,
        seed=0,
        workers=1,
        protocol="first",
        name="struck",
    )
    train = functools.partial(stand_in, log)
    sys.exit(sweep.run_sweep(plan, open_store(store), publish=False, train=train))
