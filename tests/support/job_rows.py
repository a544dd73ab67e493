"""Records of jobs for the tests of their rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest_asyncio

from enlarger.jobs.job import (
    DeliveryRecord,
    Job,
    new_job_id,
)
from enlarger.jobs.rows import Rows


@pytest_asyncio.fixture
async def rows(database: str) -> AsyncIterator[Rows]:
    """Rows of an empty database."""
    async with Rows(database) as rows:
        yield rows


def job(**values: Any) -> Job:
    """Return a new job."""
    return Job(**{"id": new_job_id(), "created_at": 1.0, "options": {}, **values})


def delivery(**values: Any) -> DeliveryRecord:
    """Return a new delivery."""
    given = {"url": "https://a.example/", "type": "job.succeeded", "body": "{}", "created_at": 1.0}
    return DeliveryRecord(**{"id": f"msg_{new_job_id()}", **given, **values})


async def added(rows: Rows, *records: Job) -> Sequence[Job]:
    """Store jobs in the rows, and return them."""
    await rows.jobs.add_all(records)
    return records
