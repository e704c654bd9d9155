"""Rollback: to any state that an alias had, on files and on a real S3 server."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zoo_bundles import write_bundle

import zoo
from tests.mlflow_server import MlflowServer
from zoo import alias_log, layout
from zoo.cli import main
from zoo.errors import Conflict, DamagedBundle, RollbackRefused, UnknownModel
from zoo.store import Store, open_store

OBJECTS = "latentact-world-objects"


@pytest.fixture
def digests(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Versions 1 to 4 in the environment's store; each was champion, in this order."""
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LATENTACT_ZOO", store.url)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = []
    for seed, error_cm in enumerate([3.0, 2.5, 2.0, 1.5]):
        folder = write_bundle(tmp_path / str(seed), seed=seed, errors_cm=[error_cm] * 6)
        found.append(zoo.publish(OBJECTS, folder).digest)
        zoo.promote(OBJECTS, seed + 1)
    return found


def versions() -> list[int]:
    return [state["number"] for state in zoo.history(OBJECTS)]


def test_one_step_back_is_a_move_on_record(store: Store, digests: list[str]) -> None:
    back = zoo.rollback(OBJECTS, reason="worse on the robot")
    assert (back.moved, back.version, back.digest, back.sequence, back.previous) == (
        True,
        3,
        digests[2],
        5,
        4,
    )
    assert zoo.show(OBJECTS)["version"] == 3 and versions() == [1, 2, 3, 4, 3]
    state = zoo.history(OBJECTS)[-1]
    assert (state["how"], state["reason"], state["rolled_back_to"]) == ("rollback", "worse on the robot", 3)
    assert state["by"] and state["at"] and state["previous"]["number"] == 4
    assert zoo.pull(OBJECTS).name == digests[2]


def test_rolled_back_twice_is_two_states_back(store: Store, digests: list[str]) -> None:
    for expected in (3, 2, 1):
        assert zoo.rollback(OBJECTS, reason="further").version == expected
    with pytest.raises(RollbackRefused, match="no state 1 step back"):
        zoo.rollback(OBJECTS, reason="further")
    assert versions() == [1, 2, 3, 4, 3, 2, 1]


def test_several_steps_and_any_state(store: Store, digests: list[str]) -> None:
    assert zoo.rollback(OBJECTS, reason="back", steps=3).version == 1
    assert zoo.rollback(OBJECTS, reason="it was right after all", to=4).version == 4
    assert zoo.rollback(OBJECTS, reason="no, it was not", steps=2).version == 2
    assert not zoo.rollback(OBJECTS, reason="again", to=2).moved
    assert versions() == [1, 2, 3, 4, 1, 4, 2]


def test_a_new_promotion_after_a_rollback_steps_back_to_the_state_before_it(
    store: Store, digests: list[str]
) -> None:
    zoo.rollback(OBJECTS, reason="back", to=1)
    assert zoo.promote(OBJECTS, 2).moved
    assert zoo.rollback(OBJECTS, reason="back").version == 1
    with pytest.raises(RollbackRefused, match="no state 1 step back"):
        zoo.rollback(OBJECTS, reason="back")


def test_what_is_refused(store: Store, digests: list[str]) -> None:
    for wrong, message in (
        ({"reason": "  "}, "needs a reason"),
        ({"reason": "x", "to": 5}, "states 1 to 4, and no state 5"),
        ({"reason": "x", "to": 0}, "no state 0"),
        ({"reason": "x", "steps": 4}, "no state 4 steps back"),
        ({"reason": "x", "steps": 0}, "give 1 or more"),
        ({"reason": "x", "steps": 1, "to": 2}, "not both"),
    ):
        with pytest.raises(RollbackRefused, match=message):
            zoo.rollback(OBJECTS, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownModel, match="has no alias 'staging'"):
        zoo.rollback(OBJECTS, alias="staging", reason="x")
    with pytest.raises(UnknownModel, match="There is no model"):
        zoo.rollback("latentact-world-scenes", reason="x")
    assert versions() == [1, 2, 3, 4]


@pytest.mark.parametrize("lost", ["model.safetensors", "manifest.json"])
def test_a_version_that_is_no_longer_whole_gets_no_alias(store: Store, digests: list[str], lost: str) -> None:
    store.delete(f"{layout.version_folder(OBJECTS, digests[2])}/{lost}")
    with pytest.raises(DamagedBundle, match=f"{OBJECTS}@3 is not whole .* lacks {lost}"):
        zoo.rollback(OBJECTS, reason="back")
    assert versions() == [1, 2, 3, 4]
    assert zoo.rollback(OBJECTS, reason="then this one", steps=2).version == 2


def test_a_rollback_does_not_undo_what_it_has_not_seen(
    store: Store, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else moves the alias between the look at it and the move."""
    move = alias_log.move

    def overtaken(*arguments: object, **words: object) -> object:
        monkeypatch.setattr(alias_log, "move", move)
        zoo.promote(OBJECTS, 2, force="another hand")
        return move(*arguments, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(alias_log, "move", overtaken)
    with pytest.raises(Conflict, match=f"was moved to {OBJECTS}@2 by .* meanwhile"):
        zoo.rollback(OBJECTS, reason="back")
    assert versions() == [1, 2, 3, 4, 2]


def test_of_rollbacks_at_once_one_is_made(store: Store, digests: list[str]) -> None:
    def attempt(_: int) -> bool:
        try:
            return zoo.rollback(OBJECTS, to=1, reason="all of us saw it").moved
        except Conflict:
            return False

    with ThreadPoolExecutor(6) as pool:
        moved = list(pool.map(attempt, range(6)))
    assert moved.count(True) == 1 and versions() == [1, 2, 3, 4, 1]


def test_a_rollback_that_dies_after_its_move_is_logged_by_the_next_one(
    store: Store, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(alias_log, "_log", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.rollback(OBJECTS, reason="back")
    assert versions() == [1, 2, 3, 4, 3]
    assert zoo.rollback(OBJECTS, reason="further").version == 2
    assert versions() == [1, 2, 3, 4, 3, 2]


@pytest.mark.parametrize("store", ["s3"], indirect=True)  # MLflow cannot show what lies on one machine's disk
def test_mlflow_shows_a_rollback_and_cannot_stop_one(
    store: Store, digests: list[str], mlflow: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    assert zoo.rollback(OBJECTS, reason="back").registry_error == ""
    client = MlflowClient(tracking_uri=mlflow.uri, registry_uri=mlflow.uri)
    assert client.get_model_version_by_alias(OBJECTS, "champion").tags["zoo.version"] == "3"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    back = zoo.rollback(OBJECTS, reason="further")
    assert back.moved and f"zoo registry rebuild {OBJECTS}" in back.registry_error and versions()[-1] == 2


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), st.integers(1, 3)),
        st.tuples(st.just("steps"), st.integers(1, 3)),
        st.tuples(st.just("to"), st.integers(1, 12)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with versions 1 to 3."""
    folder = tmp_path_factory.mktemp("three")
    store = open_store(f"file://{folder}/zoo")
    for seed in range(3):
        zoo.publish(OBJECTS, write_bundle(folder / str(seed), seed=seed), store=store)
    return store


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_steps_unwind_moves_like_an_undo_stack(
    three: Store, moves: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any sequence of moves against a model in which each state keeps the stack of states that lead to it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    alias = f"a{uuid.uuid4().hex}"
    versions, stacks = [0], [[0]]  # of state 0, in which nobody holds the alias
    for kind, number in moves:
        stack = stacks[-1]
        if kind == "promote":
            if zoo.promote(OBJECTS, number, alias=alias, force="a test", store=three).moved:
                versions.append(number)
                stacks.append([*stack, len(stacks)])
            assert versions[-1] == number
            continue
        if kind == "steps":
            target = stack[-1 - number] if len(stack) > number + 1 else None
        else:
            target = number if number < len(stacks) else None
        if target is None:
            with pytest.raises((RollbackRefused, UnknownModel)):
                zoo.rollback(OBJECTS, alias=alias, reason="a test", store=three, **{kind: number})  # type: ignore[arg-type]
            continue
        back = zoo.rollback(OBJECTS, alias=alias, reason="a test", store=three, **{kind: number})  # type: ignore[arg-type]
        assert back.version == versions[target] and back.moved == (versions[target] != versions[-1])
        if back.moved:
            versions.append(back.version)
            stacks.append(stacks[target])
    assert [state["number"] for state in zoo.history(OBJECTS, alias, store=three)] == versions[1:]


def test_the_command(store: Store, digests: list[str]) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result.output

    said = run("rollback", OBJECTS, "--reason", "worse on the robot")
    assert f"{OBJECTS}@3 is 'champion', instead of @4. Rolled back to state 3: worse on the robot" in said
    assert "back to 3" in run("history", OBJECTS) and "worse on the robot" in run("history", OBJECTS)
    told = json.loads(run("rollback", OBJECTS, "--to", "1", "--reason", "back", "--json"))
    assert (told["version"], told["moved"], told["previous"]) == (1, True, 3)
    assert "Missing option '--reason'" in run("rollback", OBJECTS, code=2)
    assert "no state 9" in run("rollback", OBJECTS, "--to", "9", "--reason", "x", code=1)
