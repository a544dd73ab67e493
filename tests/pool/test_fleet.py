"""Model servers as one engine that is entered and left: processes, connections, members and pool."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import NEAREST, NearestEngine, nearest
from support.model_servers import running
from support.pictures import noise
from support.supervised import WAITS, Scripts, lives

from enlarger import config
from enlarger.engine.tile import TileRequest
from enlarger.pool.fleet import Fleet
from enlarger.pool.pool import Pool

TOKEN = "a token that is long enough"

LATE = ("aiohttp", "enlarger.wire", "enlarger.pool.pool", "enlarger.pool.remote")
"""Modules of the gateway that speaks to model servers."""

ORDER = f"""
LATE = {LATE}
import asyncio, sys
from enlarger import config
from enlarger.pool.fleet import Fleet

class Command:
    environment = {{}}
    def arguments(self, number, *, again):
        print("server", number, *(name for name in LATE if name in sys.modules))
        return [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]

async def main():
    settings = config.load(num_servers=2).pool
    async with Fleet(settings, command=Command(), on_refused=sys.exit):
        print("entered", *(name for name in LATE if name in sys.modules))

asyncio.run(main())
"""


def fleet_of(
    command: Scripts, *, on_refused: Callable[[], None] = lambda: None, **settings: Any
) -> Fleet:
    """A fleet of these servers; settings by attribute name."""
    return Fleet(config.load(**settings).pool, command=command, on_refused=on_refused)


def listens_on(port: int) -> str:
    """Return a script that takes the place of a model server and listens on this port."""
    return f"print('listening on port {port}', flush=True); {WAITS}"


async def enlarged(pool: Pool) -> None:
    """Upscale a tile, and check that it succeeds."""
    tile = noise(8, 10, 3)
    request = TileRequest(
        pixels=tile,
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + 100,
        request_id="fleet",
        owner="fleet",
        index=0,
    )
    result = await pool.enlarge(request)
    np.testing.assert_array_equal(result.pixels, nearest(tile, NEAREST.scale))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing is told of it
            await asyncio.sleep(0.01)


async def test_servers_started_here_compute_through_the_pool() -> None:
    """Entering starts the processes; the address that each one prints is where its tiles go."""
    engine = NearestEngine()
    async with running(engine) as server:
        command = Scripts(listens_on(server.port))
        async with fleet_of(command, num_servers=2) as pool:
            assert [member.name for member in pool.servers] == ["server-0", "server-1"]
            await pool.started(patience_s=10)
            await enlarged(pool)
    assert sorted(command.starts) == [0, 1]
    assert len(engine.requests) == 1


async def test_server_that_ends_has_no_address_until_it_is_back() -> None:
    """Its member is starting then, and takes tiles again once the next process listens."""
    async with running(NearestEngine()) as server:
        command = Scripts(f"LIFE == 1 or input(); {listens_on(server.port)}")
        async with fleet_of(command, num_servers=1) as pool:
            await pool.started(patience_s=10)
            (member,) = pool.members
            assert member.restart is not None
            member.restart()
            await until(lambda: pool.servers[0].state == "starting")
            assert not pool.servers[0].is_ready
            assert pool.servers[0].may_return
            await until(lambda: command.starts == [0, 0])
    assert not pool.servers[0].is_ready


async def test_servers_of_others_are_only_connected_to() -> None:
    """With ``ENLARGER_SERVERS`` no process is started, none is ended, and our token is shown."""
    command = Scripts(WAITS)
    async with running(NearestEngine(), token=TOKEN) as server:
        fleet = fleet_of(command, num_servers=3, servers=server.address, tile_token=TOKEN)
        async with fleet as pool:
            await pool.started(patience_s=10)
            await enlarged(pool)
            assert [member.restart for member in pool.members] == [None]
    assert command.starts == []


async def test_setting_that_a_server_cannot_use_is_reported() -> None:
    """A server that ends with the status of a wrong setting is not started again."""
    refused = asyncio.Event()
    command = Scripts("sys.exit(2)")
    async with fleet_of(command, on_refused=refused.set, num_servers=1):
        async with asyncio.timeout(10):
            await refused.wait()
    assert command.starts == [0]


@pytest.mark.parametrize("error", [None, ZeroDivisionError()], ids=["as it should", "by an error"])
async def test_leaving_ends_the_processes(error: Exception | None, tmp_path: Path) -> None:
    """This holds for every way of leaving, and although the server does not listen yet."""
    note = tmp_path / "pid"
    command = Scripts(f"open({str(note)!r}, 'w').write(str(os.getpid()) + '.'); {WAITS}")
    with suppress(ZeroDivisionError):
        async with fleet_of(command, num_servers=1):
            await until(lambda: note.exists() and note.read_text().endswith("."))
            if error is not None:
                raise error
    assert not lives(int(note.read_text().removesuffix(".")))


def test_processes_are_started_before_what_speaks_to_them_is_imported() -> None:
    """The quick start: the servers come up while this process imports, so both take no longer than one."""
    output = subprocess.run(
        [sys.executable, "-c", ORDER], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert output.splitlines() == ["server 0", "server 1", f"entered {' '.join(LATE)}"]
