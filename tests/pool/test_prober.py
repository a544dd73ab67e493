"""Probes of the members of a pool: what is logged, and when a process is replaced."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from support.fakes import FailsFirst, HeldEngine, NearestEngine
from support.pool_servers import Server, counts, failing, request, sent, until

from enlarger.errors import (
    EngineFailed,
    EngineLost,
    OpenFilesExhausted,
)
from enlarger.pool.health import Health, State
from enlarger.pool.policy import Wear
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness


async def test_struck_member_returns_after_a_good_probe() -> None:
    """Here it is the only one, so its tile waits for that."""
    bad = failing("bad", EngineFailed("e"))
    async with Pool([bad]) as pool, asyncio.timeout(5):
        result = await pool.enlarge(request())
    assert (result.server, result.attempts) == ("bad", 2)
    assert (bad.strikes, bad.state) == (1, State.READY)


async def test_ejected_member_returns() -> None:
    """Its time is over and two probes were good."""
    server = Server("only")
    server.health = Health(state=State.EJECTED, ejected_until=0.0)
    async with Pool([server]):
        await server.probed(2)
        assert server.state is State.READY


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
    """The pool cannot start another one."""
    server = Server("only")
    server.uses(rss_bytes=1 << 40)
    async with Pool([server], wear=Wear(rss_bytes=1)):
        await server.probed(2)
        assert server.state is State.READY


async def test_member_that_becomes_ready_gets_waiting_tiles() -> None:
    """The next probe finds it ready. No new tile is needed for that."""
    server = Server("only", state=State.STARTING)
    async with Pool([server]) as pool, asyncio.timeout(5):
        tiles = sent(pool, 3)
        await until(lambda: server.probes > 0)
        assert counts(pool) == "Pool 0/1 ready | 3 waiting, 0 in flight"
        server.says(State.READY)
        results = await asyncio.gather(*tiles)
    assert [result.server for result in results] == ["only"] * 3


async def test_restarted_member_works_on() -> None:
    """A member that was lost with its tile comes back as another instance, and computes the tile."""
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
    """An unexpected exception in a probe, or in its consequences, is logged once. The member is probed again."""
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


@pytest.mark.parametrize("state", [State.READY, State.GONE])
async def test_member_that_cannot_be_asked_stays_as_it_is(state: State) -> None:
    """This process has no file left for a connection. However long that lasts, no process is ended for it."""
    server = Server("only", state=state, supervised=True)
    answer = server.probe

    async def cannot_ask() -> Readiness:
        server.probes += 1
        raise OpenFilesExhausted("the server has too many files and connections open")

    with capture_logs() as logs:
        async with Pool([server], hung_s=0.05):
            await server.probed(2)
            server.probe = cannot_ask
            await server.probed()
            await asyncio.sleep(0.1)
            await server.probed(5)
            assert (server.state, server.restarted.is_set()) == (state, False)
            server.probe = answer
            await server.probed()
            assert (server.state, server.restarted.is_set()) == (state, False)
    unasked = [entry for entry in logs if entry["event"] == "server_not_probed"]
    assert [entry["server"] for entry in unasked] == ["only"]


@pytest.mark.parametrize("state", [State.GONE, State.FAILED, State.INCOMPATIBLE])
async def test_server_that_stays_unusable_is_not_logged_at_each_probe(state: State) -> None:
    """The reason is logged when it becomes unusable, and then at growing intervals. After it has recovered, it is logged again."""
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


async def test_hung_member_is_restarted() -> None:
    """Its process still runs, but it does not answer probes."""
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
    """This holds for every answer."""
    server = Server("only", state=state, supervised=True)
    async with Pool([server], hung_s=0):
        await server.probed(3)
    assert not server.restarted.is_set()
