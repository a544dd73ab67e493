"""The database behind the rows: one SQLite file, or PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack
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
    Update,
    event,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from enlarger.errors import ConfigError, EnlargerError, StorageFull, StorageUnavailable, reason_of
from enlarger.jobs import tables
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

_NO_ROOM = (
    "no room for the job on the server's disk; try again later, or ask the operator to make room"
)
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

Statement = Select[Any] | Insert | Update | Delete


class Database:
    """Statements, each call a transaction of its own. One event loop uses it.

    A call that is cancelled may or may not have changed the rows, but never half: its statements go on to their end.

    Args:
        url: ``postgresql://...`` as libpq takes it, ``sqlite:///<file>``, or the file alone.

    Raises:
        ConfigError: the URL is none of these, or its driver is not installed.
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
            ConfigError: it cannot be reached, read or written, or its tables are another version's.
        """
        await self._open()
        self._opened = _identity(self._file)

    async def _open(self) -> None:
        try:
            async with self._writes.begin() as connection:
                if self._is_sqlite:
                    await self._check(connection)
                else:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
                await connection.run_sync(_make_tables)
        except (DBAPIError, OSError) as error:
            await self._engine.dispose()
            raise ConfigError(
                f"ENLARGER_DATABASE: cannot use {self._name()}: {_reason(error)}"
            ) from error
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

    def _name(self) -> str:
        """Without anything secret."""
        url = self._engine.url
        return f"'{url.database}'" if self._is_sqlite else f"PostgreSQL's database '{url.database}'"

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


async def _run(engine: AsyncEngine, statements: Sequence[Statement]) -> list[RowMapping]:
    async with engine.begin() as connection:
        results = [await connection.execute(statement) for statement in statements]
        return list(results[0].mappings()) if results and results[0].returns_rows else []


def _engine(url: str) -> AsyncEngine:
    if not url.startswith(("postgresql:", "postgres:")):
        return _sqlite(Path(url.removeprefix("sqlite:///")))
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:  # the second one of a port that is none
        raise ConfigError("ENLARGER_DATABASE: this is no URL of a PostgreSQL database") from error
    query = {"connect_timeout": str(_BUSY_S), **_FOUND_LOST, **parsed.query}
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
    except OSError as error:
        raise ConfigError(f"ENLARGER_DATABASE: cannot write '{file}': {error.strerror}") from error
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
    version = connection.scalar(select(tables.schema.c.version))
    if version is None:
        connection.execute(insert(tables.schema).values(version=tables.VERSION))
    elif version != tables.VERSION:
        raise ConfigError(
            f"ENLARGER_DATABASE: its tables have version {version}, this gateway's {tables.VERSION}; use the gateway "
            "that made them, or another database: unfinished jobs are lost then"
        )


def _told(error: Exception) -> EnlargerError | None:
    """What the sender is told; None: the fault is ours."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        told = _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    elif (state := getattr(cause, "sqlstate", None)) is not None:
        told = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    else:  # no answer of a server: its connection is lost, or none can be had
        told = _AWAY if isinstance(error, OperationalError | PoolTimeout | OSError) else None
    if told is None:
        return None
    return StorageUnavailable(told, retry_after_s=_RETRY_S) if told is _AWAY else StorageFull(told)


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
