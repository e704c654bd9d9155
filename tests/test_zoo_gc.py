"""The collector: what goes, what stays, and what happens when it meets publishers, promotions and its own death."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from zoo_marks import die_before_the_number, files, let_pass, publish

import zoo
from tests.mlflow_server import MlflowServer
from tests.object_server import ObjectStore
from zoo import collecting, garbage, holding, layout, numbering
from zoo.cli import main
from zoo.errors import CollectedVersion, StoreError
from zoo.store import Store, open_store, read_json

NAME = "latentact-world-objects"
TOP = layout.model_folder(NAME)
DAY_S = 24 * 3600.0


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))


def test_what_a_dead_publisher_left_goes_after_the_grace_period(store: Store, tmp_path: Path) -> None:
    kept = publish(store, NAME, tmp_path, 0)
    dead = die_before_the_number(store, NAME, tmp_path, 1)
    assert zoo.gc(store=store) == []  # it may be alive
    let_pass(store, f"{TOP}/publishing/", hours=25)
    (found,) = zoo.gc(store=store)
    assert (found.kind, found.digest, found.state) == ("unfinished", dead, "would go")
    assert "25 hours ago" in found.reason and found.objects == len(files(store, NAME, dead))
    assert "manifest.json" in files(store, NAME, dead)  # a dry run

    assert [item.state for item in zoo.gc(store=store, delete=True)] == ["gone"]
    assert files(store, NAME, dead) == [] and zoo.gc(store=store) == []
    for folder in ("publishing", "collecting"):
        assert list(store.list(f"{TOP}/{folder}/")) == []
    assert zoo.pull(f"{NAME}@1", store=store).name == kept.digest
    assert publish(store, NAME, tmp_path, 1).version == 2


def test_other_models_are_left_alone(store: Store, tmp_path: Path) -> None:
    die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    assert zoo.gc("*-scenes", store=store) == []
    assert len(zoo.gc("*-objects", store=store)) == 1


def test_files_of_unknown_age_get_a_grace_period(store: Store, tmp_path: Path) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    for key in list(store.list(f"{TOP}/publishing/")):
        store.delete(key)
    (found,) = zoo.gc(store=store)
    assert found.kind == "unknown" and "begins with --delete" in found.reason
    assert zoo.gc(store=store, delete=True)[0].state == "its grace period begins now"
    assert zoo.gc(store=store, delete=True) == [] and files(store, NAME, dead)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    assert zoo.gc(store=store, delete=True)[0].state == "gone"
    assert files(store, NAME, dead) == []


def test_a_publisher_at_work_keeps_what_a_dead_one_left(store: Store, tmp_path: Path) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    (item,) = garbage.find(store, NAME, DAY_S, None)
    with holding.held(store, NAME, dead):
        assert zoo.gc(store=store) != [item]
        assert collecting._collect(store, item, DAY_S) == "kept: it is in use"
    assert "manifest.json" in files(store, NAME, dead)


def test_a_version_that_got_its_number_meanwhile_is_kept(store: Store, tmp_path: Path) -> None:
    die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    (item,) = garbage.find(store, NAME, DAY_S, None)
    publish(store, NAME, tmp_path)
    assert collecting._collect(store, item, DAY_S) == "kept: it was published or promoted meanwhile"
    zoo.pull(f"{NAME}@1", store=store)
    assert list(store.list(f"{TOP}/collecting/")) == []


def test_a_publisher_waits_for_a_collector(store: Store, tmp_path: Path) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    tombstone = holding.entomb(store, NAME, dead, DAY_S)
    assert tombstone is not None
    published = threading.Event()

    def run() -> None:
        publish(store, NAME, tmp_path)
        published.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert not published.wait(0.5) and layout.numbers(store, NAME) == []
    tombstone.remove()
    thread.join()
    assert published.is_set() and zoo.pull(f"{NAME}@1", store=store).name == dead


def test_a_dead_collector_is_waited_for_no_longer_than_its_lease(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    assert holding.entomb(store, NAME, dead, DAY_S) is not None
    assert holding.entomb(store, NAME, dead, DAY_S) is None  # the first one may be alive
    monkeypatch.setattr(holding, "LEASE_S", 0.3)
    assert publish(store, NAME, tmp_path).version == 1
    assert list(store.list(f"{TOP}/collecting/")) == []


def test_another_collector_takes_over_after_the_grace_period(store: Store, tmp_path: Path) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    assert holding.entomb(store, NAME, dead, DAY_S) is not None
    assert zoo.gc(store=store, delete=True) == []
    let_pass(store, f"{TOP}/collecting/", hours=25)
    assert [item.state for item in zoo.gc(store=store, delete=True)] == ["gone"]
    assert files(store, NAME, dead) == [] and list(store.list(f"{TOP}/collecting/")) == []


@pytest.mark.parametrize("moment", ["before its number", "after its number"])
def test_a_publisher_taken_for_dead_begins_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its process was stopped for longer than the grace period, and a collector came by."""
    take, stopped = numbering.take_number, []

    def stop(store: Store, name: str, record: dict) -> int:
        number = take(store, name, record) if moment == "after its number" else 0
        if not stopped:
            stopped.append([item.state for item in zoo.gc(store=store, delete=True, grace_s=0.0)])
        return number or take(store, name, record)

    monkeypatch.setattr(numbering, "take_number", stop)
    published = publish(store, NAME, tmp_path)
    assert stopped == [["gone"]]
    assert published.version == 1 and layout.numbers(store, NAME) == [1]
    assert zoo.pull(f"{NAME}@1", store=store).name == published.digest


def test_a_collector_that_is_killed_leaves_no_bundle_and_the_next_one_finishes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        publish(store, NAME, tmp_path, seed)
    let_pass(store, f"{TOP}/numbers/", hours=25)
    first = read_json(store, layout.number_key(NAME, 1))["digest"]
    delete, calls = type(store).delete, []

    def killed(self: Store, key: str) -> None:
        if "/versions/" in key:
            calls.append(key)
            if len(calls) > 1:
                raise KeyboardInterrupt
        delete(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "delete", killed)
        patch.setattr(holding.Tombstone, "remove", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            zoo.gc(store=store, delete=True, keep_last=1)
    left = files(store, NAME, first)
    assert left and "manifest.json" not in left
    with pytest.raises(CollectedVersion):
        zoo.pull(f"{NAME}@1", store=store)
    let_pass(store, f"{TOP}/collecting/", hours=25)
    (item,) = zoo.gc(store=store, delete=True)
    assert (item.kind, item.state) == ("rest", "gone") and files(store, NAME, first) == []


def test_old_versions_go_but_never_what_an_alias_held(store: Store, tmp_path: Path) -> None:
    digests = [publish(store, NAME, tmp_path, seed).digest for seed in range(6)]
    for number in (1, 2):
        zoo.promote(NAME, number, force="a test", store=store)
    assert zoo.gc(store=store, keep_last=2) == []  # younger than the grace period
    let_pass(store, f"{TOP}/numbers/", hours=25)
    assert [item.number for item in zoo.gc(store=store, keep_last=2)] == [3, 4]
    assert [item.state for item in zoo.gc(store=store, keep_last=2, delete=True)] == ["gone", "gone"]
    assert zoo.gc(store=store, keep_last=2) == []
    assert [bool(files(store, NAME, digest)) for digest in digests] == [True, True, False, False, True, True]
    with pytest.raises(CollectedVersion, match=f"{NAME}@3 was taken away"):
        zoo.pull(f"{NAME}@3", store=store)
    with pytest.raises(CollectedVersion):
        zoo.promote(NAME, 3, force="a test", store=store)
    assert publish(store, NAME, tmp_path, 6).version == 7  # no number is given twice
    assert publish(store, NAME, tmp_path, 2).version == 3  # the same bytes come back under their own
    assert zoo.pull(f"{NAME}@3", store=store).name == digests[2]
    assert 3 not in [item.number for item in zoo.gc(store=store, keep_last=2)]  # its grace period is new


def test_mlflow_forgets_old_versions(
    object_store: ObjectStore, mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    for key, value in {**object_store.env, "MLFLOW_TRACKING_URI": mlflow.uri}.items():
        monkeypatch.setenv(key, value)
    store, name = open_store(f"s3://zoo/{tmp_path.name}"), "latentact-forgotten-objects"
    for seed in range(3):
        publish(store, name, tmp_path, seed)
    let_pass(store, f"{layout.model_folder(name)}/numbers/", hours=25)
    assert [item.number for item in zoo.gc(store=store, keep_last=1, delete=True)] == [1, 2]
    (shown,) = MlflowClient(mlflow.uri, mlflow.uri).search_model_versions(f"name='{name}'")
    assert shown.tags["zoo.version"] == "3"


def test_a_version_promoted_meanwhile_is_kept(store: Store, tmp_path: Path) -> None:
    for seed in range(2):
        publish(store, NAME, tmp_path, seed)
    let_pass(store, f"{TOP}/numbers/", hours=25)
    (item,) = garbage.find(store, NAME, DAY_S, 1)
    zoo.promote(NAME, 1, force="a test", store=store)
    assert collecting._collect(store, item, DAY_S) == "kept: it was published or promoted meanwhile"
    zoo.pull(f"{NAME}@champion", store=store)


def test_a_sweep_stops_when_its_time_is_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_number(store, NAME, tmp_path)
    let_pass(store, f"{TOP}/publishing/", hours=25)
    monkeypatch.setattr(holding, "SWEEP_S", 0.0)
    assert "run `zoo gc` again" in zoo.gc(store=store, delete=True)[0].state
    assert "manifest.json" in files(store, NAME, dead)


def test_impossible_wishes(store: Store) -> None:
    with pytest.raises(StoreError, match="--keep-last 1"):
        zoo.gc(store=store, keep_last=0)
    with pytest.raises(StoreError, match="--grace"):
        zoo.gc(store=store, grace_s=-1.0)


def test_the_command(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_ZOO", store.url)
    assert "nothing to take away" in CliRunner().invoke(main, ["gc"]).output
    die_before_the_number(store, NAME, tmp_path)
    time.sleep(0.01)
    said = CliRunner().invoke(main, ["gc", "--grace", "0s"])
    assert said.exit_code == 0 and "would go" in said.output and "zoo gc --delete" in said.output
    (item,) = json.loads(CliRunner().invoke(main, ["gc", "--grace", "0s", "--delete", "--json"]).output)
    assert (item["state"], item["kind"], item["name"]) == ("gone", "unfinished", NAME)
    assert "write 90s, 30m" in CliRunner().invoke(main, ["gc", "--grace", "soon"]).output
