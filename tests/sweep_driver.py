"""A sweep of three small trials as a program of its own: `python -m tests.sweep_driver KIND NAME DATA STORE LOG [--again]`.

KIND `grid` stops nothing, `deeper` is another grid over the same codebook, and `tpe` is stopped by ASHA. So is `held`, of
which the trial that comes first writes its name to LOG.first and stays in its third epoch until LOG.go exists, so that a
test can strike while it runs and others have ended. Every epoch adds a line `codes-depth-seed stage epoch` to LOG, as
soon as it has been trained, and leaves a checkpoint. `--again` tries failed trials again.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.ledger import TrialRecord
    from zoo.store import Store

ROOT = Path(__file__).resolve().parents[1]

TRIALS, EPOCHS, GRID_CODES = 3, 6, 16
# A trial of these takes 1 to 4 s.
SMALL = {
    "batch": 16,
    "codebook_epochs": 2,
    "condition_width": 16,
    "indexer_epochs": 1,
    "quantizers": 2,
    "stride": 2,
    "width": 16,
    "window": 8,
}


def logged_name(params: dict[str, Any]) -> str:
    """`codes-depth-seed` of a trial, as the log has it."""
    return "-".join(str(({"codes": GRID_CODES} | params)[key]) for key in ("codes", "decoder_depth", "seed"))


def read_trials(store: Store, name: str) -> dict[str, TrialRecord]:
    """What the ledger says of a sweep's trials, by identity."""
    from sweeps.ledger import Ledger

    return Ledger(store, name).read(lambda setting, params: EPOCHS)[0].get("objects", {})


def logged(
    log: str, held: bool, config: Any, clips: Any, *, report: Callable[..., None], **given: Any
) -> Any:
    """train_trial, with its epochs in the log and a checkpoint after each."""
    import torch

    from trainables import ray_train
    from trainables.trial import train_trial

    torch.set_num_threads(1)
    ray_train.CHECKPOINT_EVERY_S = 0.0
    name, first = logged_name(config.to_json()), Path(f"{log}.first")
    if held and not first.exists():
        first.write_text(name)

    def told(figures: dict[str, Any], save: Callable[[Path], None]) -> None:
        stage, epoch = figures["stage"], figures["epoch"]
        waits = held and (stage, epoch) == ("predictor", 3) and first.read_text() == name
        while waits and not Path(f"{log}.go").exists():
            time.sleep(0.1)
        with open(log, "a") as file:
            file.write(f"{name} {stage} {epoch}\n")
        report(figures, save)

    return train_trial(config, clips, report=told, **given)


def make_plan(kind: str, name: str, data: str) -> Any:
    """The SweepPlan of one of the kinds."""
    from sweeps.plan import SweepPlan
    from sweeps.space import Axis
    from trainables.clip_format import manifest_digest
    from trainables.clips import read_manifest

    manifest = read_manifest(data)
    sizes, depths = Axis("codes", "choice", choices=(16, 24)), Axis("decoder_depth", "int", 1, TRIALS)
    deeper = Axis("decoder_depth", "int", TRIALS + 1, 2 * TRIALS)
    grid = {"search": "grid", "stopping": "none", "fixed": {"codes": GRID_CODES, **SMALL}}
    chosen: dict[str, dict[str, Any]] = {
        "grid": {"axes": (depths,), **grid},
        "deeper": {"axes": (deeper,), **grid},
        "tpe": {"axes": (sizes, depths), "fixed": SMALL},
        "held": {"axes": (sizes, depths), "fixed": SMALL},
    }
    options = chosen[kind]
    return SweepPlan(
        data=data,
        data_name=manifest["name"],
        data_digest=manifest_digest(manifest),
        settings=("objects",),
        trials=TRIALS,
        epochs=EPOCHS,
        seeds=1,
        seed=0,
        workers="1",
        protocol="first",
        name=name,
        **options | {"fixed": tuple(sorted(options.get("fixed", {}).items()))},
    )


def main(kind: str, name: str, data: str, store: str, log: str, again: str = "") -> int:
    from sweeps.conduct import Conduct
    from sweeps.errors import SweepError
    from sweeps.sweep import run_sweep
    from zoo.errors import ZooError
    from zoo.store import open_store

    conduct = Conduct(
        train=functools.partial(logged, log, kind == "held"),
        idle_s=5.0,
        retry_failed=bool(again),
    )
    try:
        return run_sweep(
            make_plan(kind, name, data), open_store(store), conduct, publish=False, warm_start=False
        )
    except (SweepError, ZooError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
