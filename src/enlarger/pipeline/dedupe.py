"""Equal tiles are computed once: flat ones of a picture, and what stands still in an animation."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from functools import partial

from enlarger.engine import Engine
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.geometry.rect import Rect


@dataclass(frozen=True, slots=True)
class _Kept:
    made: Rect
    result: TileResult


class TileDeduplicator:
    """An engine before another one, for the tiles of one request. Leaving it drops what still runs.

    Tiles are equal whose pixels are. What is wanted of one may be a part of what was made of another.

    Args:
        engine: computes the tiles.
        keep_bytes: samples of results that are kept for tiles to come; those unused for longest go first.
            Equal tiles that are asked for at the same time share one computation in any case.
    """

    def __init__(self, engine: Engine, *, keep_bytes: int = 0) -> None:
        self._engine = engine
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._running: defaultdict[bytes, dict[Rect, asyncio.Task[TileResult]]] = defaultdict(dict)
        """By tile, and by what is made of it."""

        self.reused = 0
        """Tiles that needed no computing."""

    async def __aenter__(self) -> TileDeduplicator:
        return self

    async def __aexit__(self, *_: object) -> None:
        running = [task for tasks in self._running.values() for task in tasks.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def facts(self) -> EngineFacts:
        """Of the engine behind it."""
        return self._engine.facts()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Of the engine behind it."""
        return await self._engine.ready_for(need)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``. One that was reused counts no attempt but its own, and no time."""
        # The digest is computed on the loop if it is not known: that takes a millisecond for the largest tile, and tiles
        # keep their order on the way to the engine.
        request = request.with_digest()
        key = tile_key(replace(request, keep=None))
        wanted = request.kept
        running = self._running.get(key, {})
        wide = next((made for made in running if made.holds(wanted)), None)
        if key in self._kept and self._kept[key].made.holds(wanted):
            self._kept.move_to_end(key)
            made, result = self._kept[key].made, self._kept[key].result
        elif wide is not None:
            # Shielded: one who leaves must not take it from the others.
            made, result = wide, await asyncio.shield(running[wide])
        else:
            task = self._running[key][wanted] = asyncio.create_task(self._engine.enlarge(request))
            task.add_done_callback(partial(self._keep, key, wanted))
            return await asyncio.shield(task)
        self.reused += 1
        pixels = wanted.cut(result.pixels, made)
        return replace(result, pixels=pixels, attempts=1, infer_s=0.0, queue_s=0.0, repeated=None)

    def _keep(self, key: bytes, made: Rect, task: asyncio.Task[TileResult]) -> None:
        del self._running[key][made]
        if not self._running[key]:
            del self._running[key]
        if task.cancelled() or task.exception() is not None:
            return
        if (before := self._kept.pop(key, None)) is not None:
            self._kept_bytes -= before.result.pixels.nbytes
        self._kept[key] = _Kept(made, task.result())
        self._kept_bytes += task.result().pixels.nbytes
        while self._kept_bytes > self._keep_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.result.pixels.nbytes


def tile_key(request: TileRequest) -> bytes:
    """The key of a tile: two tiles with the same key have the same pixels, and the same is made of them."""
    digest = request.with_digest().pixels_sha256
    pixels = request.pixels
    kind = (
        pixels.shape,
        pixels.dtype.str,
        request.model,
        request.weights_sha256,
        request.precision,
        request.kept,
        sorted(request.options.items()),
        digest,
    )
    return hashlib.sha256(repr(kind).encode()).digest()
