"""What becomes of a trial's reports: the ledger's endings, second tries, and reasons instead of tracebacks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sweep_plan import plan

pytest.importorskip("ray.tune")

from one_driver import Driver, driving

from sweeps.ledger import Ledger, TrialRecord

PARAMS = {"codes": 256, "decoder_depth": 2, "seed": 0}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driving(plan(epochs=2), tmp_path) as driver:
        driver.search(driver.listed("objects", PARAMS))
        yield driver


def ending(driver: Driver, trial: Any) -> TrialRecord:
    """The trial as a later run of the command finds it, with its history."""
    found = driver.ledgers()[trial.config["identity"]]
    Ledger(driver.store, driver.plan.name).read_histories([found])
    return found


def test_a_trial_that_reaches_its_budget_is_finished(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, "codebook", loss=2.0)
    for epoch, mpjpe_cm, contact_f1 in ((1, 5.0, 0.5), (2, 6.0, 0.7)):
        figures = {"mpjpe_cm": mpjpe_cm, "contact_f1": contact_f1, "parameters": 1000}
        driver.report(trial, "predictor", epoch, 2, checkpoint=f"checkpoint_00000{epoch + 6}", **figures)
    driver.complete(trial)
    record = ending(driver, trial)
    assert (record.status, record.epochs, record.attempts, record.reason) == ("finished", 2, 1, "")
    # The best epoch's figures, whose weights are kept.
    assert (record.mpjpe_cm, record.metrics["contact_f1"], record.metrics["parameters"]) == (5.0, 0.5, 1000)
    assert record.curve == [(1, 5.0), (2, 6.0)]
    assert (record.seconds, record.stage_seconds) == (3.0, {"codebook": 0.5, "predictor": 1.0})
    assert record.checkpoint == f"{driver.store.url}/trials/{record.identity}/checkpoint_000008"
    assert (record.sweep, record.slot) == ("mine", "0") and 0 < record.began_s <= record.ended_s
    stages = [(e["stage"], e["epoch"]) for e in record.history]
    assert stages == [("codebook", 1), ("predictor", 1), ("predictor", 2)]
    assert driver.start() == "finished" and not driver.places.told


def test_a_trial_that_a_stopper_ends_is_stopped_and_its_worker_told(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    driver.stop(trial)
    assert (ending(driver, trial).status, ending(driver, trial).epochs) == ("stopped", 1)
    assert driver.places.told == [("driver-0", trial.config["identity"], "stop")]
    assert driver.start() == "finished"


def test_a_trial_that_is_stopped_after_its_last_epoch_is_finished(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, "predictor", 2, 2, mpjpe_cm=5.0)
    driver.stop(trial)
    assert ending(driver, trial).status == "finished"
    assert driver.places.told == [("driver-0", trial.config["identity"], "stop")]


def test_a_trial_is_parked_when_the_sweep_is_to_end(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    driver.stop_reason = "--budget-usd 1 is used up"
    driver.recorder.on_step_end(0, [])
    assert driver.halt.reason == driver.stop_reason
    driver.stop(trial)
    assert driver.places.told == [("driver-0", trial.config["identity"], "park")]
    record = ending(driver, trial)
    # The next run goes on with it.
    assert (record.status, record.attempts, record.epochs) == ("unfinished", 1, 0)


def test_a_trial_that_ends_before_its_budget_has_failed(driver: Driver) -> None:
    trial = driver.start()
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    driver.complete(trial)
    record = ending(driver, trial)
    assert (record.status, record.reason) == ("failed", "ended before its budget")


@pytest.mark.parametrize("kind", ["error", "diverged", "hung"])
def test_a_failure_is_told_in_the_workers_words(driver: Driver, kind: str) -> None:
    trial = driver.start()
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    driver.complete(trial, failure="ClipsError: shard-00000.parquet: damaged", kind=kind)
    record = ending(driver, trial)
    assert (record.status, record.reason) == ("failed", "ClipsError: shard-00000.parquet: damaged")
    assert (record.epochs, record.mpjpe_cm) == (1, 5.0) and driver.start() == "finished"


def test_a_trial_that_failed_before_it_said_anything(driver: Driver) -> None:
    trial = driver.start()
    driver.complete(trial, failure="ModelError: another hand", kind="error")
    assert (ending(driver, trial).status, ending(driver, trial).metrics) == ("failed", {})


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (
            "Traceback\nActorDiedError: the node is gone. Some causes: ...\n",
            "ActorDiedError: the node is gone",
        ),
        (None, "ended without a reason; see Ray's logs"),
    ],
)
def test_tunes_own_errors_are_one_sentence(
    driver: Driver, tmp_path: Path, written: str | None, reason: str
) -> None:
    trial = driver.start()
    if written is not None:
        trial.error_file = tmp_path / "error.txt"
        trial.error_file.write_text(written)
    driver.recorder.on_trial_error(0, [], trial)
    assert (ending(driver, trial).status, ending(driver, trial).reason) == ("failed", reason)


def test_a_trial_whose_desk_was_lost_is_begun_again_three_times(driver: Driver) -> None:
    for attempt in (1, 2, 3):
        trial = driver.start()
        assert driver.record(trial).attempts == attempt
        driver.complete(trial, failure="its desk was lost with a node", kind="lost")
    last = driver.start()
    assert ending(driver, last).status == "unfinished", "a failure before the attempt does not end it"
    driver.complete(last, failure="its desk was lost with a node", kind="lost")
    assert driver.start() == "finished"
    assert (ending(driver, last).status, ending(driver, last).attempts) == ("failed", 4)


def test_memory_is_halved_as_long_as_a_batch_is_left(driver: Driver) -> None:
    batches = []
    while (trial := driver.start()) != "finished":
        batches.append(trial.config["config"]["batch"])
        driver.complete(trial, failure="OutOfMemoryError: CUDA out of memory", kind="memory")
    assert batches == [32, 16], "what was halved once is not halved again"
    reasons = {t.params.get("batch"): t.reason for t in driver.ledgers().values()}
    assert reasons == {
        None: "out of memory, tried again with batch 16 (OutOfMemoryError: CUDA out of memory)",
        16: "OutOfMemoryError: CUDA out of memory",
    }


def test_a_small_batch_is_not_halved(tmp_path: Path) -> None:
    with driving(plan(epochs=2, fixed=(("batch", 8),)), tmp_path) as driver:
        driver.search(driver.listed("objects", PARAMS))
        driver.complete(driver.start(), failure="OutOfMemoryError", kind="memory")
        assert driver.start() == "finished" and len(driver.ledgers()) == 1


def test_what_another_sweep_trained_is_shown_as_if_it_had_run(
    driver: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.finish(driver.start(), mpjpe_cm=4.25)
    capsys.readouterr()
    with driving(plan(epochs=2, name="other"), tmp_path, name="other") as other:
        other.search(other.listed("objects", PARAMS))
        assert other.start() == "finished"
        assert (
            "finished before, by another sweep or run codes=256 decoder_depth=2: 4.25 cm"
            in capsys.readouterr().out
        )
        (record,) = other.ledgers().values()
        assert (record.status, record.mpjpe_cm, record.sweep) == ("finished", 4.25, "mine")
        assert record.curve == [(1, 4.25), (2, 4.25)]


def test_a_trial_taken_over_after_the_loss_of_its_tune_actor_keeps_its_history(driver: Driver) -> None:
    """Tune starts it again; its workers went on, and tell what comes next."""
    trial = driver.start()
    driver.report(trial, "codebook")
    driver.report(trial, "indexer")
    driver.recorder.on_trial_start(0, [], trial)
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    driver.report(trial, "predictor", 2, 2, mpjpe_cm=4.0)
    driver.complete(trial)
    stages = [(e["stage"], e["epoch"]) for e in ending(driver, trial).history]
    assert stages == [("codebook", 1), ("indexer", 1), ("predictor", 1), ("predictor", 2)]


def test_epochs_that_were_trained_again_replace_the_first_ones(driver: Driver) -> None:
    """Workers died, and those after them went on from a checkpoint."""
    trial = driver.start()
    driver.report(trial, "codebook")
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0)
    again = {**trial.last_result["figures"], "mpjpe_cm": 5.5}
    result = trial.last_result | {"history": [driver.record(trial).history[0], again], "history_from": 0}
    driver.recorder.on_trial_result(0, [], trial, result)
    driver.report(trial, "predictor", 2, 2, mpjpe_cm=4.0)
    driver.complete(trial)
    assert [e.get("mpjpe_cm") for e in ending(driver, trial).history] == [None, 5.5, 4.0]


GPU = {"system/gpu_0_memory_usage_megabytes": 700.0, "system/gpu_0_memory_total_megabytes": 80000.0}


@pytest.mark.parametrize(
    ("used", "peak_mb", "learnt"),
    [
        ([{"system/system_memory_usage_megabytes": mb} for mb in (500.0, 900.0, 400.0)], 900.0, []),
        ([{**GPU, "system/system_memory_usage_megabytes": 5000.0}] * 3, 700.0, [(80e9, 0.7e9)] * 3),
    ],
)
def test_the_most_that_a_worker_used_is_kept_and_places_follow_it(
    driver: Driver, used: list[dict[str, Any]], peak_mb: float, learnt: list[tuple[float, float]]
) -> None:
    trial = driver.start()
    driver.report(trial, "codebook", **used[0])
    driver.report(trial, "predictor", 1, 2, mpjpe_cm=5.0, **used[1])
    driver.report(trial, "predictor", 2, 2, mpjpe_cm=4.0, **used[2])
    driver.complete(trial)
    assert ending(driver, trial).metrics["peak_memory_mb"] == peak_mb
    assert driver.places.learnt == learnt


def test_tune_can_pickle_it_though_it_holds_connections(driver: Driver) -> None:
    for part in (driver.recorder, driver.recorder.search):
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(vars(part))
        assert pickle.dumps(part) and part.__getstate__() == {}
