"""Finished tiles of a job, kept until it ends: whoever takes it on goes on from them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection

import numpy as np
import structlog

from enlarger.engine import Engine
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import EnlargerError
from enlarger.pipeline.dedupe import tile_key
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.storage import Storage

log = structlog.get_logger()

_SUM_BYTES = 4
_ALIGNED_BYTES = 16
"""Samples begin at a multiple of it."""


class KeptTiles:
    """The finished tiles of one job.

    They are told apart by their pixels and all that decides about their enlargement. So a tile of other
    weights, or of a plan that a newer version cuts elsewhere, is just not found.

    Args:
        storage: Where tiles are kept.
        folder: The prefix of the keys of the job's tiles.
        known: Keys that are there already.
    """

    def __init__(self, storage: Storage, folder: str, *, known: Collection[str] = ()) -> None:
        self._storage = storage
        self._folder = folder
        self._known = frozenset(known)
        self._unread, self._unkept = Repeated(), Repeated()

    async def find(self, request: TileRequest) -> TileResult | None:
        """A tile that was kept; None: it is not there, or not whole, and so must be computed."""
        key = self._key(request)
        if key not in self._known:
            return None
        try:
            data = await self._storage.get(key)
            found = None if data is None else unpacked(data)
        except (EnlargerError, ValueError) as error:
            if (left_out := self._unread.occurred()) is not None:
                log.warning("tile_not_read", key=key, reason=reason_of(error), left_out=left_out)
            return None
        if found is not None:
            log.info("tile_found", request_id=request.request_id, index=request.index)
        return found

    async def keep(self, request: TileRequest, result: TileResult) -> None:
        """Keep one. If there is no room the job goes on; only a sudden end would cost more."""
        try:
            await self._storage.put(self._key(request), packed(result))
            log.info("tile_kept", request_id=request.request_id, index=request.index)
        except EnlargerError as error:
            if (left_out := self._unkept.occurred()) is not None:
                log.warning(
                    "tile_not_kept",
                    request_id=request.request_id,
                    reason=reason_of(error),
                    left_out=left_out,
                )

    def _key(self, request: TileRequest) -> str:
        return f"{self._folder}/{tile_key(request).hex()}"


class Checkpoint:
    """An engine before another one. What is kept is not computed again; what is computed, is kept.

    Args:
        engine: computes what is not there.
        tiles: gives those of the job; None while the request is none. It may become one while it runs.
    """

    def __init__(self, engine: Engine, tiles: Callable[[], KeptTiles | None]) -> None:
        self._engine = engine
        self._tiles = tiles

    def facts(self) -> EngineFacts:
        """See ``Engine``; it is what the engine behind this one says."""
        return self._engine.facts()

    async def ready_for(self, need: Need) -> ModelFacts:
        """See ``Engine``; it is what the engine behind this one says."""
        return await self._engine.ready_for(need)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        tiles = self._tiles()
        if tiles is not None and (found := await tiles.find(request)) is not None:
            return found
        result = await self._engine.enlarge(request)
        # Asked again: all tiles of a picture are sent at once, and it may have become a job since.
        if (tiles := self._tiles()) is not None:
            await tiles.keep(request, result)
        return result


def packed(result: TileResult) -> bytes:
    """A tile and its facts as bytes: a checksum of the rest, a line of JSON, the samples."""
    facts = {
        "shape": result.pixels.shape,
        "dtype": result.pixels.dtype.str,
        "engine": result.engine,
        "precision": result.precision,
        "server": result.server,
        "repeated": result.repeated,
    }
    line = json.dumps(facts).encode()
    padding = b" " * (-(_SUM_BYTES + len(line) + 1) % _ALIGNED_BYTES)
    rest = line + padding + b"\n" + np.ascontiguousarray(result.pixels).tobytes()
    return zlib.crc32(rest).to_bytes(_SUM_BYTES) + rest


def unpacked(data: bytes) -> TileResult:
    """What ``packed`` was given, found again: at no cost of time.

    Raises:
        ValueError: it is not whole.
    """
    if zlib.crc32(memoryview(data)[_SUM_BYTES:]) != int.from_bytes(data[:_SUM_BYTES]) or not data:
        raise ValueError("a tile that was kept is damaged")
    begin = data.index(b"\n", _SUM_BYTES) + 1
    facts = json.loads(data[_SUM_BYTES:begin])
    pixels = np.frombuffer(data, np.dtype(facts["dtype"]), offset=begin)
    return TileResult(
        pixels=pixels.reshape(facts["shape"]),
        engine=facts["engine"],
        precision=facts["precision"],
        server=facts["server"],
        repeated=facts["repeated"],
        infer_s=0.0,
    )
