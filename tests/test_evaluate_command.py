"""The command that evaluates a model on other data: its table and file, its runs in MLflow, its errors, its surface."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch

from sweeps.evaluate import main
from tests.cross_clips import refusal, run, strange_clip, write
from tests.tiny_trials import tiny
from trainables.clips import read_clips
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.model_folder import load_model, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with random weights."""
    folder, hand = tmp_path_factory.mktemp("models") / "random", load_hand()
    torch.manual_seed(0)
    shape = tiny().model(data="tiny", data_digest="d" * 64, hand=hand.name, encoders={})
    save_model(LatentAct(shape, hand), folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "other", [strange_clip(i) for i in range(10)])


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty zoo, and no MLflow."""
    monkeypatch.setenv("LATENTACT_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_table_and_the_file(model: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    asked = (model, "--data", other, "--split", "subjects", "--stride", 3, "--out", out)
    result = run(*asked)
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    figures = written["predictors"]["model"]["metrics"]
    for metric in ("mpjpe_cm", "mpjpe_ra_cm", "mpjpe_pa_cm"):
        assert f"{figures[metric]['estimate']:.2f}" in result.stdout
    for metric in ("contact_precision", "contact_recall", "contact_f1"):
        assert f"{figures[metric]['estimate']:.3f}" in result.stdout
    assert "true first frame, still" in result.stdout and "an oracle, and no rival" in result.stdout
    assert written["asked"]["part"] == "test" and set(written["errors"]["groups"]) == {"person-4"}
    assert "Test read: strange subjects" in result.stdout and "All clips are of one subject" in result.stdout
    assert "Test read" not in run(*asked[:3], "--split", "subjects", "--part", "val").output


def test_mlflow_keeps_one_run_an_evaluation(
    model: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # artefacts of a server-less MLflow lie where it is used
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    asked = (model, "--data", other, "--split", "subjects")
    said = [run(*asked, *more).stdout for more in ((), (), ("--stride", 2))]
    assert "MLflow knows 0 other" in said[0] and "knows 0 other" in said[1] and "knows 1 other" in said[2]
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("latentact-cross-data")
    second, first = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    kept = json.loads(
        Path(client.download_artifacts(first.info.run_id, "evaluation.json", str(tmp_path))).read_text()
    )
    figure = kept["predictors"]["model"]["metrics"]["contact_f1"]
    assert first.data.metrics["contact_f1"] == pytest.approx(figure["estimate"])
    assert first.data.params["model_tensors"] == kept["model"]["tensors"]
    assert first.data.params["data_digest"] == read_clips(other).digest
    assert first.data.params["protocol"] == "first" and second.data.params["stride"] == "2"
    assert "true_first_frame/mpjpe_cm" in first.data.metrics and first.info.status == "FINISHED"
    assert first.info.run_id in said[0]


def test_figures_stand_where_mlflow_does_not(
    model: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = run(model, "--data", other, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["schema"] == 1
    assert "Warning: MLflow at http://127.0.0.1:1 does not take records" in result.stderr


def test_wrong_requests_are_a_sentence(model: Path, other: Path, tmp_path: Path) -> None:
    assert "--part test needs --split" in (said := refusal(model, "--data", other, "--part", "test"))
    assert "subjects" in said
    assert "has no setting 'objects'" in refusal(model, "--data", other, "--split", "objects")
    assert "subject (5)" in refusal(model, "--data", other, "--group", "scene")
    assert "There is no model 'latentact-tinny-objects'" in refusal(
        "latentact-tinny-objects", "--data", other
    )
    assert "is a codebook" in refusal("latentact-codebook-tiny-objects", "--data", other)
    assert "holds no model.safetensors" in refusal(tmp_path, "--data", other)
    assert "nothing is there" in refusal(model, "--data", tmp_path / "nowhere")
    assert "there is no folder" in refusal(model, "--data", other, "--out", tmp_path / "no/where.json")
    if not torch.cuda.is_available():
        assert "--device cuda" in refusal(model, "--data", other, "--device", "cuda")
    plain = load_model(model)
    told = LatentAct(replace(plain.config, oracle_codes=True), plain.hand)
    save_model(told, tmp_path / "oracle")
    assert "true codes of the future" in refusal(tmp_path / "oracle", "--data", other)


def test_the_command_line_is_frozen() -> None:
    assert isinstance(main, click.Command)
    assert [parameter.opts[0] for parameter in main.params] == [
        "model", "--data", "--split", "--part", "--protocol", "--stride", "--group", "--device", "--json", "--out",
    ]  # fmt: skip
    said = run("--help").output
    assert "python -m sweeps.evaluate latentact-world-objects@champion --data" in said
