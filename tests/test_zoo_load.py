"""A pulled model predicts what it predicted before it was published; MLflow's own client can load it too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_bundles import metrics

import zoo
from tests.mlflow_server import QUIET, running_mlflow
from trainables.hand import load_hand
from trainables.latentact import LatentAct, LatentActConfig
from trainables.model_folder import save_model
from zoo import layout, registry
from zoo.errors import RegistryError
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
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (folder / "card.md").write_text(f"# {OBJECTS}\n")
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
    """In a process of its own, with an empty cache, and without a module that trains."""
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
import numpy as np, torch
torch.set_num_threads({torch.get_num_threads()})
import zoo
from zoo.loading import trajectory_arrays
image = np.load({str(tmp_path / "image.npy")!r}, allow_pickle=False)
trajectory = zoo.load("{OBJECTS}@champion").predict(image=image, text={TEXT!r}, contact_point={POINT_M})
np.savez({str(tmp_path / "out.npz")!r}, **trajectory_arrays(trajectory))
rooms = {{"ray", "optuna", "mlflow", "pyarrow", "sweeps", "cluster"}}
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
        assert version.tags == {"trial": "abc", "zoo.digest": published.digest, "zoo.version": "1"}
        assert client.get_model_version_by_alias(OBJECTS, "champion").version == "1"

        # A version that MLflow does not know, because it was down, is caught up with.
        (tmp_path / "second").mkdir()
        for file in folder.iterdir():
            (tmp_path / "second" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "second" / "card.md").write_text("# another\n")
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        late = zoo.publish(OBJECTS, tmp_path / "second")
        assert late.version == 2 and f"zoo register {OBJECTS}" in late.registry_error
        patch.setenv("MLFLOW_TRACKING_URI", env["MLFLOW_TRACKING_URI"])
        assert registry.mirror(zoo.open_store(), OBJECTS)
        assert {v.version for v in client.search_model_versions(f"name='{OBJECTS}'")} == {"1", "2"}

    np.save(tmp_path / "image.npy", image)
    python(
        f"""
import mlflow, numpy as np, torch
torch.set_num_threads({torch.get_num_threads()})
model = mlflow.pyfunc.load_model("models:/{OBJECTS}@champion")
image = np.load({str(tmp_path / "image.npy")!r}, allow_pickle=False)
(result,) = model.predict([{{"image": image, "text": {TEXT!r}, "contact_point": {POINT_M}}}])
np.savez({str(tmp_path / "out.npz")!r}, **result)
""",
        **env,
    )
    assert_equal(tmp_path / "out.npz", expected)


@pytest.mark.slow
def test_registering_twice_at_once_leaves_one(mlflow_server: dict[str, str], folder: Path) -> None:
    """Two publishers of the same bytes may both miss the other's registration; the next mirror drops the
    second.
    """
    name, env = OBJECTS, {**mlflow_server, "LATENTACT_ZOO": "s3://zoo/twice"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in env.items():
            patch.setenv(key, value)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=env["MLFLOW_TRACKING_URI"])
        digest = zoo.publish(name, folder).digest
        client.create_model_version(
            name, f"s3://zoo/twice/{layout.version_folder(name, digest)}", tags={"zoo.digest": digest}
        )
        registry.mirror(zoo.open_store(), name)
        digests = [v.tags["zoo.digest"] for v in client.search_model_versions(f"name='{name}'")]
        assert digests.count(digest) == 1


def test_an_mlflow_that_cannot_be_told(object_store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found out at once: MLflow's own client would retry for minutes."""
    for key, value in {**object_store.env, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RegistryError, match="cannot be reached"):
        registry.mirror(zoo.open_store(), OBJECTS)
    with pytest.raises(RegistryError, match="use an s3:// store"):
        registry.mirror(zoo.open_store(f"file://{tmp_path}"), OBJECTS)


def test_no_hand_model_in_the_weights(folder: Path) -> None:
    """MANO is licensed: no tensor of the bundle may have its vertices or faces, whatever it is called."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        for name in weights.keys():  # noqa: SIM118 (not a dict)
            assert not {"v_template", "shapedirs", "posedirs", "faces"} & set(name.split(".")), name
            assert (778, 3) not in [weights.get_slice(name).get_shape()[:2]], name
