"""A sweep in MLflow while it runs, and one that goes on where MLflow does not."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from sweeps.mlflow_view import rebuild
from sweeps.tracking import Tracking
from tests.mlflow_server import MlflowServer, running_mlflow
from tests.shown_sweep import BEGAN_S, EPOCHS, Driver, history, plan, shown

pytest.importorskip("mlflow")


def test_files_lie_beside_a_settings_parent_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # artefacts of a server-less MLflow lie where it is used
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    texts = {"comparison.md": "| a |\n", "errors/no-text.json": "[]"}
    for _ in range(2):  # the second time as a resumed comparison: the same run
        tracking = Tracking(uri, plan(), {})
        tracking.setting("objects")
        tracking.artefacts("objects", texts)
        tracking.summarised("objects", {"test_mpjpe_cm/no_text": 8.5}, {"latentact.kind": "ablations"})
        tracking.close()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("latentact-world")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["test_mpjpe_cm/no_text"] == 8.5
    assert len(client.get_metric_history(run.info.run_id, "test_mpjpe_cm/no_text")) == 1
    assert run.data.tags["latentact.kind"] == "ablations" and run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"comparison.md", "errors"}
    kept = client.download_artifacts(run.info.run_id, "comparison.md", str(tmp_path))
    assert Path(kept).read_text() == texts["comparison.md"]


def test_without_mlflow_nothing_is_kept_and_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = Driver(tmp_path, None)
    driver.tracking.setting("objects")
    trial = driver.run(256)
    driver.conclude("objects", trial)
    driver.tracking.artefacts("objects", {"report.html": ""})
    assert driver.tracking.address("objects") is None and driver.tracking.run_id(trial.identity) is None
    driver.tracking.close()
    assert not capsys.readouterr().err


def test_a_run_is_shown_while_it_runs(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path, mlflow.uri, name="live", data_name="live")
    driver.tracking.setting("objects")
    trial = driver.start(256)
    driver.report(trial, history(256)[:5])
    run_id, address = driver.written(trial.identity), driver.tracking.address("objects")
    now = shown(mlflow.uri, "latentact-live")
    assert now[trial.identity]["status"] == now["objects"]["status"] == "RUNNING"
    assert [step for step, _, _ in now[trial.identity]["figures"]["mpjpe_cm"]] == [1, 2]
    assert now["objects"]["params"]["space/codes"] == "128:1024 log"
    assert run_id and address and address.startswith(f"{mlflow.uri}/#/experiments/")
    driver.report(trial, history(256)[5:])
    driver.end(trial)
    driver.conclude("objects", trial)
    driver.close()
    end = shown(mlflow.uri, "latentact-live")
    assert end[trial.identity]["status"] == end["objects"]["status"] == "FINISHED"
    assert end["objects"]["figures"]["test_mpjpe_cm"] == [(0, 5.5, 0)]
    assert end["objects"]["tags"]["model"] == "latentact-world-objects@1"


def test_many_reports_are_one_request_a_run(
    mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    requests = []
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, *args: Any, **kwargs: Any) -> Any:
        requests.append(run_id)
        return log_batch(self, run_id, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    driver = Driver(tmp_path, mlflow.uri, name="many", data_name="many")
    driver.tracking.setting("objects")
    trials = [driver.start(codes) for codes in range(200, 212)]
    driver.written()  # all of them are open
    begun = len(requests)
    for entry in range(3 + EPOCHS):  # 12 trials, epoch by epoch
        for trial in trials:
            driver.report(trial, [history(trial.params["codes"])[entry]])
    driver.written()
    # 72 reports: a request for each run, and for those a second that the thread met in the middle of its work.
    assert len(requests) - begun <= 2 * len(trials)
    for trial in trials:
        driver.end(trial)
    driver.close()
    runs = shown(mlflow.uri, "latentact-many")
    assert all(len(runs[trial.identity]["figures"]["mpjpe_cm"]) == EPOCHS for trial in trials)


def test_a_resumed_sweep_goes_on_in_the_same_runs(mlflow: MlflowServer, tmp_path: Path) -> None:
    first = Driver(tmp_path, mlflow.uri, name="again", data_name="again")
    first.tracking.setting("objects")
    trial = first.start(256)
    first.report(trial, history(256)[:4])
    first.end(trial, "unfinished", "parked: asked to stop")
    first.close()
    parked = shown(mlflow.uri, "latentact-again")
    assert parked["objects"]["status"] == parked[trial.identity]["status"] == "SCHEDULED"

    second = Driver(tmp_path, mlflow.uri, name="again", data_name="again")
    second.tracking.setting("objects")
    trial = second.start(256, attempt=2)
    second.report(trial, history(256, began_s=BEGAN_S + 100))  # from the first epoch on, at another time
    second.written()
    assert shown(mlflow.uri, "latentact-again")[trial.identity]["status"] == "RUNNING"
    second.end(trial)
    second.close()
    run = shown(mlflow.uri, "latentact-again")[trial.identity]
    assert run["status"] == "FINISHED"
    assert [step for step, _, _ in run["figures"]["mpjpe_cm"]] == [1, 2, 3]
    assert [step for step, _, _ in run["figures"]["codebook/loss"]] == [1, 2]
    assert "latentact.reason" not in run["tags"]


def test_what_ended_before_and_is_missing_comes_too(mlflow: MlflowServer, tmp_path: Path) -> None:
    before = Driver(tmp_path, None, name="missing", data_name="missing")  # MLflow was not there
    trial = before.run(256)
    after = Driver(tmp_path, mlflow.uri, name="missing", data_name="missing")
    ended = list(after.ledger.read(after.plan.budget)[0]["objects"].values())
    after.tracking.setting("objects", ended)
    after.close()
    run = shown(mlflow.uri, "latentact-missing")[trial.identity]
    assert run["status"] == "FINISHED" and len(run["figures"]["mpjpe_cm"]) == EPOCHS


def test_a_trial_of_another_sweep_brings_its_history(mlflow: MlflowServer, tmp_path: Path) -> None:
    trained = Driver(tmp_path, None, name="first", data_name="shared").run(256)
    other = Driver(tmp_path, mlflow.uri, name="second", data_name="shared")
    other.tracking.setting("objects")
    trial = other.start(256)
    other.ledger.settle(trial, EPOCHS)
    assert trial.status == "finished" and trial.sweep == "first"
    for epoch, value in trial.curve:  # as the recorder shows it
        other.tracking.reported(trial.identity, {"stage": "predictor", "epoch": epoch, "mpjpe_cm": value})
    other.tracking.ended(trial)
    other.close()
    live = shown(mlflow.uri, "latentact-shared")
    run = live[trained.identity]
    assert len(run["figures"]["mpjpe_cm"]) == EPOCHS and len(run["figures"]["codebook/loss"]) == 2
    assert run["tags"]["latentact.trained_by"] == "first" and run["tags"]["latentact.sweep"] == "second"
    rebuild(other.store, "second", mlflow.uri, log=lambda line: None)
    assert shown(mlflow.uri, "latentact-shared") == live


def test_one_that_is_refused_holds_up_no_other(
    mlflow: MlflowServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = Driver(tmp_path, mlflow.uri, name="refused", data_name="refused")
    driver.tracking.setting("objects")
    trial = driver.start(256)
    driver.report(trial, [{**history(256)[3], "huge": 10**400}])  # no number that MLflow knows
    good = driver.run(512)
    driver.close()
    run = shown(mlflow.uri, "latentact-refused")[good.identity]
    assert run["status"] == "FINISHED" and len(run["figures"]["mpjpe_cm"]) == EPOCHS
    told = capsys.readouterr().err
    assert told.count("Warning") == 1 and f"refuses trial {trial.identity}" in told
    assert "python -m sweeps.ledger rebuild refused" in told.splitlines()[-1]


def test_a_server_that_is_not_there_holds_up_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = Driver(tmp_path, f"http://me:passw0rd@127.0.0.1:{port}")
    driver.tracking.setting("objects")
    trial = driver.run(256)
    driver.conclude("objects", trial)
    assert driver.tracking.run_id(trial.identity) is None
    assert driver.tracking.address("objects") == f"http://127.0.0.1:{port}"
    driver.tracking.close()
    told = capsys.readouterr().err
    assert told.count("Warning") == 1 and "passw0rd" not in told
    assert "python -m sweeps.ledger rebuild mine" in told.splitlines()[-1]
    assert len(told.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_server_that_never_answers_lets_the_sweep_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        driver = Driver(tmp_path, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        driver.tracking.setting("objects")
        driver.run(256)
        assert driver.tracking.run_id("objects") is None
        driver.tracking.close()
    assert "python -m sweeps.ledger rebuild mine" in capsys.readouterr().err
    # It may still wait for its answer, and would tell the next test's output that none came.
    for writer in [thread for thread in threading.enumerate() if thread.name == "mlflow"]:
        writer.join(60)
        assert not writer.is_alive()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_dies_and_comes_back_has_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_mlflow(tmp_path) as mlflow:
        driver = Driver(tmp_path / "store", mlflow.uri)
        driver.tracking.setting("objects")
        driver.tracking.artefacts("objects", {"notes.txt": "kept"})
        before = driver.run(256)
        during, after = driver.start(300), driver.start(400)
        driver.report(during, history(300)[:4])
        driver.report(after, history(400)[:4])
        driver.written()

        mlflow.kill()
        driver.report(during, history(300)[4:])
        driver.end(during)
        meanwhile = driver.run(500)
        driver.report(after, history(400)[4:5])
        driver.tracking.setting("actions")
        assert driver.tracking.run_id(during.identity) is None  # and by now it is known to be gone
        driver.run(128, "actions", "stopped")

        mlflow.start()
        driver.report(after, history(400)[5:])
        driver.end(after)
        driver.conclude("objects", before)
        driver.close()
        told = capsys.readouterr().err
        # A server that begins may falter once more; each time is told, and so is each return.
        assert told.count("does not take records") == told.count("is back") >= 1, told
        assert told.count("Warning") == told.count("is back") and "lacks" not in told, told
        live = shown(mlflow.uri)
        assert {"objects", "actions", before.identity, during.identity, meanwhile.identity} < live.keys()
        assert all(
            len(live[trial.identity]["figures"]["mpjpe_cm"]) == EPOCHS
            for trial in (before, during, meanwhile, after)
        )
        assert live["objects"]["files"] == ["notes.txt"] and live["objects"]["status"] == "FINISHED"

        # The database gone too: what was written before is made again beside what comes now.
        driver = Driver(tmp_path / "store", mlflow.uri)
        driver.tracking.setting("objects")
        driver.run(600)
        driver.written()
        mlflow.kill()
        mlflow.delete_database()
        mlflow.start()
        driver.run(700)
        driver.close()
        last = shown(mlflow.uri)
        assert len(last["objects-000000000600"]["figures"]["mpjpe_cm"]) == EPOCHS
        rebuild(driver.store, "mine", mlflow.uri, log=lambda line: None)
        last = shown(mlflow.uri)
        for trial in (before, during, meanwhile, after):
            assert last[trial.identity] == live[trial.identity]
