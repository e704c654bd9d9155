"""From answers to the analysis of a user study: who counts, what is preferred, and what is said of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import study_folders as small


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.small_study(tmp_path_factory.mktemp("study"), "--ties")


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    """The same study without an answer."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("design.json", "key.json"):
        (copy / name).write_bytes((built / name).read_bytes())
    return copy


def analysed(study: Path, *more: object) -> dict[str, Any]:
    result = small.run("analyse", study, "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def always_left(pair: Mapping[str, Any], left: str, rng: random.Random) -> str:
    return "left"


def test_a_clear_preference(study: Path, tmp_path: Path) -> None:
    for number in range(12):
        small.write_results(study, small.rater_id(number), number % small.SLOTS, small.careful(0.85))
    record = analysed(study, "--out", tmp_path / "out")
    found = record["preference"]
    assert record["raters"] == {"answered": 12, "finished": 12, "counted": 12, "excluded": {}}
    assert record["answers"]["counted"] == 12 * small.PAIRS == record["answers"]["a"] + record["answers"]["b"]
    assert found["share"] == pytest.approx(record["answers"]["a"] / 96) and 0.7 < found["share"] < 1
    assert found["low"] > 0.5 and found["p"] < 0.01
    assert record["sign_tests"]["raters"]["prefer_a"] >= 9
    assert record["checks"] == {"passed": 24, "shown": 24} and record["repeats"]["shown"] == 24
    assert record["left"]["a_left"] == pytest.approx(0.5) and record["left"]["p"] > 0.05
    assert record["answer_s"]["median"] == pytest.approx(3.55, abs=0.2) and record["plays"] == 2
    assert len(record["pairs"]) == small.PAIRS and len(record["groups"]) == 8
    assert sum(row["answers"] for row in record["pairs"]) == 96
    text = (tmp_path / "out" / "analysis.md").read_text()
    assert (
        f"A is preferred in {found['share']:.1%}" in text
        and "proud-heron" in text
        and "A is preferred.\n" in text
    )
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == record


def test_raters_who_all_agree_are_analysed(study: Path) -> None:
    for number in range(3):
        small.write_results(study, small.rater_id(number), number, small.careful(1))
    record = analysed(study)
    assert record["preference"]["share"] == 1 and record["preference"]["low"] < 0.5
    assert record["power"] is None and record["agreement"]["alpha"]["estimate"] is None
    assert "A is preferred in 100.0%" in small.run("analyse", study).stdout


def test_who_does_not_look_is_left_out_by_the_rule(study: Path) -> None:
    for number in range(6):
        small.write_results(study, small.rater_id(number), number, small.careful(0.5))
    small.write_results(study, small.rater_id(6), 0, always_left)
    small.write_results(study, small.rater_id(7), 1, small.careful(0.5), screens=5)
    record = analysed(study)
    assert record["raters"] == {
        "answered": 8, "finished": 7, "counted": 6, "excluded": {"missed checks": 1, "too few screens": 1},
    }  # fmt: skip
    assert (
        record["answers"]["counted"] == 6 * small.PAIRS and record["answers"]["all"] == 7 * small.SCREENS + 5
    )
    assert record["preference"]["share"] == pytest.approx(0.5, abs=0.3)
    for number in range(8, 11):
        small.write_results(study, small.rater_id(number), 2, always_left)
    assert any("More than a quarter" in warning for warning in analysed(study)["warnings"])


def unless_a_check(answer: str, *, skill: float, looks: float) -> Callable[..., str]:
    """A rater who gives `answer`, but looks at checks, and at a share `looks` of the others."""

    def given(pair: Mapping[str, Any], left: str, rng: random.Random) -> str:
        careful = pair["kind"] == "check" or rng.random() < looks
        return small.careful(skill)(pair, left, rng) if careful else answer

    return given


def test_a_side_that_is_preferred_is_said(study: Path) -> None:
    mostly_left = unless_a_check("left", skill=0.5, looks=0.1)
    for number in range(6):
        small.write_results(study, small.rater_id(number), number, mostly_left)
    record = analysed(study)
    assert record["left"]["share"] > 0.8 and record["left"]["p"] < 0.05
    assert any("prefer one side" in warning for warning in record["warnings"])
    assert record["preference"]["share"] == pytest.approx(0.5, abs=0.15)  # sides are balanced
    assert record["repeats"]["same"] <= record["repeats"]["shown"] / 2  # and repeats show it


def test_ties_count_half_and_are_a_miss_in_a_check(study: Path) -> None:
    unsure = unless_a_check("same", skill=1.0, looks=0.5)
    for number in range(5):
        small.write_results(study, small.rater_id(number), number, unsure)
    small.write_results(study, small.rater_id(5), 5, lambda pair, left, rng: "same")
    record = analysed(study)
    answers = record["answers"]
    assert record["raters"]["counted"] == 5 and answers["same"] > 5 and answers["b"] == 0
    assert record["preference"]["share"] == pytest.approx(
        (answers["a"] + answers["same"] / 2) / answers["counted"]
    )
    assert "see no difference" in small.run("analyse", study).stdout


def test_few_raters_are_said_and_files_are_checked(study: Path, tmp_path: Path) -> None:
    assert "has no answers yet" in small.refusal("analyse", study)
    path = small.write_results(study, small.rater_id(0), 0, small.careful(0.5))
    record = analysed(study)
    assert record["preference"]["low"] is None and record["preference"]["p"] == 1
    assert any("There is 1 of the raters" in warning for warning in record["warnings"])
    assert "(no interval)" in small.run("analyse", study).stdout
    # The same file twice is one rater; another answer to the same screen is no second vote.
    assert analysed(study, path, path) == record
    sent = json.loads(path.read_text())
    again = tmp_path / "again.json"
    flipped = {"left": "right", "right": "left"}
    sent["votes"][0]["choice"] = flipped[sent["votes"][0]["choice"]]
    again.write_text(json.dumps(sent))
    twice = analysed(study, path, again)
    assert twice["answers"] == record["answers"] and "1 answers came twice" in twice["warnings"][0]
    sent["votes"][0]["pair"] = sent["votes"][1]["pair"]
    again.write_text(json.dumps(sent))
    assert "shows another pair" in small.refusal("analyse", study, again)
    again.write_text(json.dumps(sent | {"study": "0" * 12}))
    assert "belongs to another" in small.refusal("analyse", study, again)
    again.write_text("{")
    assert "is no file of answers" in small.refusal("analyse", study, again)
    (study / "key.json").unlink()
    assert "key.json cannot be read" in small.refusal("analyse", study)
