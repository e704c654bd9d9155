"""The import engine: parallel, resumable, and with an account of every recording."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_up_clips import random_clip
from tests.object_server import ObjectStore
from trainables.clips import ClipsError, read_clips
from trainables.import_run import ImportPlan, Made, Summed, Unit, report_lines, run_import
from trainables.source_errors import WrongValue
from trainables.splits import held_out_settings

NAMES = [f"recording-{i}" for i in range(8)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path / "cache"


def convert(unit: Unit, *, log: Path, broken: bool = False) -> Made:
    """Two recordings a unit; says in `log` that it was asked, and by which process."""
    with log.open("a") as file:
        file.write(f"{unit.name} {os.getpid()}\n")
    if broken and unit.name == "unit-2":
        raise KeyboardInterrupt
    if unit.name == "unit-1":
        raise WrongValue("some/file.npy", "holds NaN; fetch the file again.", field="joints")
    made = Made()
    for name in unit.recordings:
        made.counts["frames"] += 40
        made.sample("error_mm", np.full(3, len(name)))
        made.clips.append(random_clip(name, seed=int(name[-1])))
    if unit.name == "unit-0":
        made.clips[1] = replace(made.clips[1], fps=-1.0)
    if unit.name == "unit-3":  # the recording of unit-2 under another name, and a name that is taken
        made.clips[0] = replace(random_clip(NAMES[4], seed=4), clip_id=NAMES[6])
        made.clips[1] = random_clip(NAMES[5], seed=9)
    return made


def settings(summed: Summed) -> dict[str, dict[str, Any]]:
    return held_out_settings(summed.groups)


def report(summed: Summed) -> dict[str, Any]:
    return {"frames": summed.counts["frames"], "median_mm": float(np.median(summed.samples["error_mm"]))}


def plan(function: Callable[[Unit], Made], **changes: Any) -> ImportPlan:
    units = [
        Unit(name=f"unit-{i}", key=f"{i:064d}", work=None, recordings=NAMES[2 * i : 2 * i + 2])
        for i in range(4)
    ]
    values: dict[str, Any] = {
        "name": "made_up", "hand": "standin-1", "source": {"importer": "test"}, "contact_radius_m": 0.005,
        "units": units, "convert": function, "settings": settings, "report": report,
        "dropped": {"recording-x": "is no recording"},
    }  # fmt: skip
    return ImportPlan(**(values | changes))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_recording_is_kept_or_dropped_with_a_reason(tmp_path: Path, cache: Path, workers: int) -> None:
    log = tmp_path / "log"
    made = run_import(
        plan(partial(convert, log=log)), str(tmp_path / "out"), workers=workers, show_progress=False
    )
    clips = read_clips(tmp_path / "out")
    assert clips.clip_ids == [NAMES[0], NAMES[4], NAMES[5]]  # in the units' order, whoever was first
    assert made == clips.manifest["report"] and made["recordings"] == 9 and made["clips"] == 3
    assert made["frames"] == 240 and made["median_mm"] == len(NAMES[0])
    reasons = made["dropped"]
    assert set(reasons) == {*NAMES[1:4], NAMES[6], f"{NAMES[5]} (unit-3)", "recording-x"}
    assert "field fps: must be positive" in reasons[NAMES[1]]
    assert (
        reasons[NAMES[2]]
        == reasons[NAMES[3]]
        == "some/file.npy, field joints: holds NaN; fetch the file again."
    )
    assert reasons[NAMES[6]] == f"holds the same motion as '{NAMES[4]}': the recording is there twice."
    assert f"a second clip of the name '{NAMES[5]}'" in reasons[f"{NAMES[5]} (unit-3)"]
    lines = report_lines(made)
    assert lines[0] == "9 recordings: 3 clips kept, 6 dropped" and any(
        "dropped      2  some/file" in x for x in lines
    )
    assert not list((cache / "imports").iterdir())
    pids = {line.split()[1] for line in log.read_text().splitlines()}
    assert (str(os.getpid()) in pids) == (workers == 1)


def test_an_interrupted_import_goes_on_where_it_was(tmp_path: Path) -> None:
    log, dest = tmp_path / "log", tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_import(plan(partial(convert, log=log, broken=True)), str(dest), workers=1, show_progress=False)
    assert not dest.exists() and [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    before = len(log.read_text().splitlines())
    resumed = run_import(plan(partial(convert, log=log)), str(dest), workers=1, show_progress=False)
    assert [line.split()[0] for line in log.read_text().splitlines()[before:]] == ["unit-2", "unit-3"]
    whole = run_import(
        plan(partial(convert, log=log)), str(tmp_path / "again"), workers=1, show_progress=False
    )
    assert resumed == whole and read_clips(dest).digest == read_clips(tmp_path / "again").digest


def test_a_finished_import_is_left_alone_and_another_is_refused(tmp_path: Path) -> None:
    log, dest = tmp_path / "log", tmp_path / "out"
    first = run_import(plan(partial(convert, log=log)), str(dest), workers=1, show_progress=False)
    asked = log.read_text()
    assert run_import(plan(partial(convert, log=log)), str(dest), show_progress=False) == first
    assert log.read_text() == asked
    with pytest.raises(ClipsError, match="choose another DEST"):
        run_import(
            plan(partial(convert, log=log), source={"importer": "other"}), str(dest), show_progress=False
        )


def nothing(unit: Unit) -> Made:
    raise WrongValue("some/file.npy", "holds NaN; fetch the file again.", field="joints")


def test_a_source_without_one_good_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ClipsError, match=r"none of 9 recordings can be used.*\n  8: some/file.npy, field joints"
    ):
        run_import(plan(nothing), str(tmp_path / "out"), workers=1, show_progress=False)
    assert not (tmp_path / "out").exists()


def test_progress_is_told_off_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainables.import_pool._SAY_EVERY_S", 0.0)
    run_import(plan(partial(convert, log=tmp_path / "log")), str(tmp_path / "out"), workers=1)
    said = capsys.readouterr().err
    assert "converted 1 of 4" in said and "s left" in said


def test_the_manifest_of_an_import_is_plain_json(tmp_path: Path) -> None:
    run_import(
        plan(partial(convert, log=tmp_path / "log")), str(tmp_path / "out"), workers=1, show_progress=False
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["schema"] == 3 and manifest["report"]["clips"] == 3


def test_an_import_lands_on_s3(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in object_store.env.items():
        monkeypatch.setenv(name, value)
    dest = "s3://zoo/imports/made_up"
    made = run_import(plan(partial(convert, log=tmp_path / "log")), dest, workers=1, show_progress=False)
    here = run_import(
        plan(partial(convert, log=tmp_path / "log")), str(tmp_path / "here"), workers=1, show_progress=False
    )
    assert made == here and read_clips(dest).digest == read_clips(tmp_path / "here").digest
    asked = (tmp_path / "log").read_text()
    assert run_import(plan(partial(convert, log=tmp_path / "log")), dest, show_progress=False) == made
    assert (tmp_path / "log").read_text() == asked
