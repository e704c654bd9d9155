"""The schema of a team's MLflow: whether the installed MLflow can work on it, and how it becomes one that it can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster.state import StackError
from cluster.team_backup import BackupRecord, backup
from cluster.team_database import Revisions, TeamDatabase, mlflow_version, utc_stamp


def check_schema(database: TeamDatabase, revisions: Revisions) -> None:
    """Raises StackError where the installed MLflow cannot work on what the database holds."""
    if revisions.schema == "older":
        raise StackError(
            f"{database} has the schema of an older MLflow ({revisions}): "
            "`python -m cluster.team_server upgrade` makes a backup and upgrades it"
        )
    if revisions.schema == "newer":
        raise StackError(
            f"{database} has the schema of a newer MLflow ({revisions}) than {mlflow_version()}, which is installed "
            "here: install that version, or restore a backup from before it was upgraded"
        )
    if revisions.schema == "foreign":
        shown = ", ".join(revisions.tables[:5])
        raise StackError(
            f"{database} holds tables that are not MLflow's ({shown}): name a database of its own (`createdb`)"
        )


def upgrade(
    database: TeamDatabase, folder: Path, to: str | None = None
) -> tuple[str, BackupRecord, Revisions] | None:
    """Bring an older schema to the installed MLflow's, after a backup to `to` (default: a file in `folder`).

    Returns the backup's name and record and the new revisions; None where nothing was to do. Raises StackError.
    """
    before = database.revisions()
    if before.schema in ("empty", "current"):
        return None
    if before.schema != "older":
        check_schema(database, before)
    database.check_alone("an upgrade")
    where, record = backup(database, folder, to or str(folder / f"before-upgrade-{utc_stamp()}.dump"))
    _run(database, where, "-m", "mlflow", "db", "upgrade", database.sqlalchemy_url)
    if "alembic_version_auth" in before.found:
        program = "from mlflow.server.auth.cli import commands; commands()"
        _run(database, where, "-c", program, "db", "upgrade", "--url", database.sqlalchemy_url)
    after = database.revisions()
    if after.schema != "current":
        raise StackError(
            f"{database} has the schema {after} after the upgrade, which is {after.schema}; {_way_back(where)}"
        )
    return where, record, after


def _run(database: TeamDatabase, where: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **database.environment(), "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-15:])
        raise StackError(f"MLflow could not upgrade {database}; {_way_back(where)}. It said\n{words}")


def _way_back(where: str) -> str:
    return f"`python -m cluster.team_server restore {where} --replace` brings back what was there"
