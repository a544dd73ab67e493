"""Many engines as one: where tiles go, what a failure costs, and what is given back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest, need_of
from pictures import noise
from structlog.testing import capture_logs

from enlarger.engine import Engine
from enlarger.engine.tile import EngineFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    BadTile,
    Busy,
    DeadlineExceeded,
    Draining,
    EngineFailed,
    EngineLost,
    EnlargerError,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    OutOfMemory,
    Starting,
    TileTooLarge,
    Unauthorized,
    WrongOutput,
)
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.policy import NeverBegun, Wear, may_eject
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness

LONG_S = 100
"""A deadline that plays no part."""


class Server(Member):
    """A member whose probe answers what a test says."""

    def __init__(
        self,
        name: str,
        engine: Engine | None = None,
        *,
        state: State = State.READY,
        supervised: bool = False,
    ) -> None:
        self.probes = 0
        self.restarted = asyncio.Event()
        engine = engine or NearestEngine()
        super().__init__(
            name,
            engine,
            probe=self._answer,
            restart=self.restarted.set if supervised else None,
        )
        self.says(state)
        self.learn(self._readiness)

    def says(self, state: State, *, instance: str = "1") -> None:
        """What the next probes find, the first of them soon."""
        ready = state is State.READY
        self._readiness = Readiness(
            state, self.engine.facts() if ready else None, None if state is State.GONE else instance
        )
        self.changed.set()

    def uses(self, *, rss_bytes: int | None = None, tiles_done: int | None = None) -> None:
        """What the next probes find of its process."""
        self._readiness = replace(self._readiness, rss_bytes=rss_bytes, tiles_done=tiles_done)

    def explains(self, reason: str) -> None:
        """What the next probes find to be the reason."""
        self._readiness = replace(self._readiness, reason=reason)

    async def probed(self, times: int = 1) -> None:
        """Wait for so many more probes, without waiting between them."""
        for _ in range(times):
            before = self.probes
            self.changed.set()
            await until(partial(self._probed_since, before))
            await settled()

    def _probed_since(self, before: int) -> bool:
        return self.probes > before

    async def _answer(self) -> Readiness:
        self.probes += 1
        return self._readiness


def request(
    *,
    size: tuple[int, int] = (4, 4),
    request_id: str = "r-1",
    owner: str | None = None,
    index: int = 0,
    left_s: float = LONG_S,
    admitted_at: float = 0.0,
) -> TileRequest:
    """A tile for ``NEAREST``; of the request with that id, unless its owner is said."""
    return TileRequest(
        pixels=noise(*size, 3, seed=index),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id=request_id,
        owner=request_id if owner is None else owner,
        index=index,
        admitted_at=admitted_at,
    )


def sent(
    pool: Pool,
    tiles: int,
    *,
    request_id: str = "r-1",
    owner: str | None = None,
    admitted_at: float = 0.0,
) -> list[asyncio.Task[TileResult]]:
    """Tiles of one request, all at once."""
    return [
        asyncio.create_task(
            pool.enlarge(
                request(request_id=request_id, owner=owner, index=index, admitted_at=admitted_at)
            )
        )
        for index in range(tiles)
    ]


def counts(pool: Pool) -> str:
    """What the pool says of itself, without what it says of each member."""
    return " | ".join(repr(pool).strip("<>").split(" | ")[:2])


async def settled() -> None:
    """Let all tasks run as far as they come: nothing here waits for anything outside."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


# Where a tile goes


async def test_answer_is_the_members_with_its_name() -> None:
    """The pixels, and who made them at which attempt."""
    asked = request()
    result = await Pool([Member("only", NearestEngine())]).enlarge(asked)
    assert np.array_equal(result.pixels, nearest(asked.pixels, 4))
    assert (result.server, result.attempts, result.engine) == ("only", 1, "nearest")


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
    """One tile after the other goes round."""
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
    """One that is being computed and one that waits at the server already: the seat that comes free is its own."""
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
    """However many come after it, and in whatever order: what counts is when each was admitted."""
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
        """See above."""
        self.looks += 1
        return self.health.state


@pytest.mark.parametrize("state", [State.SUSPECT, State.GONE, State.EJECTED])
async def test_member_that_is_out_makes_nobody_look_at_all_that_wait(state: State) -> None:
    """It has free seats for seconds, and hundreds of tiles wait: twice as many take twice as many looks, not four times."""

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
    """Though a ready one has what others need, and is full with it."""
    other = replace(NEAREST, sha256="1" * 64)
    full, ejected = (
        Server("full", HeldEngine(capacity=1)),
        Server("ejected", NearestEngine([other])),
    )
    full.take(1, 0)
    ejected.health = Health(state=State.EJECTED, ejected_until=1e9)
    asked = replace(request(), weights_sha256="1" * 64)
    async with asyncio.timeout(5):
        assert (await Pool([full, ejected]).enlarge(asked)).server == "ejected"


# When nobody waits in the pool any more


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
    """Nor one that waits while all are busy, nor one that would be done later elsewhere."""

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
    bad.take(1, 0)  # by somebody else, so that the first tile goes to the good one
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
    """At the moment when it is called back; others are moved as ever."""
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


# When a member fails


def failing(name: str, error: EnlargerError, *, failures: int = 1) -> Server:
    """A server that fails first and then works."""
    return Server(name, FailsFirst(NearestEngine(), failures=failures, error=error))


@pytest.mark.parametrize("error", [EngineFailed("e"), WrongOutput("e"), EngineLost("e")])
async def test_failed_tile_goes_to_another_member(error: EnlargerError) -> None:
    """The failure is a strike: no more tiles for that member until a probe says it is well."""
    bad, good = failing("bad", error), Server("good")
    result = await Pool([bad, good]).enlarge(request())
    assert (result.server, result.attempts) == ("good", 2)
    assert (bad.strikes, bad.state) == (1, State.SUSPECT)
    assert (good.strikes, good.state) == (0, State.READY)
    assert (bad.tiles_done, good.tiles_done) == (0, 1)
    assert bad.changed.is_set()  # it is probed at once


async def test_failed_tile_waits_for_a_member_that_is_full() -> None:
    """The one that fails is well again at each probe and has room; the tile would be lost there within milliseconds."""
    engine = HeldEngine(capacity=1)
    bad, good = failing("bad", EngineFailed("e"), failures=100), Server("good", engine)
    async with Pool([bad, good]) as pool, asyncio.timeout(5):
        good.take(1, 0)
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: bad.strikes == 1)
        await bad.probed(2)
        assert (bad.state, bad.in_flight, tile.done()) == (State.READY, 0, False)
        good.give_back(1)
        pool.nudge()
        engine.let_go()
        assert ((await tile).server, (await tile).attempts) == ("good", 2)
    assert bad.strikes == 1


async def test_struck_member_returns_after_a_good_probe() -> None:
    """Here it is the only one, so its tile waits for that."""
    bad = failing("bad", EngineFailed("e"))
    async with Pool([bad]) as pool, asyncio.timeout(5):
        result = await pool.enlarge(request())
    assert (result.server, result.attempts) == ("bad", 2)
    assert (bad.strikes, bad.state) == (1, State.READY)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(EngineFailed("e"), 3), (WrongOutput("e"), 3), (OutOfMemory("e"), 3), (EngineLost("e"), 5)],
)
@pytest.mark.parametrize("members", [1, 2])
async def test_tile_fails_for_good_after_so_many_attempts(
    error: EnlargerError, attempts: int, members: int
) -> None:
    """Three failures, or five servers lost under it; the error that ended it is raised."""
    engine = FailsFirst(NearestEngine(), failures=100, error=error)
    servers = [Server(f"s{number}", engine) for number in range(members)]
    async with Pool(servers) as pool, asyncio.timeout(5):
        with pytest.raises(type(error)) as raised:
            await pool.enlarge(request())
        assert raised.value is error
        assert pool.facts().in_flight == 0
    assert engine.left == 100 - attempts


class Dying(NearestEngine):
    """Loses all tiles that it holds when it dies."""

    def __init__(self) -> None:
        super().__init__()
        self.dies = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The first tile is done when it may go on; the others when it dies."""
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
    """The one before it was done a while ago."""
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


async def test_losses_do_not_use_up_the_attempts() -> None:
    """Four servers lost and two failures: the seventh attempt may still succeed."""
    engine: Engine = FailsFirst(NearestEngine(), failures=2, error=EngineFailed("e"))
    engine = FailsFirst(engine, failures=4, error=EngineLost("e"))
    async with Pool([Server("only", engine)]) as pool, asyncio.timeout(5):
        assert (await pool.enlarge(request())).attempts == 7


async def test_out_of_memory_is_no_strike() -> None:
    """The tile goes elsewhere, but the server is sound and keeps its other tiles."""
    small, large = failing("small", OutOfMemory("e")), Server("large")
    result = await Pool([small, large]).enlarge(request())
    assert (result.server, result.attempts) == ("large", 2)
    assert (small.strikes, small.state) == (0, State.READY)


@pytest.mark.parametrize(
    "error", [BadTile("e"), TileTooLarge("e"), DeadlineExceeded("e"), InvalidOption("e")]
)
async def test_fault_of_the_tile_is_raised_at_once(error: EnlargerError) -> None:
    """No other server would do better, and this one is not to blame."""
    first, second = failing("first", error), Server("second")
    pool = Pool([first, second])
    with pytest.raises(type(error)) as raised:
        await pool.enlarge(request())
    assert raised.value is error
    assert second.tiles_done == 0
    assert (first.strikes, first.state) == (0, State.READY)
    assert counts(pool) == "Pool 2/2 ready | 0 waiting, 0 in flight"


async def test_error_that_is_not_ours_gives_the_seat_back() -> None:
    """A fault in an engine's code must not cost the pool a seat."""

    class Broken(NearestEngine):
        async def enlarge(self, request: TileRequest) -> TileResult:
            raise ZeroDivisionError

    pool = Pool([Member("broken", Broken())])
    with pytest.raises(ZeroDivisionError):
        await pool.enlarge(request())
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


async def test_third_failure_in_a_row_ejects_a_member() -> None:
    """It says each time that it is well; after the third it gets no more tiles for a while."""
    bad, good = failing("bad", EngineFailed("e"), failures=100), Server("good")
    async with Pool([bad, good]) as pool, asyncio.timeout(5):
        for _ in range(3):
            # At rest the one that was used longest ago is next: it is the turn of the bad one.
            bad.last_used = -1
            assert (await pool.enlarge(request())).server == "good"
            await bad.probed()
        assert (bad.strikes, bad.ejections, bad.state) == (3, 1, State.EJECTED)
        bad.last_used = -1
        assert (await pool.enlarge(request())).attempts == 1
        assert pool.ready == [good]


async def test_no_more_than_half_are_ejected_however_many_tiles_fail_at_once() -> None:
    """Of four, two: those that were in flight at an ejected one fail, too, and do not make it count as one that is in."""
    servers = [Server(f"s{number}") for number in range(4)]
    pool = Pool(servers)
    for server in servers[:3]:
        for _ in range(4):
            server.strike(may_eject=may_eject(pool.members))
    assert [server.state for server in servers] == [
        State.EJECTED,
        State.EJECTED,
        State.SUSPECT,
        State.READY,
    ]
    assert [server.ejections for server in servers] == [1, 1, 0, 0]


async def test_ejected_member_that_did_a_tile_stays() -> None:
    """It got it since no other was left. The next good probe finds it ready, and not back in its time out."""
    server = Server("only")
    server.health = Health(state=State.EJECTED, ejected_until=1e9)
    async with Pool([server]) as pool, asyncio.timeout(5):
        await pool.enlarge(request())
        await server.probed(2)
        assert server.state is State.READY


async def test_ejected_member_returns() -> None:
    """Its time is over and two probes were good."""
    server = Server("only")
    server.health = Health(state=State.EJECTED, ejected_until=0.0)
    async with Pool([server]):
        await server.probed(2)
        assert server.state is State.READY


async def test_when_all_are_out_the_ejected_are_tried() -> None:
    """One of two was ejected, the other one is gone: a server that may work is better than none."""
    ejected, gone = Server("ejected"), Server("gone", state=State.GONE)
    ejected.health = Health(state=State.EJECTED, ejected_until=1e9)
    async with Pool([ejected, gone]) as pool, asyncio.timeout(5):
        assert pool.ready == [ejected]
        assert await pool.ready_for(need_of()) is NEAREST
        assert (await pool.enlarge(request())).server == "ejected"
    assert ejected.state is State.READY


async def test_single_member_is_never_ejected() -> None:
    """Nobody could do without it."""
    bad = failing("only", EngineFailed("e"), failures=8)
    async with Pool([bad]) as pool, asyncio.timeout(5):
        for expected in (EngineFailed, EngineFailed, None):
            results = await asyncio.gather(pool.enlarge(request()), return_exceptions=True)
            assert isinstance(results[0], expected or TileResult)
    assert (bad.strikes, bad.ejections, bad.state) == (8, 0, State.READY)


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


# When a member has no room or is not ready


async def test_busy_is_neither_a_strike_nor_an_attempt() -> None:
    """However often: somebody else uses the server too."""
    server = failing("only", Busy("2 of 2 seats taken", retry_after_s=0.001), failures=9)
    result = await Pool([server]).enlarge(request())
    assert (result.server, result.attempts) == ("only", 1)
    assert (server.strikes, server.state) == (0, State.READY)


async def test_busy_member_is_left_for_another() -> None:
    """A busy one keeps its seat taken for a moment; then the tile goes elsewhere."""
    busy, idle = failing("busy", Busy("e", retry_after_s=0.001), failures=1), Server("idle")
    result = await Pool([busy, idle]).enlarge(request())
    assert (result.server, result.attempts) == ("idle", 1)


async def test_busy_pause_ends_with_the_deadline() -> None:
    """However long the server asks us to wait."""
    server = failing("only", Busy("e", retry_after_s=1000))
    pool = Pool([server])
    async with asyncio.timeout(1):
        with pytest.raises(DeadlineExceeded):
            await pool.enlarge(request(left_s=0.05))
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (Starting("e"), State.STARTING),
        (Draining("e"), State.DRAINING),
        (ModelNotHere("e"), State.STARTING),
        (Unauthorized("e"), State.INCOMPATIBLE),
    ],
)
async def test_member_that_says_it_cannot_is_out_of_rotation(
    refusal: EnlargerError, state: State
) -> None:
    """Until probes say otherwise; neither a strike nor an attempt."""
    first, second = failing("first", refusal), Server("second")
    result = await Pool([first, second]).enlarge(request())
    assert (result.server, result.attempts) == ("second", 1)
    assert (first.strikes, first.state) == (0, state)
    assert first.changed.is_set()  # it is probed at once


async def test_member_without_a_probe_stays_ready() -> None:
    """An engine of this process has nobody to ask: it is tried again."""
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
    """Shorter than the shortest attempt: half of it is given to the first server, and the picture is made in time."""
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
        quick.take(1e6, 0)  # both go to the one that is stuck
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


async def test_worn_member_is_replaced_without_a_failure() -> None:
    """It gets no more tiles, finishes those it has, and is ended when it has none; one at a time."""
    engines = [HeldEngine(), HeldEngine()]
    servers = [
        Server(f"s{number}", engine, supervised=True) for number, engine in enumerate(engines)
    ]
    async with Pool(servers, wear=Wear(tiles=5)) as pool, asyncio.timeout(5):
        tiles = sent(pool, 1)
        await engines[0].holds(1)
        for server in servers:
            server.uses(tiles_done=5)
        await servers[0].probed(2)
        await servers[1].probed(2)
        assert [server.state for server in servers] == [State.DRAINING, State.READY]
        tiles += sent(pool, 2)
        await engines[1].holds(2)
        assert not servers[0].restarted.is_set()
        engines[0].let_go()
        assert (await tiles[0]).attempts == 1
        await servers[0].probed()
        assert servers[0].restarted.is_set()
        servers[0].uses(tiles_done=0)
        servers[0].says(State.READY, instance="2")
        servers[0].lose()
        await servers[0].probed()
        await servers[1].probed()
        assert [server.state for server in servers] == [State.READY, State.DRAINING]
        engines[1].let_go()
        assert {result.attempts for result in await asyncio.gather(*tiles)} == {1}


async def test_member_that_somebody_else_runs_is_not_replaced() -> None:
    """Nobody would start another."""
    server = Server("only")
    server.uses(rss_bytes=1 << 40)
    async with Pool([server], wear=Wear(rss_bytes=1)):
        await server.probed(2)
        assert server.state is State.READY


async def test_time_of_an_attempt_grows_with_the_work() -> None:
    """At a measured speed of 0.1 MFLOP/s a tile of 16 MFLOP may take 640 s: its deadline is what ends it."""
    stuck = StuckEngine()
    slow = Server("slow", stuck)
    slow.mflop_per_s = 0.1
    with pytest.raises(DeadlineExceeded):
        await Pool([slow], min_attempt_s=0.01).enlarge(request(left_s=0.1))
    assert slow.strikes == 0


async def test_deadline_ends_a_tile_that_is_being_computed() -> None:
    """It is the picture's time that is over: no fault of the member, which is known to be slow."""
    stuck = StuckEngine()
    server = Server("only", stuck)
    server.mflop_per_s = 0.1
    pool = Pool([server])
    with pytest.raises(DeadlineExceeded):
        await pool.enlarge(request(left_s=0.05))
    assert stuck.cancelled == 1
    assert (server.strikes, server.state) == (0, State.READY)
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


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


async def test_passed_deadline_sends_nothing() -> None:
    """The answer would be worthless."""
    engine = NearestEngine()
    with pytest.raises(DeadlineExceeded):
        await Pool([Member("only", engine)]).enlarge(request(left_s=-1))


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
    """Both in one turn of the event loop: it was seated and had not gone on yet."""
    engine = HeldEngine(capacity=1)
    member = Member("only", engine)
    pool = Pool([member])
    member.take(1, 0)
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
    """There is nothing to forgive."""
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


async def test_member_that_becomes_ready_gets_waiting_tiles() -> None:
    """Without anybody asking: its next probe says so."""
    server = Server("only", state=State.STARTING)
    async with Pool([server]) as pool, asyncio.timeout(5):
        tiles = sent(pool, 3)
        await until(lambda: server.probes > 0)
        assert counts(pool) == "Pool 0/1 ready | 3 waiting, 0 in flight"
        server.says(State.READY)
        results = await asyncio.gather(*tiles)
    assert [result.server for result in results] == ["only"] * 3


async def test_restarted_member_works_on() -> None:
    """Lost under a tile, gone, and back as another instance: the tile is done by it."""
    server = Server("only", FailsFirst(NearestEngine(), failures=1, error=EngineLost("e")))
    server.says(State.GONE)
    async with Pool([server]) as pool, asyncio.timeout(5):
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: server.state is State.GONE)
        server.says(State.READY, instance="2")
        assert (await tile).attempts == 2
    assert server.instance == "2"


async def test_leaving_the_pool_ends_its_probes() -> None:
    """Nothing runs on behind the caller's back."""
    others = asyncio.all_tasks()
    server = Server("only")
    async with Pool([server, Server("second")]):
        await until(lambda: server.probes > 0)
        assert len(asyncio.all_tasks() - others) == 2
    assert asyncio.all_tasks() == others


async def test_probe_that_breaks_is_not_the_last_one() -> None:
    """What nobody foresaw, in a probe or in what follows from it, is logged once; the member is looked at again."""
    server = Server("only", state=State.STARTING)
    outcomes = iter([ZeroDivisionError(), RuntimeError()])

    async def breaks() -> Readiness:
        server.probes += 1
        for error in outcomes:
            raise error
        return Readiness(State.READY, server.engine.facts(), "1")

    server.probe = breaks
    with capture_logs() as logs:
        async with Pool([server]) as pool, asyncio.timeout(5):
            assert (await pool.enlarge(request())).server == "only"
    assert server.probes >= 3
    failed = [entry for entry in logs if entry["event"] == "probe_failed"]
    assert [(entry["server"], entry["log_level"]) for entry in failed] == [("only", "error")]


@pytest.mark.parametrize("state", [State.GONE, State.FAILED, State.INCOMPATIBLE])
async def test_server_that_stays_unusable_is_not_logged_at_each_probe(state: State) -> None:
    """It is said with its reason when it becomes so, and then at growing intervals; and again after it was well."""
    server = Server("server-1")
    with capture_logs() as logs:
        async with Pool([server]):
            await server.probed()
            for _ in range(2):
                server.says(state)
                await server.probed(20)
                server.says(State.READY)
                await server.probed(3)
    lines = [
        (entry["log_level"], entry["server"], entry["state"], entry["left_out"] > 10)
        for entry in logs
        if entry["event"] == "server_unusable"
    ]
    assert lines == [
        ("warning", "server-1", state.value, False),
        ("warning", "server-1", state.value, True),
    ]


async def test_reason_why_a_server_is_unusable_is_logged() -> None:
    """In the words of the probe."""
    server = Server("server-1", state=State.INCOMPATIBLE)
    server.explains("it refuses our token")
    with capture_logs() as logs:
        async with Pool([server]):
            await server.probed()
    reasons = [entry["reason"] for entry in logs if entry["event"] == "server_unusable"]
    assert reasons == ["it refuses our token"]


# When there is no hope


@pytest.mark.parametrize("state", [State.FAILED, State.INCOMPATIBLE, State.GONE])
async def test_waiting_tiles_are_given_up_when_no_member_may_return(state: State) -> None:
    """After a while, so that one may be restarted by hand."""
    pool = Pool([Server("a", state=state), Server("b", state=state)], hopeless_s=0.1)
    async with pool, asyncio.timeout(5):
        results = await asyncio.gather(*sent(pool, 3), return_exceptions=True)
    assert [type(result) for result in results] == [NoEngineReady] * 3
    assert counts(pool) == "Pool 0/2 ready | 0 waiting, 0 in flight"


async def test_tile_waits_while_there_is_hope() -> None:
    """The last member is gone but supervised: its successor is on its way."""
    server = Server("only", state=State.GONE, supervised=True)
    async with Pool([Server("failed", state=State.FAILED), server], hopeless_s=0) as pool:
        tile = asyncio.create_task(pool.enlarge(request()))
        await until(lambda: server.probes > 0)
        await settled()
        assert not tile.done()
        server.says(State.READY)
        assert (await tile).server == "only"


class Forgetful(NearestEngine):
    """Finds at its first tile that it cannot load the model, and offers it no more."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Refuse it."""
        self._has_model = False
        raise ModelNotHere("own.bin: cannot be read")

    def facts(self) -> EngineFacts:
        """Without the model from then on."""
        facts = super().facts()
        return facts if getattr(self, "_has_model", True) else replace(facts, models=())


async def test_tile_goes_elsewhere_from_a_member_that_cannot_load_the_model() -> None:
    """That is no strike: its other models work."""
    forgetful = Server("a", Forgetful())
    async with Pool([forgetful, Server("b")]) as pool, asyncio.timeout(5):
        forgetful.last_used = -1  # so that it is chosen first
        tile = asyncio.create_task(pool.enlarge(request()))
        await settled()
        forgetful.says(State.READY)
        assert (await tile).server == "b"
        assert forgetful.strikes == 0


async def test_tile_whose_model_nobody_can_load_is_given_up_at_once() -> None:
    """As where its files were removed: no engine is ready for it, though all members are."""
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


async def test_hung_member_is_restarted() -> None:
    """Its process lives, as nobody said otherwise, but it does not answer."""
    server = Server("only", state=State.GONE, supervised=True)
    async with Pool([server], hung_s=0):
        await server.probed(2)
        assert server.restarted.is_set()


async def test_silent_member_is_not_restarted_before_its_time() -> None:
    """A few missed probes happen on a busy machine."""
    server = Server("only", state=State.GONE, supervised=True)
    async with Pool([server], hung_s=1000):
        await server.probed(3)
    assert not server.restarted.is_set()


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.FAILED])
async def test_member_that_answers_is_not_restarted(state: State) -> None:
    """Whatever it answers."""
    server = Server("only", state=state, supervised=True)
    async with Pool([server], hung_s=0):
        await server.probed(3)
    assert not server.restarted.is_set()


# Readiness


async def test_ready_for_gives_the_models_facts() -> None:
    """Those of a ready member that has it."""
    other = replace(NEAREST, id="other", sha256="1" * 64)
    pool = Pool([Server("a", NearestEngine([other])), Server("b", NearestEngine([NEAREST]))])
    assert await pool.ready_for(need_of()) is NEAREST
    assert await pool.ready_for(need_of(other)) is other


@pytest.mark.parametrize("state", [State.FAILED, State.INCOMPATIBLE, State.GONE, State.DRAINING])
async def test_ready_for_does_not_wait_for_what_will_not_come(state: State) -> None:
    """Members that failed, are gone or of another version."""
    async with asyncio.timeout(5):
        with pytest.raises(NoEngineReady) as raised:
            await Pool([Server("only", state=state)]).ready_for(need_of())
    assert raised.value.retry_after_s == 5


async def test_ready_for_a_model_that_no_ready_member_has_is_an_error() -> None:
    """Nobody is about to bring it, or these weights of it."""
    pool = Pool([Server("only"), Server("failed", state=State.FAILED)])
    for model_id, sha256 in [("no-such", NEAREST.sha256), (NEAREST.id, "1" * 64)]:
        async with asyncio.timeout(5):
            with pytest.raises(NoEngineReady):
                await pool.ready_for(
                    Need(model=model_id, weights_sha256=sha256, scale=NEAREST.scale)
                )


async def test_ready_for_waits_for_a_member_that_starts() -> None:
    """And no longer than until it is ready, or has failed."""
    first, second = (Server(name, state=State.STARTING) for name in ("first", "second"))
    async with Pool([first, second]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.ready_for(need_of()))
        first.says(State.FAILED)
        await until(lambda: first.state is State.FAILED)
        await settled()
        assert not waiting.done()
        second.says(State.READY)
        assert await waiting is NEAREST


async def test_ready_for_ends_when_the_last_hope_fails() -> None:
    """The member that was starting missed its self-test."""
    server = Server("only", state=State.STARTING)
    async with Pool([server]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.ready_for(need_of()))
        await until(lambda: server.probes > 0)
        assert not waiting.done()
        server.says(State.FAILED)
        with pytest.raises(NoEngineReady):
            await waiting


async def test_started_waits_for_all_members() -> None:
    """While there is patience."""
    first, second = (Server(name, state=State.STARTING) for name in ("first", "second"))
    async with Pool([first, second]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.started(patience_s=1000))
        first.says(State.READY)
        await until(lambda: len(pool.ready) == 1)
        await settled()
        assert not waiting.done()
        second.says(State.READY)
        await waiting


async def test_started_is_patient_with_all_but_the_first() -> None:
    """One ready member is enough after that time; none is not."""
    first, second = (Server(name, state=State.STARTING) for name in ("first", "second"))
    async with Pool([first, second]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.started(patience_s=0))
        await second.probed(2)
        assert not waiting.done()
        first.says(State.READY)
        await waiting
        assert pool.ready == [first]


# What the pool says of itself


class Fast(NearestEngine):
    """Says that it computes two tiles at a time, of four that it takes."""

    def facts(self) -> EngineFacts:
        """See above."""
        return replace(super().facts(), capacity=4, parallel=2)


async def test_pools_facts_are_those_of_its_ready_members() -> None:
    """Seats and tiles at a time add up. Of those measured half do 10 and half 5, which is also taken for the last one."""
    other = replace(NEAREST, id="other", sha256="1" * 64)
    members = [
        Server("a", Fast(mflop_per_s=10)),
        Server("b", Fast([other], mflop_per_s=5)),
        Server("c", Fast(mflop_per_s=99), state=State.FAILED),
        Server("d", Fast()),
    ]
    facts = Pool(members).facts()
    assert (facts.engine, facts.ready, facts.capacity, facts.in_flight) == ("pool", True, 12, 0)
    assert (facts.mflop_per_s, facts.parallel, facts.all_mflop_per_s) == (7.5, 6, 45)
    assert {model.id for model in facts.models} == {NEAREST.id, "other"}


async def test_pool_knows_its_speed_while_all_members_restart() -> None:
    """Who is admitted meanwhile is told the truth. What a member did counts that comes back; one of others' may not."""
    supervised = [Server(name, Fast(mflop_per_s=10), supervised=True) for name in "ab"]
    failed, gone = (Server(name, Fast(mflop_per_s=99)) for name in "cd")
    pool = Pool([*supervised, failed, gone])
    failed.learn(Readiness(State.FAILED, instance="1"))
    for _ in range(2):
        gone.learn(Readiness(State.GONE))
    for server in supervised:
        server.done(60, 2)
        server.lose()
    speed = 0.7 * 10 + 0.3 * 30
    facts = pool.facts()
    assert (facts.ready, facts.capacity, facts.models, facts.parallel) == (False, 0, (), 4)
    assert facts.mflop_per_s == pytest.approx(speed)
    # The first that is back is all that there is, and as quick as its predecessor.
    supervised[0].learn(Readiness(State.READY, Fast().facts(), "2"))
    assert pool.facts().all_mflop_per_s == pytest.approx(2 * speed)


async def test_pool_shows_its_whole_state_in_one_line() -> None:
    """For logs: each member with its state, its seats and the failures held against it."""
    engine = HeldEngine(capacity=2)
    servers = [Server("a", engine), failing("b", EngineFailed("e")), Server("c", state=State.GONE)]
    pool = Pool(servers)
    servers[1].strike(may_eject=True)
    tiles = sent(pool, 3)
    await engine.holds(2)
    assert repr(pool) == (
        "<Pool 1/3 ready | 1 waiting, 2 in flight | a ready 2/2 | b suspect 0/1000 1 strikes | c gone>"
    )
    engine.let_go()
    await asyncio.gather(*tiles)


async def test_pool_without_a_ready_member_is_not_ready() -> None:
    """It has no seats, no models and no speed."""
    facts = Pool([Server("only", state=State.GONE)]).facts()
    assert (facts.ready, facts.capacity, facts.models, facts.mflop_per_s) == (False, 0, (), None)
