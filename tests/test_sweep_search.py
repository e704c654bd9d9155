"""Which trial starts next: the setting with fewest, behind whoever trains what it stands on, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_sweep_plan import plan

pytest.importorskip("ray.tune")

from one_driver import Driver, driving

from sweeps.claims import Claims
from sweeps.space import Axis
from sweeps.wishes import Candidate
from zoo.store import open_store


def point(codes: int = 128, decoder_depth: int = 1, seed: int = 0) -> dict[str, Any]:
    return {"codes": codes, "decoder_depth": decoder_depth, "seed": seed}


def stages(driver: Driver, params: dict[str, Any]) -> dict[str, str]:
    return driver.stages(Candidate("objects", "search", params))


def identity(driver: Driver, params: dict[str, Any]) -> str:
    return driver.identity("objects", params)


def started(trial: Any) -> tuple[Any, Any]:
    return trial.config["config"]["codes"], trial.config["config"]["decoder_depth"]


def test_the_setting_with_fewest_running_trials_comes_first(tmp_path: Path) -> None:
    with driving(plan(settings=("objects", "actions"), epochs=1), tmp_path, slots=4) as driver:
        many = [point(codes) for codes in (128, 129, 130, 131)]
        driver.search(driver.listed("objects", *many), driver.listed("actions", *many))
        trials = [driver.start() for _ in range(4)]
        settings = [trial.config["setting"] for trial in trials]
        assert settings == ["objects", "actions", "objects", "actions"]
        assert driver.start() is None, "there are four slots"
        assert len({trial.config["slot"] for trial in trials}) == 4
        driver.finish(trials[0])
        driver.finish(trials[2])
        assert driver.start().config["setting"] == "objects"


def test_a_setting_that_has_nothing_leaves_its_slots_to_the_others(tmp_path: Path) -> None:
    with driving(plan(settings=("objects", "actions"), epochs=1), tmp_path, slots=3) as driver:
        driver.search(
            driver.listed("objects", point()), driver.listed("actions", point(), point(129), point(130))
        )
        assert [driver.start().config["setting"] for _ in range(3)] == ["objects", "actions", "actions"]


def test_a_trial_is_in_the_ledger_before_it_starts_and_stands_on_its_codebook(tmp_path: Path) -> None:
    with driving(plan(epochs=1), tmp_path) as driver:
        driver.search(driver.listed("objects", point()))
        trial = driver.start()
        known = driver.ledgers()[trial.config["identity"]]
        assert (known.status, known.attempts, known.params) == ("unfinished", 1, point())
        assert driver.record(trial).codebook == stages(driver, point())["codebook"]


def test_a_trial_waits_for_the_codebook_that_another_one_trains(tmp_path: Path) -> None:
    with driving(plan(epochs=1), tmp_path, slots=3) as driver:
        driver.search(driver.listed("objects", point(), point(decoder_depth=2), point(129)))
        first = driver.start()
        other = driver.start()
        assert [started(first), started(other)] == [(128, 1), (129, 1)], (
            "depth 2 needs the first one's codebook"
        )
        assert driver.start() is None and len(driver.places.busy) == 2
        driver.report(first, "codebook")
        assert driver.start() is None
        driver.shelf.add(("codebook", stages(driver, point())["codebook"]))
        driver.report(first, "indexer")  # the codebook lies behind it; both stand on the same indexer too
        assert driver.start() is None
        driver.shelf.add(("indexer", stages(driver, point())["indexer"]))
        driver.report(first, "predictor", mpjpe_cm=5.0)
        second = driver.start()
        assert started(second) == (128, 2)
        assert driver.record(second).reason == ""
        for trial in (first, second, other):
            driver.finish(trial)
        assert driver.start() == "finished" and not driver.places.busy


def test_a_trial_with_another_indexer_starts_as_soon_as_the_codebook_is_there(tmp_path: Path) -> None:
    axes = (Axis("indexer_dropout", "choice", choices=(0.0, 0.1)),)
    with driving(plan(axes=axes, epochs=1), tmp_path, slots=2) as driver:
        one, two = ({"indexer_dropout": value, "seed": 0} for value in (0.0, 0.1))
        driver.search(driver.listed("objects", one, two))
        first = driver.start()
        assert driver.start() is None
        driver.shelf.add(("codebook", stages(driver, one)["codebook"]))
        driver.report(first, "indexer")
        assert driver.start().config["config"]["indexer_dropout"] == 0.1


def test_what_a_trial_left_untrained_the_next_one_trains(tmp_path: Path) -> None:
    with driving(plan(epochs=1), tmp_path, slots=2) as driver:
        driver.search(driver.listed("objects", point(), point(decoder_depth=2)))
        first = driver.start()
        assert driver.start() is None
        driver.complete(first, failure="ValueError: no", kind="error")
        assert started(driver.start()) == (128, 2)


def test_what_another_driver_trains_is_waited_for_and_then_reused(tmp_path: Path) -> None:
    mine, theirs = plan(epochs=1, name="mine"), plan(epochs=1, name="theirs")
    with driving(theirs, tmp_path, name="other") as other, driving(mine, tmp_path) as driver:
        other.search(other.listed("objects", point()))
        driver.search(driver.listed("objects", point(), point(129)))
        theirs_running = other.start()
        own = driver.start()
        assert started(own) == (129, 1), "the first is the other driver's"
        driver.finish(own)
        assert driver.start() is None
        assert driver.waited[-1] == f"other trains {identity(driver, point())}"
        other.finish(theirs_running, mpjpe_cm=4.5)
        assert driver.start() == "finished"
        reused = driver.ledgers()[identity(driver, point())]
        assert (reused.status, reused.mpjpe_cm, reused.sweep) == ("finished", 4.5, "theirs")
        assert not driver.places.busy


def test_a_codebook_that_another_driver_trains_is_waited_for(tmp_path: Path) -> None:
    shelf: set[tuple[str, str]] = set()
    mine, theirs = plan(epochs=1, name="mine"), plan(epochs=1, name="theirs")
    with (
        driving(theirs, tmp_path, name="other", shelf=shelf) as other,
        driving(mine, tmp_path, shelf=shelf) as driver,
    ):
        other.search(other.listed("objects", point()))
        driver.search(driver.listed("objects", point(decoder_depth=2)))
        running = other.start()
        assert driver.start() is None
        assert driver.waited[-1] == f"other trains codebook {stages(driver, point())['codebook']}"
        other.finish(running)
        assert started(driver.start()) == (128, 2)


def test_what_a_driver_that_left_was_training_is_taken_over(tmp_path: Path) -> None:
    with driving(plan(epochs=1), tmp_path) as driver:
        driver.search(driver.listed("objects", point()))
        with Claims(open_store(f"file://{tmp_path}"), "other", beat_s=0.1, dead_after_s=20.0) as other:
            assert other.take("trial", identity(driver, point())) is None
            assert driver.start() is None
        assert started(driver.start()) == (128, 1)


def test_what_was_finished_elsewhere_needs_no_slot(tmp_path: Path) -> None:
    with driving(plan(epochs=1, name="theirs"), tmp_path, name="other") as other:
        other.search(other.listed("objects", point(), point(129)))
        for mpjpe_cm in (4.5, 4.0):
            other.finish(other.start(), mpjpe_cm)
    with driving(plan(epochs=1), tmp_path) as driver:
        driver.search(driver.listed("objects", point(), point(129), point(130)))
        assert started(driver.start()) == (130, 1)
        assert sorted(t.mpjpe_cm for t in driver.ledgers().values() if t.status == "finished") == [4.0, 4.5]
        # A longer budget is none of that: it goes on.
    with driving(plan(epochs=2, name="longer"), tmp_path) as driver:
        driver.search(driver.listed("objects", point()))
        assert started(driver.start()) == (128, 1)


def test_a_trial_out_of_memory_comes_again_with_half_its_batch(tmp_path: Path) -> None:
    with driving(plan(epochs=1, fixed=(("batch", 32),)), tmp_path) as driver:
        driver.search(driver.listed("objects", point()))
        driver.complete(driver.start(), failure="OutOfMemoryError: CUDA out of memory", kind="memory")
        again = driver.start()
        assert again.config["config"]["batch"] == 16 and started(again) == (128, 1)
        driver.finish(again)
        assert driver.start() == "finished"
        statuses = {trial.params.get("batch", 32): trial.status for trial in driver.ledgers().values()}
        assert statuses == {32: "failed", 16: "finished"}


def test_a_point_that_no_trial_can_have_is_passed_over(tmp_path: Path) -> None:
    """Each value alone is possible and so is the first pair of all: what cannot be is seen when it is proposed."""
    axes = (Axis("width", "choice", choices=(64, 60)), Axis("heads", "choice", choices=(4, 16)))
    with driving(plan(axes=axes, epochs=1), tmp_path, slots=2) as driver:
        wrong, right = {"width": 60, "heads": 16, "seed": 0}, {"width": 64, "heads": 16, "seed": 0}
        driver.search(driver.listed("objects", wrong, right))
        trial = driver.start()
        assert trial.config["config"]["width"] == 64
        driver.finish(trial)
        assert driver.start() == "finished" and len(driver.ledgers()) == 1


def test_the_search_is_told_what_became_of_its_points(tmp_path: Path) -> None:
    """Whatever a trial went through: finished, begun again after a loss, out of memory, or failed."""
    ways = {128: "finished", 256: "lost", 512: "memory", 1024: "failed"}
    axes = (Axis("codes", "choice", choices=tuple(ways)),)
    with driving(plan(axes=axes, epochs=1, search="grid"), tmp_path) as driver:
        wishes = driver.searched("objects")
        driver.search(wishes)
        while (trial := driver.start()) != "finished":
            way = ways[trial.config["config"]["codes"]]
            if way == "failed":
                driver.complete(trial, failure="ValueError: no", kind="error")
                continue
            record = driver.record(trial)
            if way != "finished" and record.attempts == 1 and "batch" not in record.params:
                driver.complete(trial, failure="gone", kind=way)
                trial = driver.start()
                assert ways[trial.config["config"]["codes"]] == way
            driver.finish(trial, mpjpe_cm=5.0)
        assert wishes._points is not None
        assert not wishes._points._running, "a point is held for running that is over"
        assert sorted(params["codes"] for params, _ in wishes._points._ended) == [128, 256, 512]


def test_nothing_new_starts_once_the_sweep_is_to_end(tmp_path: Path) -> None:
    with driving(plan(epochs=3), tmp_path, slots=2) as driver:
        driver.search(driver.listed("objects", point(), point(129)))
        trial = driver.start()
        driver.report(trial, "predictor", 1, 3, mpjpe_cm=5.0)
        driver.stop_reason = "asked to stop"
        driver.halt.look()
        assert driver.start() == "finished"
        driver.stop(trial)
        assert driver.places.told == [("driver-0", trial.config["identity"], "park")]
    assert driver.ledgers()[trial.config["identity"]].status == "unfinished"


def test_it_is_finished_only_when_every_trial_has_ended(tmp_path: Path) -> None:
    with driving(plan(epochs=1), tmp_path, slots=2) as driver:
        driver.search(driver.listed("objects", point()))
        trial = driver.start()
        assert driver.start() is None, "the trial that runs may yet be asked for again"
        assert driver.waited == [], "it waits for nobody else"
        driver.finish(trial)
        assert driver.start() == "finished" and not driver.places.busy


@pytest.mark.parametrize("taken", [["objects"], ["objects", "actions"]])
def test_settings_without_a_wish_are_finished_from_the_start(tmp_path: Path, taken: list[str]) -> None:
    with driving(plan(settings=("objects", "actions"), epochs=1), tmp_path) as driver:
        driver.search(*(driver.listed(setting) for setting in taken))
        assert driver.start() == "finished" and not driver.places.busy
