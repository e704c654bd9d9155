"""The database of a user study's answers: SQLite with a write-ahead log, every commit on disk before it is acknowledged.

An answer is kept once for each rater and screen, however often it is sent; one that says otherwise afterwards is
refused, the first stands.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.study_votes import Design, Vote, VoteRefused

# A rater who has not finished and was silent for so long leaves their sequence to others.
_AWAY_S = 3600.0

_TABLES = """
CREATE TABLE IF NOT EXISTS study (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (
  rater TEXT PRIMARY KEY, slot INTEGER NOT NULL, joined_s REAL NOT NULL, seen_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS votes (
  rater TEXT NOT NULL, position INTEGER NOT NULL, slot INTEGER NOT NULL, pair TEXT NOT NULL, left TEXT NOT NULL,
  choice TEXT NOT NULL, plays INTEGER NOT NULL, answer_ms INTEGER NOT NULL, received_s REAL NOT NULL,
  PRIMARY KEY (rater, position)
) WITHOUT ROWID;
"""


class OtherAnswer(VoteRefused):
    """The rater has answered this screen otherwise before, and that stands."""


class Full(VoteRefused):
    """The study takes no more raters."""


class VoteStore:
    """The answers of one study in an SQLite file; safe for threads of one process, and for several processes.

    Raises SweepError where the file holds another study, or is no database.
    """

    def __init__(self, path: Path, design: Design, *, most_raters: int = 2000) -> None:
        self._path, self._design, self._most = path, design, most_raters
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, check_same_thread=False, timeout=30, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            with self._transaction() as connection:
                for table in _TABLES.strip().split(";\n"):
                    connection.execute(table)
                if (kept := connection.execute("SELECT id FROM study").fetchone()) is None:
                    connection.execute("INSERT INTO study VALUES (?)", (design.study,))
        except sqlite3.Error as error:
            raise SweepError(
                f"{path} cannot be opened as a database of answers ({error}): check its permissions, or move it away."
            ) from error
        if kept is not None and kept[0] != design.study:
            raise SweepError(
                f"{path} holds answers of study {kept[0]}, this is study {design.study}: move the file away, or serve "
                "the folder it belongs to."
            )

    def close(self) -> None:
        self._connection.close()

    def join(self, rater: str) -> int:
        """The rater's sequence: their own where they were here before, else the one that fewest others have.

        Raises Full.
        """
        now = time.time()
        with self._transaction() as connection:
            if known := connection.execute("SELECT slot FROM raters WHERE rater = ?", (rater,)).fetchone():
                return int(known[0])
            if connection.execute("SELECT COUNT(*) FROM raters").fetchone()[0] >= self._most:
                raise Full(f"the study has its {self._most} raters and takes no more; thank you")
            taken = dict(
                connection.execute(
                    "SELECT slot, COUNT(*) FROM raters r WHERE seen_s > ? OR "
                    "(SELECT COUNT(*) FROM votes v WHERE v.rater = r.rater) >= ? GROUP BY slot",
                    (now - _AWAY_S, self._design.screens),
                ).fetchall()
            )
            slot = min(range(len(self._design.slots)), key=lambda slot: (taken.get(slot, 0), slot))
            connection.execute("INSERT INTO raters VALUES (?, ?, ?, ?)", (rater, slot, now, now))
            return slot

    def keep(self, vote: Vote) -> None:
        """Keep an answer, on disk when this returns; the same once more changes nothing.

        Raises:
            VoteRefused: nobody with that id has joined, or has that sequence.
            OtherAnswer: the screen has been answered otherwise.
        """
        record, now = asdict(vote), time.time()
        with self._transaction() as connection:
            known = connection.execute("SELECT slot FROM raters WHERE rater = ?", (vote.rater,)).fetchone()
            if known is None or known[0] != vote.slot:
                raise VoteRefused("the rater has not joined with this sequence: reload the page")
            kept = connection.execute(
                f"SELECT {', '.join(record)} FROM votes WHERE rater = ? AND position = ?",
                (vote.rater, vote.position),
            ).fetchone()
            if kept is None:
                connection.execute(
                    f"INSERT INTO votes ({', '.join(record)}, received_s) VALUES ({', '.join('?' * len(record))}, ?)",
                    (*record.values(), now),
                )
                connection.execute("UPDATE raters SET seen_s = ? WHERE rater = ?", (now, vote.rater))
            elif kept != tuple(record.values()):
                raise OtherAnswer(f"screen {vote.position} has been answered otherwise before, which stands")

    def progress(self) -> dict[str, int]:
        """How many raters have joined, how many are done, how many answers there are."""
        with self._lock:
            done, joined, votes = self._connection.execute(
                "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM votes GROUP BY rater HAVING COUNT(*) >= ?)), "
                "(SELECT COUNT(*) FROM raters), (SELECT COUNT(*) FROM votes)",
                (self._design.screens,),
            ).fetchone()
        return {"raters": joined, "finished": done, "votes": votes, "screens": self._design.screens}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def read_database(path: Path, design: Design) -> list[Vote]:
    """All answers in a server's database, which may be running. Raises SweepError."""
    names = [field.name for field in fields(Vote)]
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as connection:
            (study,) = connection.execute("SELECT id FROM study").fetchone()
            if study != design.study:
                raise SweepError(f"{path} holds answers of study {study}, this is study {design.study}.")
            rows = connection.execute(f"SELECT {', '.join(names)} FROM votes").fetchall()
    except (sqlite3.Error, TypeError) as error:
        raise SweepError(f"{path} is no database of answers ({error}).") from error
    return [design.vote({"study": study, **dict(zip(names, row, strict=True))}) for row in rows]
