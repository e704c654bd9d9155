"""`zoo verify`: what is damaged is found, all of it, in the store, in a folder, and by the command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file
from zoo_bundles import metrics, write_bundle

import zoo
from trainables.hand import load_hand
from trainables.latentact import LatentAct, LatentActConfig
from trainables.model_folder import load_model, save_model
from zoo import bundle, layout
from zoo.cli import main
from zoo.errors import DamagedRecord, StoreUnreachable, UnknownModel
from zoo.names import parse_reference
from zoo.store import Store

OBJECTS = "latentact-world-objects"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own cache, no MLflow, and the test's store as the environment's."""
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("LATENTACT_ZOO", store.url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def test_a_sound_version_is_sound_and_nothing_is_kept(store: Store, folder: Path, tmp_path: Path) -> None:
    published = zoo.publish(OBJECTS, folder, store=store)
    found = zoo.verify(f"{OBJECTS}@1", store=store)
    assert found.sound and found.what == f"{OBJECTS}@1" and found.digest == published.digest
    assert found.files == 4 + 3 and found.size > 8192
    assert not (tmp_path / "home" / "cache").exists()
    assert zoo.verify(folder).digest == published.digest  # as publishing would
    assert zoo.verify(str(zoo.pull(f"{OBJECTS}@1"))).sound


def test_all_that_is_wrong_is_reported(store: Store, folder: Path) -> None:
    top = layout.version_folder(OBJECTS, zoo.publish(OBJECTS, folder, store=store).digest)
    weights = bytearray(store.get(f"{top}/model.safetensors").read())
    weights[-1] ^= 1
    store.put(f"{top}/model.safetensors", bytes(weights))
    store.put(f"{top}/metrics.json", b"{}" + b" " * 100_000)
    store.delete(f"{top}/card.md")
    store.put(f"{top}/evil.py", b"import os")
    found = {problem.file: problem for problem in zoo.verify(f"{OBJECTS}@1", store=store).problems}
    assert set(found) == {"model.safetensors", "metrics.json", "card.md", "evil.py"}
    assert {problem.error for problem in found.values()} == {"DamagedBundle", "FileRefused"}
    assert "card.md is gone: publish the folder" in found["card.md"].sentence
    zoo.publish(OBJECTS, folder, store=store)
    (left,) = zoo.verify(f"{OBJECTS}@1", store=store).problems
    assert left.file == "evil.py" and "delete that object" in left.sentence
    store.delete(f"{top}/manifest.json")
    (lost,) = zoo.verify(f"{OBJECTS}@1", store=store).problems
    assert lost.file == "manifest.json" and "publish the folder" in lost.sentence


def test_a_hostile_file_with_the_right_digest_is_found(store: Store, folder: Path, tmp_path: Path) -> None:
    """Whoever planted it wrote the manifest, too."""
    (folder / "notes.md").write_bytes(b"# Notes\n")
    manifest = bundle.make_manifest(folder)
    for path, data in [("notes.md", b"<script>x</script>"), ("model.safetensors", b"\x10" + b"\0" * 40)]:
        planted = {file.path: file for file in manifest.files} | {
            path: bundle.File(path, hashlib.sha256(data).hexdigest(), len(data))
        }
        forged = bundle.Manifest(tuple(planted.values()))
        top, number = layout.version_folder(OBJECTS, forged.digest), 1 + len(layout.numbers(store, OBJECTS))
        for file in forged.files:
            local = folder / file.path
            store.put(
                f"{top}/{file.path}",
                data if file.path == path else local if local.is_file() else bundle.added(folder)[file.path],
            )
        store.put(f"{top}/manifest.json", forged.to_bytes())
        store.put(
            layout.number_key(OBJECTS, number),
            json.dumps({"schema": 1, "number": number, "digest": forged.digest}).encode(),
        )
        (problem,) = zoo.verify(f"{OBJECTS}@{number}", store=store).problems
        assert problem.file == path and problem.error in ("ContentRefused", "WeightsRefused")


def test_a_folder(store: Store, folder: Path) -> None:
    zoo.publish(OBJECTS, folder, store=store)
    pulled = zoo.pull(f"{OBJECTS}@1", store=store)
    (pulled / "card.md").chmod(0o644)
    (pulled / "card.md").write_text("other")
    (pulled / "x.md").write_text("other")
    assert {problem.file for problem in zoo.verify(pulled).problems} == {"card.md", "x.md"}
    (folder / "weights.pkl").write_bytes(b"x")
    (problem,) = zoo.verify(folder).problems
    assert problem.error == "PickleRefused" and "weights.pkl" in problem.sentence
    (problem,) = zoo.verify(folder / "nothing").problems
    assert "There is no folder" in problem.sentence
    with pytest.raises(UnknownModel):
        zoo.verify(f"{OBJECTS}@7", store=store)


def test_the_whole_zoo_and_the_command(store: Store, folder: Path, tmp_path: Path) -> None:
    for seed in range(3):
        zoo.publish(OBJECTS, write_bundle(tmp_path / str(seed), seed=seed), store=store)
    zoo.publish("latentact-world-scenes", write_bundle(tmp_path / "scenes", setting="scenes"), store=store)
    assert [found.sound for found in zoo.verify_all(store=store)] == [True] * 4
    assert [found.what for found in zoo.verify_all("*-scenes", store=store)] == ["latentact-world-scenes@1"]
    run = CliRunner().invoke(main, ["verify", "--all"])
    assert run.exit_code == 0 and run.stdout.endswith("4 verified, 0 unsound.\n")
    _, digest = layout.resolve(store, parse_reference(f"{OBJECTS}@2"))
    store.put(f"{layout.version_folder(OBJECTS, digest)}/card.md", b"# other")
    run = CliRunner().invoke(main, ["verify", "--all", "*-objects"])
    assert run.exit_code == 1 and f"{OBJECTS}@2  DamagedBundle  card.md: " in run.stdout
    run = CliRunner().invoke(main, ["verify", f"{OBJECTS}@2", "--json"])
    facts = json.loads(run.stdout)
    assert run.exit_code == 1 and not facts["sound"] and facts["problems"][0]["file"] == "card.md"
    run = CliRunner().invoke(main, ["verify"])
    assert run.exit_code == 1 and "Say what to verify" in run.stderr
    assert (
        CliRunner().invoke(main, ["verify", f"{OBJECTS}@3"]).stdout.startswith(f"{OBJECTS}@3  sound: 7 files")
    )


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model with random weights, as training leaves it, and what else a bundle needs."""
    torch.manual_seed(0)
    config = LatentActConfig(data="world", data_digest="d" * 64, setting="objects", hand=load_hand().name)
    folder = tmp_path / "real"
    save_model(LatentAct(config, load_hand()), folder)
    (folder / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (folder / "card.md").write_text(f"# {OBJECTS}\n")
    return folder


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_deep_builds_the_model_and_looks_at_every_weight(store: Store, model_folder: Path) -> None:
    folder = model_folder
    assert zoo.verify(folder, deep=True).sound
    zoo.publish(OBJECTS, folder, store=store)
    assert zoo.verify(f"{OBJECTS}@1", deep=True, store=store).sound
    model = load_model(folder)
    next(model.parameters()).data.view(-1)[0] = torch.nan
    save_model(model, folder)
    assert zoo.verify(folder).sound
    (problem,) = zoo.verify(folder, deep=True).problems
    assert problem.error == "WeightsRefused" and "no number" in problem.sentence
    save_file({"weight": np.zeros(3, np.float32)}, folder / "model.safetensors")
    (problem,) = zoo.verify(folder, deep=True).problems
    assert problem.error == "WeightsRefused" and "save the model again" in problem.sentence


def test_a_store_that_is_away_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: object, **more: object) -> None:
        raise StoreUnreachable("Nothing answers.")

    monkeypatch.setattr(type(store), "get", away)
    with pytest.raises(StoreUnreachable):
        zoo.verify(f"{OBJECTS}@1", store=store)


def peak_kib() -> int:
    """The most memory that this process has had since its peak began anew."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("store", ["file"], indirect=True)
@pytest.mark.parametrize(
    ("part", "field", "value", "error"),
    [
        ("codebook.quantizer", "codes", 60_000, "WeightsRefused"),
        ("codebook.quantizer", "codes", 10**12, "ContentRefused"),
        ("predictor.decoder", "width", 65_536, "WeightsRefused"),
        ("predictor.decoder", "depth", 900, "WeightsRefused"),
        ("predictor.decoder", "depth", 10**9, "ContentRefused"),
        ("predictor.decoder", "width", "x", "ContentRefused"),
        ("predictor", "conditions", 7, "ContentRefused"),
    ],
)
def test_a_config_that_asks_for_more_than_its_weights(
    store: Store, model_folder: Path, part: str, field: str, value: object, error: str
) -> None:
    """Found before it costs memory: the peak of this process does not move by what the config asks for."""
    config = json.loads((model_folder / "config.json").read_bytes())
    target = config["model"]
    for name in part.split("."):
        target = target[name]
    target[field] = value
    (model_folder / "config.json").write_text(json.dumps(config))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: earlier tests had a higher one
    before = peak_kib()
    (problem,) = zoo.verify(model_folder, deep=True).problems
    assert problem.error == error, problem.sentence
    assert peak_kib() - before < 200 << 10


def test_what_others_wrote_into_records_is_shown_as_plain_lines(store: Store, folder: Path) -> None:
    zoo.publish(OBJECTS, folder, store=store, tags={"note": "two\nlines \x1b[2J"})
    run = CliRunner().invoke(main, ["show", f"{OBJECTS}@1"])
    assert run.exit_code == 0 and "note = two lines  [2J\n" in run.stdout
    store.put("models/\u00e9vil/numbers/1.json", b"{}")
    store.put(f"models/{OBJECTS}/aliases/Evil.json", b"{}")
    assert [entry.name for entry in zoo.ls(store=store)] == [OBJECTS]
    key = layout.number_key(OBJECTS, 1)
    store.put(key, json.dumps({**json.loads(store.get(key).read()), "tags": [1]}).encode())
    with pytest.raises(DamagedRecord, match=r"numbers/1\.json gives tags"):
        zoo.show(f"{OBJECTS}@1", store=store)
