"""How a team's MLflow server is set up: its options, its secrets, its command line and environment.

server.json      the options of the last `up`
admin_password   of MLflow's user `admin`, made at the first `up`          (0600)
pgpass           the database's password, in libpq's format                (0600)
auth.ini         MLflow's own file about users                             (0600)
flask_secret     what its sign-up form is signed with                      (0600)
backups/ logs/   what `upgrade` and `restore --replace` keep, what the server says
"""

from __future__ import annotations

import configparser
import io
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.state import StackError, StackFolder
from cluster.team_database import TeamDatabase, parse, write_passfile

ADMIN = "admin"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A worker checks a password by hashing it for 30 ms and more, so that it remembers for a while that one was right.
# What an administrator changes holds at once for the worker that was told, and within this time for the others.
_REMEMBER_PASSWORD_S = 60
# Connections that each worker keeps, and as many more when it is busy, once for the records and once for the users. Two
# workers hold 40 at most, of PostgreSQL's 100.
_POOL = 5
# uvicorn ends a worker that does not answer its parent in time, with all its requests: 5 s is little on a busy machine.
_WORKER_ANSWERS_S = 60


@dataclass(frozen=True, kw_only=True)
class TeamSettings:
    """The options of `up`, which the other commands read again."""

    database: str  # postgresql://USER@HOST:PORT/DATABASE, without a password
    artifacts: str  # s3://BUCKET[/PREFIX], where clients write
    password_file: str | None = None
    host: str = "127.0.0.1"
    port: int = 5000
    allowed_hosts: tuple[str, ...] = ()
    workers: int = 2
    sign_on: str = "password"  # or "proxy": whoever reaches the port is let in

    def __post_init__(self) -> None:
        parse(self.database)
        if not self.artifacts.startswith("s3://") or not self.artifacts[5:].strip("/"):
            raise StackError(
                f"--artifacts {self.artifacts}: s3://BUCKET or s3://BUCKET/PREFIX is what is meant"
            )
        if self.sign_on == "proxy" and self.host not in _LOOPBACK:
            raise StackError(
                f"--sign-on proxy with --host {self.host} would let everybody in: keep --host 127.0.0.1, where "
                "nothing but the reverse proxy reaches it, or leave --sign-on password"
            )
        for name in self.allowed_hosts:
            if "/" in name or name.strip("*") in ("", "."):
                raise StackError(
                    f"--allowed-host {name}: a host name such as mlflow.lab.org is what is meant"
                )

    @property
    def address(self) -> str:
        """As this machine reaches it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_local(self) -> bool:
        return self.host in _LOOPBACK

    def host_headers(self) -> list[str]:
        """What a request's Host may be: this machine's loopback and the allowed names, with and without a port."""
        own = [] if self.host in ("0.0.0.0", "::") else [self.host]
        names = dict.fromkeys(["localhost", "127.0.0.1", *own, *self.allowed_hosts])
        return [form for name in names for form in (name, f"{name}:*")]

    def origins(self) -> list[str]:
        """The pages whose scripts may write, which are MLflow's own as the allowed names show them."""
        return [
            f"{scheme}://{form}"
            for name in self.allowed_hosts
            for form in (name, f"{name}:*")
            for scheme in ("https", "http")
        ]


@dataclass(frozen=True)
class TeamFolder:
    """The files of a team's server."""

    path: Path

    @property
    def stack(self) -> StackFolder:
        """Its records of what runs."""
        return StackFolder(self.path)

    @property
    def backups(self) -> Path:
        return self.path / "backups"

    @property
    def admin_password(self) -> Path:
        return self.path / "admin_password"

    def prepare(self) -> None:
        """Make it, readable by its owner alone. Raises StackError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for name in ("backups", "logs"):
                (self.path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise StackError(
                f"cannot write {self.path}: {error.strerror}; name a folder of yours with --folder"
            ) from error

    def read_settings(self) -> dict[str, Any]:
        """The options of the last `up`; none before the first. Raises StackError."""
        file = self.path / "server.json"
        try:
            read = json.loads(file.read_text())
            known = {field.name for field in fields(TeamSettings)}
            return {name: tuple(v) if isinstance(v, list) else v for name, v in read.items() if name in known}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError) as error:
            raise StackError(
                f"{file} is damaged ({error}): delete it and give `up` its options again"
            ) from error

    def settings(self, given: dict[str, Any]) -> TeamSettings:
        """What is given now, else what was given to the last `up`. Raises StackError where that is not enough."""
        told = self.read_settings() | {name: value for name, value in given.items() if value is not None}
        for name in ("database", "artifacts"):
            if not told.get(name):
                raise StackError(
                    f"--{name} is missing, and no `up` before has named it in {self.path}: "
                    "`python -m cluster.team_server up --help` shows all of them"
                )
        return TeamSettings(**told)

    def remember(self, settings: TeamSettings) -> None:
        StackFolder.write_private(self.path / "server.json", json.dumps(asdict(settings), indent=1) + "\n")

    def database(self, address: str | None = None, password_file: str | None = None) -> TeamDatabase:
        """The one that is named, else that of the last `up`. Raises StackError."""
        told = self.read_settings()
        address, password_file = address or told.get("database"), password_file or told.get("password_file")
        if not address:
            raise StackError(f"--database is missing, and no `up` before has named it in {self.path}")
        passfile = write_passfile(self.path, address, Path(password_file)) if password_file else None
        return TeamDatabase(address, passfile)

    def secret(self, name: str) -> str:
        """A secret of this server's, made at the first call."""
        file = self.path / name
        if not file.exists():
            StackFolder.write_private(file, secrets.token_urlsafe(24))
        secret = file.read_text().strip()
        if not secret:
            raise StackError(f"{file} is empty: delete it, `up` makes a new one")
        return secret

    def write_auth_file(self, database: TeamDatabase) -> Path:
        """MLflow's file about users, which are kept in the same database."""
        parser = configparser.ConfigParser(interpolation=None)
        parser["mlflow"] = {
            # Whoever has an account may write to every experiment and model, and delete none but his own.
            "default_permission": "EDIT",
            "database_uri": database.sqlalchemy_url,
            "admin_username": ADMIN,
            "admin_password": self.secret("admin_password"),
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            "auth_cache_ttl_seconds": str(_REMEMBER_PASSWORD_S),
        }
        text = io.StringIO()
        parser.write(text)
        file = self.path / "auth.ini"
        StackFolder.write_private(file, text.getvalue().replace("%", "%%"))
        return file


def command(settings: TeamSettings, database: TeamDatabase) -> list[str]:
    """The server's command line, which holds no secret. Raises StackError where a package is missing."""
    if find_spec("mlflow") is None:
        raise StackError("MLflow is missing: `make install`, or `pip install 'latentact-zoo[cluster]'`")
    line = [
        sys.executable, "-m", "mlflow", "server",
        "--backend-store-uri", database.sqlalchemy_url,
        # Clients write to S3 themselves; the server only reads, for those who look at a run's files in its pages.
        "--no-serve-artifacts",
        "--default-artifact-root", settings.artifacts,
        "--host", settings.host,
        "--port", str(settings.port),
        "--workers", str(settings.workers),
        "--allowed-hosts", ",".join(settings.host_headers()),
        # A line in the log for every request would be the largest part of it.
        "--uvicorn-opts", f"--no-access-log --timeout-worker-healthcheck {_WORKER_ANSWERS_S}",
    ]  # fmt: skip
    if origins := settings.origins():
        line += ["--cors-allowed-origins", ",".join(origins)]
    if settings.sign_on == "password":
        if find_spec("flask_wtf") is None:
            raise StackError(
                "MLflow's sign-on needs Flask-WTF: `make install`, or `pip install 'mlflow[auth]'`"
            )
        line += ["--app-name", "basic-auth"]
    return line


def environment(settings: TeamSettings, database: TeamDatabase, folder: TeamFolder) -> dict[str, str]:
    """This process's own, which brings the keys of the artefacts' store, and what the server needs beside it."""
    # A server must be no client of another one, nor find another database.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_TRACKING_", "MLFLOW_AUTH_", "MLFLOW_BACKEND_", "MLFLOW_REGISTRY_"))
    }
    own = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # The runner of background jobs alone takes eight processes and 1.8 GB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(_POOL),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(_POOL),
        # A connection that a firewall has forgotten is given up in time.
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",
        "PYTHONUNBUFFERED": "1",
        **database.environment(),
    }
    if settings.sign_on == "password":
        own["MLFLOW_AUTH_CONFIG_PATH"] = str(folder.write_auth_file(database))
        own["MLFLOW_FLASK_SERVER_SECRET_KEY"] = folder.secret("flask_secret")
    return inherited | own
