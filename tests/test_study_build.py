"""A user study is built from two models or a model and the truth, and what raters get tells nothing of which is which."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeps.study import main
from tests import study_folders as small
from trainables.clips import read_clips
from trainables.model_folder import load_model
from trainables.windows import Windows
from zoo.packed_numbers import unpacked_integers, unpacked_positions


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.small_study(tmp_path_factory.mktemp("study"))


def pair_data(study: Path) -> dict[str, Any]:
    found = {}
    for path in (study / "public" / "pairs").iterdir():
        call = re.fullmatch(r"LATENTACT_PAIR\((.*)\);\n", path.read_text(), re.DOTALL)
        assert call is not None
        found[path.stem] = json.loads(call[1])
    return found


def shape_of(value: Any) -> Any:
    """A payload without its numbers and texts: what differs here could tell two motions apart."""
    if isinstance(value, dict):
        return {name: shape_of(inner) for name, inner in value.items() if name not in ("origin_m", "data")}
    return value


def test_what_raters_get_names_nothing(study: Path) -> None:
    _, key = small.read(study)
    clips = read_clips(study.parent / "clips")
    secret = {
        "proud-heron",
        "meek-otter",
        clips.name,
        clips.digest[:12],
        key["salt"],
        str(study.parent),
        "broken",
    }
    secret |= set(clips.clip_ids) | {str(name) for name in clips.groups["object"]}
    secret |= {record["tensors"] for record in key["models"].values()}
    blind = [study / "design.json", *(study / "public").glob("*.html"), study / "public" / "design.js"]
    blind += (study / "public" / "pairs").iterdir()
    for path in blind:
        text = re.sub(r'"data": ?"[^"]*"|base64,[^"]*', "", path.read_text())
        assert not [word for word in secret if re.search(rf"\b{re.escape(word)}\b", text)], path
    assert {path.name for path in study.iterdir()} == {"public", "design.json", "key.json"}
    assert (study / "key.json").stat().st_mode & 0o077 == 0
    # The key does name all of it.
    text = (study / "key.json").read_text()
    assert "proud-heron" in text and key["salt"] in text and "broken" in text


def test_both_motions_of_a_pair_look_alike_as_data(study: Path) -> None:
    design, key = small.read(study)
    shown = pair_data(study)
    assert (
        shown.keys()
        == {pair["id"] for pair in design.record["pairs"]}
        == {pair["pair"] for pair in key["pairs"]}
    )
    for pair in design.record["pairs"]:
        data = shown[pair["id"]]
        one, other = (data["motions"][motion] for motion in pair["motions"])
        assert shape_of(one) == shape_of(other) and list(one) == list(other)
        assert one["title"] == one["text"] == one["note"] == "" and one["contact_threshold"] == 0.5
        for motion in (one, other):
            # Probabilities would tell a model from the truth.
            assert set(np.unique(unpacked_integers(motion["contact"]))) <= {0, 255}
        assert base64.b64decode(data["photo"].split(",")[1])[:2] == b"\xff\xd8" and data["text"].startswith(
            "push "
        )


def test_the_motions_are_those_of_the_key(study: Path) -> None:
    _, key = small.read(study)
    clips, shown = read_clips(study.parent / "clips"), pair_data(study)
    model = load_model(study.parent / "proud-heron")
    windows = Windows(clips, torch.arange(len(clips)), length=8)
    for row, (clip, start) in enumerate(zip(windows.clip_N.tolist(), windows.start_N.tolist(), strict=True)):
        for pair in key["pairs"]:
            if (pair["clip"], pair["start"], pair["kind"]) == (clips.clip_ids[clip], start, "pair"):
                (motion,) = (motion for motion, whose in pair["motions"].items() if whose == "a")
                found = shown[pair["pair"]]["motions"][motion]["joints"]
                with torch.no_grad():
                    expected = model.forecast(windows.gather(torch.tensor([row]))).joints_ref_BTJ3[0].numpy()
                assert unpacked_positions(found) == pytest.approx(expected, abs=found["step_m"])
    kinds = {pair["pair"]: pair["kind"] for pair in key["pairs"]}
    assert sorted(kinds.values()) == ["check"] * small.CHECKS + ["pair"] * small.PAIRS
    assert len({pair["group"] for pair in key["pairs"] if pair["kind"] == "pair"}) == 8  # every group in turn
    for pair in key["pairs"]:
        if pair["kind"] == "check":
            place = {whose: motion for motion, whose in pair["motions"].items()}
            true, broken = (
                unpacked_positions(shown[pair["pair"]]["motions"][place[whose]]["joints"])
                for whose in ("true", "broken")
            )
            first = int(clips.offsets_C1[clips.clip_ids.index(pair["clip"])]) + pair["start"]
            assert true == pytest.approx(clips.joints_FJ3[first : first + 8].numpy(), abs=2e-3)
            assert not np.allclose(true, broken, atol=1e-3)
            sums = [sorted(frames.sum(axis=(1, 2)).tolist()) for frames in (true, broken)]
            assert sums[0] == pytest.approx(sums[1], abs=5e-3)  # the same frames


def test_a_model_against_the_truth(study: Path, tmp_path: Path) -> None:
    data, model = study.parent / "clips", study.parent / "proud-heron"
    out = tmp_path / "truth"
    result = small.run(
        model, "truth", "--data", data, "--pairs", 5, "--checks", 0, "--repeats", 0, "--ties", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "There are no checks" in result.stdout and "stand-in hand" in result.stderr
    design, key = small.read(out)
    clips, shown = read_clips(data), pair_data(out)
    assert design.record["ties"] and key["names"]["b"] == "truth" and key["models"].keys() == {"a"}
    for pair in key["pairs"]:
        (true,) = (motion for motion, whose in pair["motions"].items() if whose == "b")
        first = int(clips.offsets_C1[clips.clip_ids.index(pair["clip"])]) + pair["start"]
        found = unpacked_positions(shown[pair["pair"]]["motions"][true]["joints"])
        assert found == pytest.approx(clips.joints_FJ3[first : first + 8].numpy(), abs=2e-3)
        touched = unpacked_integers(shown[pair["pair"]]["motions"][true]["contact"]) > 0
        assert (touched == (clips.contact_FV[first : first + 8] > 0).numpy()).all()
    # The same seed shows the same clips, and under other names.
    assert {p["clip"] for p in key["pairs"]} <= set(clips.clip_ids) and key["salt"] not in (
        study / "key.json"
    ).read_text()


def test_own_words_and_an_endpoint_elsewhere(study: Path, tmp_path: Path) -> None:
    words = tmp_path / "consent.txt"
    words.write_text("Approved by the board,\nno. 7.\n\nWrite to <us>.\n")
    more = (
        "--consent",
        words,
        "--question",
        "Which one is better?",
        "--endpoint",
        "https://study.example.org/x/api",
    )
    study = small.small_study(study.parent, *more, name="own-words")
    design, _ = small.read(study)
    assert design.record["about"] == ["Approved by the board, no. 7.", "Write to <us>."]
    assert design.record["question"] == "Which one is better?"
    page = (study / "public" / "index.html").read_text()
    assert 'name="study-endpoint" content="https://study.example.org/x/api"' in page
    assert "connect-src 'self' https://study.example.org;" in page


def test_wrong_requests_are_a_sentence(study: Path, tmp_path: Path) -> None:
    heron, otter, data = (study.parent / name for name in ("proud-heron", "meek-otter", "clips"))
    common = ("--data", data, "--out", tmp_path / "new")
    assert "a study is never written over" in small.refusal(heron, otter, "--data", data, "--out", study)
    assert "ask for that many" in small.refusal(heron, otter, *common, "--pairs", 33)
    assert "--part val needs --split" in small.refusal(heron, otter, *common, "--part", "val")
    assert "two different models" in small.refusal("truth", otter, *common)
    assert "two different models" in small.refusal(heron, heron, *common)
    assert "let every rater pass" in small.refusal(heron, otter, *common, "--checks", 2, "--failed-checks", 2)
    assert "there are 32 clips to make them of" in small.refusal(heron, otter, *common, "--checks", 99)
    assert "begins with https://" in small.refusal(heron, otter, *common, "--endpoint", "study.example.org")
    longer = small.random_model(tmp_path / "longer", 2, window=9)
    assert "differ in window (8, 9)" in small.refusal(heron, longer, *common)
    own = small.random_model(tmp_path / "own", 3, digest=read_clips(data).digest)
    assert "would hold clips of its training" in small.refusal(own, "truth", *common)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*partial"))


def test_a_reading_of_test_is_said(study: Path, tmp_path: Path) -> None:
    data = study.parent / "clips"
    own = small.random_model(tmp_path / "own", 3, digest=read_clips(data).digest)
    sizes = ("--pairs", 4, "--checks", 1, "--repeats", 0, "--slots", 2, "--split", "objects")
    result = small.run(own, "truth", "--data", data, *sizes, "--part", "test", "--out", tmp_path / "test")
    assert result.exit_code == 0 and "Test read: tiny objects" in result.stdout
    result = small.run(own, "truth", "--data", data, *sizes, "--out", tmp_path / "val")
    assert (
        result.exit_code == 0
        and "Test read" not in result.stdout
        and "Validation chose this model" in result.stderr
    )
    groups = {
        name: {pair["group"] for pair in small.read(tmp_path / name)[1]["pairs"]} for name in ("test", "val")
    }
    assert groups == {"test": {"object7"}, "val": {"object5"}}


def test_the_command_line_is_frozen() -> None:
    options = {name: [p.opts[0] for p in command.params] for name, command in main.commands.items()}
    assert options == {
        "build": [
            "model_a", "model_b", "--data", "--out", "--split", "--part", "--protocol", "--pairs", "--per-rater", "--checks",
            "--failed-checks", "--repeats", "--slots", "--ties", "--question", "--consent", "--endpoint", "--seed", "--device",
        ],
        "serve": ["folder", "--host", "--port", "--most-raters", "--allow-origin"],
        "analyse": ["folder", "results", "--json", "--out"],
        "power": ["--raters", "--pairs", "--per-rater", "--share", "--rater-part", "--clip-part"],
    }  # fmt: skip
    assert "python -m sweeps.study power" in small.run("--help").output
    assert "found with a chance of 80%" in small.run("power", "--raters", 30, "--share", 0.65).output
