"""The PostgreSQL database of a team's MLflow: how it is reached, what is in it, and which MLflow it belongs to.

Its password stands in a file that only its owner reads, which libpq opens by itself (PGPASSFILE): never in an address,
a command line or an environment.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy
from alembic.script import ScriptDirectory
from rich.console import Console
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from cluster.state import StackError, StackFolder

Schema = Literal["empty", "foreign", "older", "current", "newer"]

# Each part of MLflow keeps its own revision, by the folder of its migrations in the package.
_PARTS = {"alembic_version": "store/db_migrations", "alembic_version_auth": "server/auth/db/migrations"}
_CONNECT_S = 10


@dataclass(frozen=True, kw_only=True)
class Revisions:
    """A schema's revisions by the tables that keep them; a part that was never used has none."""

    found: dict[str, str]
    tables: tuple[str, ...]

    @property
    def schema(self) -> Schema:
        """What this database is to the MLflow that is installed here."""
        if not self.tables:
            return "empty"
        if "alembic_version" not in self.found:
            return "foreign"
        state: Schema = "current"
        for part, revision in self.found.items():
            known, head = migrations(part)
            if revision not in known:
                return "newer"
            if revision != head:
                state = "older"
        return state

    def __str__(self) -> str:
        return ", ".join(self.found[part] for part in _PARTS if part in self.found) or "none"


def migrations(part: str) -> tuple[frozenset[str], str]:
    """The revisions that the installed MLflow knows of one part, and the last of them."""
    found = importlib.util.find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise StackError("MLflow is missing: `make install`, or `pip install 'latentact-zoo[cluster]'`")
    scripts = ScriptDirectory(str(Path(found.submodule_search_locations[0]) / _PARTS[part]))
    head = scripts.get_current_head()
    assert head is not None
    return frozenset(script.revision for script in scripts.walk_revisions()), head


def mlflow_version() -> str:
    return importlib.metadata.version("mlflow")


class TeamDatabase:
    """The database at `url` (without a password); `passfile` is in libpq's format (None: libpq's own ways)."""

    def __init__(self, url: str, passfile: Path | None) -> None:
        self.url, self.passfile = parse(url), passfile
        if importlib.util.find_spec("psycopg2") is None:
            raise StackError("psycopg2 is missing: `make install`, or `pip install 'latentact-zoo[cluster]'`")
        arguments = {"connect_timeout": str(_CONNECT_S)} | ({"passfile": str(passfile)} if passfile else {})
        self._engine = sqlalchemy.create_engine(
            self.sqlalchemy_url, connect_args=arguments, poolclass=sqlalchemy.pool.NullPool
        )

    @property
    def sqlalchemy_url(self) -> str:
        """With the driver named: without, SQLAlchemy 2.1 wants another one than MLflow's requirements bring."""
        return self.url.set(drivername="postgresql+psycopg2").render_as_string()

    def __str__(self) -> str:
        return self.url.render_as_string()

    @contextmanager
    def connect(self, *, isolation: str = "READ COMMITTED") -> Iterator[Connection]:
        """One transaction, committed at the end. Raises StackError where the database cannot be reached or used."""
        try:
            engine = self._engine.execution_options(isolation_level=isolation)
            with engine.begin() as connection:
                yield connection
        except OperationalError as error:
            words = " ".join(str(error.orig).split())
            raise StackError(
                f"the database {self} does not answer ({words}): is PostgreSQL up, does the database exist "
                "(`createdb`), and does --password-file hold its role's password?"
            ) from error
        except SQLAlchemyError as error:
            words = " ".join(str(getattr(error, "orig", error)).split())
            raise StackError(f"the database {self} refuses: {words}") from error

    def revisions(self) -> Revisions:
        with self.connect() as connection:
            return revisions_of(connection)

    def other_sessions(self) -> list[str]:
        """Who else is connected: role and address, one entry a session."""
        question = """select coalesce(usename, '?') || '@' || coalesce(host(client_addr), 'this host')
            || case application_name when '' then '' else ' (' || application_name || ')' end
            from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
            and backend_type = 'client backend'"""
        with self.connect() as connection:
            return [str(row[0]) for row in connection.execute(sqlalchemy.text(question))]

    def check_alone(self, what: str) -> None:
        """Raises StackError where somebody else uses the database, as MLflow's workers do."""
        if sessions := self.other_sessions():
            told = ", ".join(sorted(set(sessions)))
            raise StackError(
                f"{what} wants {self} for itself, and {len(sessions)} sessions are connected: {told}. "
                "Stop the server first (`python -m cluster.team_server down`), and what else uses it"
            )

    def counts(self, connection: Connection) -> dict[str, int]:
        """Rows of every table."""
        preparer = connection.dialect.identifier_preparer
        return {
            name: int(
                connection.execute(
                    sqlalchemy.text(f"select count(*) from {preparer.quote(name)}")
                ).scalar_one()
            )
            for name in sorted(sqlalchemy.inspect(connection).get_table_names())
        }

    def run(
        self, program: str, *arguments: str, doing: str, file: Path | None = None, remedy: str = ""
    ) -> None:
        """Run one of PostgreSQL's programs on this database; `file` is what it writes, whose size is told meanwhile.

        Raises StackError with its words where it fails, and the `remedy`.
        """
        path = shutil.which(program)
        if path is None:
            raise StackError(
                f"the program `{program}` is missing: install PostgreSQL's client (apt install postgresql-client), "
                "of the server's version or a later one"
            )
        command = [path, *arguments, "--no-password", "--dbname", self.url.render_as_string()]
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        console = Console(stderr=True)
        with console.status(doing) as status:  # on a terminal only
            words = None
            while words is None:
                try:
                    words = process.communicate(timeout=0.5)[1]
                except subprocess.TimeoutExpired:
                    if file is not None and file.exists():
                        status.update(f"{doing}: {file.stat().st_size / 1e6:.0f} MB")
        if process.returncode != 0:
            told = " ".join(words.split())[-2000:]
            raise StackError(f"`{program}` failed on {self}: {told}" + (f"; {remedy}" if remedy else ""))

    def environment(self) -> dict[str, str]:
        """What a process needs beside the address to reach the database."""
        return {"PGPASSFILE": str(self.passfile)} if self.passfile else {}


def revisions_of(connection: Connection) -> Revisions:
    tables = tuple(sorted(sqlalchemy.inspect(connection).get_table_names()))
    found = {}
    for part in _PARTS:
        if part in tables:
            revision = connection.execute(sqlalchemy.text(f"select version_num from {part}")).scalar()
            if revision is not None:
                found[part] = str(revision)
    return Revisions(found=found, tables=tables)


def parse(url: str) -> URL:
    """Raises StackError where the address is none of a PostgreSQL database, or holds a password."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StackError(
            "--database is no address: postgresql://USER@HOST:PORT/DATABASE is what is meant"
        ) from None
    if parsed.password is not None or "password" in parsed.query:
        raise StackError(
            "--database holds a password, which every process list would show: take it out, write it to a file "
            "of mode 0600 and name that with --password-file"
        )
    if parsed.drivername != "postgresql" or not parsed.database:
        raise StackError(
            f"--database {parsed.render_as_string()}: postgresql://USER@HOST:PORT/DATABASE is what is meant"
        )
    return parsed


def write_passfile(folder: Path, url: str, password_file: Path) -> Path:
    """Write the password of `password_file` in libpq's format to `folder`; its path. Raises StackError.

    A file for each database: a running server reads its own again at every new connection.
    """
    parsed = parse(url)
    try:
        mode, password = password_file.stat().st_mode & 0o777, password_file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"cannot read --password-file {password_file}: {error}") from error
    if mode & 0o077:
        raise StackError(
            f"others may read --password-file {password_file} (mode {mode:04o}): chmod 600 {password_file}"
        )
    if not password or "\n" in password:
        raise StackError(f"--password-file {password_file} must hold one line, the password")
    fields = [
        parsed.host or "localhost",
        str(parsed.port or 5432),
        str(parsed.database),
        parsed.username or "*",
    ]
    line = ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in [*fields, password])
    file = folder / f"pgpass-{hashlib.sha256(':'.join(fields).encode()).hexdigest()[:8]}"
    StackFolder.write_private(file, line + "\n")
    return file


def utc_stamp() -> str:
    """The time of now, for a file's name."""
    return time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
