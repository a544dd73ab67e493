"""Many engines as one: which engine gets a tile, what a failure costs, and what is released."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import (
    NEAREST,
    FailsFirst,
    HeldEngine,
    NearestEngine,
    StuckEngine,
    nearest,
    need_of,
)
from support.pool_servers import Server, counts, failing, request, sent, settled, until

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
    OpenFilesExhausted,
    OutOfMemory,
    Starting,
    TileTooLarge,
    Unauthorized,
    WrongOutput,
)
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.policy import may_eject
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness

# Where a tile goes


async def test_answer_is_the_members_with_its_name() -> None:
    """The result has the pixels, the name of the server, and the number of attempts."""
    asked = request()
    result = await Pool([Member("only", NearestEngine())]).enlarge(asked)
    assert np.array_equal(result.pixels, nearest(asked.pixels, 4))
    assert (result.server, result.attempts, result.engine) == ("only", 1, "nearest")


# When a member fails


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
    """Every other server would refuse the tile as well, so this one is not blamed."""
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
    """Two of four are ejected. More tiles that fail at an ejected server do not make it count as one in rotation."""
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
    """It got the tile because no other server was left. The next good probe finds it ready, and does not eject it again."""
    server = Server("only")
    server.health = Health(state=State.EJECTED, ejected_until=1e9)
    async with Pool([server]) as pool, asyncio.timeout(5):
        await pool.enlarge(request())
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
    """The pool cannot do without it."""
    bad = failing("only", EngineFailed("e"), failures=8)
    async with Pool([bad]) as pool, asyncio.timeout(5):
        for expected in (EngineFailed, EngineFailed, None):
            results = await asyncio.gather(pool.enlarge(request()), return_exceptions=True)
            assert isinstance(results[0], expected or TileResult)
    assert (bad.strikes, bad.ejections, bad.state) == (8, 0, State.READY)


# When a member has no room or is not ready


async def test_busy_is_neither_a_strike_nor_an_attempt() -> None:
    """This holds however often the server is busy, because other gateways use it too."""
    server = failing("only", Busy("2 of 2 seats taken", retry_after_s=0.001), failures=9)
    result = await Pool([server]).enlarge(request())
    assert (result.server, result.attempts) == ("only", 1)
    assert (server.strikes, server.state) == (0, State.READY)


async def test_busy_member_is_left_for_another() -> None:
    """A busy one keeps its seat taken for a moment; then the tile goes elsewhere."""
    busy, idle = failing("busy", Busy("e", retry_after_s=0.001), failures=1), Server("idle")
    result = await Pool([busy, idle]).enlarge(request())
    assert (result.server, result.attempts) == ("idle", 1)


async def test_tile_waits_for_files_of_this_process() -> None:
    """That is neither a strike nor an attempt, since it is no fault of the server."""
    exhausted = OpenFilesExhausted("too many files", retry_after_s=0.001)
    server = failing("only", exhausted, failures=9)
    result = await Pool([server]).enlarge(request())
    assert (result.server, result.attempts) == ("only", 1)
    assert (server.strikes, server.state) == (0, State.READY)


async def test_tile_that_gets_no_file_in_time_says_so() -> None:
    """The deadline alone would say nothing of the reason."""
    server = failing("only", OpenFilesExhausted("too many files", retry_after_s=5))
    pool = Pool([server])
    with pytest.raises(OpenFilesExhausted, match="too many files"):
        await pool.enlarge(request(left_s=4))
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


async def test_busy_pause_ends_with_the_deadline() -> None:
    """This holds however long the server asks the client to wait."""
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
    """It stays out until a probe finds it ready. This counts neither as a strike nor as an attempt."""
    first, second = failing("first", refusal), Server("second")
    result = await Pool([first, second]).enlarge(request())
    assert (result.server, result.attempts) == ("second", 1)
    assert (first.strikes, first.state) == (0, state)
    assert first.changed.is_set()  # it is probed at once


# Time


async def test_time_of_an_attempt_grows_with_the_work() -> None:
    """At a measured speed of 0.1 MFLOP/s a tile of 16 MFLOP may take 640 s: its deadline is what ends it."""
    stuck = StuckEngine()
    slow = Server("slow", stuck)
    slow.mflop_per_s = 0.1
    with pytest.raises(DeadlineExceeded):
        await Pool([slow], min_attempt_s=0.01).enlarge(request(left_s=0.1))
    assert slow.strikes == 0


async def test_deadline_ends_a_tile_that_is_being_computed() -> None:
    """The deadline of the picture is over. The member is known to be slow and is not blamed."""
    stuck = StuckEngine()
    server = Server("only", stuck)
    server.mflop_per_s = 0.1
    pool = Pool([server])
    with pytest.raises(DeadlineExceeded):
        await pool.enlarge(request(left_s=0.05))
    assert stuck.cancelled == 1
    assert (server.strikes, server.state) == (0, State.READY)
    assert counts(pool) == "Pool 1/1 ready | 0 waiting, 0 in flight"


async def test_passed_deadline_sends_nothing() -> None:
    """The answer would be worthless."""
    engine = NearestEngine()
    with pytest.raises(DeadlineExceeded):
        await Pool([Member("only", engine)]).enlarge(request(left_s=-1))


# Readiness


async def test_ready_for_gives_the_models_facts() -> None:
    """They are the facts of a ready member that has the model."""
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
    """No member that is starting could bring the model, or these weights of it."""
    pool = Pool([Server("only"), Server("failed", state=State.FAILED)], notice_s=0.05)
    for model_id, sha256 in [("no-such", NEAREST.sha256), (NEAREST.id, "1" * 64)]:
        async with asyncio.timeout(5):
            with pytest.raises(NoEngineReady):
                await pool.ready_for(
                    Need(model=model_id, weights_sha256=sha256, scale=NEAREST.scale)
                )


async def test_ready_for_waits_for_a_version_that_a_member_may_notice() -> None:
    """The member that had it first, which is why it is offered, may be gone by now."""
    engine = NearestEngine()
    server = Server("only", engine)
    after = replace(NEAREST, sha256="1" * 64)
    async with Pool([server, Server("first", state=State.GONE)]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.ready_for(need_of(after)))
        await settled()
        assert not waiting.done()
        engine.models = (after, NEAREST)
        server.says(State.READY)
        assert await waiting is after


async def test_ready_for_does_not_wait_for_a_model_of_which_members_have_no_version() -> None:
    """Also if they have it for smaller tiles alone, or on another device."""
    async with Pool([Server("only")], notice_s=1000) as pool, asyncio.timeout(5):
        for need in (
            replace(need_of(), model="no-such"),
            need_of(lr_px=NEAREST.max_tile_px + 1),
            replace(need_of(replace(NEAREST, sha256="1" * 64)), device="card:1"),
        ):
            with pytest.raises(NoEngineReady):
                await pool.ready_for(need)


async def test_ready_for_waits_for_a_member_that_starts() -> None:
    """It waits until that member is ready or has failed."""
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
    """It waits only for a limited time."""
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
    """After that time, one ready member is enough. No member is not."""
    first, second = (Server(name, state=State.STARTING) for name in ("first", "second"))
    async with Pool([first, second]) as pool, asyncio.timeout(5):
        waiting = asyncio.create_task(pool.started(patience_s=0))
        await second.probed(2)
        assert not waiting.done()
        first.says(State.READY)
        await waiting
        assert pool.ready == [first]


# Facts of the pool


class Fast(NearestEngine):
    """States that it takes four tiles and computes two at a time."""

    def facts(self) -> EngineFacts:
        """Return the facts with these numbers."""
        return replace(super().facts(), capacity=4, parallel=2)


async def test_pools_facts_are_those_of_its_ready_members() -> None:
    """Seats and tiles at a time are added up. One measured member computes 10 MFLOP/s and the other 5, so the third is assumed to do 7.5."""
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
    """A request that is admitted meanwhile gets a true estimate. Only members that will come back count, and those that this gateway did not start may not."""
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
