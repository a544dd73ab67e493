"""Databases and buckets for tests: SQLite and a folder always, PostgreSQL and an S3 server where they are installed."""

from __future__ import annotations

import os
import pwd
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from enlarger.storage import Storage, storage_at
from enlarger.storage.bucket import Bucket
from enlarger.storage.faults import JOBS

NewDatabase = Callable[[], str]
"""Gives the URL of an empty one."""

_START_S = 60


def missing(what: str) -> None:
    """Skip the test. In CI it fails instead, so that a test that never ran does not count as passed."""
    reason = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Limit the size of each file. This acts as a full disk does: bytes up to the limit are written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Cluster:
    """PostgreSQL in a folder of its own, reached through a socket there, so that it needs no free port."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self.folder = folder
        self._binaries = binaries
        self._user = user
        self._run("initdb", "-D", str(folder / "data"), "-U", "enlarger", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start PostgreSQL, and wait until it accepts connections."""
        data = str(self.folder / "data")
        self.process = subprocess.Popen(
            [self._binaries / "postgres", "-D", data, "-k", str(self.folder), "-h", "", "-F"],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(_START_S * 20):
            ready = [str(self._binaries / "pg_isready"), "-q", "-h", str(self.folder)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self.process.poll() is None, "PostgreSQL ended at its start"
            time.sleep(0.05)
        pytest.fail("PostgreSQL does not start")

    def stop(self) -> None:
        """Stop PostgreSQL, which ends all connections."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_START_S)

    def new_database(self) -> str:
        """Create a database, and return its URL."""
        name = f"jobs_{secrets.token_hex(8)}"
        self._run("createdb", "-h", str(self.folder), "-U", "enlarger", name)
        return f"postgresql://enlarger@/{name}?host={self.folder}"

    def loaded(self, dump: Path) -> str:
        """Create a database with the contents of a dump, and return its URL."""
        url = self.new_database()
        name = url.partition("@/")[2].partition("?")[0]
        copy = self.folder / dump.name  # the user that runs PostgreSQL may not read our files
        copy.write_bytes(dump.read_bytes())
        program = ["psql", "-h", str(self.folder), "-U", "enlarger", "-v", "ON_ERROR_STOP=1"]
        self._run(*program, name, "-f", str(copy))
        return url

    def sql(self, database: str, *statements: str) -> None:
        """Run these statements in a database, as its administrator."""
        for statement in statements:
            self._run("psql", "-h", str(self.folder), "-U", "enlarger", database, "-c", statement)

    def url(self, database: str, user: str = "enlarger:secret") -> str:
        """Return the URL of a database, for a user."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            check=True,
            capture_output=True,
            cwd=self.folder,
        )


@contextmanager
def postgresql_cluster() -> Iterator[Cluster]:
    """Run PostgreSQL until the end of the block."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=str)
    if not found or find_spec("psycopg") is None:
        missing("PostgreSQL")
    # It refuses to run as root; Debian's package brings a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="enlarger_"))  # pytest's own folders are closed to others
    try:
        if user is not None:
            facts = pwd.getpwnam(user)
            os.chown(folder, facts.pw_uid, facts.pw_gid)
        cluster = Cluster(found[-1].parent, folder, user)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """Return one PostgreSQL for all tests, each of which uses a database of its own."""
    with postgresql_cluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Return a function that makes empty databases of either kind."""
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgresql")
        return cluster.new_database
    return lambda: str(tmp_path / f"{secrets.token_hex(8)}.sqlite3")


@pytest.fixture
def database(new_database: NewDatabase) -> str:
    """Return the URL of an empty database."""
    return new_database()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server with a bucket called ``enlarger``."""
    if find_spec("moto") is None or find_spec("flask_cors") is None:
        missing("moto's server")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)
        address = next(match.group() for match in found if match is not None)
        # The server writes a line for each request, and would block if nothing read them.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with urllib.request.urlopen(urllib.request.Request(f"{address}/enlarger", method="PUT")):
            pass
        yield address
    finally:
        process.terminate()
        process.wait(_START_S)
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in the bucket, and the variables that lead there."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "enlarger",
        "AWS_SECRET_ACCESS_KEY": "enlarger",
    }.items():
        monkeypatch.setenv(name, value)
    return f"s3://enlarger/tests/{secrets.token_hex(8)}"


KINDS_OF_STORAGE = ("folder", "s3", "memory")


@pytest.fixture(params=KINDS_OF_STORAGE)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return empty storage of each kind. A bucket in memory is another implementation of obstore's."""
    if request.param == "memory":
        return Bucket(MemoryStore(), JOBS)
    place = request.getfixturevalue("bucket") if request.param == "s3" else tmp_path / "blobs"
    return storage_at(place)
