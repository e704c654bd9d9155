"""Two versions side by side; on files, and on a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file
from zoo_bundles import card_metadata, metrics, write_bundle

import zoo
from zoo import model_card
from zoo.cli import main
from zoo.errors import UnknownModel
from zoo.store import Blob, Store, open_store

OBJECTS = "latentact-world-objects"


def change(folder: Path, *, depth: int, errors_cm: list[float], test_cm: float | None = None) -> Path:
    """Make a bundle that differs from `write_bundle`'s in config, figures, gate clips, tensors and card."""
    config = json.loads((folder / "config.json").read_text())
    config["model"]["predictor"] = {"decoder_depth": depth}
    (folder / "config.json").write_text(json.dumps(config))
    figures = metrics(errors_cm)
    figures["val"]["metrics"]["mpjpe_cm"]["estimate"] = errors_cm[0]
    if test_cm is not None:
        figures["test"] = {"metrics": {"mpjpe_cm": {"estimate": test_cm, "low": 1.0, "high": 9.0}}}
    (folder / "metrics.json").write_text(json.dumps(figures))
    layers = {f"decoder.{i}": np.zeros((8, 4), np.float32) for i in range(depth)}
    save_file({"head": np.zeros((2, 3, depth), np.float32), **layers}, folder / "model.safetensors")
    card = card_metadata(config["model"]) | {"trial": f"depth-{depth}"}
    (folder / "card.md").write_text(model_card.write(card, "# A model\n"))
    return folder


def publish_two(store: Store, top: Path) -> None:
    first = change(write_bundle(top / "a"), depth=2, errors_cm=[3.0] * 6, test_cm=4.0)
    second = change(write_bundle(top / "b"), depth=3, errors_cm=[2.0, 2.1, 1.9, 2.0, 2.2, 2.1], test_cm=3.5)
    zoo.publish(OBJECTS, first, store=store)
    zoo.publish(OBJECTS, second, store=store)


def test_what_differs_is_found(store: Store, tmp_path: Path) -> None:
    publish_two(store, tmp_path)
    found = zoo.diff(f"{OBJECTS}@1", f"{OBJECTS}@2", store=store)
    assert (found.a["version"], found.b["version"]) == (1, 2) and found.a["digest"] != found.b["digest"]
    assert found.config == {"model.predictor.decoder_depth": (2, 3)}
    assert found.card == {"trial": ("depth-2", "depth-3")}
    assert found.figures["val_mpjpe_cm"] == {"a": 3.0, "b": 2.0, "difference": -1.0}
    assert found.figures["test_mpjpe_cm"] == {"a": 4.0, "b": 3.5, "difference": None}  # read, never compared
    assert found.tensors == {"decoder.2": (None, "F32 8x4"), "head": ("F32 2x3x2", "F32 2x3x3")}
    assert found.parameters == (2 * 32 + 12, 3 * 32 + 18)
    assert {"config.json", "metrics.json", "card.md", "model.safetensors"} <= set(found.files)
    assert all(one and two and one != two for one, two in found.files.values())


def test_the_gate_judges_b_against_a(store: Store, tmp_path: Path) -> None:
    publish_two(store, tmp_path)
    better = zoo.diff(f"{OBJECTS}@1", f"{OBJECTS}@2", store=store).gate
    assert better["passed"] and better["groups"] == 6 and better["high_cm"] < 0
    assert better["difference_cm"] == pytest.approx(-0.945, abs=0.02)
    worse = zoo.diff(f"{OBJECTS}@2", f"{OBJECTS}@1", store=store).gate
    assert not worse["passed"] and worse["difference_cm"] == pytest.approx(-better["difference_cm"])


def test_equal_versions_and_other_data(store: Store, tmp_path: Path) -> None:
    publish_two(store, tmp_path)
    same = zoo.diff(f"{OBJECTS}@1", f"{OBJECTS}@1", store=store)
    assert not (same.config or same.files or same.tensors or same.card)
    assert same.figures["val_mpjpe_cm"]["difference"] == 0
    zoo.publish(
        "latentact-world-tasks", write_bundle(tmp_path / "tasks", setting="tasks", window=15), store=store
    )
    other = zoo.diff(f"{OBJECTS}@1", "latentact-world-tasks@1", store=store)
    assert other.config["model.window"] == (30, 15)
    assert not other.gate["passed"] and other.gate["difference_cm"] is None
    assert "setting" in other.gate["sentence"]
    with pytest.raises(UnknownModel, match="no version 9"):
        zoo.diff(f"{OBJECTS}@1", f"{OBJECTS}@9", store=store)


@pytest.mark.parametrize("tensors", [1, 2000])
def test_weights_are_not_downloaded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: int
) -> None:
    """Of 8 MB of weights, only the header is read, also where it is longer than the first read."""
    folder = write_bundle(tmp_path / "large")
    each = 2_000_000 // tensors
    save_file(
        {f"layer.{i}": np.zeros(each, np.float32) for i in range(tensors)}, folder / "model.safetensors"
    )
    zoo.publish(OBJECTS, folder, store=store)
    read: list[int] = []
    get = type(store).get

    def counted(self: Store, key: str, **bounds: int) -> Blob:
        blob = get(self, key, **bounds)
        read.append(blob.size)
        return blob

    monkeypatch.setattr(type(store), "get", counted)
    found = zoo.diff(f"{OBJECTS}@1", f"{OBJECTS}@1", store=store)
    assert found.parameters == (2_000_000, 2_000_000)
    assert sum(read) < 1_000_000, read


def test_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    publish_two(open_store(), tmp_path)
    result = CliRunner().invoke(main, ["diff", f"{OBJECTS}@1", f"{OBJECTS}@2"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    for line in (
        ["FIGURE", "@1", "@2", "B", "-", "A"],
        ["val_mpjpe_cm", "3.00", "2.00", "-1.00"],
        ["test_mpjpe_cm", "4.00", "3.50", "-"],
        ["model.predictor.decoder_depth", "2", "3"],
        ["decoder.2", "-", "F32", "8x4"],
        ["trial", "depth-2", "depth-3"],
        ["weights", "76", "parameters", "and", "114"],
    ):
        assert line in lines, result.output
    assert "Candidate minus champion" in result.output
    result = CliRunner().invoke(main, ["diff", f"{OBJECTS}@1", f"{OBJECTS}@2", "--json"])
    assert json.loads(result.output)["config"] == {"model.predictor.decoder_depth": [2, 3]}
    again = CliRunner().invoke(main, ["diff", f"{OBJECTS}@1", f"{OBJECTS}@1"])
    assert again.exit_code == 0 and "@1 again" in again.output and "76 parameters in both" in again.output
