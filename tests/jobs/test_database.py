"""A database that cannot be used is one line at the start: what is wrong, what to do, and no password."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text
from support.stores import Cluster

from enlarger.errors import BackendAway, ConfigError, StorageUnavailable
from enlarger.jobs.rows import tables
from enlarger.jobs.rows.database import Database

FAILED, WRONG = BackendAway.exit_status, ConfigError.exit_status
"""The exit statuses of errors for which another start may succeed, and for which it would not."""


async def refusal(url: str) -> ConfigError:
    """What the operator reads, which is one line that names the variable."""
    with pytest.raises(ConfigError) as error:
        await _opened(url)
    # The thread of a connection that failed ends by itself, and tells the loop, which must still be there.
    await asyncio.sleep(0.1)
    text = str(error.value)
    assert text.startswith("ENLARGER_DATABASE: ")
    assert "\n" not in text
    assert "secret" not in text
    return error.value


# PostgreSQL


def _ascii(cluster: Cluster) -> str:
    cluster.sql(
        "postgres",
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    return cluster.url("ascii")


def _latin1(cluster: Cluster) -> str:
    cluster.sql(
        "postgres",
        "CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    return cluster.url("latin1")


def _no_database(cluster: Cluster) -> str:
    return cluster.url("nowhere")


def _no_user(cluster: Cluster) -> str:
    return cluster.url("postgres", "nobody:secret")


def _no_login(cluster: Cluster) -> str:
    cluster.sql("postgres", "CREATE ROLE closed NOLOGIN")
    return cluster.url("postgres", "closed:secret")


def _no_schema(cluster: Cluster) -> str:
    cluster.sql("postgres", "CREATE DATABASE bare", "CREATE ROLE guest LOGIN")
    cluster.sql("bare", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    return cluster.url("bare", "guest:secret")


def _read_only_tables(cluster: Cluster) -> str:
    url = cluster.new_database()
    asyncio.run(_opened(url))
    name = url.partition("@/")[2].partition("?")[0]
    cluster.sql("postgres", "CREATE ROLE reader LOGIN")
    cluster.sql(name, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    return cluster.url(name, "reader:secret")


def _read_only(cluster: Cluster) -> str:
    cluster.sql("postgres", "CREATE DATABASE replica")
    asyncio.run(_opened(cluster.url("replica")))
    cluster.sql("postgres", "ALTER DATABASE replica SET default_transaction_read_only = on")
    return cluster.url("replica")


def _somebody_elses(cluster: Cluster) -> str:
    cluster.sql("postgres", "CREATE DATABASE elses")
    cluster.sql("elses", "CREATE TABLE enlarger_jobs (answer int)")
    return cluster.url("elses")


def _closed(cluster: Cluster) -> str:
    cluster.sql(
        "postgres", "CREATE DATABASE closed", "ALTER DATABASE closed ALLOW_CONNECTIONS false"
    )
    return cluster.url("closed")


async def _opened(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.close()


POSTGRESQL: dict[Callable[[Cluster], str], str] = {
    _ascii: "PostgreSQL's database 'ascii' has the encoding SQL_ASCII, .*createdb --encoding=UTF8",
    _latin1: "PostgreSQL's database 'latin1' has the encoding LATIN1, .*createdb --encoding=UTF8",
    _no_database: "'nowhere'.* does not exist; make it: createdb",
    _no_user: "does not exist; check user and password",
    _no_login: "is not permitted to log in; check user and password",
    _no_schema: "no schema has been selected to create in; grant its user CREATE",
    _read_only_tables: "permission denied for table enlarger_.*; grant its user",
    _read_only: "'replica' is read-only; name the primary server",
    _somebody_elses: "its table enlarger_jobs is not one that this gateway made .*; name another database",
    _closed: "is not currently accepting connections",
}


@pytest.mark.parametrize("make", POSTGRESQL, ids=lambda make: make.__name__.lstrip("_"))
async def test_postgresql_that_cannot_be_used_is_one_line(
    postgresql: Cluster, make: Callable[[Cluster], str]
) -> None:
    """A real PostgreSQL has each of these faults."""
    url = await asyncio.to_thread(make, postgresql)
    error = await refusal(url)
    assert error.exit_status == WRONG
    assert re.search(POSTGRESQL[make], str(error))


@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("postgresql://up:secret@127.0.0.1:1/jobs", FAILED),
        ("PostgreSQL://up:secret@127.0.0.1:1/jobs", FAILED),
        ("postgresql://up:secret@nowhere.invalid/jobs", FAILED),
        ("postgresql://up:secret@/jobs?host=/nowhere", FAILED),
        ("postgresql://up:secret@127.0.0.1:99999/jobs", WRONG),
        ("postgresql://up:secret@127.0.0.1:port/jobs", WRONG),
        ("postgresql://up:secret@127.0.0.1:1/jobs?nonsense=1", WRONG),
        ("postgresql://up:secret@127.0.0.1:1/jobs?sslmode=perhaps", WRONG),
        ("postgresql://up:secret@127.0.0.1:1/jobs?connect_timeout=long", WRONG),
        ("postgresql://up:se@cret@127.0.0.1:1/jobs", WRONG),
        ("postgresql://up:cr/secret@127.0.0.1:1/jobs", WRONG),
        ("postgresql:jobs", WRONG),
        ("mysql://up:secret@127.0.0.1/jobs", WRONG),
        ("https://up:secret@127.0.0.1/jobs", WRONG),
        ("host=127.0.0.1 password=secret dbname=jobs", WRONG),
        ("sqlite://jobs.sqlite3", WRONG),
        ("sqlite+aiosqlite:///jobs.sqlite3", WRONG),
        ("sqlite:///", WRONG),
        (" ", WRONG),
    ],
)
async def test_address_that_leads_nowhere_is_one_line(
    url: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing answers, the start may be repeated. If the address is wrong, it may not. No file of that name is made."""
    monkeypatch.chdir(tmp_path)
    assert (await refusal(url)).exit_status == status
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing else runs


async def test_clients_encoding_does_not_matter(postgresql: Cluster) -> None:
    """Texts are UTF-8, whatever encoding the URL asks for."""
    url = await asyncio.to_thread(postgresql.new_database)
    await _opened(f"{url}&client_encoding=latin1")


# SQLite


def _folder(folder: Path) -> Path:
    return folder


def _below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "jobs.sqlite3"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("not a database, and longer than a header of one" * 10)
    return folder / "notes.txt"


def _long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def _read_only_file(folder: Path) -> Path:
    asyncio.run(_opened(str(folder / "jobs.sqlite3")))
    (folder / "jobs.sqlite3").chmod(0o444)
    return folder / "jobs.sqlite3"


def _read_only_folder(folder: Path) -> Path:
    return folder / "jobs.sqlite3"


SQLITE: dict[Callable[[Path], Path], str] = {
    _folder: "it is a folder; name a file in it",
    _below_a_file: "what should be its folder is a file; name another place",
    _text: "not a database; name a file that is not there yet",
    _long_name: "unable to open",
    _read_only_file: "readonly database; let the user that runs enlarger write it",
    _read_only_folder: "unable to open database file; let the user that runs enlarger write into its folder",
}

_AS_ANOTHER_USER = (
    f"import enlarger.jobs.rows.database; os.setuid({pwd.getpwnam('nobody').pw_uid})"
    if os.geteuid() == 0
    else ""
)
"""The interpreter may be in a folder that only root can read, so the user is changed after the imports."""

_OPEN = """
import asyncio, sys
from enlarger.errors import ConfigError
from enlarger.jobs.rows.database import Database
try:
    asyncio.run(Database(sys.argv[1]).open())
except ConfigError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("make", SQLITE, ids=lambda make: make.__name__.lstrip("_"))
def test_file_that_cannot_be_used_is_one_line(make: Callable[[Path], Path]) -> None:
    """The test runs as another user than root, who could write everything."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        file = make(folder)
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", f"import os\n{_AS_ANOTHER_USER}\n{_OPEN}", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        folder.chmod(0o755)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("ENLARGER_DATABASE: ")
    assert SQLITE[make] in line


async def none_is_left(before: set[threading.Thread]) -> None:
    """Wait until no connection to SQLite is open that was not before: each has a thread of its own."""

    def opened() -> list[str]:
        others = (one.name for one in set(threading.enumerate()) - before)
        return [name for name in others if not name.startswith("asyncio_")]

    for _ in range(100):
        if not opened():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"still open: {opened()}")


@pytest.mark.parametrize("moments", range(0, 60, 6))
async def test_nothing_is_opened_after_the_end(tmp_path: Path, moments: int) -> None:
    """Also where the file was removed, so that callers wait for it to be made anew when the database is closed."""
    before = set(threading.enumerate())
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(str(folder / "jobs.sqlite"))
    await database.open()
    shutil.rmtree(folder)
    calls = [
        asyncio.create_task(database.read(select(tables.metadata.sorted_tables[0])))
        for _ in range(4)
    ]
    for _ in range(moments):
        await asyncio.sleep(0.0005)
    await database.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(end == [] or isinstance(end, StorageUnavailable) for end in ends)
    await none_is_left(before)


async def test_statement_that_does_not_end_is_stopped_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed with the others."""
    before = set(threading.enumerate())
    monkeypatch.setattr("enlarger.jobs.rows.database._END_S", 0.1)
    database = Database(str(tmp_path / "jobs.sqlite"))
    await database.open()
    endless = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT sum(i) FROM n"
    )
    call = asyncio.create_task(database.read(endless))  # type: ignore[arg-type]
    await asyncio.sleep(0.2)
    await database.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    await none_is_left(before)


async def test_tables_of_another_program_are_refused(tmp_path: Path) -> None:
    """Its tables have the names of ours. Without this check, the first job would fail."""
    connection = sqlite3.connect(tmp_path / "other.sqlite3")
    connection.execute("CREATE TABLE enlarger_jobs (answer int)")
    connection.close()
    error = await refusal(str(tmp_path / "other.sqlite3"))
    assert "its table enlarger_jobs is not one that this gateway made" in str(error)


async def test_locked_file_may_be_free_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program keeps it for longer than we wait."""
    monkeypatch.setattr("enlarger.jobs.rows.engines.BUSY_S", 0.1)
    monkeypatch.setattr("enlarger.jobs.rows.database.BUSY_S", 0.1)
    connection = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    error = await refusal(str(tmp_path / "jobs.sqlite3"))
    connection.close()
    assert error.exit_status == FAILED
    assert "another program keeps it locked" in str(error)


# The service


def test_service_ends_with_the_line(postgresql: Cluster, tmp_path: Path) -> None:
    """There is no traceback. The exit status tells a supervisor whether to try again."""
    postgresql.sql(
        "postgres",
        "CREATE DATABASE old ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    for url, status in (
        (postgresql.url("old"), WRONG),
        ("postgresql://up:secret@127.0.0.1:1/jobs", FAILED),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "enlarger", "serve", "--port", "0"],
            env={
                **os.environ,
                "ENLARGER_DATABASE": url,
                "UPLOAD_FOLDER": str(tmp_path / "uploads"),
                "BASE_PORT": "0",
                "NUM_SERVERS": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status
        assert done.stderr.splitlines()[-1].startswith("enlarger: ENLARGER_DATABASE: ")
        assert "Traceback" not in done.stdout + done.stderr
        assert "secret" not in done.stdout + done.stderr
