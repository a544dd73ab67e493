"""SQLAlchemy's engines: from a URL to connections that are set up as the rows need them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from enlarger.errors import ConfigError
from enlarger.installation import install_command

BUSY_S = 10
"""A process waits as long for its turn to write to an SQLite file, or for a connection to PostgreSQL."""

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

_FORMS = (
    "ENLARGER_DATABASE: it must be a file, sqlite:///<file>, or "
    "postgresql://<user>:<password>@<host>/<database>"
)
_SCHEME = re.compile(r"([a-z][a-z0-9.-]*)(\+[a-z0-9]+)?:(//)?", re.IGNORECASE)
_KEY_VALUE = re.compile(r"(^|\s)(host|hostaddr|dbname|user|password|service)\s*=")
"""The other form that PostgreSQL's own programs take."""


def engine_of(url: str) -> AsyncEngine:
    """Return the engine of a database; nothing is opened yet.

    Raises:
        ConfigError: the URL has another form, or its driver is not installed. No text shows a password.
    """
    file = sqlite_file(url)
    return _postgresql(url) if file is None else _sqlite(file)


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database; None for one of PostgreSQL.

    Raises:
        ConfigError: it is neither. The text shows no password.
    """
    scheme = _SCHEME.match(url)
    kind = scheme[1].lower() if scheme else ""
    if kind in ("postgresql", "postgres"):
        return None
    if url.startswith("sqlite:///") and url != "sqlite:///":
        return Path(url.removeprefix("sqlite:///"))
    # A file of such a name would be made, and its name may hold a password.
    if not url.strip() or kind == "sqlite" or (scheme and scheme[3]) or _KEY_VALUE.search(url):
        raise ConfigError(_FORMS)
    return Path(url)


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
        "connect_timeout": str(BUSY_S),
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
            f"ENLARGER_DATABASE: PostgreSQL takes more packages: {install_command('postgresql')}"
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
        connect_args={"timeout": BUSY_S, "isolation_level": None},
        pool_size=_CONNECTIONS,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that read first and writes then may be refused at once; one that is to write waits its turn.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
