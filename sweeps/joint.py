#!/usr/bin/env python
"""What do error, contact, size and speed cost one another, over codebook size and decoder depth together?

    job=$(python -m cluster.job_package)
    ray job submit --working-dir $job -- python sweeps/joint.py --data s3://bucket/holoassist --split all --trials 40

Cost: as of codebook_size.py; a trial ends early when another one dominates it with confidence. The report shows the
Pareto front; the model published is the one whose MPJPE is best, or the smallest of those that tie with it.
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
  python sweeps/joint.py --data data/world --split objects --trials 12
  python sweeps/joint.py --data s3://bucket/dexycb --objectives mpjpe_cm,parameters --trials 60 --seeds 4
  python sweeps/joint.py --data s3://bucket/clips --space space.toml --search gp --objectives mpjpe_cm
"""


@click.command(epilog=EXAMPLES)
@sweep_options(objectives="mpjpe_cm,contact_f1,parameters,latency_ms", stop_by="pareto", trials=12)
@fail_clearly
def main(**request: Any) -> int:
    """Search codebook size and decoder depth for all that is good about a model, and publish each setting's best."""
    return search_and_publish("joint", request)


if __name__ == "__main__":
    main()
