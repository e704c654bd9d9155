"""An import whose units are tasks on a real Ray cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from tests.foreign.dexycb import write_dexycb_pack
from tests.ray_head import ray_head
from trainables.clips import read_clips
from trainables.dexycb import import_dexycb


@pytest.mark.slow
def test_a_cluster_gives_what_this_machine_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_dexycb_pack(tmp_path / "source")
    here = import_dexycb(source, tmp_path / "here", workers=1, show_progress=False)
    with ray_head() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "other"))
        try:
            there = import_dexycb(source, tmp_path / "there", show_progress=False)
        finally:
            ray.shutdown()
    assert here == there
    assert read_clips(tmp_path / "here").digest == read_clips(tmp_path / "there").digest
