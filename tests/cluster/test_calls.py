"""Tiles on their way to replicas: which travel together, and what becomes of each when one of them, or all, fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from support.fakes import NEAREST, NearestEngine, nearest, need_of
from support.pool_servers import request, settled, until

from enlarger.cluster.answers import TileAnswer, TileFault
from enlarger.cluster.batching import tiles_per_call
from enlarger.cluster.calls import NO_FACTS, Calls
from enlarger.engine.tile import EngineFacts, TileRequest
from enlarger.errors import (
    Busy,
    DeadlineExceeded,
    EngineLost,
    ModelNotHere,
    NoEngineReady,
    OutOfMemory,
)

# A tile of 4 x 4 pixels has 16 MFLOP with NEAREST: 10 ms at this speed, so that five travel together.
FAST_MFLOP_PER_S = 1600.0
TOGETHER = 5


@dataclass
class Replica:
    """Answers calls as a replica does, and remembers them; holds them while ``held`` is set."""

    faults: dict[int, TileFault] = field(default_factory=dict)
    """Faults by the index of their tile."""

    calls: list[list[int]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    error: Exception | None = None
    answers_too_few: bool = False
    held: bool = False
    cancelled: int = 0

    async def send(self, requests: Sequence[TileRequest], call_id: str) -> Sequence[TileAnswer]:
        """Answer each tile of a call."""
        self.ids.append(call_id)
        self.calls.append([one.index for one in requests])
        try:
            while self.held:  # noqa: ASYNC110 - a test lets it go
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        engine = NearestEngine()
        answers = [self.faults.get(one.index) or await engine.enlarge(one) for one in requests]
        return answers[self.answers_too_few :]


def facts(mflop_per_s: float | None) -> EngineFacts:
    """Facts of replicas with that speed."""
    return replace(NearestEngine().facts(), mflop_per_s=mflop_per_s)


def calls_to(replica: Replica, *, mflop_per_s: float | None = FAST_MFLOP_PER_S) -> Calls:
    """An engine over that replica."""
    return Calls(replica.send, facts(mflop_per_s))


def test_speed_of_these_tests_sends_five_together() -> None:
    """The arithmetic that the other tests rest on."""
    assert tiles_per_call(NEAREST.mflop_per_px * 16 / FAST_MFLOP_PER_S) == TOGETHER


async def test_slow_replica_gets_each_tile_alone() -> None:
    """A call for each tile, and the tile's own answer."""
    replica = Replica()
    engine = calls_to(replica, mflop_per_s=None)
    results = await asyncio.gather(*(engine.enlarge(request(index=n)) for n in range(3)))
    assert replica.calls == [[0], [1], [2]]
    for n, result in enumerate(results):
        assert np.array_equal(result.pixels, nearest(request(index=n).pixels, 4))


async def test_tiles_that_come_together_travel_together() -> None:
    """Five and no more in a call; those that are left do not wait for others."""
    replica = Replica()
    engine = calls_to(replica)
    results = await asyncio.gather(*(engine.enlarge(request(index=n)) for n in range(12)))
    assert replica.calls == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    for n, result in enumerate(results):
        assert np.array_equal(result.pixels, nearest(request(index=n).pixels, 4))


async def test_tiles_of_a_picture_are_spread_over_idle_replicas() -> None:
    """Also where all of them would fit into fewer calls; while replicas are busy, calls are as large as they may be."""
    replica = Replica(held=True)
    engine = calls_to(replica)
    engine.at_once = 6
    begun = [asyncio.create_task(engine.enlarge(request(index=n))) for n in range(10)]
    await settled()
    assert replica.calls == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    begun += [asyncio.create_task(engine.enlarge(request(index=n))) for n in range(10, 17)]
    await settled()
    assert replica.calls[5:] == [[10, 11, 12, 13, 14], [15, 16]]
    replica.held = False
    await asyncio.gather(*begun)


async def test_fault_of_one_tile_costs_no_other() -> None:
    """The others of the call have their pixels."""
    replica = Replica(faults={1: TileFault.of(OutOfMemory("full"))})
    engine = calls_to(replica)
    results = await asyncio.gather(
        *(engine.enlarge(request(index=n)) for n in range(3)), return_exceptions=True
    )
    assert isinstance(results[1], OutOfMemory)
    assert [type(one).__name__ for one in results] == ["TileResult", "OutOfMemory", "TileResult"]


async def test_lost_call_loses_each_of_its_tiles() -> None:
    """Each caller has the error, so that a pool sends each tile elsewhere."""
    replica = Replica(error=EngineLost("gone"))
    engine = calls_to(replica)
    results = await asyncio.gather(
        *(engine.enlarge(request(index=n)) for n in range(3)), return_exceptions=True
    )
    assert [type(one) for one in results] == [EngineLost] * 3


async def test_answer_of_another_length_is_a_loss() -> None:
    """No tile gets the pixels of another one."""
    engine = calls_to(Replica(answers_too_few=True))
    results = await asyncio.gather(
        *(engine.enlarge(request(index=n)) for n in range(2)), return_exceptions=True
    )
    assert [type(one) for one in results] == [EngineLost] * 2


async def test_call_whose_replica_is_gone_is_given_up() -> None:
    """Its tiles are lost at once, and the others stay where they are."""
    replica = Replica(held=True)
    engine = calls_to(replica, mflop_per_s=None)
    tasks = [asyncio.create_task(engine.enlarge(request(index=n))) for n in range(2)]
    await until(lambda: replica.calls == [[0], [1]])
    engine.lose({replica.ids[0], "of another gateway"})
    with pytest.raises(EngineLost, match="fell silent"):
        await tasks[0]
    await until(lambda: replica.cancelled == 1)
    replica.held = False
    assert (await tasks[1]).engine == "nearest"
    assert not engine._calls


async def test_replica_without_the_model_sends_the_tile_elsewhere() -> None:
    """Another one has it, so that the deployment is not at fault."""
    replica = Replica(faults={0: TileFault.of(ModelNotHere("not here"))})
    with pytest.raises(Busy, match="not here") as refused:
        await calls_to(replica).enlarge(request(index=0))
    assert refused.value.retry_after_s == 0.1


async def test_call_is_cancelled_when_nobody_waits_for_it() -> None:
    """As long as one caller waits, the call goes on."""
    replica = Replica(held=True)
    engine = calls_to(replica)
    tasks = [asyncio.create_task(engine.enlarge(request(index=n))) for n in range(3)]
    await until(lambda: replica.calls == [[0, 1, 2]])
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0.01)
    assert replica.cancelled == 0
    tasks[2].cancel()
    await until(lambda: replica.cancelled == 1)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)


async def test_tile_whose_caller_left_before_is_not_sent() -> None:
    """It was cancelled in the round of the event loop in which it would have travelled."""
    replica = Replica()
    engine = calls_to(replica)

    async def left() -> None:
        task = asyncio.create_task(engine.enlarge(request(index=0)))
        await asyncio.sleep(0)
        task.cancel()

    await asyncio.gather(left(), engine.enlarge(request(index=1)))
    assert replica.calls in ([[1]], [[0, 1]])
    assert not engine._calls


async def test_storm_of_cancelled_tiles_leaves_nothing() -> None:
    """Whenever callers leave, calls end, and nothing is remembered."""
    replica = Replica(held=True)
    engine = calls_to(replica)
    tasks = [asyncio.create_task(engine.enlarge(request(index=n))) for n in range(60)]
    await until(lambda: len(replica.calls) == 12)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: replica.cancelled == 12)
    assert not engine._calls
    assert len(asyncio.all_tasks()) == 1


async def test_tile_that_cannot_be_computed_is_not_sent() -> None:
    """No replica has its model, or its time is over."""
    replica = Replica()
    with pytest.raises(ModelNotHere):
        await Calls(replica.send).enlarge(request())
    with pytest.raises(DeadlineExceeded):
        await calls_to(replica).enlarge(request(left_s=-1))
    assert not replica.calls


async def test_model_is_ready_where_a_replica_has_it() -> None:
    """``ready_for`` answers by the last reports."""
    assert await calls_to(Replica()).ready_for(need_of()) == NEAREST
    with pytest.raises(NoEngineReady):
        await Calls(Replica().send, NO_FACTS).ready_for(need_of())
