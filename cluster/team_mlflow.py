"""The process of a team's MLflow server: its start, its end, how it shows that it works, and who has an account."""

from __future__ import annotations

import json
import os
import secrets
import time
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any

from rich.console import Console

from cluster import process, team_settings
from cluster.ports import check_free
from cluster.server import NotReady, Server
from cluster.state import StackError, StackState
from cluster.team_database import TeamDatabase, mlflow_version
from cluster.team_settings import ADMIN, TeamFolder, TeamSettings
from cluster.team_upgrade import check_schema

console = Console(highlight=False, soft_wrap=True)
_NAME = "team-mlflow"


def up(folder: TeamFolder, settings: TeamSettings, *, foreground: bool = False) -> None:
    """Start the server where it does not run, and wait until it works. Raises StackError.

    In the foreground this process becomes the server, as containers and service managers want it, and never returns.
    """
    with folder.stack.locked():
        database = folder.database(settings.database, settings.password_file)
        state = folder.stack.read_state() or StackState(
            stack_id=secrets.token_hex(8), port_base=settings.port
        )
        record = state.processes.get(_NAME)
        is_running = record is not None and process.is_alive(record)
        if is_running and folder.read_settings() != _as_read(settings):
            raise StackError(
                "it runs with other options: `python -m cluster.team_server down`, then `up` again"
            )
        check_schema(database, database.revisions())
        server = _server(folder, settings, database)
        if not is_running:
            process.stop(None, server.member(state), patience_s=0)  # workers of one that died
            line = server.command()
            folder.remember(settings)
            if foreground:
                os.execve(line[0], line, server.environment)
            if settings.is_local:
                check_free(_NAME, server.ports)
            state.port_base = settings.port
            record = state.processes[_NAME] = server.start(folder.stack, state)
            folder.stack.write_state(state)
        assert record is not None
        began_s = time.monotonic()
        with console.status("waiting for MLflow"):
            server.wait_ready(folder.stack, record)
    how = "was running" if is_running else f"ready in {time.monotonic() - began_s:.1f} s"
    console.print(f"  MLflow {mlflow_version()}  {settings.address}  {how}")
    console.print(f"  records {database}, artefacts {settings.artifacts}, log {folder.stack.log(_NAME)}")
    if settings.sign_on == "password":
        console.print(f"  user {ADMIN}, password in {folder.admin_password}; `add-user NAME` makes others")
    if not settings.is_local:
        console.print(
            f"  {settings.host}:{settings.port} speaks plain HTTP: put a reverse proxy with TLS in front of it"
        )


def down(folder: TeamFolder) -> int:
    """End the server and its workers; returns how many processes there were. Raises StackError."""
    if not folder.stack.state_file.exists():
        return 0
    with folder.stack.locked():
        state = folder.stack.read_state()
        assert state is not None
        record = state.processes.pop(_NAME, None)
        ended = process.stop(record, f"{state.stack_id}:{_NAME}", patience_s=30)
        folder.stack.write_state(state)
    return ended


def add_user(folder: TeamFolder, settings: TeamSettings, name: str) -> str:
    """Make an account with a password of its own; the content of the user's ~/.mlflow/credentials. Raises StackError."""
    password = secrets.token_urlsafe(24)
    body = json.dumps({"username": name, "password": password}).encode()
    admin = b64encode(f"{ADMIN}:{folder.secret('admin_password')}".encode()).decode()
    request = urllib.request.Request(
        f"{settings.address}/api/2.0/mlflow/users/create",
        data=body,
        headers={"Content-Type": "application/json", "Authorization": f"Basic {admin}"},
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        words = error.read().decode(errors="replace")
        if error.code == 401:
            words = (
                f"the password in {folder.admin_password} is not {ADMIN}'s any more: write the new one there"
            )
        raise StackError(f"MLflow at {settings.address} does not make the user {name}: {words}") from error
    except OSError as error:
        raise StackError(f"MLflow at {settings.address} does not answer ({error}): `up` starts it") from error
    return f"[mlflow]\nmlflow_tracking_username = {name}\nmlflow_tracking_password = {password}\n"


def _server(folder: TeamFolder, settings: TeamSettings, database: TeamDatabase) -> Server:
    return Server(
        name=_NAME,
        address=settings.address,
        command=lambda: team_settings.command(settings, database),
        environment=team_settings.environment(settings, database, folder),
        ports=[settings.port],
        check=lambda: check(settings),
        start_timeout_s=300,
        stop_patience_s=30,
    )


def check(settings: TeamSettings) -> None:
    """Raises NotReady unless it answers, and, without a password, with nothing but a refusal."""
    wanted = 401 if settings.sign_on == "password" else 200
    request = urllib.request.Request(
        f"{settings.address}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": f"localhost:{settings.port}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            found = reply.status
    except urllib.error.HTTPError as error:
        found = error.code
    except OSError as error:
        raise NotReady(str(error)) from error
    if found != wanted:
        raise NotReady(f"it answers {found} to a request without a password, {wanted} is right")


def _as_read(settings: TeamSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}
