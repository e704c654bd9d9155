"""A team's MLflow: records in PostgreSQL, artefacts straight to S3, users with passwords.

\b
    python -m cluster.team_server up --database postgresql://mlflow@db.lab.org/mlflow \\
        --password-file ~/pg_password --artifacts s3://lab-mlflow --allowed-host mlflow.lab.org
    python -m cluster.team_server add-user ada > ada.credentials    # her ~/.mlflow/credentials
    python -m cluster.team_server status                            # exit code 0 when it works
    python -m cluster.team_server backup s3://lab-backups/mlflow/   # or a file, or a folder/
    python -m cluster.team_server restore s3://lab-backups/mlflow/2026-11-29T050000Z.dump
    python -m cluster.team_server down                              # then upgrade, then up

Options are given once: `up` remembers them in --folder (default $LATENTACT_HOME/team, else ~/.latentact-zoo/team).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cluster import team_backup, team_mlflow
from cluster.server import NotReady
from cluster.state import StackError, StackFolder
from cluster.team_database import mlflow_version
from cluster.team_settings import TeamFolder
from cluster.team_upgrade import upgrade

console = Console(highlight=False, soft_wrap=True)


@click.group(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), help="Where its options, secrets and logs lie.")
@click.pass_context
def main(context: click.Context, folder: Path | None) -> None:
    path = folder or StackFolder.from_environment().path / "team"
    context.obj = TeamFolder(path.expanduser().absolute())
    context.obj.prepare()


def _reaches_database(run: Callable[..., None]) -> Callable[..., None]:
    """The two options of the commands that can do without an `up`."""
    run = click.option(
        "--password-file", type=click.Path(dir_okay=False), help="Its role's password (mode 0600)."
    )(run)
    return click.option("--database", help="postgresql://USER@HOST:PORT/DATABASE, without the password.")(run)


@main.command(
    "up",
    help="Start the server, wait until it works. Options that are left out are those of the last time.",
)
@_reaches_database
@click.option("--artifacts", help="s3://BUCKET[/PREFIX], where clients write with their own keys.")
@click.option("--host", help="The address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="The port to listen on (5000).")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A name that it is reached by, such as the proxy's.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes (2).")
@click.option(
    "--sign-on",
    type=click.Choice(["password", "proxy"]),
    help="Who checks users: MLflow, or a proxy in front.",
)
@click.option("--foreground", is_flag=True, help="Become the server, as containers and systemd want it.")
@click.pass_obj
def up_command(folder: TeamFolder, foreground: bool, **given: Any) -> None:
    given["allowed_hosts"] = given["allowed_hosts"] or None
    if given["password_file"]:
        given["password_file"] = str(Path(given["password_file"]).expanduser().absolute())
    team_mlflow.up(folder, folder.settings(given), foreground=foreground)


@main.command("down", help="End the server. All that it has written stays.")
@click.pass_obj
def down_command(folder: TeamFolder) -> None:
    ended = team_mlflow.down(folder)
    console.print(f"ended {ended} processes" if ended else "it was not running")


@main.command("status", help="Show server, database, schema. Exit code 0 when all of it works, else 1.")
@click.pass_obj
def status_command(folder: TeamFolder) -> None:
    settings = folder.settings({})
    works = True
    try:
        team_mlflow.check(settings)
        console.print(f"server     {settings.address}  ready, {settings.workers} workers")
    except NotReady as error:
        works = False
        console.print(f"server     {settings.address}  {error}")
    try:
        database = folder.database()
        revisions = database.revisions()
        works = works and revisions.schema == "current"
        console.print(
            f"database   {database}  {revisions.schema} for MLflow {mlflow_version()} ({revisions})"
        )
    except StackError as error:
        works = False
        console.print(f"database   {error}")
    console.print(f"artefacts  {settings.artifacts}")
    console.print(f"folder     {folder.path}")
    sys.exit(0 if works else 1)


@main.command(
    "add-user", help="Make an account. Prints what belongs into the user's ~/.mlflow/credentials (mode 0600)."
)
@click.argument("name")
@click.pass_obj
def add_user_command(folder: TeamFolder, name: str) -> None:
    click.echo(team_mlflow.add_user(folder, folder.settings({}), name), nl=False)


@main.command(
    "upgrade", help="Upgrade the schema, after a backup. The database then fits the installed MLflow."
)
@_reaches_database
@click.option(
    "--backup",
    "to",
    help="Where the backup goes: a file, a folder/ or s3://BUCKET/PREFIX/ (the folder's backups/).",
)
@click.pass_obj
def upgrade_command(
    folder: TeamFolder, database: str | None, password_file: str | None, to: str | None
) -> None:
    reached = folder.database(database, password_file)
    done = upgrade(reached, folder.backups, to)
    if done is None:
        console.print(f"nothing to do: {reached} is empty or has the schema of MLflow {mlflow_version()}")
        return
    where, record, after = done
    console.print(f"backup of {record}: {where}")
    console.print(f"{reached} has the schema {after} of MLflow {mlflow_version()}")


@main.command(
    "backup",
    help="Write a backup, while the server runs. TO is a file, a folder/, s3://BUCKET/KEY or s3://BUCKET/PREFIX/.",
)
@_reaches_database
@click.argument("to")
@click.pass_obj
def backup_command(folder: TeamFolder, database: str | None, password_file: str | None, to: str) -> None:
    where, record = team_backup.backup(folder.database(database, password_file), folder.backups, to)
    console.print(f"{where}  {record}")


@main.command(
    "restore", help="Bring a backup back. It goes into an empty database, and is compared with its record."
)
@_reaches_database
@click.option(
    "--replace",
    is_flag=True,
    help="Empty a database that is not, after a backup of it in the folder's backups/.",
)
@click.argument("source")
@click.pass_obj
def restore_command(
    folder: TeamFolder, database: str | None, password_file: str | None, source: str, replace: bool
) -> None:
    reached = folder.database(database, password_file)
    record, kept = team_backup.restore(reached, folder.backups, source, replace=replace)
    console.print(f"{reached} holds {record}, as it was at {record.made_at}")
    if kept:
        console.print(f"what was there before: {kept}")
    if reached.revisions().schema == "older":
        console.print(
            "its schema is older than the installed MLflow's: `python -m cluster.team_server upgrade` comes next"
        )


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        sys.exit(f"error: {error}")
