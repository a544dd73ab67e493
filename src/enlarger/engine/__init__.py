"""The one interface: an ``Engine`` turns a tile into an enlarged tile."""

from __future__ import annotations

from typing import Protocol

from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult


class Engine(Protocol):
    """Anything that enlarges a tile: a network here, a model server, a pool of them, a fake."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile.

        Args:
            request: pixels RGB, uint8 or uint16, shape (H, W, 3), halo included; the part of
                them to keep; model and weights' hash, precision, options; ``deadline`` on the event loop's clock; request id and index.

        Returns:
            Pixels RGB, same dtype, shape (H * scale, W * scale, 3) of the part to keep, and what really ran.

        Raises:
            ModelNotHere: the engine does not have that model with those weights.
            InvalidOption: the model does not take one of the options, or not that precision.
            EngineFailed: the runtime raised.
            WrongOutput: what the network made is not a picture.
            EngineLost: the engine went away; the same tile may be sent elsewhere.
            DeadlineExceeded: the deadline passed; no answer will follow.
        """

    def facts(self) -> EngineFacts:
        """What it can do now: models by hash, with largest tile and precisions; capacity, speed, readiness."""

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait until it can take tiles that need this, and say what the model can be computed in.

        Raises:
            NoEngineReady: it cannot, and nothing is under way that would change that.
        """
