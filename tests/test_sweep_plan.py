"""Requests are checked before anything is trained, and what is asked for decides the name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sweeps.errors import SweepError
from sweeps.plan import SweepPlan, choose_settings, describe_difference, parse_fixed
from sweeps.space import OBJECTIVES, Axis
from trainables.trial_config import ConfigError

MANIFEST = {"name": "world", "settings": {"objects": {}, "actions": {}}}
CODES, DEPTH = Axis("codes", "int", 128, 1024, log=True), Axis("decoder_depth", "int", 1, 4)


def plan(**changes: Any) -> SweepPlan:
    base = SweepPlan(
        data="data/world",
        data_name="world",
        data_digest="d" * 64,
        settings=("objects",),
        axes=(CODES, DEPTH),
        trials=4,
        epochs=10,
        seeds=1,
        seed=0,
        workers="1",
        protocol="first",
        name="mine",
    )
    return replace(base, **changes)


def test_unknown_setting_lists_the_known() -> None:
    assert choose_settings("objects, actions", MANIFEST) == ("objects", "actions")
    assert choose_settings("all", MANIFEST) == ("actions", "objects")
    assert choose_settings("objects:2/6", MANIFEST) == ("objects:2/6",)
    with pytest.raises(SweepError, match="scenes.*actions, objects"):
        choose_settings("objects,scenes", MANIFEST)


@pytest.mark.parametrize("field", ["trials", "epochs", "seeds", "finalists"])
def test_counts_must_be_positive(field: str) -> None:
    with pytest.raises(SweepError, match=f"--{field} 0"):
        plan(**{field: 0})


def test_without_a_name_equal_requests_get_equal_names() -> None:
    one, same, other = plan(name=""), plan(name="", data="elsewhere/world"), plan(name="", epochs=11)
    assert one.name == same.name != other.name
    with pytest.raises(SweepError, match="--name"):
        plan(name="No Spaces")


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": (CODES,)},
        {"axes": (CODES, replace(DEPTH, high=5))},
        {"axes": (replace(CODES, log=False), DEPTH)},
        {"search": "random"},
        {"stopping": "none"},
        {"objectives": (OBJECTIVES["mpjpe_cm"], OBJECTIVES["contact_f1"])},
        {"trials": 5},
        {"finalists": 2},
        {"seeds": 2},
        {"seed": 1},
        {"workers": "2"},
        {"protocol": "goal"},
        {"fixed": (("width", 32),)},
        {"settings": ("actions",)},
        {"data_digest": "e" * 64},
        {"environment": (("code", "new"),)},
    ],
)
def test_whatever_decides_the_outcome_is_part_of_the_record_and_of_the_name(changes: dict[str, Any]) -> None:
    base, other = plan(name=""), plan(name="", **changes)
    assert other.name != base.name
    assert len(describe_difference(base.record(), other.record())) == 1


def test_the_number_of_trials_is_that_of_the_points_where_the_space_is_small() -> None:
    two = (Axis.parse("128,256", "codes", "--codes"), Axis("decoder_depth", "int", 1, 1))
    assert plan(axes=two, trials=9).trials_of() == 2
    assert plan(axes=(DEPTH,), trials=9).trials_of() == 4
    endless = Axis("dropout", "float", 0.0, 0.5)
    assert plan(axes=(*two, endless), trials=9).trials_of() == 9


def test_a_value_of_the_space_that_no_trial_can_have_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match="width 64 is not divisible by heads 3"):
        plan(axes=(CODES, Axis("heads", "choice", choices=(2, 4, 3))))
    with pytest.raises(ConfigError, match="told is 'letter'"):
        plan(axes=(Axis("told", "choice", choices=("window", "letter")),))
    plan(axes=(CODES, Axis("heads", "choice", choices=(2, 4)), Axis("dropout", "float", 0.0, 0.5)))


def test_what_is_searched_cannot_be_set_as_well() -> None:
    with pytest.raises(SweepError, match="--set decoder_depth: this sweep searches it"):
        plan(fixed=(("decoder_depth", 2),))


def test_a_point_becomes_a_trial() -> None:
    axes = (CODES, Axis("dropout", "float", 0.0, 0.5), Axis("told", "choice", choices=("window", "frame")))
    asked = plan(axes=axes, seed=7, protocol="goal")
    config = asked.config("actions", codes=300, dropout=0.25, told="frame")
    assert (config.codes, config.dropout, config.told, config.setting) == (300, 0.25, "frame", "actions")
    assert (config.seed, config.protocol, config.epochs) == (7, "goal", 10)
    again = asked.config("actions", codes=300, dropout=0.25, told="frame", seed=8, batch=16)
    assert (again.seed, again.batch) == (8, 16)
    assert asked.budget("actions", {"codes": 300, "dropout": 0.25, "told": "frame", "seed": 8}) == 10


def test_fixed_fields_reach_the_trials_and_the_record() -> None:
    fixed = parse_fixed(["width=512", "norm=false", "learning_rate=1e-4"])
    assert dict(fixed) == {"width": 512, "norm": False, "learning_rate": 1e-4}
    fitted = plan(fixed=fixed)
    assert fitted.config("objects", codes=128, decoder_depth=1).width == 512
    assert fitted.record()["width"] == 512


@pytest.mark.parametrize("text", ["width", "wdith=3", "width=wide", "norm=maybe", "seed=3", "start_from=a"])
def test_a_wrong_field_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(SweepError, match=f"--set {text}"):
        parse_fixed([text])


def test_a_field_that_the_script_decides_is_none_to_set() -> None:
    with pytest.raises(
        SweepError, match="--set mode=forecast: give FIELD=VALUE with one of batch, "
    ) as refusal:
        parse_fixed(["mode=forecast"], ("mode",))
    assert "mode" not in str(refusal.value).partition("with one of ")[2].rstrip(".").split(", ")
