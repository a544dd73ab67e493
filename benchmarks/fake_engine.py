"""Model servers whose engine is a fake that costs next to nothing, so that what is left is the cost of the service."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
from PIL import Image

from enlarger.asgi import logs
from enlarger.asgi.server import Lifecycle, bind, serve
from enlarger.engine.offered import model_facts
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.geometry.rect import Pixels
from enlarger.model_server.server import ModelServer
from enlarger.models import Model


class FakeEngine:
    """Returns each tile as fast as a network of a given speed would. It makes each result once and remembers it.

    Args:
        facts: the model that it has.
        lr_px_per_s: LR pixels per second.
        making_s: is increased by the CPU seconds that each result takes when it is made.
    """

    def __init__(
        self, facts: ModelFacts, lr_px_per_s: float, making_s: Synchronized[float]
    ) -> None:
        self._model = facts
        self._making_s = making_s
        self._lr_px_per_s = lr_px_per_s
        self._made: dict[bytes, Pixels] = {}
        self._free_at = 0.0
        self._in_flight = 0

    def facts(self) -> EngineFacts:
        """Say that it is ready, and how fast it is."""
        return EngineFacts(
            engine="fake",
            ready=True,
            models=(self._model,),
            capacity=8,
            in_flight=self._in_flight,
            mflop_per_s=self._lr_px_per_s * self._model.mflop_per_px,
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """Return the model at once."""
        assert self._model.meets(need)
        return self._model

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Return the tile when a network of this speed would."""
        now = time.monotonic()
        took_s = request.lr_px / self._lr_px_per_s
        self._free_at = max(now, self._free_at) + took_s
        key = request.pixels.tobytes() + repr((request.pixels.shape, request.kept)).encode()
        if key not in self._made:
            started = time.thread_time()
            self._made[key] = _enlarged(request)
            self._making_s.value += time.thread_time() - started
        self._in_flight += 1
        try:
            await asyncio.sleep(self._free_at - time.monotonic())
        finally:
            self._in_flight -= 1
        return TileResult(
            pixels=self._made[key], engine="fake", precision=request.precision, infer_s=took_s
        )


def _enlarged(request: TileRequest) -> Pixels:
    """Return a smooth enlargement with a little noise that is a little too bright.

    The encoder finds it about as hard as a network's output, and the colour lock has a drift to remove.
    """
    most = np.iinfo(request.pixels.dtype).max
    height, width = request.pixels.shape[:2]
    size = (width * request.scale, height * request.scale)
    planes = [
        np.asarray(
            Image.fromarray(plane.astype(np.float32) / most).resize(size, Image.Resampling.BICUBIC)
        )
        for plane in np.moveaxis(request.pixels, 2, 0)
    ]
    high = np.stack(planes, axis=2)
    kept = high[request.kept.times(request.scale).slices]
    noise = np.random.default_rng(0).normal(0.004, 0.004, kept.shape)
    made: Pixels = np.rint((kept + noise).clip(0, 1) * most).astype(request.pixels.dtype)
    return made


@dataclass(frozen=True, slots=True)
class FakeServer:
    """A model server with such an engine, in a process of its own."""

    address: str
    pid: int
    making_s: Synchronized[float]
    """CPU seconds that the engine used to make results, which are no cost of the service."""


@contextlib.contextmanager
def fake_server(model: Model, lr_px_per_s: float) -> Iterator[FakeServer]:
    """Start a model server with a fake engine, and stop it on leaving."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    making_s = context.Value("d", 0.0)
    facts = model_facts(model, ("f32",))
    process = context.Process(
        target=_serve, args=(facts, lr_px_per_s, making_s, there), daemon=True
    )
    process.start()
    there.close()
    try:
        assert process.pid is not None
        yield FakeServer(f"127.0.0.1:{here.recv()}", process.pid, making_s)
    finally:
        process.terminate()
        process.join()


def _serve(
    facts: ModelFacts, lr_px_per_s: float, making_s: Synchronized[float], port_to: Connection
) -> None:
    """Run the server until it is told to stop. The log goes nowhere, but is written."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    logs.configure("server")

    async def run() -> None:
        service = Lifecycle(drain_s=1)
        server = ModelServer(FakeEngine(facts, lr_px_per_s, making_s), service)
        server.open()
        listener = bind("127.0.0.1", 0, variable="--port")
        port_to.send(listener.getsockname()[1])
        await serve(server.asgi(), listener=listener, service=service)

    asyncio.run(run())
