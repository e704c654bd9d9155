"""An import whose units are tasks on a real Ray cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign.dexycb import write_dexycb_pack
from tests.ray_head import ray_head
from trainables.clips import read_clips
from trainables.dexycb import import_dexycb

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_cluster_gives_what_this_machine_gives(tmp_path: Path) -> None:
    source = write_dexycb_pack(tmp_path / "source")
    here = import_dexycb(source, tmp_path / "here", workers=1, show_progress=False)
    command = [sys.executable, "-m", "trainables.prepare", "dexycb", str(source), str(tmp_path / "there")]
    with ray_head() as environment:
        done = subprocess.run(
            command,
            env=environment | {"LATENTACT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 recordings: 3 clips kept, 0 dropped" in done.stdout
    there = read_clips(tmp_path / "there")
    assert there.manifest["report"] == here
    assert there.digest == read_clips(tmp_path / "here").digest
