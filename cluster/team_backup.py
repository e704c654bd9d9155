"""Backup of a team's MLflow database and the way back: a file of pg_dump, and a record of what is in it.

FILE is pg_dump's custom format; FILE.json says of which MLflow and schema it is, how many rows each table has, and its
digest. Both are written under another name first, FILE last: it is whole or not there. Rows are counted in the very
snapshot that is dumped, so that a server may go on writing. Artefacts are not in it, they lie in S3.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
import sqlalchemy
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cluster.state import StackError
from cluster.team_database import Revisions, TeamDatabase, mlflow_version, revisions_of, utc_stamp

_S3_ERRORS = (Boto3Error, BotoCoreError, ClientError)
# Statements that empty a schema of what MLflow makes: tables, then trigger functions, but not an extension's.
_WHAT_IS_LEFT = (
    """select 'drop table if exists ' || oid::regclass || ' cascade' from pg_class
       where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace""",
    """select 'drop routine if exists ' || oid::regprocedure || ' cascade' from pg_proc as routine
       where pronamespace = current_schema()::regnamespace
       and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')""",
)


@dataclass(frozen=True, kw_only=True)
class BackupRecord:
    """The content of FILE.json."""

    made_at: str  # UTC
    mlflow: str
    postgresql: str
    revisions: dict[str, str]  # by the table that keeps it
    rows: dict[str, int]  # by table
    bytes: int
    sha256: str

    @classmethod
    def read(cls, file: Path, name: str) -> BackupRecord:
        """Raises StackError where there is none, or none that is whole; `name` is what a person called the backup."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            raise StackError(
                f"{name}.json is missing, which `backup` writes beside {name}: without it nothing can be checked; "
                "a file that pg_dump alone has made goes back with pg_restore"
            ) from None
        except (ValueError, TypeError) as error:
            raise StackError(f"{name}.json is damaged ({error})") from error

    def check_file(self, file: Path, name: str) -> None:
        """Raises StackError where the file is not the one that was written."""
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != self.sha256:
            raise StackError(
                f"{name} is damaged: {file.stat().st_size} bytes with digest {digest[:12]}, "
                f"written were {self.bytes} with {self.sha256[:12]}; take another backup"
            )

    def __str__(self) -> str:
        told = ("experiments", "runs", "metrics", "registered_models", "model_versions", "users")
        parts = [f"{self.rows[table]} {table.replace('_', ' ')}" for table in told if table in self.rows]
        return f"MLflow {self.mlflow}: {', '.join(parts)}; {self.bytes / 1e6:.1f} MB"


def backup(database: TeamDatabase, folder: Path, to: str) -> tuple[str, BackupRecord]:
    """Write a backup to a file or `s3://` key (or one named by the time, where `to` ends in / or is a folder).

    `folder` is where a file for S3 lies meanwhile. Returns the backup's name and record. Raises StackError, and then
    leaves nothing under that name.
    """
    is_s3 = to.startswith("s3://")
    if to.endswith("/") or (not is_s3 and Path(to).is_dir()):
        to = f"{to.rstrip('/')}/{utc_stamp()}.dump"
    bucket, key = _place(to) if is_s3 else ("", "")
    if _exists(bucket, key) if is_s3 else Path(to).exists():
        raise StackError(
            f"{to} is there already: choose another name, or a folder, in which the time names it"
        )
    parent = folder if is_s3 else Path(to).absolute().parent
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".backup-") as temporary:
            file = Path(temporary) / "dump"
            record = _dump(database, file)
            beside = Path(temporary) / "record"
            beside.write_text(json.dumps(asdict(record), indent=1) + "\n")
            if is_s3:
                client = _client()
                client.upload_file(str(beside), bucket, f"{key}.json")
                client.upload_file(str(file), bucket, key)
            else:
                for source, target in ((beside, f"{to}.json"), (file, to)):
                    source.chmod(0o600)
                    with open(source, "rb") as stream:
                        os.fsync(stream.fileno())
                    os.replace(source, target)
    except OSError as error:
        raise StackError(f"cannot write {to}: {error.strerror or error}") from error
    except _S3_ERRORS as error:
        raise StackError(f"cannot write {to}: {error}") from error
    return to, record


def restore(
    database: TeamDatabase, folder: Path, source: str, *, replace: bool = False
) -> tuple[BackupRecord, str]:
    """Put a backup into an empty database, and compare what is there then with the record. Raises StackError.

    `replace` empties a database that is not, after a backup of it in `folder`, whose name is returned beside the record.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as temporary:
        file, beside = Path(source), Path(f"{source}.json")
        if source.startswith("s3://"):
            file, beside = Path(temporary) / "dump", Path(temporary) / "record"
            _download(source, file, beside)
        elif not file.exists():
            raise StackError(f"there is no backup {source}")
        record = BackupRecord.read(beside, source)
        record.check_file(file, source)
        if Revisions(found=record.revisions, tables=tuple(record.rows)).schema == "newer":
            raise StackError(
                f"{source} is of MLflow {record.mlflow}, whose schema MLflow {mlflow_version()} does not know: "
                f"install mlflow=={record.mlflow} first"
            )
        database.check_alone("a restore")
        kept = _empty(database, folder, replace=replace)
        # All of it or nothing, and owned by the role that connects, whatever it was called before.
        database.run(
            "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", str(file),
            doing=f"restoring {source}", remedy=f"what was there before is in {kept}" if kept else "",
        )  # fmt: skip
    with database.connect() as connection:
        found, rows = revisions_of(connection), database.counts(connection)
        connection.execute(sqlalchemy.text("analyze"))
    if found.found != record.revisions or rows != record.rows:
        wrong = [t for t in rows.keys() | record.rows.keys() if rows.get(t) != record.rows.get(t)]
        raise StackError(
            f"{database} does not hold what {source} records, in {', '.join(sorted(wrong)) or found}"
        )
    return record, kept


def _dump(database: TeamDatabase, file: Path) -> BackupRecord:
    with database.connect(isolation="REPEATABLE READ") as connection:
        revisions = revisions_of(connection)
        if revisions.schema in ("empty", "foreign"):
            shown = ", ".join(revisions.tables[:5]) or "there are none"
            raise StackError(f"{database} holds no MLflow to back up, by its tables: {shown}")
        snapshot, version = (
            str(connection.execute(sqlalchemy.text(question)).scalar_one())
            for question in ("select pg_export_snapshot()", "show server_version")
        )
        rows = database.counts(connection)
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        database.run(
            "pg_dump",
            "--format=custom",
            "--snapshot",
            snapshot,
            "--file",
            str(file),
            doing="dumping",
            file=file,
        )
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return BackupRecord(
        made_at=made_at,
        mlflow=mlflow_version(),
        postgresql=version,
        revisions=revisions.found,
        rows=rows,
        bytes=file.stat().st_size,
        sha256=digest,
    )


def _empty(database: TeamDatabase, folder: Path, *, replace: bool) -> str:
    """Make sure that the database is empty; the name of a backup of what was in it, "" for nothing.

    Raises StackError where that is not asked for.
    """
    revisions = database.revisions()
    if revisions.schema == "empty":
        return ""
    if revisions.schema == "foreign":
        shown = ", ".join(revisions.tables[:5])
        raise StackError(
            f"{database} holds tables that are not MLflow's ({shown}): name another one (`createdb`)"
        )
    if not replace:
        with database.connect() as connection:
            rows = database.counts(connection)
        raise StackError(
            f"{database} is not empty ({rows.get('runs', 0)} runs, {rows.get('registered_models', 0)} models): "
            "name an empty one with --database (`createdb`), or --replace it, which makes a backup of it first"
        )
    kept, _ = backup(database, folder, str(folder / f"before-restore-{utc_stamp()}.dump"))
    with database.connect() as connection:
        # Each kind after those that may hold on to it.
        for question in _WHAT_IS_LEFT:
            for statement in connection.execute(sqlalchemy.text(question)).scalars().all():
                connection.execute(sqlalchemy.text(statement))
    return kept


def _client() -> Any:
    """A client of the store that this process's AWS_ variables name."""
    style = "path" if os.environ.get("AWS_ENDPOINT_URL") else "auto"
    return boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": style}))


def _place(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise StackError(f"{address}: s3://BUCKET/KEY, or s3://BUCKET/PREFIX/ is what is meant")
    return bucket, key


def _exists(bucket: str, key: str) -> bool:
    try:
        _client().head_object(Bucket=bucket, Key=key)
        return True
    except _S3_ERRORS as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise StackError(f"cannot look at s3://{bucket}/{key}: {error}") from error


def _download(source: str, file: Path, beside: Path) -> None:
    bucket, key = _place(source)
    try:
        for name, target in ((f"{key}.json", beside), (key, file)):
            _client().download_file(bucket, name, str(target))
    except _S3_ERRORS as error:
        raise StackError(f"cannot read {source} and {source}.json: {error}") from error
