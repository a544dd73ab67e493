"""The database behind the rows: one SQLite file, or PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    RowMapping,
    Select,
    Table,
    Update,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from enlarger.errors import ConfigError, StorageFull
from enlarger.jobs.rows import tables
from enlarger.jobs.rows.engines import BUSY_S, engine_of
from enlarger.jobs.rows.failures import (
    AT_START,
    NOT_WRITABLE,
    RIGHTS,
    away,
    code_of,
    line_of,
    name_of,
    refusal,
    told_of,
)
from enlarger.jobs.rows.migrations import VERSION, migrate, version_of
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

if TYPE_CHECKING:
    import psycopg

log = structlog.get_logger()

_END_S = 5
"""Statements whose callers have left may take as long when the database is closed."""

_LOCK = 0x656E_6C61
"""Number of the advisory lock that a process holds while it makes the tables in PostgreSQL: "enla"."""

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
        self._engine = engine_of(url)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._writes = self._engine.execution_options(writes=True)
        # SQLite has one writer. Those of this process take turns here: SQLite itself would let them wait by sleeping.
        self._turn = asyncio.Lock() if self.is_sqlite else None
        self._under_way: set[asyncio.Task[list[RowMapping]]] = set()
        self._file = Path(self._engine.url.database or "") if self.is_sqlite else None
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
        await self._try(_migrate)
        self._opened = _identity(self._file)

    async def examine(self) -> int | None:
        """Look whether it could be opened, without making or migrating its tables.

        Returns:
            The version of its tables; None if it has none yet.

        Raises:
            BackendAway, ConfigError: as ``open``.
        """
        return await self._try(version_of)

    async def _try(self, prepare: Callable[[Connection], int | None]) -> int | None:
        try:
            if self._file is not None:
                # First without aiosqlite: its thread outlives a connection that fails, and then speaks of a closed loop.
                await asyncio.to_thread(_try, self._file)
            async with self._writes.begin() as connection:
                if self.is_sqlite:
                    await self._check(connection)
                else:
                    await self._check_kind(connection)
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
                version = await connection.run_sync(prepare)
                if version == VERSION and not self.is_sqlite:
                    await self._check_rights(connection)
                return version
        except (DBAPIError, PoolTimeout, sqlite3.Error, OSError) as error:
            await self._engine.dispose()
            raise refusal(self._engine.url, error) from error
        except ConfigError:
            await self._engine.dispose()
            raise

    async def _stay_open(self) -> None:
        """Open it again if the file was removed, for example together with the folder of results.

        What is written to a removed file is lost.

        Raises:
            StorageFull: it cannot be made anew.
        """
        if self._file is None or _identity(self._file) == self._opened:
            return
        async with self._reopening:
            if self._is_closed or _identity(self._file) == self._opened:
                return
            log.warning("database_was_removed", hint="jobs are lost; it is made anew")
            await self._engine.dispose()
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                await self.open()
            except (ConfigError, OSError) as error:
                raise StorageFull(NOT_WRITABLE) from error

    async def _check(self, connection: AsyncConnection) -> None:
        found = await connection.scalar(text("PRAGMA quick_check(1)"))
        if found != "ok":
            raise ConfigError(
                f"ENLARGER_DATABASE: {name_of(self._engine.url)} is damaged; put it elsewhere, and restore a copy or begin anew"
            )

    async def _check_kind(self, connection: AsyncConnection) -> None:
        encoding = await connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise ConfigError(
                f"ENLARGER_DATABASE: {name_of(self._engine.url)} has the encoding {encoding}, and jobs hold any text; make one that has "
                "UTF8: createdb --encoding=UTF8 --template=template0 <name>"
            )
        if await connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise ConfigError(
                f"ENLARGER_DATABASE: {name_of(self._engine.url)} is read-only; {AT_START['25006']}"
            )

    async def _check_rights(self, connection: AsyncConnection) -> None:
        """Tables that another user made may be read, and not written."""
        found = await connection.scalar(_DENIED, {"names": [*tables.metadata.tables]})
        if found is not None:
            raise ConfigError(
                f"ENLARGER_DATABASE: cannot use {name_of(self._engine.url)}: permission denied for table {found}; {RIGHTS}"
            )

    async def close(self) -> None:
        """Wait a short time for what is under way, and close all connections. Whatever comes later is refused."""
        self._is_closed = True
        async with self._reopening:
            await self.settled()
            if self._under_way:
                for task in self._under_way:
                    task.cancel()
                await asyncio.wait(self._under_way, timeout=_END_S)
            await self._engine.dispose()

    async def settled(self) -> None:
        """Wait until the statements whose callers have left are done."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_END_S)

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """Return a statement that adds a row, or changes the one that is there: see ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    async def own_connection(self) -> psycopg.AsyncConnection[Any]:
        """Return a connection to PostgreSQL for the caller alone, each statement a transaction.

        Raises:
            psycopg.Error: the database is away.
        """
        import psycopg

        _, arguments = self._engine.dialect.create_connect_args(self._engine.url)
        return await psycopg.AsyncConnection.connect(autocommit=True, **arguments)

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
        await self._stay_open()
        if self._is_closed:  # SQLAlchemy would open a connection anew, and nobody would close it
            raise away()
        task = asyncio.create_task(_run(engine, statements))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            told = told_of(error)
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
    """Open the file, set its journal mode, and close it.

    In this mode a transaction survives the process, and readers do not wait for the writer. SQLite waits for its turn to
    write, but not for its turn to change the mode, so this tries again while other processes do the same.

    Raises:
        sqlite3.Error: SQLite cannot do that.
    """
    give_up = time.monotonic() + BUSY_S
    with closing(sqlite3.connect(file, timeout=0)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
            else:
                return


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


def _migrate(connection: Connection) -> int:
    if inspect(connection).has_table(tables.schema.name):
        _check_columns(connection, tables.schema)
    migrate(connection)
    for table in tables.metadata.sorted_tables:
        _check_columns(connection, table)
    return VERSION


def _check_columns(connection: Connection, table: Table) -> None:
    """Tables of other programs may have the same names."""
    try:
        connection.execute(select(table).limit(0))
    except (OperationalError, ProgrammingError) as error:
        if code_of(error) in AT_START:
            raise
        raise ConfigError(
            f"ENLARGER_DATABASE: its table {table.name} is not one that this gateway made ({line_of(error)}); "
            "name another database"
        ) from error
