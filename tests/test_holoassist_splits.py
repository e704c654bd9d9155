"""The paper's four settings from HoloAssist's labels: at full size where the labels are at hand, and in small always."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.clips import Clips, ClipsError
from trainables.holoassist_actions import (
    LEFT_OUT_NOUNS,
    MIN_ACTION_S,
    NO_ADVERBIAL,
    OTHER_NOUN,
    OTHER_VERB,
    VERBS,
    WRONG,
    action_frames,
    left_out,
    selected,
)
from trainables.holoassist_labels import FineAction, LabelledVideo, Labels, read_labels
from trainables.splits import PARTS, SHARES, held_out_settings, part_clips, prove_settings

DATA = Path(os.environ.get("LATENTACT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
LABELS = DATA / "holoassist" / "holoassist_actions.json.gz"
real = pytest.mark.skipif(
    not LABELS.is_file(), reason=f"{LABELS} is not there: the full-size splits are not tested"
)
GROUPS = {"objects": "object", "actions": "action", "tasks": "task", "scenes": "scene"}


@cache
def real_labels() -> Labels:
    return read_labels(LABELS)


def as_clips(videos: list[LabelledVideo]) -> Clips:
    """Every selected action as a clip without frames: what splitting looks at, and nothing else."""
    ids: list[str] = []
    groups: dict[str, list[str | None]] = {
        group: [] for group in ("object", "action", "task", "scene", "subject")
    }
    for video in videos:
        for number, action in enumerate(selected(video)):
            ids.append(f"{video.video}/{number}")
            values = {"object": action.noun, "action": action.verb, "task": video.task, "scene": video.video}
            for group, column in groups.items():
                column.append(values.get(group))
    tensors: dict[str, Any] = {f.name: torch.zeros(0) for f in fields(Clips) if "Tensor" in str(f.type)}
    manifest = {"settings": held_out_settings(groups)}
    return Clips(
        name="labels", hand="none", digest="", manifest=manifest, clip_ids=ids, groups=groups, texts=[], **tensors
    )  # fmt: skip


@cache
def real_clips() -> Clips:
    return as_clips(real_labels().videos)


@real
def test_the_papers_filter_on_all_real_labels() -> None:
    labels = real_labels()
    assert (len(labels.videos), labels.fine_actions) == (1758, 149_253)
    assert not labels.unreadable_videos and not labels.unreadable_actions
    chosen = [(video, action) for video in labels.videos for action in selected(video)]
    assert len(chosen) == 64_631
    assert len({video.video for video, _ in chosen}) == 1749
    assert sum(action.end_s - action.start_s >= MIN_ACTION_S for _, action in chosen) == 47_549
    reasons = left_out(labels)
    assert reasons.total() == 149_253 - 64_631, "every action is selected or left out for one reason"
    assert set(reasons) == {WRONG, NO_ADVERBIAL, OTHER_VERB, OTHER_NOUN}
    assert all(a.verb in VERBS and a.noun not in LEFT_OUT_NOUNS for _, a in chosen)


@real
@pytest.mark.parametrize("setting", list(GROUPS))
def test_a_real_setting_is_a_partition_by_what_it_holds_out(setting: str) -> None:
    clips = real_clips()
    assert set(clips.manifest["settings"]) == set(GROUPS), "no subject is known"
    column = np.asarray(clips.groups[GROUPS[setting]], dtype=object)
    rows = {part: part_clips(clips, setting, part).numpy() for part in PARTS}  # this proves it, too
    together = np.concatenate(list(rows.values()))
    assert len(together) == len(clips) and len(np.unique(together)) == len(clips)
    members = {part: set(column[index]) for part, index in rows.items()}
    assert sum(map(len, members.values())) == len(set(column)), "no member lies in two parts"
    biggest = max(Counter(column.tolist()).values()) / len(clips)
    for part, share in SHARES.items():
        # Whole groups are dealt out: a part may be off by half of the biggest one, and hardly ever is.
        off = abs(len(rows[part]) / len(clips) - share)
        assert off <= max(0.005, min(0.06, biggest / 2)), (part, len(rows[part]))


@real
def test_real_actions_become_frames_and_none_is_lost_silently() -> None:
    made, lost = 0, Counter[str]()
    for video in real_labels().videos:
        actions, gone = action_frames(selected(video), video.fps)
        made += len(actions)
        lost += gone
        assert all(0 <= a.first < a.last for a in actions)
        assert len({a[:2] for a in actions}) == len(actions)
    assert made + lost.total() == 64_631
    assert 47_000 < made <= 47_549


def made_up(videos: int = 60) -> list[LabelledVideo]:
    rng = random.Random(0)
    made = []
    for i in range(videos):
        actions = tuple(
            FineAction(
                start_s=k, end_s=k + 1.5, verb=rng.choice([*sorted(VERBS)[:8], "approach"]),
                noun=rng.choice([f"thing_{rng.randrange(20)}", "screw"]), adverbial="none",
                correctness=rng.choice(["Correct Action"] * 4 + ["Wrong Action, not corrected"]),
            )
            for k in range(rng.randrange(5, 30))
        )  # fmt: skip
        made.append(LabelledVideo(video=f"R{i:03d}", task=f"task {i % 6}", fps=29.97, actions=actions))
    return made


@pytest.mark.parametrize("setting", list(GROUPS))
def test_a_made_up_setting_is_a_partition(setting: str) -> None:
    clips = as_clips(made_up())
    column = np.asarray(clips.groups[GROUPS[setting]], dtype=object)
    rows = {part: part_clips(clips, setting, part).numpy() for part in PARTS}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(clips)))
    for part, index in rows.items():
        others = np.concatenate([rows[other] for other in PARTS if other != part])
        assert not set(column[index]) & set(column[others])


def test_a_setting_that_shares_a_member_is_refused_at_load() -> None:
    clips = as_clips(made_up())
    prove_settings(clips)
    parts = clips.manifest["settings"]["objects"]["parts"]
    parts["train"].append(parts["test"][0])
    with pytest.raises(ClipsError, match="lies in two parts"):
        prove_settings(clips)
    with pytest.raises(ClipsError, match="lies in two parts"):
        part_clips(clips, "objects", "train")


def test_a_clip_that_is_there_twice_is_refused_at_load() -> None:
    clips = as_clips(made_up())
    column = clips.groups["object"]
    parts = clips.manifest["settings"]["objects"]["parts"]
    test, train = column.index(parts["test"][0]), column.index(parts["train"][0])
    clips.clip_ids[test] = clips.clip_ids[train]
    with pytest.raises(ClipsError, match="a clip lies in two parts"):
        part_clips(clips, "objects", "val")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"correctness": "Wrong Action, corrected by student"}, WRONG),
        ({"correctness": "otherwise"}, WRONG),
        ({"adverbial": None}, NO_ADVERBIAL),
        ({"verb": "unscrew"}, OTHER_VERB),
        ({"noun": "hex_nut"}, OTHER_NOUN),
        ({"noun": "hexagon_cap_nut"}, None),  # the paper's list spells it otherwise
        ({}, None),
    ],
)
def test_why_an_action_is_left_out(change: dict[str, Any], why: str | None) -> None:
    usual = FineAction(
        start_s=1, end_s=3, verb="grab", noun="cup", adverbial="none", correctness="Correct Action"
    )
    video = LabelledVideo(video="R1", task=None, fps=30, actions=(usual._replace(**change),))
    assert left_out(Labels(videos=[video])) == ({why: 1} if why else {})
    assert len(selected(video)) == (why is None)


def test_both_forms_of_a_label_file_say_the_same(tmp_path: Path) -> None:
    from tests.foreign.holoassist import label_entry, write_holoassist

    written = write_holoassist(tmp_path, fps=24.46)
    read = []
    for condensed in (False, True):
        path = tmp_path / f"labels-{condensed}.json"
        path.write_text(json.dumps([label_entry(r, "setup gopro", condensed=condensed) for r in written]))
        read.append(read_labels(path).videos)
    assert read[0] == read[1] and [len(v.actions) for v in read[0]] == [7, 6]
