"""Tiles of a gateway on their way to the replicas of one deployment, several in a call where that pays."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from enlarger.cluster.answers import TileAnswer, TileFault
from enlarger.cluster.batching import calls_of, tiles_per_call
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import Busy, DeadlineExceeded, EngineLost, ModelNotHere, NoEngineReady

Send = Callable[[Sequence[TileRequest], str], Awaitable[Sequence[TileAnswer]]]
"""Sends tiles to one replica in one call with an id. Cancelling it cancels the call. It raises ``EngineLost`` or ``Busy``."""

_ELSEWHERE_S = 0.1
"""A tile that came to a replica without its model is sent again after this time."""

NO_FACTS = EngineFacts(
    engine="ray", ready=False, models=(), capacity=0, in_flight=0, mflop_per_s=None
)
"""Facts of a deployment without a replica."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A tile that waits for its answer."""

    request: TileRequest
    most: int
    """How many tiles may travel with it."""

    answer: asyncio.Future[TileAnswer]


@dataclass(eq=False, slots=True)
class _Call:
    """Tiles that travel together."""

    tiles: list[_Waiting]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    task: asyncio.Task[None] | None = None
    unwanted: int = 0
    """Tiles whose callers left."""


@dataclass(eq=False)
class Calls:
    """An ``Engine`` over the replicas of one deployment; Ray chooses the replica.

    Args:
        send: sends tiles to one of the replicas.
    """

    send: Send
    known: EngineFacts = NO_FACTS
    """What the replicas said when they were last asked."""

    at_once: int = 1
    """Calls that are sent to all replicas at once."""

    _gathered: list[_Waiting] = field(default_factory=list)
    _calls: dict[asyncio.Future[TileAnswer], _Call] = field(default_factory=dict)

    def facts(self) -> EngineFacts:
        """Return what the replicas can do together; see ``Engine``."""
        return self.known

    async def ready_for(self, need: Need) -> ModelFacts:
        """Return what a replica says about a model; see ``Engine``."""
        model = self.known.meeting(need)
        if model is None:
            raise NoEngineReady(f"no replica has {need.model} ready", retry_after_s=5)
        return model

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Have a replica enlarge a tile; see ``Engine``."""
        model = self.known.model(request.model)
        if model is None:
            raise ModelNotHere(f"no replica has {request.model} now")
        loop = asyncio.get_running_loop()
        if request.deadline <= loop.time():
            raise DeadlineExceeded("the deadline passed before the tile was sent")
        tile = _Waiting(request, self._tiles_per_call(request, model), loop.create_future())
        self._gather(tile)
        try:
            answer = await tile.answer
        finally:
            self._leave(tile)
        if isinstance(answer, TileFault):
            error = answer.error()
            if isinstance(error, ModelNotHere) and self.known.meeting(request.need) is not None:
                # Each node follows its own MODEL_DIR, so another replica has the model.
                raise Busy(str(error), retry_after_s=_ELSEWHERE_S)
            raise error
        return answer

    def lose(self, call_ids: Collection[str]) -> None:
        """Give up calls whose replica is gone, so that their tiles are sent elsewhere."""
        for call in {call for call in self._calls.values() if call.id in call_ids}:
            if call.task is not None:
                call.task.cancel()
            _fail(call, EngineLost("the replica that had the tile fell silent"))

    def _tiles_per_call(self, request: TileRequest, model: ModelFacts) -> int:
        speed = self.known.mflop_per_s
        return tiles_per_call(None if not speed else model.mflop_per_px * request.lr_px / speed)

    def _gather(self, tile: _Waiting) -> None:
        """Send a tile with those that come at the same time."""
        self._gathered.append(tile)
        if len(self._gathered) == 1:
            # Tiles that get their seats together arrive here in one round of the event loop.
            asyncio.get_running_loop().call_soon(self._send_gathered)

    def _send_gathered(self) -> None:
        tiles = [tile for tile in self._gathered if not tile.answer.done()]
        self._gathered = []
        free_calls = self.at_once - len(set(self._calls.values()))
        for together in calls_of([tile.most for tile in tiles], free_calls=free_calls):
            call = _Call(tiles[together])
            self._calls |= {tile.answer: call for tile in call.tiles}
            call.task = asyncio.create_task(self._answer(call))

    async def _answer(self, call: _Call) -> None:
        """Make one call, and pass its answers, or its error, to those who wait."""
        try:
            answers = await self.send([tile.request for tile in call.tiles], call.id)
            if len(answers) != len(call.tiles):
                raise EngineLost("a replica answered with another number of tiles")  # noqa: TRY301 - as other losses
        except Exception as error:  # noqa: BLE001 - each of the callers gets it
            _fail(call, error)
        else:
            for tile, answer in zip(call.tiles, answers, strict=True):
                if not tile.answer.done():
                    tile.answer.set_result(answer)

    def _leave(self, tile: _Waiting) -> None:
        """Forget a tile, and cancel its call once nobody waits for any tile of it."""
        call = self._calls.pop(tile.answer, None)
        if call is None or call.task is None:
            return
        call.unwanted += 1
        if call.unwanted == len(call.tiles):
            call.task.cancel()


def _fail(call: _Call, error: Exception) -> None:
    """Pass an error to those who wait for a call."""
    for tile in call.tiles:
        if not tile.answer.done():
            tile.answer.set_exception(error)
            # A caller that leaves at this moment does not fetch it.
            tile.answer.exception()
