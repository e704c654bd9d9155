"""Promotion: through the gate, by compare-and-swap, on files and on a real S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

import zoo
from zoo import alias_log, layout, store_probe
from zoo.cli import main
from zoo.errors import Conflict, DamagedBundle, GateRefused, UnknownModel, UnsafeStore
from zoo.store import Store

OBJECTS = "latentact-world-objects"


@pytest.fixture(autouse=True)
def _this_store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of the test is the one that the environment names."""
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LATENTACT_ZOO", store.url)
    monkeypatch.setenv("LATENTACT_PUBLISHER", "ada@lab.org")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def published(tmp_path: Path, *errors_cm: float, **conditions: Any) -> list[str]:
    """Versions 1, 2, .. of OBJECTS, each with this error in every group; returns their digests."""
    return [
        zoo.publish(
            OBJECTS, write_bundle(tmp_path / str(seed), seed=seed, errors_cm=[error_cm] * 6, **conditions)
        ).digest
        for seed, error_cm in enumerate(errors_cm)
    ]


def test_promotion_goes_through_the_gate(store: Store, tmp_path: Path) -> None:
    published(tmp_path, 3.0, 2.5, 2.8)
    assert zoo.promote(OBJECTS, 1).moved
    again = zoo.promote(f"{OBJECTS}@1")
    assert not again.moved and again.sequence == 1
    second = zoo.promote(OBJECTS, 2)
    assert second.moved and (second.sequence, second.previous) == (2, 1)
    assert second.verdict is not None and second.verdict["difference_cm"] == pytest.approx(-0.5)
    with pytest.raises(GateRefused, match="not shown to be better") as refusal:
        zoo.promote(OBJECTS, 3)
    assert refusal.value.verdict is not None and not refusal.value.verdict["passed"]
    assert f"{OBJECTS}@2 keeps 'champion'" in str(refusal.value)
    assert zoo.show(OBJECTS)["version"] == 2


def test_force_needs_a_reason_and_is_on_record_with_the_verdict_that_it_overruled(
    store: Store, tmp_path: Path
) -> None:
    published(tmp_path, 3.0, 3.5)
    zoo.promote(OBJECTS, 1)
    with pytest.raises(GateRefused, match="needs a reason"):
        zoo.promote(OBJECTS, 2, force=" ")
    assert zoo.promote(OBJECTS, 2, force="the first was trained on the test part").moved
    move = zoo.history(OBJECTS)[1]
    assert (move["how"], move["reason"]) == ("forced", "the first was trained on the test part")
    assert move["by"] and move["publisher"] == "ada@lab.org" and move["at"].startswith("20")
    assert not move["verdict"]["passed"] and "not shown to be better" in move["verdict"]["sentence"]
    assert move["previous"]["number"] == 1


def test_a_reason_without_need_does_not_make_a_promotion_forced(store: Store, tmp_path: Path) -> None:
    published(tmp_path, 3.0, 2.0)
    zoo.promote(OBJECTS, 1, force="to be sure")
    zoo.promote(OBJECTS, 2, force="to be sure")
    assert [(move["how"], move["reason"]) for move in zoo.history(OBJECTS)] == [
        ("promotion", "to be sure")
    ] * 2


def test_the_minimum_effect_is_asked_for_and_on_record(store: Store, tmp_path: Path) -> None:
    published(tmp_path, 3.0, 2.98)
    zoo.promote(OBJECTS, 1)
    with pytest.raises(GateRefused, match="by less than the 0.03"):
        zoo.promote(OBJECTS, 2)
    with pytest.raises(GateRefused, match="0 or more"):
        zoo.promote(OBJECTS, 2, min_effect_cm=float("nan"))
    assert zoo.promote(OBJECTS, 2, min_effect_cm=0.01).moved
    assert zoo.history(OBJECTS)[1]["verdict"]["min_effect_cm"] == 0.01


def test_a_bundle_with_an_old_card_needs_a_reason(store: Store, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "old")
    (folder / "card.md").write_text(f"# {OBJECTS}\n\nTrained long ago.\n")
    zoo.publish(OBJECTS, folder)
    with pytest.raises(GateRefused, match=r"card\.md does not say its .*license, method.*--force"):
        zoo.promote(OBJECTS, 1)
    assert zoo.promote(OBJECTS, 1, force="it is the only one").moved


def test_a_champion_that_cannot_be_read_gives_way_to_a_reason(store: Store, tmp_path: Path) -> None:
    first, _ = published(tmp_path, 3.0, 2.0)
    zoo.promote(OBJECTS, 1)
    store.delete(f"{layout.version_folder(OBJECTS, first)}/metrics.json")
    with pytest.raises(GateRefused, match="Nothing compares with the champion"):
        zoo.promote(OBJECTS, 2)
    assert zoo.promote(OBJECTS, 2, force="the champion's metrics are gone").moved


def test_no_alias_comes_to_point_to_half_a_version(store: Store, tmp_path: Path) -> None:
    (digest,) = published(tmp_path, 3.0)
    store.delete(f"{layout.version_folder(OBJECTS, digest)}/model.safetensors")
    for force in (None, "I want it"):
        with pytest.raises(DamagedBundle, match=r"lacks model\.safetensors"):
            zoo.promote(OBJECTS, 1, force=force)
    with pytest.raises(UnknownModel):
        zoo.pull(OBJECTS)


def test_a_version_that_is_collected_during_its_promotion_is_found_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mover that sleeps longer than the collector's grace, just before it writes: its hold and its files go."""
    (digest,) = published(tmp_path, 3.0)
    put_if = type(store).put_if

    def late(self: Store, key: str, data: bytes, tag: str | None) -> None:
        if "/aliases/" in key:
            for hold in list(store.list(f"{layout.model_folder(OBJECTS)}/publishing/")):
                store.delete(hold)
            store.delete(f"{layout.version_folder(OBJECTS, digest)}/manifest.json")
        put_if(self, key, data, tag)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_if", late)
        with pytest.raises(DamagedBundle, match=r"lacks manifest\.json.*Publish its folder again"):
            zoo.promote(OBJECTS, 1)
    assert zoo.publish(OBJECTS, tmp_path / "0").digest == digest  # and that mends it
    assert zoo.pull(OBJECTS).name == digest and len(zoo.history(OBJECTS)) == 1


def test_racing_promotions(store: Store, tmp_path: Path) -> None:
    """Whoever comes late meets the gate again: in the end the best holds the alias, and no move is lost."""
    published(tmp_path, 3.0, 2.6, 2.2, 1.8)

    def attempt(number: int) -> None:
        try:
            zoo.promote(OBJECTS, number)
        except GateRefused:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, [1, 2, 3, 4]))
    assert zoo.show(OBJECTS)["version"] == 4
    moves = zoo.history(OBJECTS)
    assert [move["sequence"] for move in moves] == list(range(1, len(moves) + 1))
    assert [move["number"] for move in moves] == sorted({move["number"] for move in moves})


def test_a_move_whose_log_was_never_written_is_still_in_the_history(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mover who dies between its two writes: the next one completes the log before it moves on."""
    published(tmp_path, 3.0, 2.5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(alias_log, "_log", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.promote(OBJECTS, 1)
    assert [move["number"] for move in zoo.history(OBJECTS)] == [1]
    assert not list(store.list(f"{layout.model_folder(OBJECTS)}/log/"))
    zoo.promote(OBJECTS, 2)
    assert [move["number"] for move in zoo.history(OBJECTS)] == [1, 2]


def test_states_from_before_there_were_reasons(store: Store, tmp_path: Path) -> None:
    """An alias and a log as the first schema had them: shown alike, and moved on from."""
    first, _ = published(tmp_path, 3.0, 2.5)
    old = {
        "schema": 1, "alias": "champion", "number": 1, "digest": first, "sequence": 1, "previous": None,
        "verdict": {"passed": False, "sentence": "It lacks a card."}, "forced": "the first one", "nonce": "0",
        "by": "ada", "at": "2026-01-02T03:04:05.678+00:00",
    }  # fmt: skip
    for key in (layout.alias_key(OBJECTS, "champion"), layout.log_key(OBJECTS, "champion", 1)):
        store.put(key, json.dumps(old, sort_keys=True, separators=(",", ":")).encode())
    zoo.promote(OBJECTS, 2)
    moves = zoo.history(OBJECTS)
    assert [(move["how"], move["reason"]) for move in moves] == [
        ("forced", "the first one"),
        ("promotion", None),
    ]


def test_a_lost_compare_and_swap_is_reported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path, 3.0)
    put_if = type(store).put_if

    def losing(self: Store, key: str, data: bytes, tag: str | None) -> None:
        if "/aliases/" in key:
            raise Conflict("lost")
        put_if(self, key, data, tag)

    monkeypatch.setattr(type(store), "put_if", losing)
    with pytest.raises(Conflict, match="moved by many"):
        zoo.promote(OBJECTS, 1)


def test_a_store_without_conditional_writes_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path, 3.0)
    monkeypatch.setattr(store_probe, "_passed", set())
    store.delete(store_probe.KEY)
    monkeypatch.setattr(type(store), "put_if", lambda self, key, data, tag: self.put(key, data))
    with pytest.raises(UnsafeStore):
        zoo.promote(OBJECTS, 1)
    assert not list(store.list(f"{layout.model_folder(OBJECTS)}/aliases/"))


@contextmanager
def counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The operations on the store while the block runs."""
    asked: list[str] = []
    with monkeypatch.context() as patch:
        for operation in ("get", "put", "put_if", "list", "delete"):
            real = getattr(type(store), operation)

            def spied(
                self: Store, key: str, *args: Any, real: Any = real, operation: str = operation, **kw: Any
            ) -> Any:
                asked.append(f"{operation} {key}")
                return real(self, key, *args, **kw)

            patch.setattr(type(store), operation, spied)
        yield asked


def test_a_promotion_asks_for_no_more_with_many_versions_than_with_few(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lists the files of one version, and nothing that grows with the store."""
    published(tmp_path, 3.0, 2.5, 2.0)
    zoo.promote(OBJECTS, 1)
    with counted(store, monkeypatch) as few:
        zoo.promote(OBJECTS, 2)
    records = {number: store.get(layout.number_key(OBJECTS, number)).read() for number in (1, 2, 3)}
    for number in range(4, 60):
        store.put(layout.number_key(OBJECTS, number), records[1 + number % 3])
        store.put(layout.log_key(OBJECTS, "other", number), b"{}")
    with counted(store, monkeypatch) as many:
        zoo.promote(OBJECTS, 3)
    assert len(many) <= len(few) <= 30
    assert [key.split("/")[-3] for key in many if key.startswith("list")] == ["versions"]


def test_the_command_says_what_it_did(store: Store, tmp_path: Path) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result.stdout if "--json" in arguments else result.output

    published(tmp_path, 3.0, 2.5, 2.9)
    assert "is 'champion'. There was no champion" in run("promote", f"{OBJECTS}@1")
    said = run("promote", f"{OBJECTS}@2")
    assert "is 'champion', instead of @1. Candidate minus champion: -0.500 cm" in said
    assert f"zoo rollback {OBJECTS} --reason" in said
    assert "already: nothing was moved" in run("promote", f"{OBJECTS}@2")
    refused = run("promote", f"{OBJECTS}@3", code=1)
    assert "does not become 'champion'" in refused and "--force" in refused and "Traceback" not in refused
    told = json.loads(run("promote", f"{OBJECTS}@3", "--json", code=1))
    assert told["moved"] is False and told["verdict"]["look"] == 1 and "not shown" in told["error"]
    assert json.loads(run("promote", f"{OBJECTS}@3", "--alias", "staging", "--json"))["moved"] is True
    forced = run("promote", f"{OBJECTS}@3", "--force", "a demonstration")
    assert "Forced: a demonstration" in forced
    table = run("history", OBJECTS).splitlines()
    assert len(table) == 4 and table[0].split()[:2] == ["STATE", "VERSION"]
    assert "ada@lab.org" in table[2] and "-0.500" in table[2]
    assert "forced" in table[3] and "a demonstration (against the gate: " in table[3]
    assert [move["number"] for move in json.loads(run("history", OBJECTS, "--json"))] == [1, 2, 3]
    assert "There was never a holder" in run("history", OBJECTS, "--alias", "nobody")
    assert "No candidate was compared" in run("history", OBJECTS, "--looks")
    run("rollback", OBJECTS, "--reason", "back")
    looks = run("history", OBJECTS, "--looks").splitlines()
    assert len(looks) == 2 and looks[1].split()[:2] == ["1", "3"] and "95% [" in looks[1]
    assert json.loads(run("history", OBJECTS, "--looks", "--json"))[0]["number"] == 3
    assert "There is no model" in run("history", "latentact-world-scenes", code=1)
