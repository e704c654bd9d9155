"""A team's MLflow on real PostgreSQL and S3 servers: who gets in, what a restart loses, backup and the way back, upgrades."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic.command
import boto3
import psutil
import pytest
import sqlalchemy

from tests.object_server import ObjectStore
from tests.postgres_server import PostgresServer, needs_postgres, running_postgres
from tests.shown_sweep import BEGAN_S, EPOCHS, Driver, history, shown
from tests.team_server import ALLOWED_HOST, TeamServer, environment_of, running_team

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), needs_postgres]

# Of the spring of 2025, some 30 revisions before the installed one.
OLD, OLD_USERS = "bda7b8c39065", "8606fa83a998"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def team(
    postgres: PostgresServer, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TeamServer]:
    with running_team(tmp_path_factory.mktemp("team"), postgres, "mlflow", object_store) as server:
        yield server


def answer(
    uri: str, user: tuple[str, str] | None = None, *, path: str = "experiments/search", **headers: str
) -> int:
    """The status of a request that writes nothing, sent as pages do."""
    if user is not None:
        headers["Authorization"] = "Basic " + b64encode(":".join(user).encode()).decode()
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/{path}",
        data=b'{"max_results": 1}',
        headers={"Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_who_has_a_password_gets_in_and_only_under_its_names(team: TeamServer) -> None:
    assert answer(team.uri) == 401
    assert answer(team.uri, ("admin", "password1234")) == 401
    assert answer(team.uri, ("admin", "")) == 401
    assert answer(team.uri, team.admin) == 200
    ada = team.user("ada")
    user = ada["MLFLOW_TRACKING_USERNAME"], ada["MLFLOW_TRACKING_PASSWORD"]
    assert answer(team.uri, user) == 200
    assert answer(team.uri, user, path="users/create") == 403
    assert "already exists" in team.run("add-user", "ada", fails=True)
    # A page of somebody else's, under his name for our address or with his origin.
    assert answer(team.uri, user, Host="evil.example.org") == 403
    assert answer(team.uri, user, Host=ALLOWED_HOST) == 200
    assert answer(team.uri, user, Host=ALLOWED_HOST, Origin=f"https://{ALLOWED_HOST}") == 200
    assert answer(team.uri, user, Host=ALLOWED_HOST, Origin="https://evil.example.org") == 403


def test_it_listens_on_loopback_alone_and_says_how_it_is(team: TeamServer) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in team.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", team.port)}
    told = team.run("status")
    assert "ready, 2 workers" in told and "current for MLflow" in told
    assert "was running" in team.again()
    assert "other options" in team.run("up", "--workers", "3", fails=True)


def test_a_sweep_goes_on_through_the_death_of_either_server(
    team: TeamServer, postgres: PostgresServer, object_store: ObjectStore, tmp_path: Path
) -> None:
    with environment_of({**object_store.env, **team.user("sweeper")}):
        driver = Driver(tmp_path, team.uri)
        driver.tracking.setting("objects")
        driver.tracking.artefacts("objects", {"notes.txt": "kept"})
        before = driver.run(256)
        through, later = driver.start(300), driver.start(400)
        driver.report(through, history(300)[:4])
        driver.written()
        team.kill()
        assert "refused" in team.run("status", fails=True)
        driver.report(through, history(300)[4:])
        driver.report(later, history(400)[:4])
        team.again()
        driver.end(through)
        driver.written()
        postgres.kill()
        driver.report(later, history(400)[4:])
        meanwhile = driver.run(500)
        postgres.start()
        driver.end(later)
        driver.conclude("objects", before)
        driver.close()
        runs = shown(team.uri)
    for trial in (before, through, meanwhile, later):
        told = history(trial.params["codes"])
        figures = runs[trial.identity]["figures"]
        assert runs[trial.identity]["status"] == "FINISHED"
        # Six digits, as the ledger keeps them.
        assert [(step, float(f"{value:.6g}"), at_ms) for step, value, at_ms in figures["mpjpe_cm"]] == [
            (entry["epoch"], float(f"{entry['mpjpe_cm']:.6g}"), int(1000 * (BEGAN_S + second)))
            for second, entry in enumerate(told, 1)
            if entry["stage"] == "predictor"
        ]
        assert len(figures["mpjpe_cm"]) == EPOCHS and len(figures["codebook/loss"]) == 2
    assert runs["objects"]["files"] == ["notes.txt"]
    s3 = boto3.client(
        "s3", endpoint_url=object_store.endpoint, region_name="us-east-1",
        aws_access_key_id=object_store.access_key, aws_secret_access_key=object_store.secret_key,
    )  # fmt: skip
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert any(key.endswith("/artifacts/notes.txt") for key in keys), keys
    # The database's password is in no process's line or environment, no log, and nothing that MLflow shows.
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        assert not any(postgres.password in word for word in told), process
    assert postgres.password not in team.log and team.admin[1] not in team.log
    assert postgres.password not in json.dumps(runs)


def test_what_was_backed_up_comes_back(
    team: TeamServer, postgres: PostgresServer, object_store: ObjectStore, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    def registered(client: MlflowClient) -> dict[str, Any]:
        return {
            model.name: (
                dict(model.tags),
                dict(model.aliases),
                client.get_model_version(model.name, "1").source,
            )
            for model in client.search_registered_models()
        }

    user = team.user("curator")
    with environment_of({**object_store.env, **user}):
        driver = Driver(tmp_path / "sweep", team.uri, name="kept", data_name="kept")
        driver.tracking.setting("objects")
        driver.run(256)
        driver.close()
        client = MlflowClient(tracking_uri=team.uri)
        client.create_registered_model("latentact-kept-objects", tags={"data": "kept"})
        client.create_model_version("latentact-kept-objects", "s3://zoo/models/one")
        client.set_registered_model_alias("latentact-kept-objects", "champion", "1")
        runs, models = shown(team.uri, "latentact-kept"), registered(client)
        assert models["latentact-kept-objects"][1] == {"champion": "1"}
        file = tmp_path / "mlflow.dump"
        told = team.run("backup", str(file))
        in_s3 = team.run("backup", "s3://zoo/backups/").split()[0]
        assert (
            in_s3.startswith("s3://zoo/backups/")
            and in_s3.endswith(".dump")
            and "1 registered models" in told
        )
        assert file.stat().st_mode & 0o077 == 0 and sorted(tmp_path.glob("*.dump*")) == [
            file, file.with_name("mlflow.dump.json"),
        ]  # fmt: skip
        assert "is there already" in team.run("backup", str(file), fails=True)
        # Written after the backup: what `restore` brings back has it no more.
        client.create_registered_model("latentact-late-objects")

        assert "sessions are connected" in team.run("restore", str(file), fails=True)
        team.run("down")
        assert "is not empty" in team.run("restore", str(file), fails=True)
        postgres.execute("drop database mlflow")
        assert "does not exist" in team.run("restore", str(file), fails=True)
        postgres.create("mlflow")

        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert "is damaged" in team.run("restore", str(file), fails=True)
        file.write_bytes(whole)
        record = json.loads(file.with_name("mlflow.dump.json").read_text())
        later = {**record, "revisions": {"alembic_version": "0" * 12}}
        file.with_name("mlflow.dump.json").write_text(json.dumps(later))
        assert f"install mlflow=={record['mlflow']}" in team.run("restore", str(file), fails=True)
        file.with_name("mlflow.dump.json").write_text(json.dumps(record))

        team.run("restore", str(file))
        team.again()
        assert shown(team.uri, "latentact-kept") == runs and registered(client) == models

        # From S3, over a database in use, whose own backup is kept.
        client.create_registered_model("latentact-late-objects")
        team.run("down")
        told = team.run("restore", in_s3, "--replace")
        team.again()
        assert shown(team.uri, "latentact-kept") == runs and registered(client) == models
        (kept,) = (team.folder / "backups").glob("before-restore-*.dump")
        assert f"what was there before: {kept}" in told
        assert json.loads(Path(f"{kept}.json").read_text())["rows"]["registered_models"] == 2
    assert answer(team.uri, (user["MLFLOW_TRACKING_USERNAME"], user["MLFLOW_TRACKING_PASSWORD"])) == 200
    assert not list((team.folder / "backups").glob(".*"))


def test_an_older_schema_is_upgraded_after_a_backup_and_a_newer_one_left_alone(
    postgres: PostgresServer, object_store: ObjectStore, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    team = TeamServer(tmp_path, postgres, "older", object_store)
    _make_older(postgres, "older")
    assert "team_server upgrade" in team.up(fails=True)
    reach = ("--database", team.database, "--password-file", str(team.password_file))
    told = team.run("upgrade", *reach)
    (kept,) = (team.folder / "backups").glob("before-upgrade-*.dump")
    record = json.loads(Path(f"{kept}.json").read_text())
    assert str(kept) in told and record["revisions"] == {
        "alembic_version": OLD,
        "alembic_version_auth": OLD_USERS,
    }
    assert record["rows"]["runs"] == record["rows"]["metrics"] == 1
    assert "nothing to do" in team.run("upgrade", *reach)
    try:
        team.up()
        with environment_of(team.user("ada")):
            client = MlflowClient(tracking_uri=team.uri)
            run = client.get_run("f" * 32)
            assert run.data.metrics == {"mpjpe_cm": 5.25} and run.info.run_name == "of-old"
            client.log_metric(run.info.run_id, "mpjpe_cm", 5.0, step=1)
            assert [m.value for m in client.get_metric_history(run.info.run_id, "mpjpe_cm")] == [5.25, 5.0]
    finally:
        team.run("down")
    # The backup of before is as good as it says.
    postgres.create("again")
    again = team.database.replace("/older", "/again")
    assert "older than the installed" in team.run("restore", "--database", again, str(kept))

    postgres.execute("update alembic_version set version_num = '0123456789ab'", "older")
    assert "install that version" in team.up(fails=True)
    assert "install that version" in team.run("upgrade", fails=True)
    assert len(list((team.folder / "backups").glob("*.dump"))) == 1
    postgres.create("foreign_tables")
    postgres.execute("create table orders (number int)", "foreign_tables")
    theirs = team.database.replace("/older", "/foreign_tables")
    assert "not MLflow's (orders)" in team.run(
        "restore", "--database", theirs, "--replace", str(kept), fails=True
    )
    assert "holds no MLflow" in team.run(
        "backup", "--database", theirs, str(tmp_path / "no.dump"), fails=True
    )


def _make_older(postgres: PostgresServer, database: str) -> None:
    """What an MLflow of 2025 left: its schema by MLflow's own migrations, with a run and a user's table in it."""
    from mlflow.server.auth.db.utils import migrate
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    url = sqlalchemy.URL.create(
        "postgresql+psycopg2", postgres.user, postgres.password, "127.0.0.1", postgres.port, database
    )
    engine = sqlalchemy.create_engine(url)
    Base.metadata.create_all(engine)
    config = _get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, OLD)
        for statement in (
            "insert into experiments (name, artifact_location, lifecycle_stage) values ('old', 's3://mlflow/1', 'active')",
            f"""insert into runs (run_uuid, name, user_id, source_type, source_name, status, start_time, lifecycle_stage,
                experiment_id, artifact_uri) select '{"f" * 32}', 'of-old', 'ada', 'LOCAL', 'sweep.py', 'FINISHED', 1,
                'active', experiment_id, 's3://mlflow/1' from experiments""",
            f"insert into metrics values ('mpjpe_cm', 5.25, 1, '{'f' * 32}', 0, false)",
            f"""insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
                values ('mpjpe_cm', 5.25, 1, 0, false, '{"f" * 32}')""",
        ):
            connection.execute(sqlalchemy.text(statement))
    migrate(engine, OLD_USERS)
    engine.dispose()
