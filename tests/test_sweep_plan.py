"""Requests are checked before anything is trained, and what is asked for decides the name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeps.capacity import Capacity
from sweeps.ledger import TrialRecord
from sweeps.plan import Axis, SweepError, SweepPlan, choose_settings, parse_fixed
from sweeps.selection import finalists, rank

MANIFEST = {"name": "world", "settings": {"objects": {}, "actions": {}}}


def plan(**changes: object) -> SweepPlan:
    base = SweepPlan(
        data="data/world",
        data_name="world",
        data_digest="d" * 64,
        settings=("objects",),
        codes=Axis(128, 1024, log=True),
        depth=Axis(1, 4),
        trials=4,
        epochs=10,
        seeds=1,
        seed=0,
        workers=1,
        protocol="first",
        name="mine",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_ranges_and_lists() -> None:
    assert list(Axis.parse("2:4", "--depth").values) == [2, 3, 4]
    assert list(Axis.parse("512,128,128", "--codes").values) == [128, 512]
    assert list(Axis.parse("3", "--depth").values) == [3]


@pytest.mark.parametrize("text", ["1024:128", "0:4", "a:b", "1:2:3", "", "-1", "1:2,3", "1.5"])
def test_bad_ranges_are_refused_by_name(text: str) -> None:
    with pytest.raises(SweepError, match="--codes"):
        Axis.parse(text, "--codes")


def test_unknown_setting_lists_the_known() -> None:
    assert choose_settings("objects, actions", MANIFEST) == ("objects", "actions")
    assert choose_settings("all", MANIFEST) == ("actions", "objects")
    assert choose_settings("objects:2/6", MANIFEST) == ("objects:2/6",)
    with pytest.raises(SweepError, match="scenes.*actions, objects"):
        choose_settings("objects,scenes", MANIFEST)


@pytest.mark.parametrize("field", ["trials", "epochs", "seeds", "workers"])
def test_counts_must_be_positive(field: str) -> None:
    with pytest.raises(SweepError, match=f"--{field} 0"):
        plan(**{field: 0})


def test_without_a_name_equal_requests_get_equal_names() -> None:
    one, same, other = plan(name=""), plan(name="", data="elsewhere/world"), plan(name="", epochs=11)
    assert one.name == same.name != other.name
    with pytest.raises(SweepError, match="--name"):
        plan(name="No Spaces")


def test_a_space_smaller_than_the_sweep() -> None:
    assert plan(codes=Axis.parse("128,256", "--codes"), depth=Axis(1, 1), trials=9).trials_of() == 2


def test_capacity_counts_whole_cores_by_node() -> None:
    assert Capacity.measure([{"CPU": 2.0}], 1).slots == 2
    assert Capacity.measure([{"CPU": 1.5}, {"CPU": 2.9}], 1).slots == 3
    assert Capacity.measure([{"CPU": 4.0}, {"CPU": 4.0}], 3).slots == 2
    gpu = Capacity.measure([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 16.0}], 1)
    assert (gpu.slots, gpu.device) == (2, "cuda")


@pytest.mark.parametrize("nodes", [[{"CPU": 2.0}], [], [{"CPU": 64.0, "GPU": 2.0}]])
def test_a_trial_that_cannot_fit_is_refused(nodes: list[dict[str, float]]) -> None:
    with pytest.raises(SweepError, match="--workers 3"):
        Capacity.measure(nodes, 3)


def trial(
    codes: int, seed: int, mpjpe_cm: float, phase: str = "search", status: str = "finished"
) -> TrialRecord:
    params = {"codes": codes, "depth": 1, "seed": seed}
    metrics = {"mpjpe_cm": mpjpe_cm}
    return TrialRecord(f"{codes}-{seed}", "objects", phase, params, status=status, metrics=metrics)  # type: ignore[arg-type]


def test_the_mean_over_seeds_wins_over_one_lucky_draw() -> None:
    trials = [
        trial(128, 0, 4.0),
        trial(128, 1, 6.0, "repeat"),
        trial(256, 0, 4.5),
        trial(256, 1, 4.7, "repeat"),
        trial(512, 0, 3.0, status="stopped"),
        trial(1024, 0, 4.6),
    ]
    assert [c.codes for c in rank(trials)] == [256, 128, 1024]
    assert rank(trials)[0].mpjpe_cm == pytest.approx(4.6)
    assert rank(trials)[0].trials[0].params["seed"] == 0
    assert [c.codes for c in finalists(trials)] == [128, 256]


def test_fixed_fields_reach_the_trials_and_the_record() -> None:
    fixed = parse_fixed(["width=512", "norm=false", "learning_rate=1e-4"])
    assert dict(fixed) == {"width": 512, "norm": False, "learning_rate": 1e-4}
    fitted = plan(fixed=fixed)
    assert fitted.config("objects", codes=128, depth=1).width == 512
    assert fitted.record()["width"] == 512


@pytest.mark.parametrize("text", ["width", "wdith=3", "width=wide", "norm=maybe", "codes=3"])
def test_a_wrong_field_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(SweepError, match=f"--set {text}"):
        parse_fixed([text])
