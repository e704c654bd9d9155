#!/usr/bin/env python
"""Which depth of the predictor's decoder generalises best?

    job=$(python -m cluster.job_package)
    ray job submit --working-dir $job -- python sweeps/decoder_depth.py --data s3://bucket/holoassist --split objects

Cost: one codebook and one indexer a setting, which all depths share, and `--trials` x `--epochs` of the predictor, less
what stops early or was trained before; `--dry-run` says how much. The same command again resumes.
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
  python sweeps/decoder_depth.py --data data/world --split objects
  python sweeps/decoder_depth.py --data s3://bucket/dexycb --split all --depth 1,2,4,8 --codes 512 --seeds 4
"""


@click.command(epilog=EXAMPLES)
@sweep_options(codes="256", depth="1:6", search="grid", trials=6)
@fail_clearly
def main(**request: Any) -> int:
    """Try every decoder depth by validation MPJPE, and publish the best model of each setting."""
    return search_and_publish("decoder-depth", request)


if __name__ == "__main__":
    main()
