"""The figures of a bundle: they stand alone, say what the records say, and are the same to the byte each time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sweeps.bundle_figures import learning_curve, sample_trajectories, write_figures
from sweeps.ledger import TrialRecord
from tests.shown_sweep import history
from zoo import contents, refusals

NAME = "latentact-world-objects"


def trial(**changes: Any) -> TrialRecord:
    entries = history(256)
    curve = [(entry["epoch"], entry["mpjpe_cm"]) for entry in entries if entry["stage"] == "predictor"]
    known: dict[str, Any] = {"epochs": 3, "curve": curve, "history": entries, **changes}
    return TrialRecord("abc", "objects", "search", {"seed": 0}, **known)


def sample(**changes: Any) -> dict[str, Any]:
    """Ways of wrist and fingertips that go 9 cm to the right, 2 cm apart; predicted 1 cm too low."""
    true = [[[float(t), 2.0 * joint, 50.0] for t in range(10)] for joint in range(6)]
    predicted = [[[x, y + 1.0, z] for x, y, z in way] for way in true]
    known = {
        "text": "lift the cup",
        "rank": "the middle one",
        "mpjpe_cm": 1.0,
        "contact_point_cm": [4.0, 1.0, 51.0],
    }
    return {**known, "true_cm": true, "predicted_cm": predicted, **changes}


def test_both_are_still_pictures_that_stand_alone(tmp_path: Path) -> None:
    paths = write_figures(tmp_path, NAME, trial(), [sample()])
    assert paths == ["figures/learning_curve.svg", "figures/sample_trajectories.svg"]
    first = {path: (tmp_path / path).read_bytes() for path in paths}
    for path, data in first.items():
        contents.check_svg(data, path)
        refusals.check_file(tmp_path / path, path)
    write_figures(tmp_path, NAME, trial(), [sample()])
    assert first == {path: (tmp_path / path).read_bytes() for path in paths}


def test_the_learning_curve_shows_the_best_epoch_and_every_loss() -> None:
    picture = learning_curve(NAME, trial(curve=[(1, 6.0), (2, 4.5), (3, 5.0), (4, float("nan"))]))
    assert "validation MPJPE is lowest, 4.50 cm, after epoch 2 of 3" in picture
    for stage in ("codebook", "indexer", "predictor"):
        assert f"loss of the {stage}" in picture
    assert picture.count("<path") == 4 + 2 + 2  # curve and three losses, two validation losses, the legend
    alone = learning_curve(NAME, trial(history=[]))
    assert "loss of the" not in alone and alone.count("<path") == 1
    assert learning_curve(NAME, trial(curve=[])) == ""


def test_the_views_have_one_scale_and_the_cameras_is_upright() -> None:
    picture = sample_trajectories(NAME, [sample()])
    wrist = re.search(r'class="true wrist" d="M([\d.]+) ([\d.]+)L.*?([\d.]+) [\d.]+"', picture)
    ways = re.findall(r'class="(?:true|predicted) (?:wrist|tip)" d="M([\d.]+) ([\d.]+)L', picture)
    assert wrist is not None and len(ways) == 2 * 12
    cm = (float(wrist[3]) - float(wrist[1])) / 9  # of the picture's units
    camera = [float(y) for _, y in ways[:12]]
    assert camera[1] - camera[0] == pytest.approx(2 * cm, abs=0.2)  # 2 cm lower: further down
    assert camera[6] - camera[0] == pytest.approx(1 * cm, abs=0.2)  # predicted 1 cm lower
    assert picture.count('class="contact"') == 2  # in each view
    assert sample_trajectories(NAME, [sample(contact_point_cm=None)]).count('class="contact"') == 0
    assert sample_trajectories(NAME, []) == ""


def test_a_text_of_the_data_set_cannot_act() -> None:
    hostile = "</text><script>alert(1)</script>&entity;\x1b[2J\u202e" + "x" * 500
    picture = sample_trajectories(NAME, [sample(text=hostile)])
    contents.check_svg(picture.encode(), "sample_trajectories.svg")
    assert "<script" not in picture and "x" * 60 not in picture


def test_evaluations_from_before_there_were_samples(tmp_path: Path) -> None:
    assert write_figures(tmp_path, NAME, trial(curve=[]), []) == []
    assert list(tmp_path.iterdir()) == []
