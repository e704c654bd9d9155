#!/usr/bin/env python
"""Is the codebook worth it? LatentAct against predictors without one, with the same inputs and the same budget.

    job=$(python -m cluster.job_package)
    ray job submit --working-dir $job -- python sweeps/baselines.py --data s3://bucket/holoassist --split objects --seeds 3

Cost: 4 trainings x settings x seeds x folds, each of as many epochs as all stages of LatentAct have together; nearest
training clip and mean trajectory are only evaluated. The same command again resumes, or reuses what is there.
"""

import sys
from pathlib import Path
from typing import Any

# Started as a script, Python looks for modules in this folder instead of the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from sweeps.command import compare_and_tell, fail_clearly
from sweeps.options import comparison_options

# The first is what the others are compared with. All have the same decoder, so that only the codebook and the way of
# predicting differ; `--set decoder_depth=4` gives all of them the depth of the paper's transformer baseline.
CONTENDERS: dict[str, dict[str, Any]] = {
    "latentact": {},
    "transformer": {"method": "transformer"},
    "diffusion": {"method": "diffusion"},
    "diffusion-codebook": {"method": "diffusion-codebook"},
}
UNTRAINED = ("retrieval", "mean trajectory")

EXAMPLES = """\
\b
Examples:
  python sweeps/baselines.py --data data/world --split objects,actions --seeds 3
  python sweeps/baselines.py --data s3://bucket/dexycb --split subjects --folds 8 --protocol goal --out tables
  python sweeps/baselines.py --data s3://bucket/clips --set codes=512 --set width=512 --mode interpolate
"""


@click.command(epilog=EXAMPLES)
@comparison_options
@fail_clearly
def main(**request: Any) -> int:
    """Train LatentAct and its rivals, and compare them on test with intervals and paired tests."""
    return compare_and_tell("baselines", CONTENDERS, UNTRAINED, request)


if __name__ == "__main__":
    main()
