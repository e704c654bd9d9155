"""kill -9 for worker, driver, head, store and MLflow during sweeps that train: nothing lost, doubled or different.

The long run is `python -m tests.benchmarks.chaos_run`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import KINDS, Solo, chaos, ranking
from tests.sweep_driver import TRIALS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_sweeps_under_fire_come_to_what_they_come_to_in_peace(tmp_path: Path) -> None:
    with chaos(tmp_path, seed=0) as run:
        solo = Solo(run.data)
        grid = run.sweep("grid", "grid", len(KINDS), each_once=True)
        assert grid.problems == [] and solo.differences(grid) == []
        assert len(ranking(grid)) == TRIALS
        assert Counter(struck.kind for struck in run.kills) == dict.fromkeys(KINDS, 1)
        tpe = run.sweep("tpe", "tpe", 2)
        assert tpe.problems == [] and solo.differences(tpe) == []
        assert ranking(tpe), "not one trial finished"
