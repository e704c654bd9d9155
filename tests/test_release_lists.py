"""Which clips the split lists of LatentAct's release mean, at full size on the real lists where they are there."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.import_run import Summed
from trainables.release_camera import AxisEvidence
from trainables.release_index import ContactIndex
from trainables.release_lists import LIST_PARTS, RELEASE_NAMES, find_order, read_lists
from trainables.release_pickles import ClipEntry
from trainables.release_settings import ListedSetting, listed_setting
from trainables.release_split import SplitPlan, plan_split
from trainables.source_errors import MissingField, MissingFile, SourceError, WrongValue

DATA = Path(os.environ.get("LATENTACT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = DATA / "latentact_release" / "settings.json"
# How many verbs and nouns each part has; val's single verb is what forces a gate out of train.
VERBS = {"train": range(14), "val": range(14, 15), "test": range(15, 19)}
NOUNS = {"train": range(80), "val": range(80, 89), "test": range(89, 120)}
FILE_COUNT = 18


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' lists, or where they are not there made-up ones of 3,000 clips in their form."""
    if REAL.is_file():
        return REAL
    rng = np.random.default_rng(0)
    parts = {name: rng.choice(3, 3000, p=[0.8, 0.07, 0.13]) for name in ("categories", "actions", "tasks")}
    parts["instances"] = np.concatenate([np.repeat(rng.choice(3, 200), 5), np.zeros(2000)]).astype(int)
    path = tmp_path_factory.mktemp("lists") / "settings.json"
    said = {
        name: {part: np.flatnonzero(of == i).tolist() for i, part in enumerate(LIST_PARTS)}
        for name, of in parts.items()
    }
    path.write_text(json.dumps(said))
    return path


def entries_of(settings: Path) -> list[ClipEntry]:
    """Clips in the lists' order whose verb, noun, pair and recording lie in the parts that the lists give them."""
    lists = read_lists(settings)
    choose = random.Random(0)
    scenes = []
    for video, (_, run) in enumerate(itertools.groupby(lists["scenes"].tolist())):
        for i, _ in enumerate(run):
            scenes.append(f"R{video:04d}-{i // 13}")
    entries = []
    for i, scene in enumerate(scenes):
        verb = choose.choice(VERBS[LIST_PARTS[lists["actions"][i]]])
        # A pair's part is the sum of its two numbers modulo 3, so each pair lies in one part.
        nouns = [n for n in NOUNS[LIST_PARTS[lists["objects"][i]]] if (verb + n) % 3 == lists["tasks"][i]]
        text = f"verb{verb} noun{choose.choice(nouns)}"
        entries.append(ClipEntry(key=(scene, i, i + 40), text=text, frames=41))
    return entries


def files_of(entries: list[ClipEntry], order: str) -> list[ContactIndex]:
    """The clips cut into files whose order in the lists is `order`; returned in lexicographic order."""
    names = [f"contact_{100 * i}_{100 * i + 100}_fix.pkl" for i in range(FILE_COUNT)]
    if order == "lexicographic":
        names.sort()
    elif order == "recovered":
        random.Random(3).shuffle(names)
    cuts = sorted(random.Random(1).sample(range(1, len(entries)), FILE_COUNT - 1))
    pieces = [entries[a:b] for a, b in itertools.pairwise([0, *cuts, len(entries)])]
    indices = [
        ContactIndex(path=Path(name), stamp="", clips=piece, axes=AxisEvidence())
        for name, piece in zip(names, pieces, strict=True)
    ]
    return sorted(indices, key=lambda index: index.path.name)


def summed(indices: list[ContactIndex]) -> Summed:
    texts = [entry.text or "" for index in indices for entry in index.clips]
    groups: dict[str, list[str | None]] = {
        "object": [text.split()[1] for text in texts],
        "action": [text.split()[0] for text in texts],
        "task": list(texts),
        "scene": [entry.key and entry.key[0] for index in indices for entry in index.clips],
        "subject": [None] * len(texts),
    }
    return Summed(groups=groups, frames=[], counts=Counter(), samples={}, dropped={})


def clips_by_part(plan: SplitPlan, kept: Summed, name: str) -> dict[str, int]:
    made = plan.settings(kept)[name]
    count = Counter(kept.groups[made["group"]])
    return {part: sum(count[value] for value in values) for part, values in made["parts"].items()}


@pytest.mark.parametrize("order", ["lexicographic", "numeric", "recovered"])
def test_the_order_of_the_files_is_found_and_every_list_comes_out_whole(settings: Path, order: str) -> None:
    indices = files_of(entries_of(settings), order)
    plan = plan_split("holoassist", indices, {}, settings, unread=[])
    assert plan.order is not None and plan.order.name == order and plan.order.total == 0
    kept, lists = summed(indices), json.loads(settings.read_text())
    for name, theirs in RELEASE_NAMES.items():
        expected = {part: len(lists[theirs][part]) for part in LIST_PARTS}
        found = clips_by_part(plan, kept, name)
        if name == "actions":  # one verb in val: a verb of train became the gate
            assert found["train"] + found["gate"] == expected["train"] and found["gate"] > 0
            assert (found["val"], found["test"]) == (expected["val"], expected["test"])
        else:
            assert found == expected
    said = plan.report(kept)
    assert said["order"] == order and set(said["straddling_percent"].values()) == {0.0}
    assert "val has one group" in said["settings"]["actions"]["gate"]


def test_lists_of_other_files_are_not_used(settings: Path) -> None:
    indices = files_of(entries_of(settings), "numeric")
    shuffled = [entry for index in indices for entry in index.clips]
    random.Random(5).shuffle(shuffled)
    others = files_of(shuffled, "numeric")
    plan = plan_split("holoassist", others, {}, settings, unread=[])
    said = plan.report(summed(others))["settings"]
    assert all(said[name]["from"].startswith("own split") for name in RELEASE_NAMES)
    assert all("straddle" in said[name]["from"] for name in RELEASE_NAMES)
    assert set(clips_by_part(plan, summed(others), "objects")) == {"train", "val", "gate", "test"}


def test_missing_files_are_said_and_lead_to_own_settings(settings: Path) -> None:
    indices = files_of(entries_of(settings), "numeric")
    plan = plan_split("holoassist", indices[1:], {}, settings, unread=[])
    said = plan.report(summed(indices[1:]))["settings"]["scenes"]["from"]
    assert said.startswith("own split") and "files are missing" in said
    plan = plan_split("holoassist", indices[1:], {}, settings, unread=["contact_0_100_fix.pkl"])
    assert (
        "contact_0_100_fix.pkl could not be read"
        in plan.report(summed(indices[1:]))["settings"]["tasks"]["from"]
    )


def test_a_group_that_straddles_goes_to_the_part_that_cannot_leak() -> None:
    groups = ["a", "a", "b", "b", "c", "d", "d", None, "e", "f", "g"]
    parts = [0, 2, 1, 2, 2, 0, 1, 2, 1, 0, 2]
    listed = ListedSetting(name="objects", groups=groups, parts=parts)
    assert listed.assigned() == {
        "a": "train",
        "b": "val",
        "c": "test",
        "d": "train",
        "e": "val",
        "f": "train",
        "g": "test",
    }
    assert listed.moved() == {"test to no part": 1, "test to train": 1, "test to val": 1, "val to train": 1}
    made, said = listed_setting(listed, groups)
    assert made == {
        "group": "object",
        "parts": {"train": ["a", "d", "f"], "val": ["b", "e"], "test": ["c", "g"]},
    }
    assert said["clips moved"] == listed.moved()
    # What was dropped is named by no part, and a part without a group leaves no setting.
    assert listed_setting(listed, [g for g in groups if g != "g"])[0]["parts"]["test"] == ["c"]  # type: ignore[index]
    assert listed_setting(listed, ["a", "b", "e"])[0] is None


def test_what_is_wrong_with_the_lists_is_said(settings: Path, tmp_path: Path) -> None:
    whole = json.loads(settings.read_text())

    def refused(change: Any, kind: type[SourceError], what: str) -> None:
        content = json.loads(json.dumps({name: whole[name] for name in RELEASE_NAMES.values()}))
        change(content)
        (tmp_path / "settings.json").write_text(json.dumps(content))
        with pytest.raises(kind, match=what):
            read_lists(tmp_path / "settings.json")

    refused(
        lambda c: c["tasks"]["val"].append(c["tasks"]["train"][0]),
        WrongValue,
        "field tasks: names a clip in two",
    )
    refused(lambda c: c["actions"]["train"].pop(0), WrongValue, "field actions: .*leaves out")
    refused(lambda c: c.pop("instances"), MissingField, "instances")
    refused(lambda c: c["categories"]["test"].append(0.5), WrongValue, "categories.test: .*counts no clip")
    refused(
        lambda c: c["categories"]["test"].append("7"),
        SourceError,
        "categories.test: is not an array of numbers",
    )
    with pytest.raises(MissingFile):
        read_lists(tmp_path / "none.json")


def test_a_third_order_is_taken_only_where_it_is_better(settings: Path) -> None:
    indices = files_of(entries_of(settings), "numeric")
    columns = [{"scenes": [entry.key and entry.key[0] for entry in index.clips]} for index in indices]
    lists = {"scenes": read_lists(settings)["scenes"]}
    assert find_order([index.path.name for index in indices], columns, lists).name == "numeric"
