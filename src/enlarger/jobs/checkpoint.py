"""Finished tiles of a job, kept until it ends: whoever takes it on goes on from them."""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np
import structlog

from enlarger.engine import Engine
from enlarger.errors import EnlargerError
from enlarger.jobs.blobs import Blobs
from enlarger.pipeline.once import tile_key
from enlarger.wire import EngineFacts, ModelFacts, TileRequest, TileResult

log = structlog.get_logger()

_HEADER_BYTES = 512
"""Facts of a tile, as JSON and spaces, before its samples."""


class Checkpoint:
    """An engine before another one. What it knows is not computed again; what is computed, it keeps.

    Tiles are told apart by their pixels and all that decides about their enlargement. So a tile of other
    weights, or of a plan that a newer version cuts elsewhere, is just not found.

    Args:
        engine: computes what is not there.
        blobs: where tiles are kept.
        folder: of the job's tiles among them.
        known: keys that are there already.
    """

    def __init__(
        self, engine: Engine, blobs: Blobs, folder: str, *, known: Collection[str] = ()
    ) -> None:
        self._engine = engine
        self._blobs = blobs
        self._folder = folder
        self._known = frozenset(known)

    def facts(self) -> EngineFacts:
        """Of the engine behind it."""
        return self._engine.facts()

    async def ready_for(self, model_id: str, weights_sha256: str) -> ModelFacts:
        """Of the engine behind it."""
        return await self._engine.ready_for(model_id, weights_sha256)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        key = f"{self._folder}/{tile_key(request).hex()}"
        if key in self._known and (data := await self._blobs.get(key)) is not None:
            log.info("tile_found", request_id=request.request_id, index=request.index)
            return unpacked(data)
        result = await self._engine.enlarge(request)
        try:
            await self._blobs.put(key, packed(result))
        except EnlargerError as error:  # the job goes on; only a sudden end would cost more
            log.warning("tile_not_kept", request_id=request.request_id, reason=str(error))
        return result


def packed(result: TileResult) -> bytes:
    """A tile and its facts as bytes."""
    facts = {
        "shape": result.pixels.shape,
        "dtype": result.pixels.dtype.str,
        "engine": result.engine,
        "precision": result.precision,
        "server": result.server,
        "repeated": result.repeated,
    }
    header = json.dumps(facts).encode().ljust(_HEADER_BYTES)
    if len(header) != _HEADER_BYTES:
        raise ValueError("facts of a tile do not fit their header")
    return header + np.ascontiguousarray(result.pixels).tobytes()


def unpacked(data: bytes) -> TileResult:
    """What ``packed`` was given, found again: at no cost of time."""
    facts = json.loads(data[:_HEADER_BYTES])
    pixels = np.frombuffer(data, np.dtype(facts["dtype"]), offset=_HEADER_BYTES)
    return TileResult(
        pixels=pixels.reshape(facts["shape"]),
        engine=facts["engine"],
        precision=facts["precision"],
        server=facts["server"],
        repeated=facts["repeated"],
        infer_s=0.0,
    )
