"""One member of a pool: tiles that it loses, and the results of its probes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.fakes import NEAREST, FailsFirst, NearestEngine, StuckEngine
from support.pool_servers import Server, request, sent, settled, until

from enlarger.engine.tile import EngineFacts, NetworkCounts, TileRequest, TileResult
from enlarger.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineLost,
)
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.policy import NeverBegun
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness


class Dying(NearestEngine):
    """Loses all tiles that it holds when it dies."""

    def __init__(self) -> None:
        super().__init__()
        self.dies = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Answer the first tile when the test allows it, and the others when the server dies."""
        self.requests.append(request)
        await (self.goes_on if request.index == 0 and self.goes_on.is_set() else self.dies).wait()
        if self.dies.is_set():
            raise EngineLost("e")
        return await super().enlarge(request)


async def test_tile_that_waited_at_a_lost_server_is_not_to_blame() -> None:
    """An engine works on the oldest tile: that one may be the cause, those behind it cannot."""
    engine = Dying()
    member = Member("only", engine)
    tiles = [
        asyncio.create_task(member.enlarge(request(index=index), limit_s=100)) for index in range(3)
    ]
    await until(lambda: len(engine.requests) == 3)
    engine.dies.set()
    errors = await asyncio.gather(*tiles, return_exceptions=True)
    assert [type(error) for error in errors] == [EngineLost, NeverBegun, NeverBegun]


async def test_tile_that_had_its_turn_may_be_to_blame() -> None:
    """The tile before it was done some time ago, so this one was being computed."""
    engine = Dying()
    engine.goes_on.set()
    member = Member("only", engine)
    done, lost = (
        asyncio.create_task(member.enlarge(request(index=index), limit_s=100)) for index in range(2)
    )
    await done
    await asyncio.sleep(0.05)
    engine.dies.set()
    with pytest.raises(EngineLost) as error:
        await lost
    assert error.type is EngineLost


async def test_member_without_a_probe_stays_ready() -> None:
    """An engine in this process cannot be probed, so it is simply tried again."""
    member = Member("only", FailsFirst(NearestEngine(), failures=1, error=EngineFailed("e")))
    result = await Pool([member]).enlarge(request())
    assert (result.attempts, member.state) == (2, State.READY)


# Time


async def test_member_that_takes_too_long_counts_as_lost() -> None:
    """Its tile is dropped there and goes elsewhere."""
    stuck = StuckEngine()
    slow, quick = Server("slow", stuck), Server("quick")
    pool = Pool([slow, quick], min_attempt_s=0.05)
    result = await pool.enlarge(request())
    assert (result.server, result.attempts) == ("quick", 2)
    assert stuck.cancelled == 1
    assert (slow.strikes, slow.state, slow.in_flight) == (1, State.SUSPECT, 0)


async def test_member_that_hangs_is_restarted() -> None:
    """It answers its probes, but two tiles, one after the other, get no answer in their time."""
    stuck = Server("stuck", StuckEngine(), supervised=True)
    async with Pool([stuck], min_attempt_s=0.02) as pool, asyncio.timeout(5):
        tile = asyncio.create_task(pool.enlarge(request()))
        await stuck.restarted.wait()
        assert stuck.strikes == 2
        tile.cancel()


async def test_hang_is_found_within_a_short_deadline() -> None:
    """The deadline is shorter than the shortest attempt. The first server gets half of it, so the picture is still done in time."""
    stuck = StuckEngine()
    slow, quick = Server("slow", stuck), Server("quick")
    for server in (slow, quick):
        server.mflop_per_s = 1e6
    result = await Pool([slow, quick]).enlarge(request(left_s=0.4))
    assert (result.server, result.attempts, stuck.cancelled) == ("quick", 2, 1)
    assert (slow.strikes, slow.state) == (1, State.SUSPECT)


async def test_short_deadlines_do_not_end_a_server_that_starts() -> None:
    """It may load a network for ten seconds; tile after tile is late until then, and it is struck, not killed."""
    stuck = Server("stuck", StuckEngine(), supervised=True)
    stuck.mflop_per_s = 1e6
    async with Pool([stuck]) as pool, asyncio.timeout(5):
        for _ in range(3):
            with pytest.raises((DeadlineExceeded, EngineLost)):
                await pool.enlarge(request(left_s=0.1))
        assert stuck.strikes >= 3
        assert not stuck.restarted.is_set()


async def test_tiles_that_are_late_together_are_no_hang() -> None:
    """A server that loads its network first may be late with all that it holds; it gets another chance."""
    stuck, quick = Server("stuck", StuckEngine(), supervised=True), Server("quick")
    async with asyncio.timeout(5):
        pool = Pool([stuck, quick], min_attempt_s=0.02)
        quick.take(request(), 1e6, 0)  # both go to the one that is stuck
        results = await asyncio.gather(*sent(pool, 2))
    assert [(result.server, result.attempts) for result in results] == [("quick", 2)] * 2
    assert stuck.strikes == 2
    assert not stuck.restarted.is_set()


async def test_member_found_gone_loses_its_tiles_at_once() -> None:
    """Two missed probes say more than the time of an attempt, which may be minutes."""
    stuck = StuckEngine()
    frozen, quick = Server("frozen", stuck), Server("quick")
    async with Pool([frozen, quick]) as pool, asyncio.timeout(5):
        tile = asyncio.create_task(pool.enlarge(request()))
        await stuck.started.wait()
        frozen.says(State.GONE)
        await frozen.probed(2)
        assert ((await tile).server, (await tile).attempts) == ("quick", 2)
    assert stuck.cancelled == 1


# What a member's probes say


def readiness(state: State, *, instance: str | None = "1", speed: float | None = None) -> Readiness:
    """What a probe found."""
    facts = NearestEngine(mflop_per_s=speed).facts() if state is State.READY else None
    return Readiness(state, facts, None if state is State.GONE else instance)


async def test_one_missed_probe_is_forgiven() -> None:
    """A ready member is gone after two in a row, and back after two good ones; each breaks the other's row."""
    gone, ready = State.GONE, State.READY
    server = Server("only")
    seen = []
    for state in (gone, ready, gone, gone, ready, gone, ready, ready):
        server.learn(readiness(state))
        seen.append(server.state)
    assert seen == [ready, ready, ready, gone, gone, gone, gone, ready]


@pytest.mark.parametrize("state", [State.STARTING, State.SUSPECT, State.DRAINING, State.FAILED])
async def test_missed_probe_of_a_member_that_is_not_ready_makes_it_gone(state: State) -> None:
    """Only a ready member may miss a probe."""
    server = Server("only")
    server.health = Health(state=state)
    server.learn(readiness(State.GONE))
    assert server.state is State.GONE


async def test_speed_is_measured_anew_after_a_restart() -> None:
    """Another instance may run on another machine; before its first tile it is as fast as it says.

    One that was started here runs where its predecessor did.
    """
    for supervised, speed in ((False, 7), (True, 50)):
        server = Server("only", supervised=supervised)
        server.done(100, 2)
        assert server.mflop_per_s == 50
        server.learn(readiness(State.READY, speed=7))
        assert server.mflop_per_s == 50
        server.learn(readiness(State.READY, instance="2", speed=7))
        assert server.mflop_per_s == speed


async def test_newest_tiles_count_most_in_a_members_speed() -> None:
    """0.7 of what was known and 0.3 of the new tile's: 0.7 * 50 + 0.3 * 100 = 65."""
    server = Server("only")
    server.done(100, 2)
    server.done(200, 2)
    assert server.mflop_per_s == pytest.approx(65)
    assert server.tiles_done == 2


async def test_member_whose_process_ended_is_starting() -> None:
    """It has no facts until its successor is probed."""
    server = Server("only", supervised=True)
    server.lose()
    assert (server.state, server.facts, server.instance) == (State.STARTING, None, None)
    assert server.may_return


@pytest.mark.parametrize(
    ("state", "alone", "supervised"),
    [
        (State.READY, True, True),
        (State.STARTING, True, True),
        (State.SUSPECT, True, True),
        (State.EJECTED, True, True),
        (State.DRAINING, False, True),
        (State.GONE, False, True),
        (State.FAILED, False, False),
        (State.INCOMPATIBLE, False, False),
    ],
)
async def test_which_members_may_return(state: State, *, alone: bool, supervised: bool) -> None:
    """One that was started here comes back when it is gone; one that failed its self-test does not."""
    assert Server("alone", state=state).may_return is alone
    assert Server("supervised", state=state, supervised=True).may_return is supervised


# What is in its memory


def in_memory(*precisions: str, switches: int = 0) -> EngineFacts:
    """What an engine says that has ``NEAREST`` in memory in some precisions."""
    return EngineFacts(
        engine="nearest",
        ready=True,
        models=(replace(NEAREST, loaded=precisions),),
        capacity=2,
        in_flight=0,
        mflop_per_s=None,
        networks=NetworkCounts(
            loaded=len(precisions), held_bytes=0, loads=switches, switches=switches
        ),
    )


def found(facts: EngineFacts | None, *, instance: str = "1") -> Readiness:
    """What a probe finds."""
    return Readiness(State.READY if facts else State.STARTING, facts, instance)


async def test_member_is_warm_for_what_is_in_its_memory() -> None:
    """Or for all that it has, where it does not say."""
    member = Server("one")
    assert member.is_warm(request())
    member.learn(found(in_memory()))
    assert not member.is_warm(request())
    member.learn(found(in_memory("bf16")))
    assert not member.is_warm(request())
    member.learn(found(in_memory("f32")))
    assert member.is_warm(request())
    assert not member.is_warm(replace(request(), weights_sha256="1" * 64))


async def test_member_is_warm_for_what_it_was_sent() -> None:
    """A tile on its way has the network loaded, until the engine says that it was released again."""
    member = Server("one", StuckEngine())
    member.learn(found(in_memory()))
    member.take(request(), 1.0, 0)
    task = asyncio.create_task(member.enlarge(request(), limit_s=10))
    await settled()
    member.learn(found(in_memory()))
    assert member.is_warm(request())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    member.learn(found(in_memory()))
    assert not member.is_warm(request())


async def test_switches_are_counted_over_all_processes() -> None:
    """Each process counts its own from zero."""
    member = Server("one", supervised=True)
    for instance, switches in (("1", 2), ("1", 3), ("2", 1), ("2", 1)):
        member.learn(found(in_memory("f32", switches=switches), instance=instance))
    member.learn(found(None, instance="3"))
    member.learn(found(in_memory(switches=4), instance="3"))
    assert member.status(is_ready=True).switches == 3 + 1 + 4
