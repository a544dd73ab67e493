"""Jobs with all their parts, as the command line and the tests open them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from enlarger.api.metrics import Metrics
from enlarger.api.rates import Rates
from enlarger.api.v1.answers import batch_object, described, job_object
from enlarger.api.v1.problems import job_problem
from enlarger.config import Settings
from enlarger.fetch import Fetcher
from enlarger.jobs import (
    Batches,
    Blobs,
    Feeds,
    Jobs,
    Rows,
    Runner,
    Told,
    View,
    Webhooks,
    Words,
)
from enlarger.pipeline.pipeline import Pipeline
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
    metrics: Metrics,
    servers: int,
) -> AsyncIterator[tuple[Jobs, Batches]]:
    """Jobs that are run as long as this lasts, and their batches.

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

        webhooks = await stack.enter_async_context(
            Webhooks(
                rows=rows,
                fetcher=Fetcher(settings.fetch, limit_bytes=settings.max_file_size_bytes),
                secrets=settings.webhook_secrets,
                job_json=lambda job: job_object(
                    View(record=job), public_url=settings.public_url, model_of=pipeline.model_id
                ),
                batch_json=partial(batch_object, public_url=settings.public_url),
            )
        )
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
                told=Told(ended=webhooks.job_ended, made=metrics.done, failed=metrics.failed),
                holding=service.holding,
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
            ended=webhooks.job_ended,
        )
        for work in (jobs.sweep_regularly(), _close(feeds, service)):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        yield (
            jobs,
            Batches(
                rows=rows,
                jobs=jobs,
                feeds=feeds,
                charge=rates.charge,
                changed=webhooks.batch_changed,
            ),
        )


async def _close(feeds: Feeds, service: Service) -> None:
    """Whoever watches is told at once that the process ends: a drain would wait for them."""
    await service.drains()
    feeds.close()
