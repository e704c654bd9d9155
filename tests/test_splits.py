"""Splits: parts never share a clip or a group, folds test each group once, wrong requests say what exists."""

import json
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import pytest
from made_up_clips import random_clip, some_clips, write

from trainables.clips import Clips, ClipsError, read_clips
from trainables.splits import PARTS, fold_settings, k_fold, make_split, part_clips, setting_parts

SHARES = {"train": 0.7, "val": 0.1, "gate": 0.1, "test": 0.1}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    rows = [*some_clips(24), replace(random_clip("nothing held"), object=None)]
    return read_clips(str(write(tmp_path_factory.mktemp("splits") / "data", rows)))


@pytest.mark.parametrize("setting", ["objects", "subjects", "objects:1/4", "objects:8/8", "subjects:5/5"])
def test_parts_share_no_clip_and_no_group(clips: Clips, setting: str) -> None:
    group = "object" if setting.startswith("objects") else "subject"
    rows = {part: part_clips(clips, setting, part).tolist() for part in PARTS}
    assert all(rows.values())
    for one, other in combinations(PARTS, 2):
        assert not set(rows[one]) & set(rows[other])
        assert not {clips.groups[group][i] for i in rows[one]} & {clips.groups[group][i] for i in rows[other]}
    expected = [i for i, value in enumerate(clips.groups[group]) if value is not None]
    assert sorted(chain.from_iterable(rows.values())) == expected


def test_a_setting_without_gate_halves_val_by_group(clips: Clips) -> None:
    assert "gate" not in clips.manifest["settings"]["subjects"]["parts"]
    parts = setting_parts(clips, "subjects")
    assert sorted(parts["val"] + parts["gate"]) == ["person-2", "person-3"]
    assert len(parts["val"]) == len(parts["gate"]) == 1


def test_parts_that_overlap_are_found(clips: Clips) -> None:
    manifest = json.loads(json.dumps(clips.manifest))
    manifest["settings"]["objects"]["parts"]["test"] += ["ball"]
    with pytest.raises(ClipsError, match="group 'ball' lies in two parts"):
        part_clips(replace(clips, manifest=manifest), "objects", "val")
    twice = replace(clips, clip_ids=[clips.clip_ids[0]] * len(clips))
    with pytest.raises(ClipsError, match="a clip lies in two parts"):
        part_clips(twice, "objects", "val")


@pytest.mark.parametrize(
    ("setting", "part", "says"),
    [
        ("colours", "train", "no setting 'colours'; it has objects, subjects"),
        ("objects:", "train", "no setting 'objects:'"),
        ("objects:a/b", "train", "no setting 'objects:a/b'"),
        ("objects", "dev", "unknown part 'dev'; parts are train, val, gate, test"),
        ("objects:0/6", "train", "no fold 0 of 6; folds are counted from 1"),
        ("objects:7/6", "train", "no fold 7 of 6"),
        ("objects:1/2", "train", "3 to 8 folds"),
        ("objects:1/9", "train", "3 to 8 folds"),
    ],
)
def test_wrong_requests_say_what_exists(clips: Clips, setting: str, part: str, says: str) -> None:
    with pytest.raises(ClipsError, match=says):
        part_clips(clips, setting, part)


@pytest.mark.parametrize(("groups", "folds"), [(4, 4), (5, 4), (8, 8), (10, 3), (18, 6), (18, 18), (23, 7)])
def test_every_group_is_tested_once(groups: int, folds: int) -> None:
    names = [f"group-{i}" for i in range(groups)]
    tested: list[str] = []
    for fold in range(1, folds + 1):
        parts = k_fold(names, fold, folds)
        assert all(parts[part] for part in PARTS)
        assert sorted(chain.from_iterable(parts.values())) == sorted(names)
        assert 0 <= len(parts["val"]) - len(parts["gate"]) <= 1
        tested += parts["test"]
    assert sorted(tested) == sorted(names)
    assert k_fold(reversed(names), 1, folds) == k_fold(names, 1, folds)


def test_sizes_of_folds() -> None:
    def sizes(groups: int, folds: int) -> set[tuple[int, ...]]:
        parts = [k_fold([f"g{i}" for i in range(groups)], fold, folds) for fold in range(1, folds + 1)]
        return {tuple(len(p[part]) for part in PARTS) for p in parts}

    assert sizes(8, 8) == {(5, 1, 1, 1)}
    assert sizes(18, 6) == {(12, 2, 1, 3)}
    with pytest.raises(ClipsError, match="at least 4 groups"):
        k_fold("abc", 1, 3)
    with pytest.raises(ClipsError, match="leave none to train on"):
        for fold in (1, 2, 3):
            k_fold("abcd", fold, 3)
    assert fold_settings("objects", 3) == ["objects:1/3", "objects:2/3", "objects:3/3"]


@pytest.mark.parametrize("seed", range(5))
def test_a_split_fills_every_part_close_to_its_share(seed: int) -> None:
    values = {f"group-{i}": 20 + i % 7 for i in range(60)}
    parts = make_split(values, SHARES, seed)
    total = sum(values.values())
    for part, share in SHARES.items():
        assert abs(sum(values[name] for name in parts[part]) / total - share) < 0.02
    assert sorted(chain.from_iterable(parts.values())) == sorted(values)
    assert parts == make_split(dict(reversed(values.items())), SHARES, seed)
    assert parts != make_split(values, SHARES, seed + 1)


def test_a_split_of_few_groups() -> None:
    four = make_split({"big": 1000, "a": 1, "b": 1, "c": 1}, SHARES, 0)
    assert sorted(len(names) for names in four.values()) == [1, 1, 1, 1]
    assert list(make_split({"a": 1, "b": 1}, {"train": 1, "test": 1}, 0)) == ["train", "test"]
    with pytest.raises(ClipsError, match="3 groups cannot fill 4 parts"):
        make_split({"a": 1, "b": 1, "c": 1}, SHARES, 0)
    with pytest.raises(ClipsError, match="unknown part 'dev'"):
        make_split({"a": 1}, {"dev": 1.0}, 0)


def test_one_group_in_val_cannot_be_halved(tmp_path: Path, clips: Clips) -> None:
    manifest = json.loads(json.dumps(clips.manifest))
    parts = manifest["settings"]["objects"]["parts"]
    parts["train"] += parts.pop("gate")
    with pytest.raises(ClipsError, match="too few to halve; use folds, such as objects:1/4"):
        part_clips(replace(clips, manifest=manifest), "objects", "val")
