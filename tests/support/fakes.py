"""Engines for tests, which take the place of a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from enlarger.engine import Engine
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import EnlargerError, ModelNotHere, NoEngineReady
from enlarger.geometry.rect import Pixels

NEAREST = ModelFacts(
    id="nearest",
    scale=4,
    halo_px=2,
    halo_is_exact=True,
    max_tile_px=1024,
    mflop_per_px=1.0,
    sha256="0" * 64,
    precisions=("f32", "bf16"),
)
"""The model of a ``NearestEngine`` by default. Its tiles are small, so that small pictures are cut."""


def need_of(model: ModelFacts = NEAREST, *, lr_px: int = 0) -> Need:
    """Return what a tile of that model needs."""
    return Need(model=model.id, weights_sha256=model.sha256, scale=model.scale, lr_px=lr_px)


def nearest(pixels: Pixels, scale: int) -> Pixels:
    """Return each pixel of (H, W, ...) as a square of ``scale`` by ``scale``."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


class NearestEngine:
    """Answers each tile exactly, by repeating its pixels; needs no weights.

    Args:
        models: what it has; None for ``NEAREST`` alone.
        mflop_per_s: the speed that it states.
    """

    def __init__(
        self, models: Iterable[ModelFacts] | None = None, *, mflop_per_s: float | None = None
    ) -> None:
        self.models = (NEAREST,) if models is None else tuple(models)
        self.mflop_per_s = mflop_per_s
        self.requests: list[TileRequest] = []
        """Tiles asked for, in order."""

        self.in_flight = 0

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Return the tile with each pixel repeated."""
        facts = self.facts().model(request.model)
        if facts is None or facts.sha256 != request.weights_sha256:
            raise ModelNotHere(f"{request.model} is not here")
        self.requests.append(request)
        self.in_flight += 1
        try:
            await asyncio.sleep(0)  # as any real engine lets others run
        finally:
            self.in_flight -= 1
        return TileResult(
            pixels=nearest(request.core, request.scale),
            engine="nearest",
            precision=request.precision,
            infer_s=0.001,
        )

    def facts(self) -> EngineFacts:
        """Return the facts of an engine that is always ready."""
        return EngineFacts(
            engine="nearest",
            ready=True,
            models=self.models,
            capacity=1000,
            in_flight=self.in_flight,
            mflop_per_s=self.mflop_per_s,
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """The model's facts at once, if it is one of ``models``."""
        model = self.facts().meeting(need)
        if model is None:
            raise NoEngineReady(f"{need.model} is not here")
        return model


class FailsFirst:
    """Raises ``error`` for the first ``failures`` tiles and passes those after them on to ``engine``."""

    def __init__(self, engine: Engine, *, failures: int, error: EnlargerError) -> None:
        self.engine = engine
        self.left = failures
        """Failures still to come."""

        self._error = error

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Fail, or pass the tile on."""
        if self.left > 0:
            self.left -= 1
            raise self._error
        return await self.engine.enlarge(request)

    def facts(self) -> EngineFacts:
        """Return the facts of the other engine."""
        return self.engine.facts()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Ask the other engine."""
        return await self.engine.ready_for(need)


class StuckEngine(NearestEngine):
    """Takes every tile and never answers; ``started`` is set when the first has come.

    Args:
        models: what it has; None for ``NEAREST`` alone.
        capacity: tiles that it states to take at once.
    """

    def __init__(self, models: Iterable[ModelFacts] | None = None, *, capacity: int = 1000) -> None:
        super().__init__(models)
        self.capacity = capacity
        self.started = asyncio.Event()
        self.cancelled = 0
        """Tiles whose caller went away."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Wait until the caller goes away."""
        self.requests.append(request)
        self.in_flight += 1
        self.started.set()
        try:
            never: asyncio.Future[TileResult] = asyncio.get_running_loop().create_future()
            return await never
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    def facts(self) -> EngineFacts:
        """Return the facts of a ready engine, with this capacity."""
        return replace(super().facts(), capacity=self.capacity)


class HeldEngine(NearestEngine):
    """Holds each tile until told to let it go, then answers as ``NearestEngine``.

    Args:
        models: what it has; None for ``NEAREST`` alone.
        capacity: tiles that it states to take at once.
    """

    def __init__(self, models: Iterable[ModelFacts] | None = None, *, capacity: int = 1000) -> None:
        super().__init__(models)
        self.capacity = capacity
        self.most_in_flight = 0
        self._may_go = asyncio.Semaphore(0)
        self._came = asyncio.Condition()

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Return the tile with each pixel repeated, once the test lets it go."""
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._came:
                self._came.notify_all()
            await self._may_go.acquire()
        finally:
            self.in_flight -= 1
        return TileResult(
            pixels=nearest(request.core, request.scale),
            engine="nearest",
            precision=request.precision,
            infer_s=0.001,
        )

    async def holds(self, tiles: int) -> None:
        """Wait until this many tiles have arrived in all."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.requests) >= tiles)

    def let_go(self, tiles: int = 1000) -> None:
        """Answer this many tiles, in the order of their arrival."""
        for _ in range(tiles):
            self._may_go.release()

    def facts(self) -> EngineFacts:
        """Return the facts of a ready engine, with this capacity."""
        return replace(super().facts(), capacity=self.capacity)
