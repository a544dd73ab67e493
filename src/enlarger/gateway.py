"""The composition root of the service: the only place where the gateway's parts are made and joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from enlarger import __version__, config
from enlarger.asgi import server
from enlarger.asgi.server import Lifecycle
from enlarger.asgi.server_ports import check_server_port
from enlarger.asgi.systemd import Systemd
from enlarger.cluster.environment import prepare
from enlarger.config import PoolSettings, Settings
from enlarger.engine.shelf import Restocking, Shelf
from enlarger.errors import ConfigError
from enlarger.installation import install_command
from enlarger.memory import importing, keep_large_blocks_apart
from enlarger.models.copies import Copies
from enlarger.models.folder import ModelFolder
from enlarger.pool.fleet import Fleet
from enlarger.pool.supervisor import ServerCommand
from enlarger.storage import ResultStore, result_store, storage_at, sweep_regularly

if TYPE_CHECKING:
    from enlarger.api import Gateway
    from enlarger.api.metrics import Metrics
    from enlarger.api.rates import Rates
    from enlarger.engine.status import Engines, EngineStatus
    from enlarger.jobs import Batches, EventStreams, Jobs, Rows
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
    keep_large_blocks_apart(_LARGE_BYTES, heap_bytes=32 * _LARGE_BYTES)
    store = await result_store(
        settings.server.upload_folder,
        shared=settings.jobs.blobs,
        max_age_s=settings.server.file_max_age_s,
    )
    models = ModelFolder(
        settings.server.model_dir,
        Copies(settings.server.models_folder, settings.server.model_dir),
    )
    models.start()
    shelf = Shelf(models.catalogue)
    if note := settings.server.missing_model_dir:
        log.warning("no_models_of_your_own", reason=note)
    listener = server.bind(host, port, variable="--port")
    if not settings.access.api_keys and not config.is_loopback(host):
        log.warning(
            "open_to_everybody",
            host=host,
            hint="anybody who reaches this address may use the service: set ENLARGER_API_KEYS, see SECURITY.md",
        )
    if not settings.pool.servers:
        pool, reason = await _on_devices(settings.pool)
        settings = replace(settings, pool=pool)
        for server_port in pool.server_ports:
            check_server_port(server_port, pool, gateway_port=listener.getsockname()[1])
        log.info("devices_chosen", devices=list(pool.devices), reason=reason)
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
                shelf=shelf,
                store=store,
                decoders=decoders,
                service=service,
                workers=workers,
            )
        )
        restocking = Restocking(
            shelf, models, lambda model: engines.facts().model_of(model.network_key) is not None
        )
        _begin(stack, restocking.run())
        systemd = Systemd()
        await stack.enter_async_context(systemd.told(service))
        _begin(stack, _announce(engines, listener.getsockname()[:2], announce, systemd))
        await server.serve(
            gateway.asgi(), listener=listener, service=service, refuse_head=gateway.refuse_head
        )
        server.end_surely(service.status)
    return service.status


def _engines(settings: Settings, service: Lifecycle) -> AbstractAsyncContextManager[Engines]:
    """Choose what computes the tiles. Another kind of engine is another branch here."""
    if settings.pool.engine == "ray":
        return _ray_fleet(settings)
    command = ServerCommand(
        settings.pool.base_port,
        settings.pool.threads_per_server,
        _server_environment(settings),
        settings.pool.server_devices,
    )
    return Fleet(settings.pool, command=command, on_refused=service.refuse)


def _ray_fleet(settings: Settings) -> AbstractAsyncContextManager[Engines]:
    """Return the replicas of a Ray cluster.

    Raises:
        ConfigError: Ray is not installed.
    """
    prepare(settings.pool.ray_address)
    try:
        from enlarger.cluster.fleet import RayFleet
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ENLARGER_ENGINE: ray needs the package '{error.name}', which is not installed here: "
            f"{install_command('ray')}"
        ) from error
    return RayFleet(settings)


async def _on_devices(settings: PoolSettings) -> tuple[PoolSettings, str]:
    """Return the settings with the devices that ``auto`` stands for, and why it stands for them."""
    from enlarger.engine.factory import chosen_aside

    chosen = await chosen_aside(settings.devices)
    return settings.on(chosen.devices), chosen.reason


def _server_environment(settings: Settings) -> dict[str, str]:
    """What the model servers must see as this process does."""
    return {
        "MODEL_DIR": str(settings.server.model_dir.resolve()),
        "ENLARGER_PRECISION": settings.server.precision,
        "ENLARGER_MODEL_MEMORY": str(settings.server.model_memory_mib),
        "ENLARGER_CACHE_DIR": str(settings.server.cache_folder),
        "ENLARGER_LOG_LEVEL": settings.observability.log_level,
        "ENLARGER_LOG_FORMAT": settings.observability.log_format,
    }


async def _announce(
    engines: EngineStatus, address: Address, announce: Callable[[Address], None], systemd: Systemd
) -> None:
    await engines.started(patience_s=_START_PATIENCE_S)
    announce(address)
    systemd.ready("Accepts pictures on {}:{}".format(*address))


def _begin(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin work that is cancelled when the stack is left."""
    task = asyncio.create_task(work)
    stack.callback(task.cancel)
    return task


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    engines: Engines,
    shelf: Shelf,
    store: ResultStore,
    decoders: Decoders,
    service: Lifecycle,
    workers: int,
) -> AsyncIterator[Gateway]:
    """The gateway over some engines, with its jobs, its threads and its sweeps, as long as this lasts.

    Args:
        settings: all of them.
        engines: what computes the tiles.
        shelf: the models that are offered now.
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
        from enlarger.jobs import Presence, Rows, SharedOutcomes
        from enlarger.large_arrays import release_regularly
        from enlarger.pipeline.pipeline import Pipeline

    async with AsyncExitStack() as stack:
        executor = ThreadPoolExecutor(workers, thread_name_prefix="tiles")
        encoders = ThreadPoolExecutor(workers, thread_name_prefix="encoders")
        for threads in (executor, encoders):
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        interval_s = settings.server.cleanup_interval_s
        sweeper = _begin(stack, sweep_regularly(store, interval_s=interval_s))
        _begin(stack, release_regularly())
        rows = await stack.enter_async_context(Rows(settings.database_url))
        shared = await stack.enter_async_context(
            # Gateways of another version, or with another precision, may make other files of the same requests.
            SharedOutcomes(
                rows=rows, store=store, kind=f"{__version__} {settings.server.precision}"
            )
        )
        presence = Presence(
            rows=rows, servers=settings.pool.shared_engine, load=lambda: pipeline.load
        )
        pipeline = Pipeline(
            engine=engines,
            shelf=shelf,
            fetcher=Fetcher(settings.fetch.rule, limit_bytes=settings.limits.max_file_size_bytes),
            decoders=decoders,
            executor=executor,
            encoders=encoders,
            store=store,
            limits=settings.limits,
            precision=settings.server.precision,
            draining=lambda: service.draining,
            elsewhere=lambda: presence.elsewhere,
            shared=shared,
        )
        await stack.enter_async_context(presence)
        rates = Rates(settings.access.rate_limit, rows.rates)
        _begin(stack, rates.forget_regularly())
        metrics = Metrics(engines, pipeline, _folders(settings))
        jobs, batches = await stack.enter_async_context(
            _opened_jobs(
                settings,
                rows=rows,
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
            shelf=shelf,
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
    rows: Rows,
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
            Runner,
            View,
            Watching,
            Webhooks,
        )
        from enlarger.picture.preview import MOST_SIDE_PX

    async with AsyncExitStack() as stack:
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
                make=partial(pipeline.previews.make, max_side_px=MOST_SIDE_PX),
            ),
        )
        _begin(stack, results.sweep_regularly())
        _begin(stack, _close(event_streams, service))
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


def _folders(settings: Settings) -> dict[str, Path]:
    """The folders whose disks may become full, by the word that metrics have for them."""
    places = {"results": settings.server.upload_folder, "jobs": settings.blobs_place}
    return {name: Path(place) for name, place in places.items() if "://" not in str(place)}


async def _close(event_streams: EventStreams, service: Lifecycle) -> None:
    """Clients that watch are told at once that the process ends: a drain would wait for them."""
    await service.drains()
    event_streams.close()
