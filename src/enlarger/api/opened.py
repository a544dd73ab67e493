"""Jobs with all their parts, as the command line and the tests open them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from enlarger.api.rates import Rates
from enlarger.api.v1.answers import described
from enlarger.api.v1.problems import job_problem
from enlarger.config import Settings
from enlarger.jobs import Blobs, Feeds, JobRecord, Jobs, Rows, Runner, Words
from enlarger.pipeline import Pipeline
from enlarger.store import Store
from enlarger.web.launcher import Service

_MORE_PLACES = 2
"""Jobs beyond one per model server: some are decoded or encoded while others are computed."""

_SHARE = 2
"""Jobs are begun while they, and requests that wait for their answers, take no more than this part of the queue."""


@asynccontextmanager
async def opened_jobs(
    settings: Settings,
    *,
    pipeline: Pipeline,
    store: Store,
    executor: Executor,
    rates: Rates,
    service: Service,
    servers: int,
) -> AsyncIterator[Jobs]:
    """Jobs that are run as long as this lasts.

    Raises:
        ConfigError: the database, or the place for their files, cannot be used.
    """
    async with AsyncExitStack() as stack:
        rows = await stack.enter_async_context(Rows(settings.database_url))
        blobs = Blobs.at(settings.blobs_place)
        await blobs.check()
        feeds = Feeds()

        def takes() -> bool:
            return not service.draining and _SHARE * pipeline.load.requests < settings.queue_limit

        async def ended(record: JobRecord) -> None:
            pass

        runner = await stack.enter_async_context(
            Runner(
                rows=rows,
                blobs=blobs,
                feeds=feeds,
                pipeline=pipeline,
                executor=executor,
                words=Words(
                    describe=partial(described, store=store, executor=executor),
                    problem=job_problem,
                ),
                max_age_s=settings.file_max_age_s,
                places=servers + _MORE_PLACES,
                takes=takes,
                charge=rates.charge,
                ended=ended,
            )
        )
        jobs = Jobs(
            rows=rows,
            blobs=blobs,
            feeds=feeds,
            runner=runner,
            pipeline=pipeline,
            store=store,
            problem=job_problem,
            charge=rates.charge,
            limit=settings.jobs_limit,
            max_age_s=settings.file_max_age_s,
            draining=lambda: service.draining,
            ended=ended,
        )
        for work in (jobs.sweep_regularly(), _close(feeds, service)):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        yield jobs


async def _close(feeds: Feeds, service: Service) -> None:
    """Whoever watches is told at once that the process ends: a drain would wait for them."""
    await service.drains()
    feeds.close()
