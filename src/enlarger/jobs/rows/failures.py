"""What to tell of a database that fails: the operator at the start, and a sender later."""

from __future__ import annotations

import os
import re
import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from enlarger.errors import BackendAway, ConfigError, EnlargerError, StorageFull, StorageUnavailable

_RETRY_S = 5
"""After which a sender may ask again."""

_NO_ROOM = "no room for the job on the server's disk; ask the operator to make room"
NOT_WRITABLE = "the server may not write into its database of jobs; ask the operator to let it"
_DAMAGED = "the server's database of jobs is damaged; ask the operator to mend it"
_AWAY = "the server's database of jobs cannot be reached now; try again later"

_SQLITE = {
    sqlite3.SQLITE_FULL: _NO_ROOM,
    sqlite3.SQLITE_IOERR: _NO_ROOM,
    sqlite3.SQLITE_READONLY: NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: NOT_WRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _AWAY,
    sqlite3.SQLITE_LOCKED: _AWAY,
}
"""What the sender is told, by the primary result code."""

_POSTGRESQL = {
    "53100": _NO_ROOM,
    "25006": NOT_WRITABLE,
    "42501": NOT_WRITABLE,
    "08": _AWAY,
    "40": _AWAY,
    "53": _AWAY,
    "57": _AWAY,
    "58": _AWAY,
    "XX": _DAMAGED,
}
"""The same, by SQLSTATE or its class."""

RIGHTS = "grant its user CREATE and USAGE on the schema, and all rights on the tables that begin with enlarger_"
AT_START: dict[object, str] = {
    sqlite3.SQLITE_CANTOPEN: "let the user that runs enlarger write into its folder",
    sqlite3.SQLITE_READONLY: "let the user that runs enlarger write it, and into its folder",
    sqlite3.SQLITE_NOTADB: "name a file that is not there yet, or one that enlarger made",
    sqlite3.SQLITE_CORRUPT: "put it elsewhere, and restore a copy or begin anew",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "name a file on a local disk with room",
    sqlite3.SQLITE_BUSY: "another program keeps it locked",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked",
    "42501": RIGHTS,
    "3F000": RIGHTS,
    "25006": "name the primary server, or let the user write",
}
"""What to do at the start, by SQLite's primary result code or by SQLSTATE."""

_ANSWERS = (
    (
        r"database .* does not exist",
        "make it: createdb --encoding=UTF8 --template=template0 <name>",
    ),
    (r"password|authentication|log in|role .* does not exist|pg_hba", "check user and password"),
)
"""The same, where PostgreSQL refuses a connection: then there is no SQLSTATE."""

_UNREACHABLE = re.compile(
    "connection refused|timeout expired|timed out|resolve host|translate host|no such file|unreachable|no route"
    "|starting up|shutting down|too many|remaining connection slots|reset by peer|closed the connection",
    re.IGNORECASE,
)
"""What passes by itself: the database starts later than we do, as where both are started together."""


def name_of(url: URL) -> str:
    """Return the name of a database, without anything secret."""
    name = url.database
    if url.drivername.startswith("sqlite"):
        return f"'{name}'"
    return f"PostgreSQL's database '{name}'" if name else "PostgreSQL"


def refusal(url: URL, error: Exception) -> ConfigError:
    """Return why a database cannot be used, and what to do."""
    reason = line_of(error)
    code = code_of(error)
    is_sqlite = url.drivername.startswith("sqlite")
    if is_sqlite and os.path.isdir(url.database or ""):  # noqa: PTH112 - never raises
        reason, hint = "it is a folder", "name a file in it"
    elif code is not None:
        hint = AT_START.get(code, "")
    else:
        answers = (to_do for found, to_do in _ANSWERS if re.search(found, reason))
        hint = next(answers, "")
    away = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or (
        not is_sqlite and _UNREACHABLE.search(reason) is not None
    )
    if away and not hint:
        hint = "is PostgreSQL running there?"
    text = f"ENLARGER_DATABASE: cannot use {name_of(url)}: {reason}"
    return (BackendAway if away else ConfigError)(f"{text}; {hint}" if hint else text)


def told_of(error: Exception) -> EnlargerError | None:
    """Return what the sender is told; None if the fault is ours."""
    code = code_of(error)
    if isinstance(code, int):
        told = _SQLITE.get(code)
    elif code is not None:
        told = _POSTGRESQL.get(code) or _POSTGRESQL.get(code[:2])
    else:  # no answer of a server: its connection is lost, or none can be had
        told = _AWAY if isinstance(error, OperationalError | PoolTimeout | OSError) else None
    if told is None:
        return None
    return away() if told is _AWAY else StorageFull(told)


def away() -> StorageUnavailable:
    """Return what a sender is told while the database cannot be reached."""
    return StorageUnavailable(_AWAY, retry_after_s=_RETRY_S)


def code_of(error: Exception) -> int | str | None:
    """Return SQLite's primary result code, or PostgreSQL's SQLSTATE; None if nothing answered."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def line_of(error: Exception) -> str:
    """Return the first line of what the database says."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
