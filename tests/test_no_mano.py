"""MANO is licensed: no checkpoint, no shelf and no bundle holds an array of the hand model that it was trained with.

A file in MANO's layout stands in for it, with arrays that are nobody else's. A trial is trained with it, published as a
sweep publishes, and pulled; then every byte of every file is searched. That the search finds such arrays, in whatever
form they might get there, is shown by putting them there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from sweeps.assess import examine
from sweeps.card import Chosen
from sweeps.ledger import TrialRecord
from sweeps.publish import write_bundle
from tests.hand_scan import HandSearch
from tests.test_card import MADE
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import Recorder, tiny
from trainables.hand import load_hand
from trainables.model_folder import fetch_model
from trainables.standin_hand import standin_arrays
from trainables.trial import train_trial

NAME = "latentact-tiny-objects"
TRIAL = tiny(codebook_epochs=1, indexer_epochs=1, epochs=1, stride=2)  # a checkpoint of each stage
Arrays = dict[str, np.ndarray]


def mano_arrays() -> Arrays:
    """Arrays in MANO's layout that can be told from any others: the stand-in's with noise, and pose directions."""
    rng = np.random.default_rng(20261128)
    arrays = {name: np.asarray(value) for name, value in standin_arrays().items()}
    for name in ("v_template", "shapedirs", "weights", "J_regressor"):
        value = arrays[name].astype(np.float64)
        arrays[name] = value + (value != 0) * rng.normal(0, 0.01 * value.std(), value.shape)
    arrays["posedirs"] = rng.normal(0, 1e-3, arrays["posedirs"].shape)
    for name in ("hands_components", "hands_mean"):
        arrays[name] = rng.normal(0, 0.3, arrays[name].shape)
    return arrays


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return mano_arrays()


@pytest.fixture(scope="module")
def search(arrays: Arrays) -> HandSearch:
    """For all but the tree of joints, which is 16 small numbers in a row and nobody's."""
    return HandSearch({name: value for name, value in arrays.items() if name != "kintree_table"})


@pytest.fixture(scope="module")
def place(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a trial, its sweep and the zoo write: checkpoints/, shelves/, bundle/, zoo/ and home/ (the cache)."""
    top = tmp_path_factory.mktemp("mano")
    place, licensed = top / "written", top / "licensed"
    licensed.mkdir()
    np.savez(licensed / "MANO_RIGHT.npz", **arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANO_PATH", str(licensed))
        patch.setenv("LATENTACT_HOME", str(place / "home"))
        patch.setenv("LATENTACT_CACHE", str(place / "home" / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert load_hand().name == "mano"
        clips = tiny_clips(top / "clips", clips=16)
        recorder = Recorder(place / "checkpoints")
        shelves = {stage: str(place / "shelves" / stage) for stage in ("codebook", "indexer")}
        train_trial(TRIAL, clips, report=recorder, shelves=shelves)
        last = place / "checkpoints" / str(len(recorder.reports) - 1)
        metrics = examine(str(top / "clips"), TRIAL.to_json(), str(last), "cpu")
        publish(place, str(last), clips.digest, metrics)
        (place / "evaluation.json").write_text(json.dumps(metrics))  # as the store keeps it
    return place


def publish(place: Path, checkpoint: str, digest: str, metrics: dict[str, Any]) -> None:
    folder = place / "bundle"
    folder.mkdir()
    fetch_model(checkpoint, folder)
    plan: Any = SimpleNamespace(
        data_name="tiny", data_digest=digest, protocol="first", config=lambda setting, **params: TRIAL
    )
    curve = [(1, 5.0), (2, 4.0)]
    best = TrialRecord("abc", "objects", "search", {"codes": 16, "seed": 0}, epochs=2, curve=curve)
    write_bundle(
        folder, Chosen(name=NAME, plan=plan, setting="objects", best=best, metrics=metrics, made=MADE)
    )
    store = zoo.open_store(f"file://{place}/zoo")
    published = zoo.publish(NAME, folder, store=store)
    zoo.pull(f"{NAME}@{published.version}", store=store)


def test_everything_is_there_to_be_searched(place: Path) -> None:
    """A search of nothing finds nothing."""
    names = {path.name for path in place.rglob("*") if path.is_file()}
    assert names >= {"model.safetensors", "trial.safetensors", "trial.json", "weights.safetensors", "MLmodel"}
    assert names >= {
        "card.md",
        "metrics.json",
        "learning_curve.svg",
        "sample_trajectories.svg",
        "gallery.json",
        "manifest.json",
    }
    assert json.loads((place / "bundle" / "config.json").read_text())["model"]["hand"] == "mano"
    assert "needed to load it" in (place / "bundle" / "card.md").read_text()
    assert len(list((place / "home").rglob("*"))) > 5 and len(list((place / "checkpoints").iterdir())) >= 3


def test_nothing_that_is_written_holds_an_array_of_the_hand_model(place: Path, search: HandSearch) -> None:
    assert search.found_in(place) == []


def test_no_tensor_has_a_name_or_a_shape_of_the_hand_model(place: Path, arrays: Arrays) -> None:
    for path in place.rglob("*.safetensors"):
        for name, tensor in load_file(path).items():
            assert not set(arrays) & set(name.split(".")), name
            assert tuple(tensor.shape[:2]) != (778, 3), name


FORMS: dict[str, Callable[[np.ndarray], torch.Tensor]] = {
    "float64": lambda x: torch.from_numpy(x.astype(np.float64)),
    "float32": lambda x: torch.from_numpy(x.astype(np.float32)),
    "float16": lambda x: torch.from_numpy(x.astype(np.float16)),
    "bfloat16": lambda x: torch.from_numpy(x.astype(np.float32)).bfloat16(),
    "millimetres": lambda x: torch.from_numpy((1000 * x).astype(np.float32)),
    "transposed": lambda x: torch.from_numpy(np.ascontiguousarray(x.T.astype(np.float32))),
    "a slice": lambda x: torch.from_numpy(
        np.ascontiguousarray(x[len(x) // 3 : len(x) // 2].astype(np.float32))
    ),
    "every fourth row": lambda x: torch.from_numpy(np.ascontiguousarray(x[::4].astype(np.float32))),
    "within others": lambda x: torch.cat([torch.randn(1001), torch.from_numpy(x.astype(np.float32)).ravel()]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_components"]
)
def test_the_search_finds_what_is_planted_in_a_checkpoint(
    place: Path, arrays: Arrays, search: HandSearch, tmp_path: Path, name: str, form: str
) -> None:
    planted = FORMS[form](arrays[name])
    if name == "J_regressor" and form == "a slice":
        planted = torch.from_numpy(arrays[name][2:6]).float()
    tensors = load_file(place / "bundle" / "model.safetensors")
    save_file({**tensors, "decoder.planted": planted.contiguous()}, tmp_path / "model.safetensors")
    found = search.found_in(tmp_path)
    assert any(line.startswith(f"model.safetensors: {name} ") for line in found), found


@pytest.mark.parametrize("kind", ["int64", "int32", "uint16", "float32"])
def test_the_search_finds_planted_faces(
    arrays: Arrays, search: HandSearch, tmp_path: Path, kind: str
) -> None:
    faces = arrays["f"].astype(kind)[100:200]
    (tmp_path / "data.bin").write_bytes(b"odd" + faces.tobytes())
    found = search.found_in(tmp_path)
    assert any(": f " in line for line in found), found


@pytest.mark.parametrize(
    "file", ["metrics.json", "card.md", "figures/sample_trajectories.svg", "config.json"]
)
def test_the_search_finds_a_template_in_text(
    place: Path, arrays: Arrays, search: HandSearch, tmp_path: Path, file: str
) -> None:
    """Rounded to a tenth of a millimetre, among all that the file holds besides."""
    shutil.copytree(place / "bundle", tmp_path / "bundle")
    with open(tmp_path / "bundle" / file, "a") as text:
        text.write(json.dumps(np.round(arrays["v_template"][:100], 4).tolist()))
    found = search.found_in(tmp_path)
    assert found == [f"bundle/{file}: v_template by value"]
