"""What does the database take while many jobs wait: a claim, the list of a key's jobs, a look at the queue?

It uses a PostgreSQL of its own in a temporary folder (Debian: ``apt-get install postgresql``), or another database
with ``--database``, which must be empty. ``page`` is what ``GET /v1/jobs`` reads: a page of jobs with their places in the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from record import record
from sqlalchemy import text
from support.stores import postgresql_cluster

from enlarger.jobs import Rows
from enlarger.jobs.job import ENDED, STATES, Job, new_job_id
from enlarger.jobs.rows import tables
from enlarger.jobs.rows.engines import engine_of

_KEYS = 10
"""API keys that share the jobs."""


def job(number: int) -> Job:
    """Return a waiting job; jobs are those of each key in turn."""
    return Job(
        id=new_job_id(),
        owner=f"key:{number % _KEYS}",
        caller=f"key:{number % _KEYS}",
        created_at=time.time(),
        options={"scale": 4, "model": "realesrgan-x4plus", "format": "png"},
        mflop=1e6,
    )


async def copy_jobs(database: str, *, copies: int) -> None:
    """Add so many copies of each job, each with an id of its own, within the database."""
    names = [column.name for column in tables.jobs.columns if column.name not in ("number", "id")]
    copied = ", ".join(names)
    engine = engine_of(database)
    random_hex = (
        "lower(hex(randomblob(16)))" if engine.dialect.name == "sqlite" else "md5(random()::text)"
    )
    numbers = "SELECT 1 UNION ALL SELECT copy + 1 FROM numbers WHERE copy < :copies"
    statement = (
        f"WITH RECURSIVE numbers (copy) AS ({numbers}) "  # noqa: S608 - names of columns
        f"INSERT INTO {tables.jobs.name} (id, {copied}) SELECT 'job_' || {random_hex}, {copied} "
        f"FROM numbers CROSS JOIN {tables.jobs.name} ORDER BY copy, number"
    )
    async with engine.begin() as connection:
        await connection.execute(text(statement), {"copies": copies})
        await connection.execute(text(f"ANALYZE {tables.jobs.name}"))
    await engine.dispose()


async def median_ms(rounds: int, call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Call it so many times; return the median and the 95th percentile in milliseconds."""
    times_ms = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = await call()
        times_ms.append(1000 * (time.perf_counter() - began))
        assert found
    ordered = sorted(times_ms)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median_ms": round(statistics.median(times_ms), 2), "p95_ms": round(p95, 2)}


async def measure(database: str, *, jobs: int, rounds: int) -> dict[str, Any]:
    """Fill a database with waiting jobs, and measure each question."""
    async with Rows(database) as rows:
        await rows.jobs.add_all([job(number) for number in range(_KEYS)])
        await copy_jobs(database, copies=jobs // _KEYS - 1)

        async def claim() -> Job | None:
            return await rows.queue.claim("bench", now=time.time(), lease_s=3600)

        async def page() -> list[Job]:
            states = [state for state in STATES if state not in ENDED]
            found = await rows.jobs.list_of("key:3", states=states, before=None, limit=101)
            await rows.queue.places([one.id for one in found])
            return found

        async def waiting() -> tuple[int, float]:
            return await rows.queue.waiting()

        return {
            "claim": await median_ms(rounds, claim),
            "page": await median_ms(rounds, page),
            "waiting": await median_ms(rounds, waiting),
        }


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="waiting jobs")
    parser.add_argument("--rounds", type=int, default=200, help="calls of each kind")
    parser.add_argument("--database", help="URL of an empty database")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        database = arguments.database or stack.enter_context(postgresql_cluster()).new_database()
        figures = asyncio.run(measure(database, jobs=arguments.jobs, rounds=arguments.rounds))
    for question, times in figures.items():
        print(f"{question}: median {times['median_ms']} ms, p95 {times['p95_ms']} ms")
    if arguments.record:
        record("waiting jobs", {"jobs": arguments.jobs, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
