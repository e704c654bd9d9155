"""What is wrong with a foreign data set is said at its import: by name, without running anything, leaving nothing behind.

A property of every layout, every file that is read and every kind of damage: the import raises an error of this project
that names the file (and the field), or it reports what was dropped or left out, and no part of a data set can be seen.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.damage import CANARY, FILE_DAMAGES, damage_field
from tests.foreign_layouts import LAYOUTS, Import, Target
from trainables import inverse_kinematics
from trainables.clip_format import ClipsError
from trainables.clips import read_clips

CONTAINERS = {"right", "categories", "events"}  # what is in them is named
CASES = 140  # of each layout, 980 in all; tests/test_damaged_clips.py has the others


@dataclass
class Whole:
    source: Path
    run: Import
    report: dict[str, Any]


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Whole]]:
    """A layout's small tree, and the report of its import while nothing is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MANO_PATH", raising=False)
        # How well a hand is fitted is tested elsewhere; here it would be most of the time.
        patch.setattr(inverse_kinematics, "STEPS", 2)
        root = tmp_path_factory.mktemp("layout")
        patch.setenv("LATENTACT_CACHE", str(root / "cache"))
        source, run = LAYOUTS[request.param].write(root / "source")
        yield request.param, Whole(source, run, run(source, root / "clips"))


def cases(name: str) -> list[tuple[Target, str]]:
    return [(target, kind) for target in LAYOUTS[name].targets for kind in target.kinds]


@pytest.mark.slow
def test_damage_is_told(layout: tuple[str, Whole]) -> None:
    name, whole = layout
    told: dict[str, int] = {}

    pairs = cases(name)

    # Every pair of target and kind comes, then more places in the files.
    @settings(
        max_examples=CASES - len(pairs), deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=st.sampled_from(pairs), where=st.floats(0, 1, exclude_max=True))
    def prove(case: tuple[Target, str], where: float) -> None:
        outcome = attempt(whole, *case, where)
        told[outcome] = told.get(outcome, 0) + 1

    for pair in pairs:
        prove = example(case=pair, where=0.57)(prove)
    prove()
    assert sum(told.values()) == CASES and told.get("error", 0) + told.get("dropped", 0) > CASES / 2, told


def attempt(whole: Whole, target: Target, kind: str, where: float) -> str:
    """How the import of a damaged copy ended: "error", "dropped", "reported", or "quiet" where that is admitted."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        patch.setenv("LATENTACT_CACHE", str(place / "cache"))
        source = place / "source"
        shutil.copytree(whole.source, source, copy_function=os.link)
        file = next(iter(sorted(source.glob(target.pattern))))
        shutil.copy2(file, place / "own")  # the others are links: only this one may be written to
        os.replace(place / "own", file)
        if target.key is None:
            FILE_DAMAGES[kind](file, where)
        else:
            damage_field(file, target.key, kind, where)
        dest, about = place / "clips", f"{kind} at {where} of {target.pattern}, field {target.key}"
        outcome, said = "error", ""
        try:
            report = whole.run(source, dest)
        except ClipsError as error:
            said = str(error)
            assert not dest.exists(), about
        else:
            outcome, said = _reported(whole.report, report)
            clips = read_clips(dest)  # whole, verified, its splits proven
            assert len(clips) == report["clips"] > 0, about
        assert not list(place.rglob(CANARY)), f"{about}: code was run"
        left = {path.name for path in place.iterdir()} - {"source", "cache", "clips"}
        assert not left, f"{about}: left {left}"
        if outcome in ("error", "dropped"):
            # A flipped bit may make a name of another one: then that is what is missing.
            parts = (*file.relative_to(source).with_suffix("").parts, file.stem)
            assert kind == "bit-flipped" or any(p in said for p in parts), f"{about}: {said!r} names no file"
            if target.key and isinstance(target.key[-1], str) and target.key[-1] not in CONTAINERS:
                assert target.key[-1] in said, f"{about}: {said!r} names no field"
        elif outcome == "quiet":
            # A flipped bit of a plain number is another number, and nothing says that it was not meant.
            assert kind == "bit-flipped" or kind in target.quiet, f"{about}: nothing was said"
        return outcome


def _reported(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, str]:
    new = {name: why for name, why in after["dropped"].items() if before["dropped"].get(name) != why}
    if new:
        return "dropped", "\n".join(f"{name}: {why}" for name, why in new.items())
    if json.dumps(before, sort_keys=True, default=str) != json.dumps(after, sort_keys=True, default=str):
        return "reported", ""
    return "quiet", ""
