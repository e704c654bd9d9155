"""MLflow and Optuna's study can be deleted: the ledger makes them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sweeps.errors import SweepError
from sweeps.mlflow_view import main, rebuild, rebuild_all
from sweeps.recorded_plan import plan_of, recorded_config
from tests.mlflow_server import MlflowServer
from tests.shown_sweep import BEGAN_S, CODE, EPOCHS, Driver, history, plan, shown
from zoo.store import open_store

pytest.importorskip("mlflow")


@pytest.mark.slow
def test_a_deleted_database_is_made_again(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path / "store", mlflow.uri)
    driver.tracking.setting("objects")
    best = driver.run(256)
    driver.run(512, status="stopped")
    driver.run(300, status="failed")
    driver.conclude("objects", best)
    driver.tracking.setting("actions")
    driver.run(128, "actions")
    driver.tracking.artefacts("objects", {"report.html": "<p>live</p>"})
    driver.close()
    before = shown(mlflow.uri)
    assert {key: run["status"] for key, run in before.items()} == {
        "objects": "FINISHED",
        "actions": "SCHEDULED",
        best.identity: "FINISHED",
        "objects-000000000512": "KILLED",
        "objects-000000000300": "FAILED",
        "actions-000000000128": "FINISHED",
    }

    mlflow.kill()
    mlflow.delete_database()
    mlflow.start()
    made = rebuild(driver.store, "mine", mlflow.uri, log=lambda line: None)
    assert (made.written, made.whole, made.files) == (4, 0, 1)
    after = shown(mlflow.uri)
    assert after == before

    again = rebuild(driver.store, "mine", mlflow.uri, log=lambda line: None)
    assert (again.written, again.whole, again.files) == (0, 4, 0)
    assert shown(mlflow.uri) == before


def test_every_epoch_has_its_step_and_time(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path, None, name="steps", data_name="steps")
    trial = driver.run(256)
    rebuild(driver.store, "steps", mlflow.uri, log=lambda line: None)
    run = shown(mlflow.uri, "latentact-steps")[trial.identity]
    ms = round(1000 * BEGAN_S)
    assert [(step, at) for step, _, at in run["figures"]["mpjpe_cm"]] == [
        (n, ms + 1000 * (3 + n)) for n in (1, 2, 3)
    ]
    assert [step for step, _, _ in run["figures"]["codebook/loss"]] == [1, 2]
    # The machine's figures go through all stages, under the names that MLflow's own page looks for.
    assert [step for step, _, _ in run["figures"]["system/cpu_utilization_percentage"]] == [1, 2, 3, 4, 5, 6]
    assert run["figures"]["parameters"] == [(EPOCHS, 1234567.0, ms + 7000)]
    assert run["figures"]["best_mpjpe_cm"][0][1] == trial.mpjpe_cm
    assert run["times"] == (ms, ms + 7000)
    assert run["params"]["codes"] == "256" and run["params"]["decoder_depth"] == "2"
    assert run["params"]["codebook_epochs"] == "2" and run["params"]["width"] == "64"
    assert run["tags"]["parent"] == "objects" and run["tags"]["latentact.slot"] == "1"


def test_runs_say_what_they_were_trained_on(mlflow: MlflowServer, tmp_path: Path) -> None:
    data = "https://user:hunter2secret@host/world?X-Amz-Signature=0123abcd"
    driver = Driver(tmp_path, None, name="lineage", data_name="lineage", data=data)
    driver.run(256)
    rebuild(driver.store, "lineage", mlflow.uri, log=lambda line: None)
    for run in shown(mlflow.uri, "latentact-lineage").values():
        ((dataset, tags),) = run["data"]
        assert (dataset["name"], dataset["digest"]) == ("lineage", "d" * 16)
        assert json.loads(dataset["source"]) == {"uri": "https://host/world"}
        assert tags == [("mlflow.data.context", "training")]


def test_half_a_run_is_completed(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path / "half", mlflow.uri, name="half", data_name="half")
    trial = driver.start(256)
    driver.report(trial, history(256)[:4])
    driver.written(trial.identity)  # what was told so far is there
    driver.close()  # and of the rest MLflow hears nothing
    assert shown(mlflow.uri, "latentact-half")[trial.identity]["status"] == "SCHEDULED"
    driver.tracking = Driver(tmp_path / "half", None, name="half", data_name="half").tracking
    driver.report(trial, history(256)[4:])
    driver.end(trial)
    rebuild(driver.store, "half", mlflow.uri, log=lambda line: None)

    whole = Driver(tmp_path / "whole", None, name="half", data_name="whole")
    whole.run(256)
    rebuild(whole.store, "half", mlflow.uri, log=lambda line: None)
    half, other = (shown(mlflow.uri, f"latentact-{name}")[trial.identity] for name in ("half", "whole"))
    assert half["figures"] == other["figures"]
    assert half["status"] == "FINISHED"


def test_a_second_attempt_leaves_no_reason_behind(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path, None, name="retried", data_name="retried")
    driver.run(256, status="failed")
    rebuild(driver.store, "retried", mlflow.uri, log=lambda line: None)
    identity = "objects-000000000256"
    run = shown(mlflow.uri, "latentact-retried")[identity]
    assert run["tags"]["latentact.reason"] == "loss is nan" and run["status"] == "FAILED"
    trial = driver.start(256, attempt=2)
    driver.report(trial, history(256))
    driver.end(trial)
    rebuild(driver.store, "retried", mlflow.uri, log=lambda line: None)
    run = shown(mlflow.uri, "latentact-retried")[identity]
    assert "latentact.reason" not in run["tags"] and run["status"] == "FINISHED"
    assert run["tags"]["latentact.attempts"] == "2"
    assert len(run["figures"]["mpjpe_cm"]) == EPOCHS


def test_no_secret_is_shown_anywhere(
    mlflow: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPx",
        "MY_TOKEN": "tok-5f3e9a77",
        "DB_PASSWORD": "hunter2!x",
    }
    for variable, value in secrets.items():
        monkeypatch.setenv(variable, value)
    spoken = " ".join(secrets.values()) + " at https://me:passw0rd@host/a?sig=abc123def api_key=zzz999yyy"
    forbidden = [*secrets.values(), "passw0rd", "abc123def", "zzz999yyy"]
    driver = Driver(
        tmp_path / "store",
        mlflow.uri,
        name="secrets",
        data_name="secrets",
        data=f"s3://key:{secrets['MY_TOKEN']}@bucket/world?token=abc123def",
        fixed=(("start_from", secrets["MY_TOKEN"]),),
    )
    driver.tracking.setting("objects")
    trial = driver.start(256)
    entry: dict[str, Any] = {
        "stage": "predictor",
        "epoch": 1,
        "epochs": 3,
        "mpjpe_cm": 5.0,
        "contact_f1": 0.5,
        "at_s": BEGAN_S,
    }
    driver.report(trial, [entry | {f"figure {secrets['MY_TOKEN']}": 1.0}])
    trial.slot = secrets["DB_PASSWORD"]
    driver.end(trial, "failed", spoken)
    driver.tracking.summarised("objects", {f"test {spoken}": 1.0}, {"gate": spoken, secrets["MY_TOKEN"]: "x"})
    driver.tracking.artefacts(
        "objects", {"report.html": f"<p>{spoken}</p>", f"{secrets['MY_TOKEN']}.txt": spoken}
    )
    driver.close()
    assert not capsys.readouterr().err.strip()  # all of it is there
    driver.ledger.published("objects", {"identity": trial.identity, "lines": [spoken], "gate": spoken})

    def look() -> None:
        everything = json.dumps(shown(mlflow.uri, "latentact-secrets"))
        files = [
            path.read_bytes() for path in mlflow.folder.rglob("*") if path.is_file() and path.name != "log"
        ]
        names = [str(path) for path in mlflow.folder.rglob("*")]
        for secret in forbidden:
            assert secret not in everything
            assert not any(secret in name for name in names)
            assert not any(secret.encode() in content for content in files)

    look()
    assert len(shown(mlflow.uri, "latentact-secrets")["objects"]["files"]) == 2
    rebuild(driver.store, "secrets", mlflow.uri, log=lambda line: None)
    look()


def test_the_command_makes_all_there_are(
    mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        Driver(tmp_path / "store", None, name=name, data_name="several").run(256)
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/store")
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    study = f"sqlite:///{tmp_path}/study.db"
    told = CliRunner().invoke(main, ["rebuild", "--mlflow", mlflow.uri, "--optuna", study])
    assert told.exit_code == 0, told.output
    assert "one: 1 runs of trials written" in told.output and "study 'two objects': 1 trials" in told.output
    from mlflow import MlflowClient

    client = MlflowClient(mlflow.uri)
    experiment = client.get_experiment_by_name("latentact-several")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 4
    missing = CliRunner().invoke(main, ["rebuild", "none-such", "--mlflow", mlflow.uri])
    assert missing.exit_code == 1 and "There is no sweep none-such" in missing.output


def test_a_plan_that_cannot_be_read_holds_up_no_other(mlflow: MlflowServer, tmp_path: Path) -> None:
    driver = Driver(tmp_path, None, name="good", data_name="good")
    driver.run(256)
    old = Driver(tmp_path, None, name="older", data_name="good")
    record = {**old.plan.record(), "objectives": ["beauty"]}
    (tmp_path / "ledger/sweeps/older/plan.json").write_text(json.dumps(record))
    lines: list[str] = []
    assert rebuild_all(open_store(f"file://{tmp_path}"), [], mlflow.uri, log=lines.append) == 1
    assert any("older: not made again" in line and "another version" in line for line in lines)
    assert "good" in {run["tags"]["latentact.sweep"] for run in shown(mlflow.uri, "latentact-good").values()}


def test_a_plan_comes_back_from_its_record() -> None:
    base = plan()
    record = json.loads(json.dumps(base.record(), sort_keys=True))
    again = plan_of(base.name, record)
    assert again.record() == base.record()
    params = {"codes": 300, "decoder_depth": 4, "seed": 1}
    assert again.config("objects", **params) == base.config("objects", **params)
    assert recorded_config(again, record, "objects", params) == base.config("objects", **params).to_json()
    # Defaults of other code are not known, and not guessed.
    other = recorded_config(again, {**record, "code": "0" * 16}, "objects", params)
    assert other["codes"] == 300 and other["codebook_epochs"] == 2 and "width" not in other
    with pytest.raises(SweepError, match="another version"):
        plan_of("mine", {"data": "world"})


def test_a_comparison_brings_its_tables(mlflow: MlflowServer, tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from test_comparison import plan as comparison
    from test_comparison import tried

    from sweeps.comparison_table import compare
    from sweeps.comparison_text import files
    from sweeps.ledger import Ledger
    from sweeps.readings import keep

    asked = comparison("baselines", name="compared", data_name="compared", environment=(("code", CODE),))
    store = open_store(f"file://{tmp_path}/store")
    ledger = Ledger(store, asked.name, "driver")
    ledger.plan(asked.record())
    trials, readings = tried(asked)
    trials = [
        trial for trial in trials if trial.epochs == asked.budget("objects", trial.params)
    ]  # those read
    for key, reading in readings.items():
        keep(store, key, reading)
    for trial in trials:
        ledger.started(trial.identity, "objects", "comparison", trial.params, 1)
        trial.attempts, trial.sweep, trial.ended_s = 1, asked.name, BEGAN_S
        ledger.ended(trial)
    said = {"metrics": {"test_mpjpe_cm/latentact": 8.0}, "tags": {"latentact.kind": "baselines"}}
    ledger.published("objects", {"summary": said})

    made = rebuild(store, asked.name, mlflow.uri, log=lambda line: None)
    expected = files(compare(asked, "objects", trials, readings), trials, readings)
    assert (made.written, made.files) == (len(trials), len(expected))
    runs = shown(mlflow.uri, "latentact-compared")
    run = runs["objects"]
    assert run["status"] == "FINISHED" and run["tags"]["latentact.kind"] == "baselines"
    assert run["figures"]["test_mpjpe_cm/latentact"][0][1] == 8.0
    assert runs[trials[0].identity]["params"]["contender"] == "latentact"
    client = MlflowClient(mlflow.uri)
    experiment = client.get_experiment_by_name("latentact-compared")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], "tags.`latentact.key` = 'objects'")

    def kept(path: str) -> str:
        return Path(client.download_artifacts(found.info.run_id, path, str(tmp_path))).read_text()

    assert json.loads(kept("comparison.json"))["rows"] == json.loads(expected["comparison.json"])["rows"]
    assert kept("comparison.md").splitlines()[0] == expected["comparison.md"].splitlines()[0]
    assert json.loads(kept("errors/retrieval.json")) == json.loads(expected["errors/retrieval.json"])


def test_a_comparison_plan_comes_back_from_its_record() -> None:
    from test_comparison import plan as comparison

    for asked in (comparison("ablations"), comparison("baselines", folds=4, mode="interpolate")):
        record = json.loads(json.dumps(asked.record(), sort_keys=True))
        again = plan_of(asked.name, record)
        assert again.record() == asked.record() and again.reference == asked.reference  # type: ignore[attr-defined]
        for params in asked.points():
            assert again.config("objects", **params) == asked.config("objects", **params)
