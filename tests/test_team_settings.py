"""What a team's MLflow server is told, before anything is started: options, files of passwords, addresses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cluster import team_mlflow, team_server, team_settings
from cluster.server import NotReady
from cluster.state import StackError
from cluster.team_backup import BackupRecord
from cluster.team_database import Revisions, TeamDatabase, migrations, write_passfile
from cluster.team_settings import TeamFolder, TeamSettings
from cluster.team_upgrade import check_schema

DATABASE = "postgresql://mlflow@127.0.0.1:1/mlflow"


def settings(**changes: Any) -> TeamSettings:
    return TeamSettings(**{"database": DATABASE, "artifacts": "s3://mlflow", **changes})


@pytest.fixture
def folder(tmp_path: Path) -> TeamFolder:
    folder = TeamFolder(tmp_path / "team")
    folder.prepare()
    return folder


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"database": "postgresql://mlflow:hunter22@db/mlflow"}, "--password-file"),
        ({"database": "postgresql://mlflow@db/mlflow?password=hunter22"}, "--password-file"),
        ({"database": "sqlite:///mlflow.db"}, "postgresql://USER@HOST:PORT/DATABASE"),
        ({"database": "postgresql://mlflow@db"}, "postgresql://USER@HOST:PORT/DATABASE"),
        ({"database": "mlflow"}, "postgresql://USER@HOST:PORT/DATABASE"),
        ({"artifacts": "/data/mlflow"}, "s3://BUCKET"),
        ({"artifacts": "s3://"}, "s3://BUCKET"),
        ({"sign_on": "proxy", "host": "0.0.0.0"}, "--host 127.0.0.1"),
        ({"allowed_hosts": ("*",)}, "mlflow.lab.org"),
        ({"allowed_hosts": ("https://mlflow.lab.org",)}, "a host name"),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_one(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(StackError) as told:
        settings(**changes)
    assert remedy in str(told.value) and "hunter22" not in str(told.value)


def test_the_password_goes_to_a_private_file_in_libpqs_format(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a:b\\c'%40 d\n")
    file.chmod(0o600)
    passfile = write_passfile(tmp_path, DATABASE, file)
    assert passfile.read_text() == "127.0.0.1:1:mlflow:mlflow:a\\:b\\\\c'%40 d\n"
    assert passfile.stat().st_mode & 0o777 == 0o600
    # Another database's is another file: a server that runs reads its own at every new connection.
    assert write_passfile(tmp_path, DATABASE + "2", file) != passfile
    file.chmod(0o640)
    with pytest.raises(StackError, match=f"chmod 600 {file}"):
        write_passfile(tmp_path, DATABASE, file)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(StackError, match="one line"):
        write_passfile(tmp_path, DATABASE, file)
    with pytest.raises(StackError, match="cannot read --password-file"):
        write_passfile(tmp_path, DATABASE, tmp_path / "none")


def test_no_secret_is_in_the_command_line(folder: TeamFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder.path / "password"
    file.write_text("hunter22")
    file.chmod(0o600)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    told = settings(allowed_hosts=("mlflow.lab.org",))
    database = folder.database(told.database, str(file))
    line = " ".join(team_settings.command(told, database))
    environment = team_settings.environment(told, database, folder)
    for secret in ("hunter22", *(folder.secret(name) for name in ("admin_password", "flask_secret"))):
        assert secret not in line
    assert "hunter22" not in str(environment) and folder.secret("admin_password") not in str(environment)
    assert "MLFLOW_TRACKING_URI" not in environment
    assert "--no-serve-artifacts --default-artifact-root s3://mlflow --host 127.0.0.1" in line
    assert "https://mlflow.lab.org," in line and "--app-name basic-auth" in line
    assert "--app-name" not in " ".join(team_settings.command(settings(sign_on="proxy"), database))
    for file in folder.path.iterdir():
        assert file.is_dir() or file.stat().st_mode & 0o077 == 0, file


def test_hosts_are_named_with_and_without_a_port() -> None:
    assert settings(allowed_hosts=("mlflow.lab.org",)).host_headers() == [
        "localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "mlflow.lab.org", "mlflow.lab.org:*",
    ]  # fmt: skip
    assert "10.0.0.3:*" in settings(host="10.0.0.3").host_headers()
    assert not any("0.0.0.0" in name for name in settings(host="0.0.0.0").host_headers())
    assert settings(host="0.0.0.0").address == "http://127.0.0.1:5000"


def test_options_are_given_once(folder: TeamFolder) -> None:
    with pytest.raises(StackError, match="--database is missing"):
        folder.settings({"artifacts": "s3://mlflow"})
    folder.remember(
        folder.settings({"database": DATABASE, "artifacts": "s3://mlflow", "allowed_hosts": ("a",)})
    )
    assert folder.settings({"port": 6000, "workers": None}) == settings(allowed_hosts=("a",), port=6000)
    assert str(folder.database()) == DATABASE
    (folder.path / "server.json").write_text("{")
    with pytest.raises(StackError, match=r"server\.json is damaged"):
        folder.settings({})


def test_a_schema_is_older_newer_current_foreign_or_empty() -> None:
    known, head = migrations("alembic_version")
    _, users = migrations("alembic_version_auth")
    older = next(iter(known - {head}))
    cases: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
        "empty": ({}, ()),
        "foreign": ({}, ("orders",)),
        "older": ({"alembic_version": older}, ("runs",)),
        "current": ({"alembic_version": head, "alembic_version_auth": users}, ("runs",)),
        "newer": ({"alembic_version": head, "alembic_version_auth": "0" * 12}, ("runs",)),
    }
    database = TeamDatabase(DATABASE, None)
    for schema, (found, tables) in cases.items():
        revisions = Revisions(found=found, tables=tables)
        assert revisions.schema == schema
        if schema in ("empty", "current"):
            check_schema(database, revisions)
        else:
            remedy = {"older": "upgrade", "newer": "install that version", "foreign": "createdb"}[schema]
            with pytest.raises(StackError, match=remedy):
                check_schema(database, revisions)


def test_a_database_that_is_not_there_is_named(folder: TeamFolder) -> None:
    with pytest.raises(
        StackError, match=r"the database postgresql://mlflow@127\.0\.0\.1:1/mlflow does not answer"
    ):
        folder.database(DATABASE).revisions()


def test_a_record_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"a\.dump\.json is missing"):
        BackupRecord.read(tmp_path / "a.dump.json", "a.dump")
    (tmp_path / "a.dump.json").write_text(json.dumps({"mlflow": "3"}))
    with pytest.raises(StackError, match=r"a\.dump\.json is damaged"):
        BackupRecord.read(tmp_path / "a.dump.json", "a.dump")


def test_status_before_any_up_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(team_server.main, ["--folder", str(tmp_path / "team"), "status"])
    assert isinstance(done.exception, StackError) and "up --help" in str(done.exception)
    done = CliRunner().invoke(team_server.main, ["--folder", str(tmp_path / "team"), "down"])
    assert done.exit_code == 0 and "not running" in done.output


def test_nobody_there_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady):
        team_mlflow.check(settings(port=1))
    assert os.listdir(tmp_path) == []
