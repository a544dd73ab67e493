"""Seats at the members of a pool: which tile gets the next one, which tiles move or give up, and what is released."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from support.pictures import noise
from support.pool_servers import Server, counts, failing, request, sent, settled, until

from enlarger.engine.tile import EngineFacts, TileRequest, TileResult
from enlarger.errors import (
    Busy,
    DeadlineExceeded,
    EngineFailed,
    ModelNotHere,
    NoEngineReady,
    OutOfMemory,
)
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool

# Where a tile goes


@pytest.mark.parametrize("members", [1, 2, 5])
async def test_as_many_tiles_as_idle_members_give_one_to_each(members: int) -> None:
    """A picture uses all servers that there are."""
    engines = [HeldEngine(capacity=4) for _ in range(members)]
    pool = Pool([Member(f"m{number}", engine) for number, engine in enumerate(engines)])
    tiles = sent(pool, members)
    await asyncio.gather(*(engine.holds(1) for engine in engines))
    assert [engine.in_flight for engine in engines] == [1] * members
    for engine in engines:
        engine.let_go()
    results = await asyncio.gather(*tiles)
    assert Counter(result.server for result in results) == {
        f"m{number}": 1 for number in range(members)
    }


async def test_member_with_the_least_outstanding_work_gets_the_tile() -> None:
    """Work is LR pixels times the model's computing: three small tiles are less than a large one."""
    large, small = HeldEngine(), HeldEngine()
    members = [Member("large", large), Member("small", small)]
    pool = Pool(members)
    first = asyncio.create_task(pool.enlarge(request(size=(10, 10))))
    await large.holds(1)
    others = sent(pool, 4)
    await small.holds(4)
    assert [member.outstanding_mflop for member in members] == [100, 4 * 16]
    assert len(large.requests) == 1
    for engine in (large, small):
        engine.let_go()
    await asyncio.gather(first, *others)
    assert [member.outstanding_mflop for member in members] == [0, 0]


async def test_idle_members_take_turns() -> None:
    """Tiles that are sent one after the other go to each member in turn."""
    pool = Pool([Member(name, NearestEngine()) for name in "abc"])
    servers = [(await pool.enlarge(request())).server for _ in range(7)]
    assert servers == list("abcabca")


async def test_member_never_gets_more_than_it_takes() -> None:
    """The others wait for a seat."""
    engine = HeldEngine(capacity=2)
    pool = Pool([Member("only", engine)])
    tiles = sent(pool, 5)
    await engine.holds(2)
    assert counts(pool) == "Pool 1/1 ready | 3 waiting, 2 in flight"
    assert pool.servers[0].shown_state == "busy"
    engine.let_go()
    results = await asyncio.gather(*tiles)
    assert engine.most_in_flight == 2
    for index, result in enumerate(results):
        assert np.array_equal(result.pixels, nearest(noise(4, 4, 3, seed=index), 4))
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"
    assert pool.servers[0].shown_state == "ready"


async def test_requests_take_turns() -> None:
    """A small picture need not wait until all tiles of a large one are done."""
    engine = HeldEngine(capacity=1)
    pool = Pool([Member("only", engine)])
    tiles = sent(pool, 1, request_id="before")
    await engine.holds(1)
    tiles += sent(pool, 4, request_id="large")
    await settled()
    tiles += sent(pool, 2, request_id="small", admitted_at=1.0)
    await settled()
    engine.let_go()
    await asyncio.gather(*tiles)
    assert [(asked.request_id, asked.index) for asked in engine.requests[1:]] == [
        ("small", 0),
        ("large", 0),
        ("small", 1),
        ("large", 1),
        ("large", 2),
        ("large", 3),
    ]


async def test_small_picture_waits_for_two_tiles_of_a_large_one() -> None:
    """One of these is being computed, and one already waits at the server. The next free seat goes to the small picture."""
    engine = HeldEngine(capacity=2)
    pool = Pool([Member("only", engine)])
    large = sent(pool, 9, request_id="large")
    await engine.holds(2)
    small = sent(pool, 1, request_id="small")
    await settled()
    engine.let_go(1)
    await until(lambda: len(engine.requests) == 3)
    assert engine.requests[-1].request_id == "small"
    engine.let_go()
    await asyncio.gather(*large, *small)


async def test_pictures_of_one_request_id_take_turns() -> None:
    """A caller may give all its requests the same id: the small one is next, and not behind all of the large one."""
    engine = HeldEngine(capacity=1)
    pool = Pool([Member("only", engine)])
    tiles = sent(pool, 9, owner="large")
    await engine.holds(1)
    tiles += sent(pool, 1, owner="small", admitted_at=1.0)
    await settled()
    engine.let_go()
    await asyncio.gather(*tiles)
    assert [asked.owner for asked in engine.requests].index("small") == 1


async def test_oldest_picture_has_every_other_seat() -> None:
    """The time of admission counts, however many pictures come later and in whatever order."""
    engine = HeldEngine(capacity=1)
    pool = Pool([Member("only", engine)])
    ages = {"third": 3.0, "first": 1.0, "second": 2.0}
    tiles = [
        tile
        for name, age in ages.items()
        for tile in sent(pool, 4, request_id=name, admitted_at=age)
    ]
    await engine.holds(1)
    engine.let_go()
    await asyncio.gather(*tiles)
    assert [asked.request_id for asked in engine.requests][1:9].count("first") == 4


async def test_tile_that_nobody_can_take_holds_up_no_other() -> None:
    """Its weights are on no server: it waits, and another request's tiles pass."""
    pool = Pool([Member("only", NearestEngine())])
    other = replace(request(request_id="other", left_s=0.1), weights_sha256="1" * 64)
    waiting = asyncio.create_task(pool.enlarge(other))
    await settled()
    assert (await pool.enlarge(request())).server == "only"
    with pytest.raises(DeadlineExceeded):
        await waiting


class Watched(Server):
    """Counts how often its state is looked at."""

    looks = 0

    @property
    def state(self) -> State:
        """Count the access."""
        self.looks += 1
        return self.health.state


@pytest.mark.parametrize("state", [State.SUSPECT, State.GONE, State.EJECTED])
async def test_member_that_is_out_makes_nobody_look_at_all_that_wait(state: State) -> None:
    """For seconds it has free seats while hundreds of tiles wait. Twice as many tiles cost twice as many checks, not four times."""

    async def looks(tiles: int) -> int:
        engine, out = HeldEngine(capacity=2), Watched("out")
        out.health = Health(state=state)
        waiting = sent(Pool([Server("in", engine), out]), tiles)
        await engine.holds(2)
        engine.let_go()
        await asyncio.gather(*waiting)
        return out.looks

    assert await looks(200) < 2.2 * await looks(100)


async def test_tile_that_only_an_ejected_member_computes_goes_there() -> None:
    """The only ready member is full, and has other weights than this tile needs."""
    other = replace(NEAREST, sha256="1" * 64)
    full, ejected = (
        Server("full", HeldEngine(capacity=1)),
        Server("ejected", NearestEngine([other])),
    )
    full.take(request(), 1, 0)
    ejected.health = Health(state=State.EJECTED, ejected_until=1e9)
    asked = replace(request(), weights_sha256="1" * 64)
    async with asyncio.timeout(5):
        assert (await Pool([full, ejected]).enlarge(asked)).server == "ejected"


# Tiles that move to an idle member


async def test_no_member_is_idle_while_another_has_a_tile_waiting() -> None:
    """Tiles are sent ahead. In the end the one that waits goes to the member that is done: it counts as one attempt."""
    engines = [HeldEngine(capacity=2), HeldEngine(capacity=2)]
    pool = Pool([Member(f"m{number}", engine) for number, engine in enumerate(engines)])
    before = counts(pool)
    tiles = sent(pool, 3)
    async with asyncio.timeout(5):
        await engines[0].holds(2)
        await engines[1].holds(1)
        engines[1].let_go(1)
        await engines[1].holds(2)
        assert [engine.in_flight for engine in engines] == [1, 1]
        for engine in engines:
            engine.let_go()
        results = await asyncio.gather(*tiles)
    assert [result.server for result in results] == ["m0", "m1", "m1"]
    assert [result.attempts for result in results] == [1, 1, 1]
    assert engines[1].requests[1] is engines[0].requests[1]
    assert counts(pool) == before


async def test_tile_that_is_worked_on_is_not_moved() -> None:
    """A tile does not move either while all members are busy, or if it would be done later elsewhere."""

    class Slow(HeldEngine):
        """Says that it takes a thousand times as long."""

        async def enlarge(self, request: TileRequest) -> TileResult:
            return replace(await super().enlarge(request), infer_s=1.0)

    engines = [HeldEngine(capacity=2), Slow(capacity=2)]
    pool = Pool([Member(f"m{number}", engine) for number, engine in enumerate(engines)])
    pool.members[0].mflop_per_s = 1e9
    tiles = sent(pool, 4)
    async with asyncio.timeout(5):
        for engine in engines:
            await engine.holds(2)
        await settled()
        assert [len(engine.requests) for engine in engines] == [2, 2]
        engines[1].let_go(2)
        await asyncio.wait(tiles, return_when=asyncio.FIRST_COMPLETED)
        await settled()
        assert [engine.in_flight for engine in engines] == [2, 0]
        engines[0].let_go(1)
        await settled()
        assert [len(engine.requests) for engine in engines] == [2, 2]
        engines[0].let_go()
        await asyncio.gather(*tiles)


async def test_tile_is_not_moved_to_where_it_failed() -> None:
    """It would most likely fail again."""
    held = HeldEngine(capacity=2)
    bad = Member("bad", FailsFirst(NearestEngine(), failures=1, error=EngineFailed("e")))
    pool = Pool([bad, Member("good", held)])
    bad.take(request(), 1, 0)  # so that the first tile goes to the good one
    first = sent(pool, 1)
    await held.holds(1)
    bad.give_back(1)
    second = sent(pool, 1, request_id="r-2")
    async with asyncio.timeout(5):
        await held.holds(2)  # where it waits behind the first one
        await settled()
        assert (bad.in_flight, held.in_flight) == (0, 2)
        held.let_go()
        results = await asyncio.gather(*first, *second)
    assert [result.server for result in results] == ["good", "good"]


async def test_tile_that_is_cancelled_on_its_way_leaves_nothing() -> None:
    """It is cancelled at the moment when it is recalled. Other tiles move as usual."""
    engines = [HeldEngine(capacity=3), HeldEngine(capacity=1)]
    pool = Pool([Member(f"m{number}", engine) for number, engine in enumerate(engines)])
    before = counts(pool)
    tiles = sent(pool, 4)
    async with asyncio.timeout(5):
        await engines[0].holds(3)
        await engines[1].holds(1)
        engines[1].let_go(1)
        await tiles[1]
        waits = [tiles[number] for number in (0, 2, 3) if not tiles[number].done()]
        for tile in waits[1:]:
            tile.cancel()
        await asyncio.gather(*waits[1:], return_exceptions=True)
        await settled()
        engines[0].let_go()
        await waits[0]
    assert counts(pool) == before
    async with asyncio.timeout(5):
        more = sent(pool, 3, request_id="r-2")
        for engine in engines:
            engine.let_go()
        await asyncio.gather(*more)
    assert counts(pool) == before


# Tiles that are tried again, and tiles that wait too long


async def test_failed_tile_waits_for_a_member_that_is_full() -> None:
    """The one that fails is well again at each probe and has room; the tile would be lost there within milliseconds."""
    engine = HeldEngine(capacity=1)
    bad, good = failing("bad", EngineFailed("e"), failures=100), Server("good", engine)
    async with Pool([bad, good]) as pool, asyncio.timeout(5):
        good.take(request(), 1, 0)
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: bad.strikes == 1)
        await bad.probed(2)
        assert (bad.state, bad.in_flight, tile.done()) == (State.READY, 0, False)
        good.give_back(1)
        pool.nudge()
        engine.let_go()
        assert ((await tile).server, (await tile).attempts) == ("good", 2)
    assert bad.strikes == 1


async def test_few_tiles_are_tried_again_at_once() -> None:
    """Three where there are ten: the others wait for their second attempt, and lose nothing by it."""
    bad, good = failing("bad", OutOfMemory("e"), failures=10), HeldEngine()
    bad.last_used = -1
    pool = Pool([bad, Server("good", good)])
    for tile in (tiles := sent(pool, 10)):
        bad.last_used, bad.outstanding_mflop = -1, -1e6  # all of them go there first
        await settled()
        assert not tile.done()
    again = [asked.index for asked in good.requests]
    assert counts(pool) == "Pool 2/2 ready | 7 waiting, 3 in flight, 3 again"
    assert len(again) == 3
    good.let_go()
    results = await asyncio.gather(*tiles)
    assert {result.attempts for result in results} == {2}
    assert good.most_in_flight == 3


async def test_deadline_ends_a_tile_that_waits() -> None:
    """It leaves the queue."""
    engine = HeldEngine(capacity=1)
    pool = Pool([Member("only", engine)])
    first = asyncio.create_task(pool.enlarge(request()))
    await engine.holds(1)
    with pytest.raises(DeadlineExceeded):
        await pool.enlarge(request(left_s=0.05))
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 1 in flight"
    engine.let_go()
    await first
    assert len(engine.requests) == 1


# Cancellation


async def test_cancelled_tile_gives_its_seat_back() -> None:
    """Cancelling a tile that is being computed leaves the pool as it was before the call."""
    stuck = StuckEngine()
    pool = Pool([Member("only", stuck)])
    before = counts(pool)
    task = asyncio.create_task(pool.enlarge(request()))
    await stuck.started.wait()
    assert counts(pool) != before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts(pool) == before == "Pool 1/1 ready | 0 waiting, 0 in flight"
    assert pool.members[0].outstanding_mflop == 0
    assert stuck.cancelled == 1


async def test_cancelled_tile_leaves_the_queue() -> None:
    """Cancelling a tile that waits leaves the others in their order, and it is never sent."""
    engine = HeldEngine(capacity=1)
    pool = Pool([Member("only", engine)])
    tiles = sent(pool, 4)
    await engine.holds(1)
    assert counts(pool) == "Pool 1/1 ready | 3 waiting, 1 in flight"
    tiles[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tiles[1]
    assert counts(pool) == "Pool 1/1 ready | 2 waiting, 1 in flight"
    engine.let_go()
    await asyncio.gather(tiles[0], *tiles[2:])
    assert [asked.index for asked in engine.requests] == [0, 2, 3]


async def test_tile_cancelled_as_it_gets_its_seat_gives_it_back() -> None:
    """Both happen in one turn of the event loop: the tile got its seat and has not used it yet."""
    engine = HeldEngine(capacity=1)
    member = Member("only", engine)
    pool = Pool([member])
    member.take(request(), 1, 0)
    task = asyncio.create_task(pool.enlarge(request()))
    await settled()
    member.give_back(1)
    pool.nudge()
    assert member.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (member.in_flight, member.outstanding_mflop) == (0, 0)
    assert engine.requests == []


async def test_cancelled_tiles_let_others_in() -> None:
    """A picture that is given up frees its seats for the next."""
    stuck = StuckEngine()
    member = Member("only", stuck)
    assert member.facts is not None
    member.facts = replace(member.facts, capacity=2)
    pool = Pool([member])
    given_up = sent(pool, 5, request_id="given-up")
    await stuck.started.wait()
    next_one = asyncio.create_task(pool.enlarge(request(request_id="next")))
    await settled()
    for tile in given_up:
        tile.cancel()
    await asyncio.wait(given_up)
    await until(lambda: stuck.requests[-1].request_id == "next")
    assert len(stuck.requests) == 3
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 1 in flight"
    next_one.cancel()
    await asyncio.wait({next_one})


async def test_tile_cancelled_in_a_busy_pause_gives_its_seat_back() -> None:
    """The pause holds the seat, and ends with the tile."""
    engine = FailsFirst(NearestEngine(), failures=1, error=Busy("e", retry_after_s=1000))
    pool = Pool([Member("only", engine)])
    task = asyncio.create_task(pool.enlarge(request()))
    await until(lambda: engine.left == 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


# Tiles that are given up


@pytest.mark.parametrize("state", [State.FAILED, State.INCOMPATIBLE, State.GONE])
async def test_waiting_tiles_are_given_up_when_no_member_may_return(state: State) -> None:
    """This takes a while, so that an operator can restart a member."""
    pool = Pool([Server("a", state=state), Server("b", state=state)], hopeless_s=0.1)
    async with pool, asyncio.timeout(5):
        results = await asyncio.gather(*sent(pool, 3), return_exceptions=True)
    assert [type(result) for result in results] == [NoEngineReady] * 3
    assert counts(pool) == "Pool 0/2 ready | 0 waiting, 0 in flight"


async def test_tile_waits_while_there_is_hope() -> None:
    """The last member is gone, but a supervisor is starting its successor."""
    server = Server("only", state=State.GONE, supervised=True)
    async with Pool([Server("failed", state=State.FAILED), server], hopeless_s=0) as pool:
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: server.probes > 0)
        await settled()
        assert not tile.done()
        server.says(State.READY)
        assert (await tile).server == "only"


class Forgetful(NearestEngine):
    """Notices at its first tile that it cannot load the model, and does not offer it any more."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Refuse the tile."""
        self._has_model = False
        raise ModelNotHere("own.bin: cannot be read")

    def facts(self) -> EngineFacts:
        """Return the facts, after the first tile without the model."""
        facts = super().facts()
        return facts if getattr(self, "_has_model", True) else replace(facts, models=())


async def test_tile_goes_elsewhere_from_a_member_that_cannot_load_the_model() -> None:
    """The member gets no strike, because its other models work."""
    forgetful = Server("a", Forgetful())
    async with Pool([forgetful, Server("b")]) as pool, asyncio.timeout(5):
        forgetful.last_used = -1  # so that it is chosen first
        tile = asyncio.create_task(pool.enlarge(request()))
        await settled()
        forgetful.says(State.READY)
        assert (await tile).server == "b"
        assert forgetful.strikes == 0


async def test_tile_whose_model_nobody_can_load_is_given_up_at_once() -> None:
    """This happens if the files of a model were removed. No engine can compute it, although all members are ready."""
    servers = [Server("a", Forgetful()), Server("b", Forgetful())]
    async with Pool(servers, hopeless_s=1000) as pool, asyncio.timeout(5):
        tile = asyncio.create_task(pool.enlarge(request()))
        while not tile.done():
            await settled()
            for server in servers:
                server.says(State.READY)
        with pytest.raises(NoEngineReady, match="no model server has nearest in f32 ready"):
            await tile
        assert all(server.strikes == 0 for server in servers)


async def test_hope_may_return_in_time() -> None:
    """A member that was gone answers again before the tiles are given up."""
    server = Server("only", state=State.GONE)
    async with Pool([server], hopeless_s=1000) as pool, asyncio.timeout(5):
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: server.probes > 0)
        server.says(State.READY)
        assert (await tile).server == "only"
