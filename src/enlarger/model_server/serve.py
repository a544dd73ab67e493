"""The composition root of a model server: the only place where its parts are created and connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from enlarger.asgi.server import Lifecycle, bind
from enlarger.asgi.server import serve as serve_asgi
from enlarger.config import ServerSettings, is_loopback
from enlarger.engine.factory import make_engine
from enlarger.engine.shelf import models_in, offer_those_in
from enlarger.errors import ConfigError
from enlarger.memory import importing


async def serve(
    settings: ServerSettings,
    host: str,
    port: int,
    *,
    token: str | None,
    threads: int,
    device: str,
    is_loaded_first: bool,
    is_supervised: bool,
    announce: Callable[[int], None],
) -> int:
    """Serve tiles until told to stop; returns the exit status.

    Args:
        settings: folders, precision, and the time limit of a drain.
        host: address to listen on.
        port: port to listen on, or 0 for any free port.
        token: the secret that gateways must send. None accepts every client, and is allowed on the loopback address
            only.
        threads: number of compute threads.
        device: what computes, as ``ENLARGER_DEVICE`` names it.
        is_loaded_first: load the usual model before the first tile is accepted.
        is_supervised: a gateway started this process, and restarts it when it ends.
        announce: called with the port once the server listens.

    Raises:
        ConfigError: the address or a model cannot be used, or others can reach the server and no token is set.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"ENLARGER_TILE_TOKEN: needed to listen on {host}, and the same at the gateway, so that nobody else "
            "uses this model server; `openssl rand -hex 32` makes one"
        )
    # The gateway of a supervised server checked the models at its own start.
    models = models_in(
        settings.model_dir, copies_in=settings.models_folder, is_checked=is_supervised
    )
    listener = bind(host, port, variable="--port")
    service = Lifecycle(settings.drain_s)
    usual = models.catalogue.choose("auto", scale=4).id if is_loaded_first else None
    async with make_engine(
        models.catalogue,
        device=device,
        threads=threads,
        precision=settings.precision,
        cache_folder=settings.cache_folder,
        budget_bytes=settings.model_memory_mib << 20,
    ) as engine:
        if usual is not None:
            engine.begin_to_load(usual)
        # This import runs beside the loading; ``load`` will report any failure of that.
        with importing():
            from enlarger.model_server.server import ModelServer, load

        server = ModelServer(engine, service, token=token)
        loading = asyncio.create_task(load(engine, server, usual))
        following = asyncio.create_task(offer_those_in(models, engine.offer))
        announce(listener.getsockname()[1])
        await serve_asgi(server.asgi(), listener=listener, service=service)
        loading.cancel()
        following.cancel()
    return service.status
