"""A pulled model predicts what it predicted before it was published; MLflow's own client can load it too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_bundles import card_metadata, metrics

import zoo
from tests.mlflow_server import QUIET, running_mlflow
from trainables.hand import load_hand
from trainables.latentact import LatentAct, LatentActConfig
from trainables.model_folder import save_model
from zoo import bundle, mlmodel, model_card, registry
from zoo.errors import BundleError, RegistryError
from zoo.loading import trajectory_arrays

OBJECTS = "latentact-world-objects"
REPOSITORY = Path(__file__).parents[1]
TEXT, POINT_M = "grasp the mug", [0.02, -0.05, 0.6]


@pytest.fixture(scope="module")
def model() -> LatentAct:
    """A model with random weights, as training leaves it."""
    torch.manual_seed(0)
    config = LatentActConfig(data="world", data_digest="d" * 64, setting="objects", hand=load_hand().name)
    return LatentAct(config, load_hand()).eval()


@pytest.fixture(scope="module")
def folder(model: LatentAct, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    save_model(model, folder)
    example = {"text": TEXT, "contact_point": POINT_M}
    (folder / "metrics.json").write_text(json.dumps({**metrics([3.0] * 6), "example": example}))
    said = card_metadata(json.loads((folder / "config.json").read_text())["model"])
    (folder / "card.md").write_text(model_card.write(said, f"# {OBJECTS}\n"))
    return folder


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(model: LatentAct, image: np.ndarray) -> dict[str, np.ndarray]:
    return trajectory_arrays(model.predict(image=image, text=TEXT, contact_point=POINT_M))


@pytest.fixture(scope="module")
def mlflow_server(object_store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An MLflow server with its artefacts in the object store; gives the environment of its clients."""
    folder = tmp_path_factory.mktemp("mlflow")
    with running_mlflow(folder, "s3://mlflow", object_store.env) as server:
        yield {**object_store.env, **QUIET, "MLFLOW_TRACKING_URI": server.uri}


def python(script: str, **env: str) -> str:
    """Run a script in a fresh process; returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def assert_equal(path: Path, expected: dict[str, np.ndarray]) -> None:
    with np.load(path, allow_pickle=False) as actual:
        assert set(actual) == set(expected)
        for name, value in expected.items():
            assert value.dtype == actual[name].dtype
            np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_a_pulled_model_predicts_bit_for_bit_the_same(
    object_store, folder: Path, image: np.ndarray, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """In a process of its own, with an empty cache, where nothing that sweeps or trains can be imported."""
    env = {**object_store.env, "LATENTACT_HOME": f"{tmp_path}/home", "LATENTACT_ZOO": "s3://zoo/bit-for-bit"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in env.items():
            patch.setenv(key, value)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        zoo.publish(OBJECTS, folder)
        zoo.promote(OBJECTS, 1)
    np.save(tmp_path / "image.npy", image)
    python(
        f"""
import sys
rooms = {{"ray", "optuna", "mlflow", "pyarrow", "sweeps", "cluster"}}
class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in rooms:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)
sys.meta_path.insert(0, Absent)
import numpy as np, torch
torch.set_num_threads({torch.get_num_threads()})
import zoo
from zoo.loading import trajectory_arrays
image = np.load({str(tmp_path / "image.npy")!r}, allow_pickle=False)
trajectory = zoo.load("{OBJECTS}@champion").predict(image=image, text={TEXT!r}, contact_point={POINT_M})
np.savez({str(tmp_path / "out.npz")!r}, **trajectory_arrays(trajectory))
training = {{f"trainables.{{m}}" for m in ("trial", "stages", "optimisation", "clips", "clip_reader", "evaluate", "shelf")}}
assert not (rooms | training) & set(sys.modules), (rooms | training) & set(sys.modules)
""",
        **env,
    )
    assert_equal(tmp_path / "out.npz", expected)


def test_predict_on_the_command_line(folder: Path, image: np.ndarray, expected: dict, tmp_path: Path) -> None:
    from click.testing import CliRunner
    from PIL import Image

    from zoo.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_HOME", f"{tmp_path}/home")
        patch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
        zoo.publish(OBJECTS, folder)
        Image.fromarray(image).save(tmp_path / "image.png")
        point = ",".join(map(str, POINT_M))
        args = [
            "predict",
            f"{OBJECTS}@1",
            "--image",
            f"{tmp_path}/image.png",
            "--text",
            TEXT,
            "--contact-point",
            point,
        ]
        result = CliRunner().invoke(main, [*args, "--out", f"{tmp_path}/out.npz"])
        assert result.exit_code == 0, result.output
        assert "frames    30" in result.output and "contact   " in result.output
        assert_equal(tmp_path / "out.npz", expected)
        facts = json.loads(CliRunner().invoke(main, [*args, "--json"]).output)
        np.testing.assert_array_equal(
            np.asarray(facts["wrist_m"], np.float32), np.asarray(expected["joints_m"][:, 0], np.float32)
        )
        assert facts["frames"] == 30 and len(facts["contact_by_finger"]) == 5 and facts["saved"] is None
        (tmp_path / "image.png").write_bytes(b"no image")
        failed = CliRunner().invoke(main, args)
        assert failed.exit_code == 1 and "image.png cannot be read" in failed.output


@pytest.mark.slow
def test_plain_mlflow_sees_and_loads_it(
    mlflow_server: dict[str, str], folder: Path, expected: dict, image: np.ndarray, tmp_path: Path
) -> None:
    env = {**mlflow_server, "LATENTACT_ZOO": "s3://zoo/with-mlflow", "LATENTACT_HOME": f"{tmp_path}/home"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in env.items():
            patch.setenv(key, value)
        published = zoo.publish(OBJECTS, folder, tags={"trial": "abc"})
        assert zoo.publish(OBJECTS, folder) == published
        assert zoo.promote(OBJECTS, 1).registry_error == ""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=env["MLFLOW_TRACKING_URI"])
        (version,) = client.search_model_versions(f"name='{OBJECTS}'")
        assert version.version == "1" and version.source == published.url
        assert version.tags["trial"] == "abc" and version.tags["zoo.digest"] == published.digest
        assert client.get_model_version_by_alias(OBJECTS, "champion").version == "1"

        # A version that MLflow does not know, because it was down, is caught up with.
        (tmp_path / "second").mkdir()
        for file in folder.iterdir():
            (tmp_path / "second" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "second" / "card.md").write_text("# another\n")
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        late = zoo.publish(OBJECTS, tmp_path / "second")
        assert late.version == 2 and f"zoo registry rebuild {OBJECTS}" in late.registry_error
        patch.setenv("MLFLOW_TRACKING_URI", env["MLFLOW_TRACKING_URI"])
        assert registry.mirror(zoo.open_store(), OBJECTS)
        assert {v.version for v in client.search_model_versions(f"name='{OBJECTS}'")} == {"1", "2"}

    np.save(tmp_path / "image.npy", image)
    python(
        f"""
import mlflow, numpy as np, torch
torch.set_num_threads({torch.get_num_threads()})
model = mlflow.pyfunc.load_model("models:/{OBJECTS}@champion")
signature = mlflow.models.get_model_info("models:/{OBJECTS}@champion").signature
assert signature.inputs.required_input_names() == ["text"], signature
assert model.metadata.signature == signature and model.input_example["text"][0] == {TEXT!r}
(example,) = model.predict(model.input_example)
assert list(example) == signature.outputs.input_names()
image = np.load({str(tmp_path / "image.npy")!r}, allow_pickle=False)
(result,) = model.predict([{{"image": image, "text": {TEXT!r}, "contact_point": {POINT_M}}}])
np.savez({str(tmp_path / "out.npz")!r}, **result)
""",
        **env,
    )
    assert_equal(tmp_path / "out.npz", expected)


def seal(folder: Path, into: Path) -> Path:
    """The bundle as publishing stores it."""
    shutil.copytree(folder, into)
    for path, content in bundle.added(into).items():
        (into / path).write_bytes(content)
    (into / "manifest.json").write_bytes(bundle.make_manifest(into).to_bytes())
    return into


def test_mlflow_enforces_the_signature_and_predicts_the_example(
    folder: Path, image: np.ndarray, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """As MLflow's own client does with the folder, without a server; nothing in it is a pickle."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from PIL import Image

    stored = seal(folder, tmp_path / "bundle")
    bundle.verify(stored)
    assert {path.suffix for path in stored.iterdir()} == {"", ".json", ".md", ".safetensors"}
    info = mlflow.models.get_model_info(str(stored))
    names = [column.name for column in info.signature.inputs]
    assert names == ["text", "image", "contact_point"] and info.signature.inputs.required_input_names() == [
        "text"
    ]
    loaded = mlflow.pyfunc.load_model(str(stored))
    (example,) = loaded.predict(loaded.input_example)
    for column in info.signature.outputs:
        value, dimensions = example[column.name], str(column.type).count("Array(")
        assert value.dtype == np.float32 and value.ndim == dimensions == mlmodel.OUTPUTS[column.name]
    assert len(info.signature.outputs.inputs) == len(example)

    row = {"text": TEXT, "contact_point": POINT_M}
    pictures = (image, Image.fromarray(image), image.tolist())  # the last as a served model is sent it
    for result in [
        *loaded.predict([{**row, "image": picture} for picture in pictures]),
        loaded.predict({**row, "image": image})[0],
    ]:
        for name, value in expected.items():
            np.testing.assert_array_equal(result[name], value, err_msg=name)
    unknown = loaded.predict([{"text": TEXT, "contact_point": p, "image": None} for p in (None, [])] + [row])
    np.testing.assert_array_equal(unknown[0]["joints_m"], unknown[1]["joints_m"])
    np.testing.assert_array_equal(unknown[2]["joints_m"], example["joints_m"])
    for wrong in ({"image": image}, {"text": TEXT, "contact_point": "0,0,1"}):
        with pytest.raises(MlflowException, match="schema"):
            loaded.predict([wrong])


def test_the_serving_example_is_a_request(folder: Path, tmp_path: Path) -> None:
    from mlflow.models.utils import _validate_serving_input

    stored = seal(folder, tmp_path / "bundle")
    (result,) = _validate_serving_input(str(stored), (stored / "serving_input_example.json").read_text())
    assert result["joints_m"].shape == (30, 21, 3)


def test_bundles_from_before_there_was_a_signature(folder: Path, expected: dict, tmp_path: Path) -> None:
    """They keep their digest, are verified, published again and loaded."""
    import mlflow

    old = shutil.copytree(folder, tmp_path / "bundle")
    (old / "MLmodel").write_bytes(mlmodel.WITHOUT_SIGNATURE)
    manifest = bundle.make_manifest(old)
    assert [file.path for file in manifest.files] == [
        "MLmodel",
        "card.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
    ]
    (old / "manifest.json").write_bytes(manifest.to_bytes())
    loaded = mlflow.pyfunc.load_model(str(old))
    assert loaded.metadata.signature is None
    assert loaded.predict([{"text": TEXT}])[0].keys() == expected.keys()
    (old / "MLmodel").write_bytes(mlmodel.WITHOUT_SIGNATURE + b"# mine\n")
    with pytest.raises(BundleError, match="not the zoo's own"):
        bundle.make_manifest(old)


def test_an_mlflow_that_cannot_be_told(object_store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found out at once: MLflow's own client would retry for minutes."""
    for key, value in {**object_store.env, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RegistryError, match="cannot be reached"):
        registry.mirror(zoo.open_store(), OBJECTS)
    with pytest.raises(RegistryError, match="use an s3:// store"):
        registry.mirror(zoo.open_store(f"file://{tmp_path}"), OBJECTS)
