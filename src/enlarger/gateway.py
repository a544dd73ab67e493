"""The composition root of the service: the only place where the gateway's parts are made and joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from enlarger import config
from enlarger.asgi import server
from enlarger.asgi.server import Lifecycle
from enlarger.config import PoolSettings, Settings
from enlarger.memory import importing, keep_large_blocks_apart
from enlarger.models import Catalogue
from enlarger.pool.fleet import Fleet
from enlarger.pool.supervisor import ServerCommand
from enlarger.storage import ResultStore, result_store, storage_at, sweep_regularly

if TYPE_CHECKING:
    from enlarger.api import Gateway
    from enlarger.api.metrics import Metrics
    from enlarger.api.rates import Rates
    from enlarger.engine.status import Engines, EngineStatus
    from enlarger.jobs import Batches, EventStreams, Jobs
    from enlarger.picture.sandbox.pool import Decoders
    from enlarger.pipeline.pipeline import Pipeline

_LARGE_BYTES = 1 << 20
"""Blocks of the gateway that are kept apart: tiles and pictures, and not what arithmetic takes for a moment."""

_START_PATIENCE_S = 20
"""What the other model servers get once the first is ready, before the service calls itself ready."""

_MORE_PLACES = 2
"""Jobs beyond one per model server: some are decoded or encoded while others are computed."""

_SHARE = 2
"""Jobs are begun while they, and requests that wait for their answers, take no more than this part of the queue."""

Address = tuple[str, int]
"""Host and port that the gateway listens on."""


async def serve(
    settings: Settings, host: str, port: int, *, announce: Callable[[Address], None]
) -> int:
    """Serve until told to stop; returns the exit status.

    Args:
        settings: all of them.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        announce: called with the address once the engines are ready.

    Raises:
        ConfigError: a folder, a model, an address or the database cannot be used.
    """
    log = structlog.get_logger()
    keep_large_blocks_apart(_LARGE_BYTES)
    store = await result_store(
        settings.server.upload_folder,
        shared=settings.jobs.blobs,
        max_age_s=settings.server.file_max_age_s,
    )
    catalogue = Catalogue.installed(settings.server.model_dir, hashed=True)
    if note := settings.server.missing_model_dir:
        log.warning("no_models_of_your_own", reason=note)
    listener = server.bind(host, port, variable="--port")
    if not settings.access.api_keys and not server.is_loopback(host):
        log.warning(
            "open_to_everybody",
            host=host,
            hint="anybody who reaches this address may use the service: set ENLARGER_API_KEYS, see SECURITY.md",
        )
    service = Lifecycle(settings.server.drain_s)
    workers = max(2, config.cores())
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(_engines(settings, service))
        # Here and in `opened`, not above: importing takes as long as the model servers need to come up, and they do so
        # meanwhile.
        with importing():
            from enlarger.fetch.rule import FetchRule
            from enlarger.picture.sandbox.pool import Decoders

        log.info("fetching", allowed=FetchRule.parse(settings.fetch.rule).in_words())
        decoders = await stack.enter_async_context(Decoders(workers))
        gateway = await stack.enter_async_context(
            opened(
                settings,
                engines=engines,
                catalogue=catalogue,
                store=store,
                decoders=decoders,
                service=service,
                workers=workers,
            )
        )
        announcer = asyncio.create_task(_announce(engines, listener.getsockname()[:2], announce))
        stack.callback(announcer.cancel)
        await server.serve(
            gateway.asgi(), listener=listener, service=service, refuse_head=gateway.refuse_head
        )
        server.end_surely(service.status)
    return service.status


def _engines(settings: Settings, service: Lifecycle) -> AbstractAsyncContextManager[Engines]:
    """Choose what computes the tiles. Another kind of engine is another branch here."""
    if not settings.pool.servers:
        _check_ports(settings.pool)
    command = ServerCommand(
        settings.pool.base_port, settings.pool.threads_per_server, _server_environment(settings)
    )
    return Fleet(settings.pool, command=command, on_refused=service.refuse)


def _check_ports(settings: PoolSettings) -> None:
    """Find out before anything is started whether the model servers can have their ports.

    Raises:
        ConfigError: one of the ports is in use.
    """
    count = settings.server_count
    for number in range(count if settings.base_port else 0):
        server.bind(
            "127.0.0.1",
            settings.base_port + number,
            variable="BASE_PORT",
            way_out=f"{count} in a row are used: set another one, or 0, so that each model server takes a free one",
        ).close()


def _server_environment(settings: Settings) -> dict[str, str]:
    """What the model servers must see as this process does."""
    return {
        "MODEL_DIR": str(settings.server.model_dir.resolve()),
        "ENLARGER_PRECISION": settings.server.precision,
        "ENLARGER_CACHE_DIR": str(settings.server.cache_folder),
        "ENLARGER_LOG_LEVEL": settings.observability.log_level,
        "ENLARGER_LOG_FORMAT": settings.observability.log_format,
    }


async def _announce(
    engines: EngineStatus, address: Address, announce: Callable[[Address], None]
) -> None:
    await engines.started(patience_s=_START_PATIENCE_S)
    announce(address)


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    engines: Engines,
    catalogue: Catalogue,
    store: ResultStore,
    decoders: Decoders,
    service: Lifecycle,
    workers: int,
) -> AsyncIterator[Gateway]:
    """The gateway over some engines, with its jobs, its threads and its sweeps, as long as this lasts.

    Args:
        settings: all of them.
        engines: what computes the tiles.
        catalogue: the models that are offered.
        store: where results are kept.
        decoders: processes that read pictures.
        service: says whether new work is taken.
        workers: threads that prepare tiles, and threads that encode.

    Raises:
        ConfigError: the database, or the place for the files of jobs, cannot be used.
    """
    with importing():
        from enlarger.api import Gateway
        from enlarger.api.metrics import Metrics
        from enlarger.api.rates import Rates
        from enlarger.fetch.fetcher import Fetcher
        from enlarger.pipeline.pipeline import Pipeline

    async with AsyncExitStack() as stack:
        executor = ThreadPoolExecutor(workers, thread_name_prefix="tiles")
        encoders = ThreadPoolExecutor(workers, thread_name_prefix="encoders")
        for threads in (executor, encoders):
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        sweeper = asyncio.create_task(
            sweep_regularly(store, interval_s=settings.server.cleanup_interval_s)
        )
        stack.callback(sweeper.cancel)
        pipeline = Pipeline(
            engine=engines,
            catalogue=catalogue,
            fetcher=Fetcher(settings.fetch.rule, limit_bytes=settings.limits.max_file_size_bytes),
            decoders=decoders,
            executor=executor,
            encoders=encoders,
            store=store,
            limits=settings.limits,
            precision=settings.server.precision,
            draining=lambda: service.draining,
        )
        rates = Rates(settings.access.rate_limit)
        metrics = Metrics(engines, pipeline)
        jobs, batches = await stack.enter_async_context(
            _opened_jobs(
                settings,
                pipeline=pipeline,
                store=store,
                executor=executor,
                rates=rates,
                service=service,
                metrics=metrics,
                servers=len(engines.servers),
            )
        )
        yield Gateway(
            pipeline=pipeline,
            jobs=jobs,
            batches=batches,
            rates=rates,
            engines=engines,
            store=store,
            catalogue=catalogue,
            executor=executor,
            workers=workers,
            sweeper=sweeper,
            service=service,
            metrics=metrics,
            settings=settings,
        )


@asynccontextmanager
async def _opened_jobs(
    settings: Settings,
    *,
    pipeline: Pipeline,
    store: ResultStore,
    executor: ThreadPoolExecutor,
    rates: Rates,
    service: Lifecycle,
    metrics: Metrics,
    servers: int,
) -> AsyncIterator[tuple[Jobs, Batches]]:
    """Jobs that are run as long as this lasts, and their batches.

    Raises:
        ConfigError: the database, or the place for their files, cannot be used.
    """
    with importing():
        from enlarger.api.v1.answers import batch_object, job_object
        from enlarger.fetch.fetcher import Fetcher
        from enlarger.jobs import (
            Batches,
            Endings,
            EventStreams,
            InputPreviews,
            Intake,
            JobFiles,
            JobHooks,
            Jobs,
            JobWork,
            Prospects,
            Results,
            Rows,
            Runner,
            View,
            Watching,
            Webhooks,
        )
        from enlarger.picture.preview import MOST_SIDE_PX

    async with AsyncExitStack() as stack:
        rows = await stack.enter_async_context(Rows(settings.database_url))
        storage = storage_at(settings.blobs_place)
        await storage.check()
        files = JobFiles(storage)
        event_streams = EventStreams()

        def takes() -> bool:
            return (
                not service.draining
                and _SHARE * pipeline.load.requests < settings.limits.queue_limit
            )

        webhooks = await stack.enter_async_context(
            Webhooks(
                rows=rows,
                fetcher=Fetcher(
                    settings.fetch.rule, limit_bytes=settings.limits.max_file_size_bytes
                ),
                secrets=settings.jobs.webhook_secrets,
                job_json=lambda job: job_object(
                    View(job=job),
                    public_url=settings.server.public_url,
                    model_of=pipeline.model_id,
                ),
                batch_json=partial(batch_object, public_url=settings.server.public_url),
            )
        )
        endings = Endings(
            rows=rows,
            files=files,
            event_streams=event_streams,
            store=store,
            hooks=JobHooks(ended=webhooks.job_ended, made=metrics.done, failed=metrics.failed),
        )
        work = JobWork(
            rows=rows,
            files=files,
            event_streams=event_streams,
            endings=endings,
            pipeline=pipeline,
            executor=executor,
            charge=rates.charge,
            holding=service.holding,
        )
        runner = await stack.enter_async_context(
            Runner(
                rows=rows,
                files=files,
                event_streams=event_streams,
                work=work,
                places=servers + _MORE_PLACES,
                takes=takes,
            )
        )
        intake = Intake(
            rows=rows,
            files=files,
            runner=runner,
            endings=endings,
            pipeline=pipeline,
            charge=rates.charge,
            limit=settings.jobs.jobs_limit,
            draining=lambda: service.draining,
        )
        results = Results(
            rows=rows,
            files=files,
            event_streams=event_streams,
            store=store,
        )
        jobs = Jobs(
            rows=rows,
            runner=runner,
            endings=endings,
            intake=intake,
            watching=Watching(rows=rows, event_streams=event_streams, runs_here=runner.has),
            prospects=Prospects(rows=rows, pipeline=pipeline),
            results=results,
            inputs=InputPreviews(
                files=files,
                results=results,
                store=store,
                make=partial(pipeline.preview, max_side_px=MOST_SIDE_PX),
            ),
        )
        for loop in (results.sweep_regularly(), _close(event_streams, service)):
            task = asyncio.create_task(loop)
            stack.callback(task.cancel)
        yield (
            jobs,
            Batches(
                rows=rows,
                jobs=jobs,
                event_streams=event_streams,
                charge=rates.charge,
                changed=webhooks.batch_changed,
            ),
        )


async def _close(event_streams: EventStreams, service: Lifecycle) -> None:
    """Whoever watches is told at once that the process ends: a drain would wait for them."""
    await service.drains()
    event_streams.close()
