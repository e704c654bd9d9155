"""What is searched: fields with their values, from options and from a file, and the figures that are searched for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeps.errors import SweepError
from sweeps.space import OBJECTIVES, Axis, parse_objectives, read_space


def test_ranges_and_lists() -> None:
    depth = Axis.parse("2:4", "decoder_depth", "--depth")
    assert (depth.kind, list(depth.values or ()), depth.log) == ("int", [2, 3, 4], False)
    codes = Axis.parse("512,128,128", "codes", "--codes")
    assert (codes.kind, list(codes.values or ()), codes.field) == ("choice", [128, 512], "codes")
    assert list(Axis.parse("3", "decoder_depth", "--depth").values or ()) == [3]
    assert list(Axis.parse("3:3", "decoder_depth", "--depth").values or ()) == [3]


@pytest.mark.parametrize(
    ("text", "log"), [("128:1024", True), ("128:1023", False), ("1:8", True), ("1:4", False)]
)
def test_a_range_of_more_than_three_doublings_is_searched_by_magnitude(text: str, log: bool) -> None:
    assert Axis.parse(text, "codes", "--codes").log is log


@pytest.mark.parametrize(
    "text", ["1024:128", "0:4", "a:b", "1:2:3", "", "-1", "1:2,3", "1.5", "1,", ":", "0"]
)
def test_bad_ranges_are_refused_by_the_name_of_their_option(text: str) -> None:
    with pytest.raises(SweepError, match="--codes"):
        Axis.parse(text, "codes", "--codes")


def test_a_range_the_wrong_way_round_says_the_right_one() -> None:
    with pytest.raises(SweepError, match="did you mean 128:1024"):
        Axis.parse("1024:128", "codes", "--codes")


WHOLE = Axis("codes", "int", 128, 1024, log=True)
REAL = Axis("dropout", "float", 0.0, 0.5)
WORDS = Axis("told", "choice", choices=("window", "frame"))


def test_an_axis_knows_its_values_and_tells_optuna_the_same() -> None:
    assert WHOLE.values is not None and len(WHOLE.values) == 897
    assert (WHOLE.values[0], WHOLE.values[-1]) == (128, 1024)
    assert REAL.values is None and WORDS.values == ("window", "frame")
    assert WHOLE.distribution() == IntDistribution(128, 1024, log=True)
    assert REAL.distribution() == FloatDistribution(0.0, 0.5)
    assert WORDS.distribution() == CategoricalDistribution(("window", "frame"))


@pytest.mark.parametrize(
    ("axis", "inside", "outside"),
    [
        (WHOLE, (128, 500, 1024), (127, 1025)),
        (REAL, (0.0, 0.5, 0.3), (-0.1, 0.51)),
        (WORDS, ("frame",), ("", 1)),
    ],
)
def test_what_an_axis_contains(axis: Axis, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    assert all(axis.contains(value) for value in inside)
    assert not any(axis.contains(value) for value in outside)


@pytest.mark.parametrize(
    ("axis", "text"),
    [
        (WHOLE, "128:1024 log"),
        (REAL, "0:0.5"),
        (WORDS, "window,frame"),
        (Axis.parse("1,2", "codes", ""), "1,2"),
    ],
)
def test_an_axis_in_words(axis: Axis, text: str) -> None:
    assert str(axis) == text


def space(folder: Path, text: str) -> tuple[Axis, ...]:
    path = folder / "space.toml"
    path.write_text(text)
    return read_space(path)


def test_a_file_describes_numbers_choices_and_switches(tmp_path: Path) -> None:
    axes = space(
        tmp_path,
        """
        [learning_rate]
        low = 1e-4
        high = 1e-2
        log = true
        [decoder_depth]
        choices = [4, 1, 1, 2]
        [codes]
        low = 128
        high = 1024
        [dropout]  # whole numbers are numbers too
        low = 0
        high = 0.5
        [contact_weight]
        choices = [0, 0.5]
        [told]
        choices = ["window", "frame"]
        [norm]
        choices = [true, false]
        """,
    )
    assert axes == (
        Axis("codes", "int", 128, 1024),
        Axis("contact_weight", "choice", choices=(0.0, 0.5)),
        Axis("decoder_depth", "choice", choices=(4, 1, 2)),
        Axis("dropout", "float", 0.0, 0.5),
        Axis("learning_rate", "float", 1e-4, 1e-2, log=True),
        Axis("norm", "choice", choices=(True, False)),
        Axis("told", "choice", choices=("window", "frame")),
    )
    assert {type(value) for value in axes[1].choices} == {float}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "describes no field"),
        ("[codes", "not TOML"),
        (
            "[depth]\nlow = 1\nhigh = 4",
            r"\[depth\]: no field of a trial that can be searched; there are batch, .*codes",
        ),
        ("[seed]\nlow = 1\nhigh = 4", r"\[seed\]: no field of a trial that can be searched"),
        ("[without]\nchoices = ['indexer']", r"\[without\]: no field of a trial"),
        ("[method]\nchoices = ['diffusion']", r"\[method\]: no field of a trial"),
        ("[stride]\nchoices = [1, 4]", r"\[stride\]: no field of a trial that can be searched"),
        ("codes = 3", r"\[codes\]: give low and high"),
        ("[codes]\nlow = 3", r"\[codes\]: its values are ints, such as 256; give low and high"),
        ("[codes]\nhigh = 3", r"\[codes\]: give low and high"),
        ("[codes]\nlow = 1\nhigh = 3\nchoices = [1]", r"\[codes\]: give low and high"),
        ("[codes]\nlow = 1\nhigh = 3\nstep = 2", r"\[codes\]: give low and high"),
        ("[codes]\nchoices = []", r"\[codes\]: its values are ints"),
        ("[codes]\nchoices = 3", r"\[codes\]: its values are ints"),
        ("[codes]\nlow = 1.5\nhigh = 3", r"\[codes\]: its values are ints"),
        ("[codes]\nchoices = [true]", r"\[codes\]: its values are ints"),
        ("[norm]\nchoices = [1]", r"\[norm\]: its values are bools, such as True"),
        ("[norm]\nlow = false\nhigh = true", r"\[norm\]: a bool has no range"),
        ("[told]\nlow = 'a'\nhigh = 'b'", r"\[told\]: a str has no range; give choices"),
        ("[codes]\nlow = 5\nhigh = 3", r"\[codes\]: low 5 and high 3 make no range\."),
        (
            "[dropout]\nlow = 0\nhigh = 0.5\nlog = true",
            r"\[dropout\]: low 0 and high 0.5 make no range by magnitude",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_the_field_and_the_remedy(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(SweepError, match=f"--space {tmp_path}/space.toml: .*{complaint}"):
        space(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=f"--space {tmp_path}/none.toml: cannot be read"):
        read_space(tmp_path / "none.toml")
    with pytest.raises(SweepError, match="cannot be read"):
        read_space(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_bytes(b"\xff\xfe[codes]")
    with pytest.raises(SweepError, match=f"--space {tmp_path}/space.toml: not TOML"):
        read_space(tmp_path / "space.toml")


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf"])
def test_a_range_without_ends_is_refused(tmp_path: Path, bound: str) -> None:
    with pytest.raises(SweepError, match="make no range"):
        space(tmp_path, f"[dropout]\nlow = 0.1\nhigh = {bound}\n")


def test_objectives_have_mpjpe_first_and_each_once() -> None:
    found = parse_objectives("latency_ms, contact_f1,mpjpe_cm,latency_ms")
    assert [(o.metric, o.mode) for o in found] == [
        ("mpjpe_cm", "min"),
        ("contact_f1", "max"),
        ("latency_ms", "min"),
    ]
    assert parse_objectives("mpjpe_cm") == (OBJECTIVES["mpjpe_cm"],)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("contact_f1", "mpjpe_cm must be among them"),
        ("", "mpjpe_cm must be among them"),
        ("mpjpe_cm,speed", "--objectives speed: there are mpjpe_cm, contact_f1, parameters, latency_ms"),
    ],
)
def test_wrong_objectives_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(SweepError, match=complaint):
        parse_objectives(text)
