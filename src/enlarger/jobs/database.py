"""The database behind the rows: one SQLite file, or PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import (
    URL,
    Connection,
    Delete,
    Insert,
    RowMapping,
    Select,
    Table,
    Update,
    event,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from enlarger.errors import (
    BackendAway,
    ConfigError,
    EnlargerError,
    StorageFull,
    StorageUnavailable,
)
from enlarger.jobs import tables
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_BUSY_S = 10
"""A process waits as long for its turn to write to an SQLite file, or for a connection to PostgreSQL."""

_END_S = 5
"""Statements whose callers have left may take as long when the database is closed."""

_RETRY_S = 5
"""After which a sender may ask again."""

_CONNECTIONS = 4
"""Readers of an SQLite file at once, a thread each; connections to PostgreSQL."""

_FOUND_LOST = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""A connection to PostgreSQL whose other end says nothing any more is found within half a minute: by default it takes
two hours. In seconds, the last in milliseconds; a URL may say otherwise."""

_LOCK = 0x656E_6C61
"""Who makes the tables in PostgreSQL holds the advisory lock of this number: "enla"."""

_NO_ROOM = "no room for the job on the server's disk; ask the operator to make room"
_NOT_WRITABLE = "the server may not write into its database of jobs; ask the operator to let it"
_DAMAGED = "the server's database of jobs is damaged; ask the operator to mend it"
_AWAY = "the server's database of jobs cannot be reached now; try again later"

_SQLITE = {
    sqlite3.SQLITE_FULL: _NO_ROOM,
    sqlite3.SQLITE_IOERR: _NO_ROOM,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _AWAY,
    sqlite3.SQLITE_LOCKED: _AWAY,
}
"""What the sender is told, by the primary result code."""

_POSTGRESQL = {
    "53100": _NO_ROOM,
    "25006": _NOT_WRITABLE,
    "42501": _NOT_WRITABLE,
    "08": _AWAY,
    "40": _AWAY,
    "53": _AWAY,
    "57": _AWAY,
    "58": _AWAY,
    "XX": _DAMAGED,
}
"""The same, by SQLSTATE or its class."""

_FORMS = (
    "ENLARGER_DATABASE: it must be a file, sqlite:///<file>, or "
    "postgresql://<user>:<password>@<host>/<database>"
)
_SCHEME = re.compile(r"([a-z][a-z0-9.-]*)(\+[a-z0-9]+)?:(//)?", re.IGNORECASE)
_KEY_VALUE = re.compile(r"(^|\s)(host|hostaddr|dbname|user|password|service)\s*=")
"""The other form that PostgreSQL's own programs take."""

_RIGHTS = "grant its user CREATE and USAGE on the schema, and all rights on the tables that begin with enlarger_"
_AT_START: dict[object, str] = {
    sqlite3.SQLITE_CANTOPEN: "let the user that runs enlarger write into its folder",
    sqlite3.SQLITE_READONLY: "let the user that runs enlarger write it, and into its folder",
    sqlite3.SQLITE_NOTADB: "name a file that is not there yet, or one that enlarger made",
    sqlite3.SQLITE_CORRUPT: "put it elsewhere, and restore a copy or begin anew",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "name a file on a local disk with room",
    sqlite3.SQLITE_BUSY: "another program keeps it locked",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked",
    "42501": _RIGHTS,
    "3F000": _RIGHTS,
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

Statement = Select[Any] | Insert | Update | Delete


class Database:
    """Statements, each call a transaction of its own. One event loop uses it.

    A call that is cancelled may or may not have changed the rows, but never half: its statements go on to their end.

    Args:
        url: ``postgresql://...`` as libpq takes it, ``sqlite:///<file>``, or the file alone.

    Raises:
        ConfigError: the URL has another form, or its driver is not installed. No text shows a password.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._writes = self._engine.execution_options(writes=True)
        # SQLite has one writer. Those of this process take turns here: SQLite itself would let them wait by sleeping.
        self._turn = asyncio.Lock() if self._is_sqlite else None
        self._under_way: set[asyncio.Task[list[RowMapping]]] = set()
        self._file = Path(self._engine.url.database or "") if self._is_sqlite else None
        self._opened: tuple[int, int] | None = None
        """Which file it was when it was opened."""

        self._reopening = asyncio.Lock()
        self._is_closed = False
        self._failures = Repeated()

    async def open(self) -> None:
        """Look whether it is whole; make the tables if they are not there.

        Raises:
            BackendAway: it cannot be reached now.
            ConfigError: it cannot be read or written, or its tables are another version's.
        """
        await self._open()
        self._opened = _identity(self._file)

    async def _open(self) -> None:
        try:
            if self._file is not None:
                # First without aiosqlite: its thread outlives a connection that fails, and then speaks of a closed loop.
                await asyncio.to_thread(_try, self._file)
            async with self._writes.begin() as connection:
                if self._is_sqlite:
                    await self._check(connection)
                else:
                    await self._check_kind(connection)
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
                await connection.run_sync(_make_tables)
                if not self._is_sqlite:
                    await self._check_rights(connection)
        except (DBAPIError, PoolTimeout, sqlite3.Error, OSError) as error:
            await self._engine.dispose()
            raise self._refusal(error) from error
        except ConfigError:
            await self._engine.dispose()
            raise

    async def _stay_open(self) -> None:
        """Open it again if somebody removed the file, as one who empties the folder of results.

        What is written to a removed file is lost.

        Raises:
            StorageFull: it cannot be made anew.
        """
        if self._file is None or _identity(self._file) == self._opened:
            return
        async with self._reopening:
            if _identity(self._file) == self._opened:
                return
            log.warning("database_was_removed", hint="jobs are lost; it is made anew")
            await self._engine.dispose()
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                await self.open()
            except (ConfigError, OSError) as error:
                raise StorageFull(_NOT_WRITABLE) from error

    async def _check(self, connection: AsyncConnection) -> None:
        found = await connection.scalar(text("PRAGMA quick_check(1)"))
        if found != "ok":
            raise ConfigError(
                f"ENLARGER_DATABASE: {self._name()} is damaged; put it elsewhere, and restore a copy or begin anew"
            )

    async def _check_kind(self, connection: AsyncConnection) -> None:
        encoding = await connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise ConfigError(
                f"ENLARGER_DATABASE: {self._name()} has the encoding {encoding}, and jobs hold any text; make one that has "
                "UTF8: createdb --encoding=UTF8 --template=template0 <name>"
            )
        if await connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise ConfigError(
                f"ENLARGER_DATABASE: {self._name()} is read-only; {_AT_START['25006']}"
            )

    async def _check_rights(self, connection: AsyncConnection) -> None:
        """Tables that another user made may be read, and not written."""
        found = await connection.scalar(_DENIED, {"names": [*tables.metadata.tables]})
        if found is not None:
            raise ConfigError(
                f"ENLARGER_DATABASE: cannot use {self._name()}: permission denied for table {found}; {_RIGHTS}"
            )

    def _refusal(self, error: Exception) -> ConfigError:
        """Why it cannot be used, and what to do."""
        reason = _reason(error)
        code = _code(error)
        if self._file is not None and os.path.isdir(self._file):  # noqa: PTH112 - never raises
            reason, hint = "it is a folder", "name a file in it"
        elif code is not None:
            hint = _AT_START.get(code, "")
        else:
            answers = (to_do for found, to_do in _ANSWERS if re.search(found, reason))
            hint = next(answers, "")
        away = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or (
            not self._is_sqlite and _UNREACHABLE.search(reason) is not None
        )
        if away and not hint:
            hint = "is PostgreSQL running there?"
        text_ = f"ENLARGER_DATABASE: cannot use {self._name()}: {reason}"
        return (BackendAway if away else ConfigError)(f"{text_}; {hint}" if hint else text_)

    def _name(self) -> str:
        """Without anything secret."""
        name = self._engine.url.database
        if self._is_sqlite:
            return f"'{name}'"
        return f"PostgreSQL's database '{name}'" if name else "PostgreSQL"

    async def close(self) -> None:
        """Wait for what is under way, a short time, and give all connections back; whatever comes later is refused."""
        self._is_closed = True
        await self.settled()
        await self._engine.dispose()

    async def settled(self) -> None:
        """Wait until the statements whose callers have left are done."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_END_S)

    async def read(self, statement: Select[Any]) -> list[RowMapping]:
        """The rows it finds.

        Raises:
            StorageUnavailable, StorageFull: the database is away or damaged; the text says what to do.
        """
        return await self._do(self._engine, [statement])

    async def write(self, *statements: Statement) -> list[RowMapping]:
        """The rows that the first of them returns. All happen, or none.

        Raises:
            IntegrityError: a value is taken that must be unique.
            StorageUnavailable, StorageFull: as ``read``, or there is no room.
        """
        async with AsyncExitStack() as stack:
            if self._turn is not None:
                await stack.enter_async_context(self._turn)
            return await self._do(self._writes, statements)

    async def _do(self, engine: AsyncEngine, statements: Sequence[Statement]) -> list[RowMapping]:
        if self._is_closed:  # SQLAlchemy would open a connection anew, and nobody would close it
            raise StorageUnavailable(_AWAY, retry_after_s=_RETRY_S)
        await self._stay_open()
        task = asyncio.create_task(_run(engine, statements))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            told = _told(error)
            if told is None:
                raise
            if (left_out := self._failures.occurred()) is not None:
                log.warning("database_failed", reason=reason_of(error), left_out=left_out)
            raise told from error


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Which file it is; None: there is none."""
    try:
        facts = file.stat() if file is not None else None
    except OSError:
        return None
    return None if facts is None else (facts.st_dev, facts.st_ino)


def _try(file: Path) -> None:
    """Open the file and close it.

    Raises:
        sqlite3.Error: SQLite cannot do that.
    """
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA schema_version")


async def _run(engine: AsyncEngine, statements: Sequence[Statement]) -> list[RowMapping]:
    async with engine.begin() as connection:
        results = [await connection.execute(statement) for statement in statements]
        return list(results[0].mappings()) if results and results[0].returns_rows else []


_DENIED = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name, "
    "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS kind "
    "WHERE NOT has_table_privilege(name, kind) LIMIT 1"
)
"""The first table that may not be used in each way."""


def _engine(url: str) -> AsyncEngine:
    scheme = _SCHEME.match(url)
    kind = scheme[1].lower() if scheme else ""
    if kind in ("postgresql", "postgres"):
        return _postgresql(url)
    if url.startswith("sqlite:///") and url != "sqlite:///":
        return _sqlite(Path(url.removeprefix("sqlite:///")))
    # A file of such a name would be made, and its name may hold a password.
    if not url.strip() or kind == "sqlite" or (scheme and scheme[3]) or _KEY_VALUE.search(url):
        raise ConfigError(_FORMS)
    return _sqlite(Path(url))


def _postgresql(url: str) -> AsyncEngine:
    place = url.partition("//")[2].partition("?")[0]
    if "@" in place.partition("/")[2] or place.count("@") > 1:
        raise ConfigError(
            "ENLARGER_DATABASE: in user and password, write @ as %40, / as %2F, : as %3A, and % as %25"
        )
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:  # the second one of a port that is none
        raise ConfigError(_FORMS) from error
    # Without it, a server's own encoding decides whether there are texts in the answers, or bytes.
    query = {
        "connect_timeout": str(_BUSY_S),
        **_FOUND_LOST,
        **parsed.query,
        "client_encoding": "utf8",
    }
    try:
        return create_async_engine(
            parsed.set(query=query),
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,  # so that a restart of PostgreSQL fails no call
        )
    except ImportError as error:
        raise ConfigError(
            "ENLARGER_DATABASE: PostgreSQL takes more packages: pip install 'enlarger[postgresql]'"
        ) from error


def _sqlite(file: Path) -> AsyncEngine:
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(
            f"ENLARGER_DATABASE: cannot write '{file}': what should be its folder is a file; name another place"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"ENLARGER_DATABASE: cannot write '{file}': {error.strerror}; name another place"
        ) from error
    engine = create_async_engine(
        # As an absolute path, ":memory:" is a file like any other.
        URL.create("sqlite+aiosqlite", database=str(file.absolute())),
        connect_args={"timeout": _BUSY_S, "isolation_level": None},
        pool_size=_CONNECTIONS,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        # In this mode a transaction survives the process, and readers do not wait for the writer.
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that read first and writes then may be refused at once; one that is to write waits its turn.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_tables(connection: Connection) -> None:
    tables.metadata.create_all(connection)
    _check_columns(connection, tables.schema)
    version = connection.scalar(select(tables.schema.c.version))
    if version is None:
        connection.execute(insert(tables.schema).values(version=tables.VERSION))
    elif version != tables.VERSION:
        raise ConfigError(
            f"ENLARGER_DATABASE: its tables have version {version}, this gateway's {tables.VERSION}; use the gateway "
            "that made them, or another database: unfinished jobs are lost then"
        )
    for table in tables.metadata.sorted_tables:
        _check_columns(connection, table)


def _check_columns(connection: Connection, table: Table) -> None:
    """Tables of other programs may have the same names."""
    try:
        connection.execute(select(table).limit(0))
    except (OperationalError, ProgrammingError) as error:
        if _code(error) in _AT_START:
            raise
        raise ConfigError(
            f"ENLARGER_DATABASE: its table {table.name} is not one that this gateway made ({_reason(error)}); "
            "name another database"
        ) from error


def _told(error: Exception) -> EnlargerError | None:
    """What the sender is told; None: the fault is ours."""
    code = _code(error)
    if isinstance(code, int):
        told = _SQLITE.get(code)
    elif code is not None:
        told = _POSTGRESQL.get(code) or _POSTGRESQL.get(code[:2])
    else:  # no answer of a server: its connection is lost, or none can be had
        told = _AWAY if isinstance(error, OperationalError | PoolTimeout | OSError) else None
    if told is None:
        return None
    return StorageUnavailable(told, retry_after_s=_RETRY_S) if told is _AWAY else StorageFull(told)


def _code(error: Exception) -> int | str | None:
    """SQLite's primary result code, or PostgreSQL's SQLSTATE; None where nothing answered."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
