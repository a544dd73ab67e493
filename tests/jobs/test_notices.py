"""Notices between gateways: they arrive over PostgreSQL, and nothing depends on them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import Cluster

from enlarger.jobs.job import Job, new_job_id
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.notices import QUEUE, SELDOM_S, payloads

LONG_S = 60


async def live(rows: Rows) -> None:
    """Wait until notices arrive."""
    async with asyncio.timeout(LONG_S):
        while not rows.notices.are_live:  # noqa: ASYNC110 - a connection tells nobody
            await asyncio.sleep(0.02)


@pytest.fixture
def url(postgresql: Cluster) -> str:
    """A new database on PostgreSQL."""
    return postgresql.new_database()


async def test_what_changes_at_one_gateway_is_told_at_the_other(url: str) -> None:
    """A job that comes, and each change of its row; nobody is told of other jobs."""
    async with Rows(url) as one, Rows(url) as other:
        await live(other)
        queue, changed, unchanged = asyncio.Event(), asyncio.Event(), asyncio.Event()
        job = Job(id=new_job_id(), created_at=1.0, options={})
        with (
            other.notices.calling([QUEUE], queue.set),
            other.notices.calling([job.id], changed.set),
            other.notices.calling([new_job_id()], unchanged.set),
        ):
            async with asyncio.timeout(LONG_S):
                await one.jobs.add(job)
                await queue.wait()
                claimed = await one.queue.claim("one", now=2.0, lease_s=15)
                assert claimed is not None
                await changed.wait()
        assert not unchanged.is_set()


async def test_gateway_listens_again_after_its_connection_was_lost(
    url: str, postgresql: Cluster
) -> None:
    """And looks at everything then: what was told meanwhile was not heard."""
    async with Rows(url) as rows:
        await live(rows)
        changed = asyncio.Event()
        with rows.notices.calling(["job_1"], changed.set):
            postgresql.sql(
                url.partition("@/")[2].partition("?")[0],
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
                "AND datname = current_database()",
            )
            async with asyncio.timeout(LONG_S):
                await changed.wait()
        assert rows.notices.are_live


async def test_sqlite_has_no_notices(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What waits looks as often as without them."""
    async with Rows(str(tmp_path_factory.mktemp("rows") / "jobs.sqlite3")) as rows:
        rows.notices.tell("job_1")
        assert not rows.notices.are_live
        assert rows.notices.pause_s(1.0) == 1.0


async def test_live_notices_make_looks_seldom(url: str) -> None:
    """And no look is ever left out."""
    async with Rows(url) as rows:
        assert rows.notices.pause_s(1.0) == 1.0
        await live(rows)
        assert rows.notices.pause_s(1.0) == SELDOM_S


@given(
    topics=st.lists(st.from_regex(r"[a-z_0-9]{1,80}", fullmatch=True), unique=True, max_size=500)
)
def test_texts_hold_all_topics(topics: list[str]) -> None:
    """Each once and in order, in texts that PostgreSQL takes."""
    texts = payloads(topics)
    assert [topic for text in texts for topic in text.split(",")] == topics
    assert all(len(text) < 8000 for text in texts)


async def test_waiting_for_a_notice_can_be_cancelled(url: str) -> None:
    """Nothing is called afterwards."""
    async with Rows(url) as rows:
        called: list[None] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                with rows.notices.calling(["job_1"], lambda: called.append(None)):
                    await asyncio.sleep(1)
        assert not rows.notices._called
