#!/usr/bin/env python
"""What is each part of LatentAct worth? The whole method against the same without one of its parts.

    job=$(python -m cluster.job_package)
    ray job submit --working-dir $job -- python sweeps/ablations.py --data s3://bucket/holoassist --split objects --seeds 3

Cost: 7 trainings x settings x seeds x folds, each of as many epochs as all stages of LatentAct have together. The same
command again resumes, or reuses what is there.
"""

import sys
from pathlib import Path
from typing import Any

# Started as a script, Python looks for modules in this folder instead of the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from sweeps.command import compare_and_tell, fail_clearly
from sweeps.options import comparison_options

# The first is what the others are compared with.
CONTENDERS: dict[str, dict[str, Any]] = {
    "latentact": {},
    "no codebook": {"method": "transformer"},
    "no indexer (oracle)": {
        "without": "indexer"
    },  # told the true codes of the future: labelled, never ranked
    "no text": {"without": "text"},
    "no image": {"without": "image"},
    "no contact point": {"without": "contact"},
    "no residual stages": {"without": "residual"},
}

EXAMPLES = """\
\b
Examples:
  python sweeps/ablations.py --data data/world --split objects,actions --seeds 3
  python sweeps/ablations.py --data s3://bucket/dexycb --split objects --folds 6 --protocol goal --out tables
  python sweeps/ablations.py --data s3://bucket/clips --set quantizers=6 --set width=512 --epochs 12
"""


@click.command(epilog=EXAMPLES)
@comparison_options
@fail_clearly
def main(**request: Any) -> int:
    """Train LatentAct with and without each of its parts, and compare them on test with intervals and paired tests."""
    return compare_and_tell("ablations", CONTENDERS, (), request)


if __name__ == "__main__":
    main()
