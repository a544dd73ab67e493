"""Deduplicates the tiles of one request: flat areas, and the still parts of an animation, are computed once."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from functools import partial

from enlarger.engine import Engine
from enlarger.engine.device import CPU
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.geometry.rect import Rect


@dataclass(frozen=True, slots=True)
class _Cached:
    made: Rect
    result: TileResult


class TileDeduplicator:
    """Wraps an engine for the tiles of one request. Leaving the context cancels tiles that still run.

    Two tiles are equal if their pixels are. The result for one may be a crop of the result for another.

    Args:
        engine: computes the tiles.
        cache_bytes: bytes of results that are cached for later tiles; those unused for longest are dropped first.
            Equal tiles that are requested at the same time share one computation in any case.
    """

    def __init__(self, engine: Engine, *, cache_bytes: int = 0) -> None:
        self._engine = engine
        self._limit_bytes = cache_bytes
        self._cached: OrderedDict[bytes, _Cached] = OrderedDict()
        self._cached_bytes = 0
        self._running: defaultdict[bytes, dict[Rect, asyncio.Task[TileResult]]] = defaultdict(dict)
        """By the tile's key, and by the part of the tile that is computed."""

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
        """Return the facts of the wrapped engine."""
        return self._engine.facts()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait for the wrapped engine; see ``Engine``."""
        return await self._engine.ready_for(need)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``. A tile that was reused counts as one attempt, without time."""
        # The digest is computed on the loop if it is not known: that takes a millisecond for the largest tile, and tiles
        # keep their order on the way to the engine.
        request = request.with_digest()
        key = tile_key(replace(request, keep=None))
        wanted = request.kept
        running = self._running.get(key, {})
        wide = next((made for made in running if made.holds(wanted)), None)
        if key in self._cached and self._cached[key].made.holds(wanted):
            self._cached.move_to_end(key)
            made, result = self._cached[key].made, self._cached[key].result
        elif wide is not None:
            # Shielded: a cancelled tile must not cancel the others.
            made, result = wide, await asyncio.shield(running[wide])
        else:
            task = self._running[key][wanted] = asyncio.create_task(self._engine.enlarge(request))
            task.add_done_callback(partial(self._cache, key, wanted))
            return await asyncio.shield(task)
        self.reused += 1
        pixels = wanted.cut(result.pixels, made)
        return replace(result, pixels=pixels, attempts=1, infer_s=0.0, queue_s=0.0, repeated=None)

    def _cache(self, key: bytes, made: Rect, task: asyncio.Task[TileResult]) -> None:
        del self._running[key][made]
        if not self._running[key]:
            del self._running[key]
        if task.cancelled() or task.exception() is not None:
            return
        if (before := self._cached.pop(key, None)) is not None:
            self._cached_bytes -= before.result.pixels.nbytes
        self._cached[key] = _Cached(made, task.result())
        self._cached_bytes += task.result().pixels.nbytes
        while self._cached_bytes > self._limit_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._cached_bytes -= oldest.result.pixels.nbytes


def tile_key(request: TileRequest) -> bytes:
    """Return a key that is equal for tiles with the same pixels of which the same part is computed."""
    digest = request.with_digest().pixels_sha256
    pixels = request.pixels
    kind = (
        pixels.shape,
        pixels.dtype.str,
        request.model,
        request.weights_sha256,
        request.graph_sha256,
        request.precision,
        request.kept,
        sorted(request.options.items()),
        digest,
        # Every CPU makes the same samples: tiles that were kept before there were other devices are found.
        *([] if request.device in {"", CPU.id} else [request.device]),
    )
    return hashlib.sha256(repr(kind).encode()).digest()
