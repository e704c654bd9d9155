"""Comparisons: equal budgets, what their table says, and how seeds, folds and failures enter it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sweeps import ablations, baselines
from sweeps.comparison_plan import ComparisonPlan
from sweeps.comparison_table import compare, untrained_keys
from sweeps.comparison_text import files, markdown, print_comparison, to_json
from sweeps.errors import SweepError
from sweeps.ledger import TrialRecord
from sweeps.plan import parse_fixed
from sweeps.readings import trial_key
from trainables.clip_errors import METRIC_VERSION
from trainables.trial_config import METHODS, ConfigError

GROUPS, CLIPS, WINDOWS = 8, 4, 5


def plan(kind: str = "ablations", **changes: Any) -> ComparisonPlan:
    contenders = {"ablations": ablations.CONTENDERS, "baselines": baselines.CONTENDERS}[kind]
    base = ComparisonPlan(
        kind=kind,
        contenders=contenders,
        untrained=baselines.UNTRAINED if kind == "baselines" else (),
        data="data/world",
        data_name="world",
        data_digest="d" * 64,
        settings=("objects",),
        epochs=6,
        seeds=2,
        seed=0,
        workers="1",
        protocol="goal",
    )
    return replace(base, **{"name": "", **changes})


# ---- plans


@pytest.mark.parametrize("kind", ["ablations", "baselines"])
def test_all_contenders_train_for_the_same_number_of_epochs(kind: str) -> None:
    fixed = (("codebook_epochs", 5), ("indexer_epochs", 3))
    asked = plan(kind, fixed=fixed)
    for name in asked.contenders:
        config = asked.config("objects", contender=name, seed=1)
        epochs = {
            "codebook": config.codebook_epochs,
            "indexer": config.indexer_epochs,
            "predictor": config.epochs,
        }
        assert sum(epochs[stage] for stage in config.stages) == 5 + 3 + 6, name
    assert asked.budget("objects", {"contender": "latentact", "seed": 0}) == 6
    assert asked.config("objects", contender="latentact", seed=0).stages == METHODS["latentact"]


def test_the_contenders_are_those_that_were_asked_for() -> None:
    def fields(asked: ComparisonPlan, name: str) -> tuple[Any, ...]:
        config = asked.config("objects", contender=name, seed=0)
        return config.method, config.without, config.decoder_depth, config.protocol, config.mode

    asked = plan("baselines", mode="interpolate", fixed=(("decoder_depth", 2),))
    assert fields(asked, "latentact") == ("latentact", "", 2, "goal", "interpolate")
    assert fields(asked, "transformer") == ("transformer", "", 2, "goal", "interpolate")
    assert fields(asked, "diffusion-codebook") == ("diffusion-codebook", "", 2, "goal", "interpolate")
    asked = plan("ablations")
    assert fields(asked, "no codebook") == ("transformer", "", 1, "goal", "forecast")
    assert [asked.config("objects", contender=name, seed=0).without for name in asked.contenders] == [
        "", "", "indexer", "text", "image", "contact", "residual",
    ]  # fmt: skip


def test_every_seed_and_fold_of_every_contender_is_trained_once() -> None:
    asked = plan("baselines", folds=4, seeds=3)
    points = asked.points()
    assert len(points) == len({json.dumps(point) for point in points}) == 4 * 3 * len(asked.contenders)
    assert asked.config("objects", **points[0]).setting == "objects:1/4"
    assert points[0] == {"contender": "latentact", "fold": 1, "seed": 0}
    assert plan().points()[0] == {"contender": "latentact", "seed": 0}


def test_what_cannot_be_is_refused_before_training() -> None:
    with pytest.raises(SweepError, match="--folds 2"):
        plan(folds=2)
    with pytest.raises(SweepError, match="one fold already"):
        plan(folds=4, settings=("objects:1/4",))
    with pytest.raises(ConfigError, match="width 65"):
        plan(fixed=(("width", 65),))
    with pytest.raises(SweepError, match="the same trial"):
        plan(contenders={"one": {}, "two": {"codes": 256}})
    with pytest.raises(SweepError, match="--set method=diffusion"):
        parse_fixed(["method=diffusion"], ("method", "mode"))
    with pytest.raises(SweepError, match="--set without=indexer"):  # an oracle must never be selected
        parse_fixed(["without=indexer"])
    assert parse_fixed(["codes=512"], ("method", "mode")) == (("codes", 512),)


def test_equal_requests_get_equal_names() -> None:
    names = [
        asked.name for asked in (plan(), plan(data="elsewhere"), plan("baselines"), plan(mode="interpolate"))
    ]
    assert names[0] == names[1] and len(set(names)) == 3
    assert names[0].startswith("ablations-world-") and plan("baselines").name.startswith("baselines-world-")


@pytest.mark.parametrize("script", [ablations, baselines])
def test_the_scripts_say_what_they_take(script: Any) -> None:
    result = CliRunner().invoke(script.main, ["--help"])
    assert result.exit_code == 0
    for option in [
        "data",
        "split",
        "folds",
        "seeds",
        "epochs",
        "protocol",
        "mode",
        "set",
        "name",
        "workers",
        "parallel",
        "budget-gpu-hours",
        "budget-usd",
        "usd-per-hour",
        "hang-after-s",
        "out",
        "retry",
    ]:
        assert f"--{option} " in result.output, option
    result = CliRunner().invoke(script.main, ["--data", "/nonexistent"])
    assert result.exit_code == 1 and result.output.startswith("Error: /nonexistent")


# ---- tables


def reading(error_cm: float, *, seed: int = 0, groups: range = range(GROUPS), tp: int = 80) -> dict[str, Any]:
    """As if a predictor with that error had been evaluated: groups differ in the same way for all predictors."""
    group_C = np.repeat(np.array(groups), CLIPS)
    noise_C = np.random.default_rng(seed).normal(0, 0.01, len(group_C))
    total_C = WINDOWS * (error_cm + 0.3 * np.sin(group_C) + noise_C)
    errors = {
        "metric_version": METRIC_VERSION,
        "group": "object",
        "groups": [f"object{g}" for g in group_C],
        "clip_ids": [f"clip{g}-{i % CLIPS}" for i, g in enumerate(group_C)],
        "contact_threshold": 0.4,
        "totals": {"mpjpe_cm": [[total, WINDOWS] for total in total_C]},
        "contact_counts": [[tp + int(g), 20, 100 - tp - int(g)] for g in group_C],
        "finger_contact_counts": [[] for _ in group_C],
    }
    return {"hand": "standin-1", "windows": 1, "parameters": 1_300_000, "chosen": "", "errors": errors}


def record(params: dict[str, Any], status: str = "finished", **changes: Any) -> TrialRecord:
    identity = "-".join(map(str, params.values()))
    trial = TrialRecord(identity, "objects", "comparison", params, status=status, epochs=6)  # type: ignore[arg-type]
    return replace(trial, **changes)


ERRORS = {"latentact": 8.0, "no codebook": 9.0, "no indexer (oracle)": 4.0, "no text": 8.5}


def tried(asked: ComparisonPlan) -> tuple[list[TrialRecord], dict[str, dict[str, Any]]]:
    trials = [record(point) for point in asked.points()]
    readings = {}
    for trial in trials:
        fold = trial.params.get("fold", 0)
        groups = range(2 * fold - 2, 2 * fold) if fold else range(GROUPS)
        error = ERRORS.get(trial.params["contender"], 8.0) + 0.1 * trial.params["seed"]
        readings[trial_key(trial.identity, trial.epochs)] = reading(error, groups=groups)
    for place, name in enumerate(asked.untrained):
        for fold, key in zip(asked.fold_numbers(), untrained_keys(asked, "objects", name), strict=True):
            groups = range(2 * fold - 2, 2 * fold) if fold else range(GROUPS)
            readings[key] = {
                **reading(11.0 + place, groups=groups),
                "chosen": "image 0.3" if not place else "",
            }
    return trials, readings


def test_rows_are_ranked_by_their_error_and_an_oracle_is_not() -> None:
    asked = plan()
    comparison = compare(asked, "objects", *tried(asked))
    by_name = {row.name: row for row in comparison.rows}
    assert len(by_name) == 7 and by_name["no codebook"].rank == 6
    oracle = by_name["no indexer (oracle)"]
    assert oracle.oracle and oracle.rank is None and not oracle.p and comparison.rows[-1] is oracle
    # Seeds 0 and 1 differ by 0.1 cm in the mean, and are averaged.
    assert by_name["latentact"].figures["mpjpe_cm"].estimate == pytest.approx(
        8.05 + 0.3 * np.sin(range(8)).mean(), abs=0.01
    )
    difference = by_name["no codebook"].differences["mpjpe_cm"]
    assert difference.estimate == pytest.approx(1.0) and difference.low > 0.9 and difference.groups == GROUPS
    assert by_name["no codebook"].p["mpjpe_cm"] == 2 / 2**GROUPS
    assert by_name["no codebook"].p_corrected["mpjpe_cm"] == pytest.approx(
        5 * 2 / 2**GROUPS
    )  # five are tested
    assert by_name["no image"].p_corrected["mpjpe_cm"] == 1.0  # no difference at all
    assert not by_name["latentact"].differences


def test_folds_are_joined_so_that_each_group_is_held_out_once() -> None:
    asked = plan("baselines", folds=4)
    comparison = compare(asked, "objects", *tried(asked))
    assert (comparison.groups, comparison.clips, comparison.windows) == (8, 32, 160)
    assert [row.name for row in comparison.rows][-2:] == ["retrieval", "mean trajectory"]
    whole = plan("baselines")
    same = compare(whole, "objects", *tried(whole))
    for ours, theirs in zip(comparison.rows, same.rows, strict=True):
        assert ours.figures["contact_f1"].estimate == pytest.approx(theirs.figures["contact_f1"].estimate)


def test_a_failed_trial_costs_its_seed_and_the_table_says_so() -> None:
    asked = plan()
    trials, readings = tried(asked)
    for trial in trials:
        lost = trial.params["contender"] == "no text" and trial.params["seed"] == 1
        if lost or trial.params["contender"] == "no image":
            trial.status = "failed"
    comparison = compare(asked, "objects", trials, readings)
    assert comparison.missing == ("no image",)
    seeds = {row.name: row.seeds for row in comparison.rows}
    assert seeds["no text"] == (0,) and seeds["latentact"] == (0, 1)
    text = markdown(comparison)
    assert "without a row: no image" in text and "Fewer seeds than asked for" in text
    # Without its reference a table has figures and no differences.
    rest = [trial for trial in trials if trial.params["contender"] != "latentact"]
    assert all(not row.differences for row in compare(asked, "objects", rest, readings).rows)
    assert "without a row: latentact" in markdown(compare(asked, "objects", [], {}))


def seconds(asked: ComparisonPlan, trials: list[TrialRecord], readings: Any) -> dict[str, tuple[Any, bool]]:
    """Of each row, and whether they are a least."""
    rows = compare(asked, "objects", trials, readings).rows
    return {row.name: (row.seconds, row.seconds_are_least) for row in rows}


def test_seconds_count_a_codebook_and_an_indexer_that_came_from_the_shelf() -> None:
    asked = plan("baselines", seeds=1)
    trials, readings = tried(asked)
    by_name = {trial.params["contender"]: trial for trial in trials}
    for trial in trials:
        trial.stage_seconds = {"predictor": 10.0}
    found = seconds(asked, trials, readings)
    assert found["diffusion"] == found["transformer"] == (10.0, False)
    # Trained by another sweep, for a time that nobody knows.
    assert found["latentact"] == found["diffusion-codebook"] == (10.0, True)
    by_name["latentact"].stage_seconds |= {"codebook": 7.0}
    found = seconds(asked, trials, readings)
    assert found["latentact"] == found["diffusion-codebook"] == (17.0, True)
    by_name["diffusion-codebook"].stage_seconds |= {"indexer": 5.0}
    found = seconds(asked, trials, readings)
    assert found["latentact"] == found["diffusion-codebook"] == (22.0, False)


def test_seconds_do_not_count_a_codebook_of_another_kind() -> None:
    asked = plan("ablations", seeds=1)
    trials, readings = tried(asked)
    for trial in trials:
        trial.stage_seconds = {"predictor": 10.0}
        if trial.params["contender"] == "latentact":
            trial.stage_seconds |= {"codebook": 7.0, "indexer": 5.0}
    found = seconds(asked, trials, readings)
    assert found["no indexer (oracle)"] == (17.0, False) and found["no text"] == (10.0, True)


def test_the_table_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    asked = plan("baselines", folds=4)
    trials, readings = tried(asked)
    for trial in trials:
        if trial.params["contender"] == "transformer":
            trial.epochs = 99
            readings[trial_key(trial.identity, 99)] = readings[trial_key(trial.identity, 6)]
    comparison = compare(asked, "objects", trials, readings)
    text = markdown(comparison)
    rows = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    assert len({row.count("|") for row in rows}) == 1 and len(rows) == 2 + 6
    for part in (
        "each held out once in 4 folds", "Protocol goal", "look ahead", "mode forecast", "dddddddddddddddd",
        "stand-in hand standin-1", "Holm", "0.008 before the correction", "image 0.3", "1.30 M", "8, 32",
        "transformer: another sweep has continued a trial beyond this budget",
    ):  # fmt: skip
        assert part in text, part
    print_comparison(comparison)
    shown = capsys.readouterr().out
    assert "…" not in shown and max(map(len, shown.splitlines())) <= 140
    kept = files(comparison, trials, readings)
    assert json.loads(kept["comparison.json"]) == json.loads(json.dumps(to_json(comparison)))
    errors = json.loads(kept["errors/latentact.json"])
    assert [(e["params"]["fold"], e["params"]["seed"]) for e in errors] == [
        (f, s) for s in (0, 1) for f in (1, 2, 3, 4)
    ]
    assert errors[0]["errors"]["totals"]["mpjpe_cm"] and len(json.loads(kept["errors/retrieval.json"])) == 4


def test_one_group_has_no_test() -> None:
    asked = plan(seeds=1)
    trials, readings = tried(asked)
    readings = {key: reading(8.0 + i, groups=range(1)) for i, key in enumerate(readings)}
    text = markdown(compare(asked, "objects", trials, readings))
    assert "no interval" in text and "no test" in text and "1 group (object)" in text
