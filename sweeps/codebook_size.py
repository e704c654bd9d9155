#!/usr/bin/env python
"""Which codebook size generalises best?

    job=$(python -m cluster.job_package)
    ray job submit --working-dir $job -- python sweeps/codebook_size.py --data s3://bucket/holoassist --split objects

Cost: `--trials` x settings x (codebook + indexer + `--epochs` of the predictor), less what stops early, what was trained
before and what trials share; `--dry-run` says how much. The same command again resumes, or reuses what is there.
"""

import sys
from pathlib import Path
from typing import Any

# Started as a script, Python looks for modules in this folder instead of the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from sweeps.command import fail_clearly, search_and_publish
from sweeps.options import sweep_options

EXAMPLES = """
\b
Examples:
  python sweeps/codebook_size.py --data data/world --split objects,actions
  python sweeps/codebook_size.py --data s3://bucket/dexycb --split subjects --codes 128,512 --depth 2 --seeds 3
  python sweeps/codebook_size.py --data s3://bucket/mine --start-from latentact-world-objects@champion --epochs 2
  python sweeps/codebook_size.py --data s3://bucket/clips --split all --trials 40 --budget-gpu-hours 100 --dry-run
"""


@click.command(epilog=EXAMPLES)
@sweep_options(codes="128:1024", depth="2")
@fail_clearly
def main(**request: Any) -> int:
    """Search the codebook size by validation MPJPE, and publish the best model of each setting."""
    return search_and_publish("codebook-size", request)


if __name__ == "__main__":
    main()
