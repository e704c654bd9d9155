"""MLflow's registry is a view of the store: it can be down, lost, behind or ahead, and is brought in line again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

import zoo
from tests.mlflow_server import MlflowServer, running_mlflow
from tests.named_zoo import zoo_on_s3
from zoo import layout, registry
from zoo.cli import main
from zoo.errors import RegistryError
from zoo.store import Store, read_json, to_json

OBJECTS, SCENES, TEAM = "latentact-world-objects", "latentact-world-scenes", "ourlab/latentact-world-objects"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server of this file's own: tests kill it and lose its database."""
    with running_mlflow(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def store(object_store, server: MlflowServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """An empty store, shown by an MLflow that knows nothing yet."""
    store = zoo_on_s3(object_store, tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    for model in client(server).search_registered_models():
        client(server).delete_registered_model(model.name)
    return store


def client(server: MlflowServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)


def shown(server: MlflowServer) -> dict[str, Any]:
    """All that MLflow shows: versions with their source, tags and description, and aliases, by model."""
    mlflow = client(server)
    return {
        model.name: {
            "description": model.description,
            "aliases": {alias: int(version) for alias, version in model.aliases.items()},
            "tags": model.tags,
            "versions": {
                int(v.version): (v.source, v.tags, v.description)
                for v in mlflow.search_model_versions(f"name='{model.name}'")
            },
        }
        for model in mlflow.search_registered_models()
    }


def publish(name: str, folder: Path, *, seed: int = 0, **fields: Any) -> Any:
    return zoo.publish(name, write_bundle(folder / f"{name.replace('/', '-')}-{seed}", seed=seed, **fields))


def promote(store: Store, name: str, number: int, alias: str = "champion") -> None:
    """Move an alias as the last write of a promotion does, whatever the gate would say."""
    digest = read_json(store, layout.number_key(name, number))["digest"]
    record = {"schema": 1, "alias": alias, "number": number, "digest": digest, "sequence": 1}
    store.put(layout.alias_key(name, alias), to_json(record))


def test_versions_aliases_tags_and_descriptions_are_shown(
    store: Store, server: MlflowServer, tmp_path: Path
) -> None:
    first = publish(OBJECTS, tmp_path)
    team = publish(TEAM, tmp_path, seed=1)
    promote(store, TEAM, 1)
    assert registry.mirror(store, TEAM)
    models = shown(server)
    assert models.keys() == {OBJECTS, "ourlab--latentact-world-objects"}
    source, tags, description = models[OBJECTS]["versions"][1]
    assert source == first.url and "Random weights, seed 0" in description
    assert tags["zoo.digest"] == first.digest and tags["zoo.version"] == "1"
    assert (tags["setting"], tags["data"], tags["val_mpjpe_cm"]) == ("objects", "world", "3.25")
    assert "Random weights, seed 0" in models[OBJECTS]["description"]
    there = models["ourlab--latentact-world-objects"]
    assert there["aliases"] == {"champion": 1} and there["tags"]["zoo.name"] == TEAM
    assert there["versions"][1][0] == team.url and "ourlab--latentact-world-objects" in team.url
    assert zoo.rebuild_registry() == [
        zoo.registry_rebuild.Rebuilt(name=OBJECTS),
        zoo.registry_rebuild.Rebuilt(name=TEAM),
    ]


def test_the_description_follows_the_champion(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    for seed in range(2):
        publish(OBJECTS, tmp_path, seed=seed)
    assert "seed 1" in shown(server)[OBJECTS]["description"]  # the newest, where there is no champion
    for number, seed in ((1, "seed 0"), (2, "seed 1")):
        promote(store, OBJECTS, number)
        registry.mirror(store, OBJECTS)
        model = shown(server)[OBJECTS]
        assert model["aliases"] == {"champion": number} and seed in model["description"]
    store.delete(layout.alias_key(OBJECTS, "champion"))
    registry.mirror(store, OBJECTS)
    assert shown(server)[OBJECTS]["aliases"] == {}


def test_a_lost_database_is_made_again_from_the_store(
    store: Store, server: MlflowServer, tmp_path: Path
) -> None:
    """Down, then without its database: pulling by name goes on, and a rebuild shows what was shown before."""
    for seed in range(3):
        publish(OBJECTS, tmp_path, seed=seed)
    publish(SCENES, tmp_path, setting="scenes")
    publish(TEAM, tmp_path, seed=1)
    promote(store, OBJECTS, 2)
    promote(store, SCENES, 1, "candidate")
    zoo.rebuild_registry()
    before = shown(server)

    server.kill()
    try:
        assert (zoo.pull(f"{OBJECTS}@champion") / "card.md").read_text().endswith("seed 1.\n")
        late = publish(OBJECTS, tmp_path, seed=3)
        assert late.version == 4 and f"zoo registry rebuild {OBJECTS}" in late.registry_error
        with pytest.raises(RegistryError, match="cannot be reached"):
            zoo.rebuild_registry()
        server.delete_database()
    finally:
        server.start()
    assert shown(server) == {}
    assert (zoo.pull(f"{SCENES}@candidate") / "card.md").is_file()

    planned = CliRunner().invoke(main, ["registry", "rebuild", "--dry-run"])
    assert planned.exit_code == 0 and f"would add {OBJECTS}@4" in planned.output, planned.output
    assert "3 models, of which 3 would be changed." in planned.output and shown(server) == {}
    done = CliRunner().invoke(main, ["registry", "rebuild", "*-objects", "--json"])
    assert [one["name"] for one in json.loads(done.stdout)] == [OBJECTS, TEAM]
    assert SCENES not in shown(server)
    zoo.rebuild_registry()
    after = shown(server)
    assert after[OBJECTS]["versions"].pop(4)[0] == late.url
    assert after == before
    assert "3 models, of which 0 were changed." in CliRunner().invoke(main, ["registry", "rebuild"]).output


def test_numbers_stay_the_stores_after_gaps(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    """A version that was collected leaves a gap, which MLflow keeps too."""
    for seed in range(4):
        publish(OBJECTS, tmp_path, seed=seed)
    for number in (1, 3):
        key = layout.number_key(OBJECTS, number)
        store.put(key, to_json({**read_json(store, key), "collected": {"by": "test"}}))
    (changed,) = zoo.rebuild_registry()
    assert len(changed.changes) == 2 and sorted(shown(server)[OBJECTS]["versions"]) == [2, 4]
    client(server).delete_registered_model(OBJECTS)
    zoo.rebuild_registry()
    versions = shown(server)[OBJECTS]["versions"]
    assert sorted(versions) == [2, 4]
    assert all(tags["zoo.version"] == str(number) for number, (_, tags, _) in versions.items())


def test_numbers_that_ran_ahead_are_made_afresh(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    """Two publishers registered one version at once, and MLflow counted both."""
    first = publish(OBJECTS, tmp_path)
    tags = {"zoo.digest": first.digest, "zoo.version": "1"}
    client(server).create_model_version(OBJECTS, first.url, tags=tags)
    publish(OBJECTS, tmp_path, seed=1)
    versions = shown(server)[OBJECTS]["versions"]
    assert {number: tags["zoo.version"] for number, (_, tags, _) in versions.items()} == {1: "1", 3: "2"}
    promote(store, OBJECTS, 2)
    registry.mirror(store, OBJECTS)
    assert shown(server)[OBJECTS]["aliases"] == {"champion": 3}  # the right one, under MLflow's number
    (changed,) = zoo.rebuild_registry()
    assert changed.changes[0] == f"number {OBJECTS} afresh"
    model = shown(server)[OBJECTS]
    assert sorted(model["versions"]) == [1, 2] and model["aliases"] == {"champion": 2}


def test_what_others_registered_is_left_alone(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    publish(OBJECTS, tmp_path)
    mlflow = client(server)
    mlflow.create_model_version(OBJECTS, "s3://elsewhere/model", tags={"zoo.digest": "1", "zoo.version": "9"})
    mlflow.set_registered_model_alias(OBJECTS, "theirs", "2")
    publish(OBJECTS, tmp_path, seed=1)
    zoo.rebuild_registry()
    model = shown(server)[OBJECTS]
    assert {n: tags["zoo.version"] for n, (_, tags, _) in model["versions"].items()} == {
        1: "1",
        2: "9",
        3: "2",
    }
    assert model["aliases"] == {"theirs": 2}


def test_a_version_with_other_bytes_is_replaced(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    """The store was emptied and filled again, and MLflow still shows what was there."""
    published = publish(OBJECTS, tmp_path)
    client(server).set_model_version_tag(OBJECTS, "1", "zoo.digest", "0" * 64)
    (changed,) = zoo.rebuild_registry()
    assert changed.changes[0].startswith(f"remove {OBJECTS}@1") and f"add {OBJECTS}@1" in changed.changes
    ((_, tags, _),) = shown(server)[OBJECTS]["versions"].values()
    assert tags["zoo.digest"] == published.digest


def test_many_publishers_at_once_are_all_shown(store: Store, server: MlflowServer, tmp_path: Path) -> None:
    """MLflow gives the highest number plus one, and two may ask for it at once."""
    folders = [write_bundle(tmp_path / f"{seed}", seed=seed) for seed in range(8)]
    errors: list[str] = []
    threads = [
        threading.Thread(
            target=lambda folder=folder: errors.append(zoo.publish(OBJECTS, folder).registry_error)
        )
        for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [""] * 8
    zoo.rebuild_registry()
    versions = shown(server)[OBJECTS]["versions"]
    assert {n: tags["zoo.version"] for n, (_, tags, _) in versions.items()} == {
        n: str(n) for n in range(1, 9)
    }


def test_an_unreadable_card_and_a_name_that_nobody_has(
    store: Store, server: MlflowServer, tmp_path: Path
) -> None:
    published = publish(OBJECTS, tmp_path)
    client(server).delete_registered_model(OBJECTS)
    store.put(f"{layout.version_folder(OBJECTS, published.digest)}/card.md", b"# other bytes\n")
    zoo.rebuild_registry()
    assert "cannot be read" in shown(server)[OBJECTS]["description"]
    missing = CliRunner().invoke(main, ["registry", "rebuild", "latentact-wrold-objects"])
    assert missing.exit_code == 1 and "Did you mean latentact-world-objects?" in missing.output


def test_versions_lead_to_the_run_that_trained_them(
    store: Store, server: MlflowServer, tmp_path: Path
) -> None:
    """Runs that were made again after a loss have other names: they are found by their trial's identity."""
    mlflow = client(server)
    experiment = mlflow.create_experiment(f"runs-{uuid.uuid4().hex}")
    runs = [
        mlflow.create_run(experiment, tags={"latentact.identity": i}).info.run_id for i in ("aa11", "bb22")
    ]
    for seed, tags in enumerate(
        (
            {"run_id": runs[0], "identity": "aa11"},
            {"run_id": "0" * 32, "identity": "bb22"},
            {"run_id": "0" * 32, "identity": "cc33"},
        )
    ):
        zoo.publish(OBJECTS, write_bundle(tmp_path / f"{seed}", seed=seed), tags=tags)
    found = {v.version: v.run_id for v in mlflow.search_model_versions(f"name='{OBJECTS}'")}
    assert [found["1"], found["2"], found["3"] or ""] == [*runs, ""]
