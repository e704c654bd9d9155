#!/usr/bin/env python
"""Which codebook size and decoder depth generalise best?

    ray job submit --working-dir . -- python sweeps/codebook_size.py --data s3://bucket/holoassist --split objects

Cost: `--trials` x settings x (codebook + indexer + `--epochs` of the predictor), less what stops early or was
trained before. The same command again resumes, or reuses what is there.
"""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Started as a script, Python looks for modules in this folder instead of the repository.
sys.path[0] = str(ROOT)

import click

from sweeps.command import DEFAULT_CODES, DEFAULT_DEPTH, fail_clearly, plan_sweep

EXAMPLES = """
\b
Examples:
  python sweeps/codebook_size.py --data data/world --split objects,actions
  python sweeps/codebook_size.py --data s3://bucket/dexycb --split subjects --codes 128,512 --depth 2 --seeds 3
  python sweeps/codebook_size.py --data s3://bucket/mine --start-from latentact-world-objects@champion --epochs 2
  python sweeps/codebook_size.py --data s3://bucket/clips --set width=512 --set quantizers=6 --set batch=512
"""


@click.command(epilog=EXAMPLES)
@click.option("--data", help="Clips: a folder or s3:// address.  [default: $LATENTACT_DATA]")
@click.option("--split", default="objects", show_default=True, help="Settings, with commas between; `all`.")
@click.option("--codes", show_default=DEFAULT_CODES, help="Codebook sizes: LOW:HIGH, or a list.")
@click.option("--depth", show_default=DEFAULT_DEPTH, help="Depths of the predictor's decoder, likewise.")
@click.option("--trials", default=4, show_default=True, help="Configurations tried for each setting.")
@click.option("--epochs", default=8, show_default=True, help="Epochs of the predictor in a trial.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each of the two finalists in all.")
@click.option("--seed", default=0, show_default=True, help="First seed, of the search and of the trainings.")
@click.option("--name", default="", help="Name of the sweep.  [default: made from its settings]")
@click.option("--workers", default=1, show_default=True, help="Ray Train workers of each trial.")
@click.option("--protocol", type=click.Choice(["first", "goal"]), default="first", show_default=True)
@click.option("--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="Another default for all trials.")
@click.option("--start-from", metavar="NAME@VERSION", help="Fine-tune this model of the zoo, as it is built.")
@click.option("--retry", type=click.Choice(["failed"]), help="Try these trials again.")
@click.option("--publish/--no-publish", default=True, help="Offer each setting's best model to the zoo.")
@fail_clearly
def main(retry: str | None, publish: bool, **request: Any) -> int:
    """Search codebook size and decoder depth by validation MPJPE, and publish the best model of each setting."""
    from sweeps.sweep import run_sweep

    plan, store = plan_sweep(**request)
    os.chdir(ROOT)  # Ray's workers look for modules where the driver stands
    return run_sweep(plan, store, publish=publish, retry_failed=retry == "failed")


if __name__ == "__main__":
    main()
