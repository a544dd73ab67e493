"""What gateways on the same model servers know of each other's work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from enlarger.jobs.presence import LEASE_S, Presence
from enlarger.jobs.rows import Rows
from enlarger.pipeline.ledger import NOWHERE, Load

SERVERS = ("one:5002", "two:5002")
GROUP = "group"


@dataclass
class Scene:
    """Gateways on one database, at a time that a test sets."""

    rows: Rows
    now: float = 1000.0

    def gateway(self, requests: int) -> Presence:
        """One that has admitted so many requests, of 10 mflop each."""
        load = Load(requests=requests, mflop=10.0 * requests, mflop_per_s=None)
        return Presence(rows=self.rows, servers=SERVERS, load=lambda: load, clock=lambda: self.now)


@pytest.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """No gateways yet, on either kind of database."""
    async with AsyncExitStack() as stack:
        yield Scene(await stack.enter_async_context(Rows(database)))


async def test_each_knows_what_the_others_reported(scene: Scene) -> None:
    """And the least that it had admitted itself the last two times."""
    one, two, three = (scene.gateway(requests) for requests in (1, 2, 4))
    for gateway in (one, two, three):
        await gateway.report(GROUP)
    assert one.elsewhere.here_requests == 0
    await one.report(GROUP)
    known = one.elsewhere
    assert (known.gateways, known.requests, known.mflop) == (2, 6, 60.0)
    assert (known.here_requests, known.here_mflop) == (1, 10.0)


async def test_other_model_servers_are_not_counted(scene: Scene) -> None:
    """Their queue is another one."""
    one, two = scene.gateway(1), scene.gateway(2)
    await two.report("another group")
    await one.report(GROUP)
    assert one.elsewhere.gateways == 0


async def test_dead_gateway_is_forgotten_after_its_lease(scene: Scene) -> None:
    """So nothing that it had admitted keeps others from work for longer than 15 s."""
    one, dead = scene.gateway(1), scene.gateway(200)
    await dead.report(GROUP)
    scene.now += LEASE_S - 0.1
    await one.report(GROUP)
    assert one.elsewhere.requests == 200
    scene.now += 0.2
    await one.report(GROUP)
    assert one.elsewhere.requests == 0
    assert LEASE_S <= 15


async def test_gateway_that_ends_says_so(scene: Scene) -> None:
    """Others know at their next report."""
    one = scene.gateway(1)
    async with scene.gateway(2) as other:
        await other.report(GROUP)
    await one.report(GROUP)
    assert one.elsewhere.gateways == 0


async def test_without_the_database_a_gateway_goes_on_alone(scene: Scene) -> None:
    """What others reported last holds for a while, and then nothing."""
    one, two = scene.gateway(1), scene.gateway(2)
    await two.report(GROUP)
    await one.report(GROUP)
    assert one.elsewhere.gateways == 1
    scene.now += LEASE_S + 0.1
    assert one.elsewhere == NOWHERE


async def test_gateway_with_servers_of_its_own_shares_nothing(scene: Scene) -> None:
    """It reports to nobody."""
    alone = Presence(
        rows=scene.rows,
        servers=(),
        load=lambda: Load(requests=5, mflop=1.0, mflop_per_s=None),
        clock=lambda: scene.now,
    )
    async with alone:
        assert alone.elsewhere == NOWHERE
    one = scene.gateway(1)
    await one.report(GROUP)
    assert one.elsewhere.gateways == 0
