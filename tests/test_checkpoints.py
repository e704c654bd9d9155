"""What is removed of trained trials: never what anybody may still need, and never before the ledger knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweeps.checkpoints import Policy, Swept, sweep_checkpoints
from sweeps.claims import Claims
from sweeps.ledger import Ledger, TrialRecord
from trainables.checkpoints import Checkpoints
from trainables.model_folder import MODEL_FILES, fetch_model
from zoo.errors import StoreError
from zoo.files import FileStore
from zoo.store import Store, open_store, read_json

RESUME_FILES = {"trial.safetensors": 5000, "trial.json": 300, "report.json": 200}
SIZES = {**RESUME_FILES, "model.safetensors": 2000, "config.json": 100}
PLAN = {"data_digest": "d", "epochs": 8, "finalists": 2}


@dataclass
class Sweep:
    """A sweep with its ledger, and trials as training leaves them in the store."""

    store: Store
    scratch: Path
    name: str = "one"
    plan: dict[str, Any] = field(default_factory=lambda: dict(PLAN))

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store, self.name, f"driver-of-{self.name}")
        self.ledger.plan(self.plan)

    def trial(
        self,
        identity: str,
        mpjpe_cm: float = 5.0,
        status: str = "finished",
        *,
        phase: str = "search",
        saves: int = 1,
        epochs: int = 8,
    ) -> TrialRecord:
        params = {"codes": int(identity[1:], 16), "seed": int(phase == "repeat")}
        trial = TrialRecord(identity, "objects", phase, params, attempts=1, status=status)  # type: ignore[arg-type]
        self.ledger.started(identity, "objects", phase, params, 1)
        for _ in range(saves):
            trial.checkpoint = self.save(identity)
        if status != "unfinished":
            trial.epochs, trial.metrics = epochs, {"mpjpe_cm": mpjpe_cm}
            self.ledger.ended(trial)
        return trial

    def save(self, identity: str) -> str:
        url = f"{self.store.url}/trials/{identity}"
        self.scratch.mkdir(exist_ok=True)
        for name, size in SIZES.items():
            (self.scratch / name).write_bytes(b"x" * size)
        return f"{url}/{Checkpoints(url).put(self.scratch)}"

    def read(self) -> tuple[dict[str, dict[str, TrialRecord]], dict[str, dict[str, Any]]]:
        return self.ledger.read(lambda setting, params: 8)

    def sweep(self, policy: Policy) -> Swept:
        with Claims(self.store, "me") as claims:
            return sweep_checkpoints(self.ledger, claims, *self.read(), policy=policy, finalists=2)

    def kept(self, identity: str) -> set[str]:
        """The names of a trial's files, whatever their folder."""
        names = {key.rpartition("/")[2] for key in self.store.list(f"trials/{identity}/")}
        return names - {""}  # an object that says nothing but that there is a folder


@pytest.fixture
def one(store: Store, tmp_path: Path) -> Sweep:
    return Sweep(store, tmp_path / "scratch")


@pytest.fixture
def local(tmp_path: Path) -> Sweep:
    return Sweep(open_store(f"file://{tmp_path}/store"), tmp_path / "scratch")


WHOLE = {*SIZES, "latest.json"}
MODEL = {*MODEL_FILES, "latest.json"}


def test_the_default_keeps_every_trials_last_checkpoint(one: Sweep) -> None:
    for number, status in enumerate(("finished", "stopped", "failed", "unfinished")):
        one.trial(f"a{number}", status=status, saves=2)
        one.store.put(f"trials/a{number}/checkpoint_000000/trial.safetensors", b"left by a crash")
    swept = one.sweep("last")
    assert swept == Swept(3, 3, 3 * len(b"left by a crash"))
    for number in range(4):
        assert one.kept(f"a{number}") == WHOLE
        assert Checkpoints(f"{one.store.url}/trials/a{number}").latest() == "checkpoint_000001"
    # The one that goes on keeps even that: nobody else knows what its driver is doing.
    assert "trials/a3/checkpoint_000000/trial.safetensors" in set(one.store.list("trials/a3/"))
    assert one.sweep("last") == Swept()


def test_best_keeps_the_models_of_finished_trials_and_all_of_the_others(one: Sweep, tmp_path: Path) -> None:
    for number, status in enumerate(("finished", "stopped", "failed", "unfinished")):
        one.trial(f"a{number}", status=status)
    swept = one.sweep("best")
    assert (swept.trials, swept.bytes) == (1, sum(RESUME_FILES.values()))
    assert [one.kept(f"a{number}") for number in range(4)] == [MODEL, WHOLE, WHOLE, WHOLE]
    record = one.read()[0]["objects"]["a0"]
    assert record.status == "finished"
    fetch_model(record.checkpoint, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size == SIZES["model.safetensors"]
    # Training finds no checkpoint there, and begins anew instead of failing.
    (tmp_path / "resumed").mkdir()
    assert not Checkpoints(f"{one.store.url}/trials/a0").fetch("checkpoint_000000", tmp_path / "resumed")
    assert one.sweep("best") == Swept()


def test_finalists_keeps_models_of_finalists_repeats_and_what_was_published(one: Sweep) -> None:
    for number, mpjpe_cm in enumerate((5.0, 4.0, 7.0, 6.0, 9.0)):
        one.trial(f"a{number}", mpjpe_cm)
    one.trial("b1", 8.0, phase="repeat")
    one.trial("a6", 1.0, status="stopped")
    one.trial("a7", status="failed")
    one.ledger.published("objects", {"identity": "a4", "val": {}})
    swept = one.sweep("finalists")
    kept = {name: one.kept(name) for name in ("a0", "a1", "a2", "a3", "a4", "b1", "a6", "a7")}
    assert kept == {
        **{name: MODEL for name in ("a0", "a1", "a4", "b1")},
        **{name: set() for name in ("a2", "a3", "a6", "a7")},
    }
    assert swept.trials == 8
    trials = one.read()[0]["objects"]
    assert {name for name, trial in trials.items() if trial.checkpoint} == {"a0", "a1", "a4", "b1"}
    assert all(trial.mpjpe_cm > 0 for trial in trials.values())  # their figures stay
    assert one.sweep("finalists") == Swept()


def test_nothing_is_taken_from_a_search_that_is_not_over(local: Sweep) -> None:
    for number in range(4):
        local.trial(f"a{number}", 4.0 + number)
    local.trial("a9", status="unfinished")
    local.sweep("finalists")
    # One of them may be a finalist yet.
    assert [local.kept(f"a{number}") for number in range(4)] == [MODEL] * 4
    assert local.kept("a9") == WHOLE


def test_a_trial_loses_what_every_sweep_that_has_it_can_spare(one: Sweep, tmp_path: Path) -> None:
    other = Sweep(one.store, tmp_path / "scratch", "two")
    for number in range(5):
        one.trial(f"a{number}", 4.0 + number)
    # Another sweep reuses three of them, of which two are its finalists.
    for number in (2, 3, 4):
        other.ledger.started(f"a{number}", "objects", "search", {"codes": number, "seed": 0}, 1)
    # It has not said yet what it can spare, so that it may need everything.
    assert one.sweep("finalists").trials == 2
    assert [one.kept(f"a{number}") for number in range(5)] == [MODEL, MODEL, WHOLE, WHOLE, WHOLE]
    assert other.sweep("best").trials == 3
    assert [one.kept(f"a{number}") for number in range(5)] == [MODEL] * 5
    other.sweep("finalists")
    assert [one.kept(f"a{number}") for number in range(5)] == [MODEL, MODEL, MODEL, MODEL, set()]
    assert one.sweep("finalists") == Swept()


def test_sweeps_on_other_data_have_no_say(local: Sweep, tmp_path: Path) -> None:
    local.trial("a0")
    other = Sweep(local.store, tmp_path / "scratch", "two", {**PLAN, "data_digest": "e"})
    other.ledger.started("a0", "objects", "search", {"codes": 0, "seed": 0}, 1)
    local.sweep("best")
    assert local.kept("a0") == MODEL


def test_what_a_living_driver_holds_is_left_alone(one: Sweep) -> None:
    one.trial("a0")
    one.trial("a1")
    with Claims(one.store, "another driver") as theirs:
        assert theirs.take("trial", "a0") is None
        assert one.sweep("best") == Swept(1, len(RESUME_FILES), sum(RESUME_FILES.values()))
        assert (one.kept("a0"), one.kept("a1")) == (WHOLE, MODEL)
        theirs.release("trial", "a0")
        with Claims(one.store, "me") as mine:
            sweep_checkpoints(one.ledger, mine, *one.read(), policy="best", finalists=2)
            assert one.kept("a0") == MODEL
            assert theirs.take("trial", "a0") is None  # nothing stays claimed


def test_a_trial_that_somebody_went_on_with_is_left_alone(local: Sweep) -> None:
    local.trial("a0", saves=2)
    local.save("a0")  # with a longer budget, after the ledger was read
    local.store.put("trials/a0/checkpoint_000001/model.safetensors", b"as the ledger knows it")
    assert local.sweep("finalists") == Swept()
    assert local.sweep("best") == Swept()


def test_every_checkpoint_that_a_sweep_knows_is_kept(local: Sweep, tmp_path: Path) -> None:
    """One budget has been continued by a longer one: the shorter trial's model is no leftover."""
    local.trial("a0", saves=2)
    longer = Sweep(local.store, tmp_path / "scratch", "two", {**PLAN, "epochs": 16})
    trial = longer.trial("a0", epochs=16)
    local.store.put("trials/a0/checkpoint_000001/model.safetensors", b"as the shorter sweep knows it")
    local.store.put("trials/a0/checkpoint_000000/model.safetensors", b"known to nobody")
    assert longer.sweep("last").files == 1
    assert {key.split("/")[2] for key in local.store.list("trials/a0/")} == {
        "checkpoint_000001",
        trial.checkpoint.rpartition("/")[2],
        "latest.json",
    }


def contents(store: Store) -> dict[str, bytes]:
    return {
        key: store.get(key).read() for key in store.list("") if not key.startswith(("ledger/holders", ".zoo"))
    }


@pytest.mark.parametrize("policy", ["last", "best", "finalists"])
def test_what_went_is_counted(local: Sweep, policy: Policy) -> None:
    for number in range(4):
        local.trial(f"a{number}", 4.0 + number)
    local.store.put("trials/a0/checkpoint_000007/trial.json", b"x")
    before = contents(local.store)
    swept = local.sweep(policy)
    gone = before.keys() - contents(local.store).keys()
    assert (swept.files, swept.bytes) == (len(gone), sum(len(before[key]) for key in gone))


class Dying(FileStore):
    """A store that is lost after some deletions."""

    left = 0

    def delete(self, key: str) -> None:
        if self.left == 0:
            raise StoreError("the store is gone")
        self.left -= 1
        super().delete(key)


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[tuple[Sweep, Dying]]:
    store = Dying(tmp_path / "store")
    yield Sweep(store, tmp_path / "scratch"), store


@pytest.mark.parametrize("left", range(8))
def test_cut_off_at_any_moment_the_ledger_knows_and_the_next_one_finishes(
    dying: tuple[Sweep, Dying], left: int
) -> None:
    sweep, store = dying
    for number in range(3):
        sweep.trial(f"a{number}", 4.0 + number, saves=2)
    store.left = left
    with pytest.raises(StoreError, match="gone"):
        sweep.sweep("finalists")
    for identity, trial in sweep.read()[0]["objects"].items():
        events = [read_json(store, key) for key in store.list(f"ledger/trials/{identity}/")]
        told = {event["what"] for event in events if event["event"] == "swept"}
        lost = WHOLE - sweep.kept(identity)
        assert not lost or told
        assert trial.checkpoint or told == {"all"}
        assert not trial.checkpoint or set(MODEL_FILES) <= sweep.kept(identity)
    store.left = 1000
    sweep.sweep("finalists")
    assert [sweep.kept(f"a{number}") for number in range(3)] == [MODEL, MODEL, set()]
    assert sweep.sweep("finalists") == Swept()


def test_emptied_folders_go_too_where_they_are_more_than_names(local: Sweep, tmp_path: Path) -> None:
    for number in range(3):
        local.trial(f"a{number}", 4.0 + number)
    local.sweep("finalists")
    assert sorted(folder.name for folder in (tmp_path / "store" / "trials").iterdir()) == ["a0", "a1"]
