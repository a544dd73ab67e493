"""The composition root of a model server: the only place where its parts are created and connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from enlarger.asgi.server import Lifecycle, bind, is_loopback
from enlarger.asgi.server import serve as serve_asgi
from enlarger.config import ServerSettings
from enlarger.engine.factory import make_engine
from enlarger.errors import ConfigError
from enlarger.memory import importing
from enlarger.models import Catalogue


async def serve(
    settings: ServerSettings,
    host: str,
    port: int,
    *,
    token: str | None,
    threads: int,
    is_loaded_first: bool,
    is_supervised: bool,
    announce: Callable[[int], None],
) -> None:
    """Serve tiles until told to stop.

    Args:
        settings: folders, precision, and the time limit of a drain.
        host: address to listen on.
        port: port to listen on, or 0 for any free port.
        token: the secret that gateways must send. None accepts every client, and is allowed on the loopback address
            only.
        threads: number of compute threads.
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
    if is_supervised:
        # The gateway checked the models at its own start. One that broke since then must not keep the others from
        # coming back.
        catalogue, faults = Catalogue.examined(settings.model_dir, hashed=False)
        for fault in faults:
            structlog.get_logger().error("model_unusable", reason=fault)
    else:
        catalogue = Catalogue.installed(settings.model_dir, hashed=True)
    listener = bind(host, port, variable="--port")
    service = Lifecycle(settings.drain_s)
    usual = catalogue.choose("auto", scale=4).id if is_loaded_first else None
    async with make_engine(
        catalogue, threads=threads, precision=settings.precision, cache_folder=settings.cache_folder
    ) as engine:
        if usual is not None:
            engine.begin_to_load(usual)
        # This import runs beside the loading; ``load`` will report any failure of that.
        with importing():
            from enlarger.model_server.server import ModelServer, load

        server = ModelServer(engine, service, device=engine.device, token=token)
        loading = asyncio.create_task(load(engine, server, usual))
        announce(listener.getsockname()[1])
        await serve_asgi(server.asgi(), listener=listener, service=service)
        loading.cancel()
