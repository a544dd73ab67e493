"""A gateway on a free port, in this process, and how to speak to it."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from yarl import URL

from enlarger import config
from enlarger.api import Gateway
from enlarger.asgi.server import Lifecycle, bind, serve
from enlarger.config import Settings
from enlarger.engine import Engine
from enlarger.engine.shelf import Shelf
from enlarger.engine.tile import ModelFacts
from enlarger.gateway import opened
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.storage import ResultStore, result_store, storage_at
from support.fakes import NEAREST, NearestEngine
from support.pictures import encoded, noise
from support.results import FolderResults

RED = noise(20, 30, 3)
"""The usual picture: 30 x 20, RGB."""

PNG = encoded(RED)
B64 = base64.b64encode(PNG).decode()


Json = dict[str, Any]


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


@pytest.fixture(scope="module")
def models(catalogue: Catalogue) -> list[ModelFacts]:
    """All models of the catalogue, for fakes that need no weights."""
    return [
        replace(NEAREST, id=row.id, scale=row.scale, sha256=row.sha256, max_tile_px=row.max_tile_px)
        for row in catalogue
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    """Decoder processes that all tests share."""
    async with Decoders(2) as decoders:
        yield decoders


@dataclass(frozen=True)
class Reply:
    """The response of a gateway."""

    status: int
    headers: Any
    body: Json


@dataclass(frozen=True, kw_only=True)
class Running:
    """A gateway that listens, and how to speak to it."""

    gateway: Gateway
    store: Any
    """A ``FolderResults``, unless a bucket is set."""

    http: aiohttp.ClientSession
    port: int

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        """Send any request whose response is JSON."""
        async with self.http.request(method, URL(path, encoded=True), **options) as response:
            assert response.content_type == "application/json"
            return Reply(response.status, response.headers, await response.json())

    async def upscale(self, **fields: Any) -> Reply:
        """Send ``POST /upscale`` with these fields."""
        return await self.call("POST", "/upscale", json=fields)

    async def picture(self, **fields: Any) -> Pixels:
        """Send the same, check that it succeeds, and return the samples of the result."""
        reply = await self.upscale(**fields)
        assert reply.status == 200, reply.body
        return samples(base64.b64decode(reply.body["base64"], validate=True))

    def load(self) -> int:
        """Requests admitted and unfinished."""
        return self.gateway.pipeline.load.requests


def samples(file: bytes) -> Pixels:
    """Return the samples of a picture file, (H, W) or (H, W, C), as they are stored."""
    with Image.open(BytesIO(file)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


Start = Callable[..., Awaitable[Running]]


@asynccontextmanager
async def running(
    pool: Pool,
    catalogue: Catalogue,
    decoders: Decoders,
    settings: Settings,
    store: type[FolderResults] | None = None,
) -> AsyncIterator[Running]:
    """Run a gateway on a free port, until the end of the block."""
    folder, max_age_s = settings.server.upload_folder, settings.server.file_max_age_s
    if isinstance(folder, str):
        results: ResultStore = await result_store(folder, max_age_s=max_age_s)
    else:
        shared = storage_at(settings.jobs.blobs) if settings.jobs.blobs else None
        results = (store or FolderResults)(folder, max_age_s=max_age_s, shared=shared)
    service = Lifecycle(drain_s=5)
    stack = AsyncExitStack()
    gateway = await stack.enter_async_context(
        opened(
            settings,
            engines=pool,
            shelf=Shelf(catalogue),
            store=results,
            decoders=decoders,
            service=service,
            workers=4,
        )
    )
    listener = bind("127.0.0.1", 0, variable="--port")
    port = listener.getsockname()[1]
    server = asyncio.create_task(
        serve(gateway.asgi(), listener=listener, service=service, refuse_head=gateway.refuse_head)
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            yield Running(gateway=gateway, store=results, http=http, port=port)
    finally:
        service.stop()
        await server
        await stack.aclose()
        # The server has closed the socket itself, and the system may have reused its number since.
        listener.detach()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


@pytest_asyncio.fixture(loop_scope="module")
async def start(
    catalogue: Catalogue, models: list[ModelFacts], decoders: Decoders, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts a gateway over one engine, or over a pool; settings by attribute name."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:

        async def begin(
            engine: Engine | None = None,
            *,
            pool: Pool | None = None,
            store: type[FolderResults] | None = None,
            **settings: Any,
        ) -> Running:
            # A loop that ends before the gateway is closed may cancel a statement while its connection is returned; the
            # garbage collector then finds that connection during any later test.
            assert asyncio.get_running_loop() is loop, (
                'the loop of this test ends before its gateway is closed; mark it with pytest.mark.asyncio(loop_scope="module")'
            )
            members = pool or Pool([Member("one", engine or NearestEngine(models))])
            chosen = {
                "upload_folder": tmp_path / "uploads",
                # Beside it, so that a test sees at once what is left in the folder of results.
                "database": str(tmp_path / "jobs.sqlite3"),
                "blobs": str(tmp_path / "jobs"),
                **settings,
            }
            return await stack.enter_async_context(
                running(members, catalogue, decoders, config.load(**chosen), store)
            )

        yield begin
