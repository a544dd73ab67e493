"""Rows of jobs when a folder is removed, a call is cancelled, or the database fails."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.job_rows import job
from support.results import FolderResults
from support.stores import file_size_limit, postgresql_cluster

from enlarger.errors import ConfigError, StorageFull, StorageUnavailable
from enlarger.installation import install_command
from enlarger.jobs.job import (
    STATES,
    Job,
    State,
)
from enlarger.jobs.rows import Rows

# A folder that is removed


async def test_removed_database_is_made_anew(tmp_path: Path) -> None:
    """If an operator empties the folder of results, the jobs are lost but the service keeps working."""
    file = tmp_path / "uploads" / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        added = job()
        await rows.jobs.add(added)
        for _ in range(2):
            shutil.rmtree(tmp_path / "uploads")
            added = job()
            await asyncio.gather(*(rows.jobs.counts() for _ in range(5)), rows.jobs.add(added))
            assert await rows.jobs.get(added.id) == added
            assert (await rows.jobs.counts())["queued"] == 1
    async with Rows(str(file)) as rows:
        assert await rows.jobs.get(added.id) == added


async def test_database_that_cannot_be_made_anew_is_told(tmp_path: Path) -> None:
    """The service works again when the database can be made."""
    file = tmp_path / "uploads" / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        shutil.rmtree(tmp_path / "uploads")
        (tmp_path / "uploads").write_text("in the way")
        with pytest.raises(StorageFull):
            await rows.jobs.counts()
        (tmp_path / "uploads").unlink()
        assert (await rows.jobs.counts())["queued"] == 0


# Cancellation


async def test_cancelled_call_leaves_the_rows_usable(rows: Rows) -> None:
    """The call may be cancelled at any moment. The row exists or does not, and the next call works."""
    for turns in range(12):
        record = job()
        task = asyncio.create_task(rows.jobs.add(record))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await rows.jobs.get(record.id) in (None, record)
    last = await rows.jobs.add(job())
    assert await rows.jobs.get(last.id) == last


async def test_end_waits_for_cancelled_calls(database: str) -> None:
    """No connection is left behind."""
    async with Rows(database) as rows:
        tasks = [asyncio.create_task(rows.jobs.add(job())) for _ in range(8)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with Rows(database) as rows:
        assert (await rows.jobs.counts())["queued"] <= 8


# At the start, and when the database fails


async def test_many_may_start_at_once(database: str) -> None:
    """On a database that is not there yet."""

    async def start() -> dict[State, int]:
        async with Rows(database) as rows:
            return await rows.jobs.counts()

    found = await asyncio.gather(*(start() for _ in range(6)))
    assert found == [dict.fromkeys(STATES, 0)] * 6


def test_file_may_be_named_as_a_url(tmp_path: Path) -> None:
    """The folder of the file is created."""

    async def start() -> None:
        async with Rows(f"sqlite:///{tmp_path}/new/jobs.sqlite3"):
            pass

    asyncio.run(start())
    assert (tmp_path / "new" / "jobs.sqlite3").is_file()


async def refused(url: str) -> str:
    """What the operator reads."""
    with pytest.raises(ConfigError) as error:
        async with Rows(url):
            pass
    assert str(error.value).startswith("ENLARGER_DATABASE: ")
    # The thread of a connection that failed ends by itself, and tells the loop, which must still be there.
    await asyncio.sleep(0.2)
    return str(error.value)


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The file is not changed."""
    file = tmp_path / "jobs.sqlite3"
    file.write_bytes(b"This is something else, and long enough." * 100)
    assert "not a database" in await refused(str(file))
    assert file.read_bytes().startswith(b"This is something else")


async def test_damaged_database_is_refused(tmp_path: Path) -> None:
    """The start fails, so that no job is lost in it."""
    file = tmp_path / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        await rows.jobs.add_all([job(options={"text": "x" * 500}) for _ in range(200)])
    data = bytearray(file.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(data)
    assert re.search("damaged|malformed", await refused(str(file)))


@pytest.mark.parametrize("name", ["folder", "file/below.sqlite3"])
async def test_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    """A folder is where it should be, or a file where its folder should be."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert str(tmp_path / name) in await refused(str(tmp_path / name))


@pytest.mark.usefixtures("postgresql")
async def test_postgresql_that_is_not_there_is_refused() -> None:
    """Without its password."""
    text = await refused("postgresql://up:secret@127.0.0.1:1/jobs")
    assert "secret" not in text
    assert "'jobs'" in text


async def test_url_that_is_none_is_refused() -> None:
    """Without showing it."""
    assert "secret" not in await refused("postgresql://up:secret@127.0.0.1:port/jobs")


def test_missing_driver_is_named(tmp_path: Path) -> None:
    """With what to install."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from enlarger.jobs.rows import Rows\n"
        "Rows('postgresql://up:secret@db/jobs')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "ENLARGER_DATABASE: " in last
    assert install_command("postgresql") in last


async def test_full_disk_is_told(tmp_path: Path) -> None:
    """A limit of the system for each file acts as a full disk does. Rows that are there can be read."""
    file = tmp_path / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        record = await rows.jobs.add(job())
        with file_size_limit(200_000), pytest.raises(StorageFull, match="no room"):
            await rows.jobs.add_all([job(options={"text": "x" * 4000}) for _ in range(100)])
        assert await rows.jobs.get(record.id) == record
        assert (await rows.jobs.counts())["queued"] == 1
        await rows.jobs.add(job())


async def test_database_that_goes_away_is_unavailable_and_comes_back() -> None:
    """Callers are asked to come again; nobody restarts the gateway."""
    with postgresql_cluster() as cluster:
        async with Rows(cluster.new_database()) as rows:
            record = await rows.jobs.add(job())
            await asyncio.to_thread(cluster.stop)
            with pytest.raises(StorageUnavailable, match="try again") as error:
                await rows.jobs.get(record.id)
            assert error.value.retry_after_s is not None
            await asyncio.to_thread(cluster.start)
            assert await rows.jobs.get(record.id) == record


# Beside the results


async def test_closed_database_opens_nothing(tmp_path: Path) -> None:
    """A call that comes late, or that waited for its turn, is refused, because nothing would close a connection that it opened."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as rows:
        writing = [asyncio.create_task(rows.jobs.add(job())) for _ in range(8)]
        await asyncio.sleep(0)
    found = await asyncio.gather(*writing, return_exceptions=True)
    refused = [one for one in found if isinstance(one, StorageUnavailable)]
    assert len(refused) + sum(isinstance(one, Job) for one in found) == 8
    assert refused
    with pytest.raises(StorageUnavailable):
        await rows.jobs.counts()
    async with Rows(str(tmp_path / "jobs.sqlite3")) as again:
        assert (await again.jobs.counts())["queued"] == 8 - len(refused)


async def test_sweep_of_the_results_leaves_the_database_alone(tmp_path: Path) -> None:
    """It knows its own names only, however old a file is."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as rows:
        record = await rows.jobs.add(job())
        (tmp_path / "jobs").mkdir()
        for path in tmp_path.iterdir():  # noqa: ASYNC240 - nothing else runs
            os.utime(path, (0, 0))
        assert (await FolderResults(tmp_path, max_age_s=1).sweep()).deleted == 0
        assert await rows.jobs.get(record.id) == record
        assert (tmp_path / "jobs").is_dir()
        assert (tmp_path / "jobs.sqlite3").is_file()
