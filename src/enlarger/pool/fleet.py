"""Model servers as one engine: their processes, the connections to them, and the pool over them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from enlarger.memory import importing
from enlarger.pool.supervisor import OnRefused, Startable, Supervisor, server_name

if TYPE_CHECKING:
    from enlarger.config import PoolSettings
    from enlarger.pool.member import Member
    from enlarger.pool.pool import Pool
    from enlarger.pool.remote import RemoteEngine

_CONNECT_S = 5
"""Seconds that connecting to a model server may take."""


class Fleet:
    """Starts the model servers when it is entered, or connects to those of ``ENLARGER_SERVERS``; ends them when it is left.

    Args:
        settings: which servers there are, and what a server may use before it is replaced.
        command: starts a server on this machine.
        on_refused: called when a server that was started here cannot use a setting.
    """

    def __init__(
        self, settings: PoolSettings, *, command: Startable, on_refused: OnRefused
    ) -> None:
        self._settings = settings
        self._supervisor = Supervisor(
            command,
            0 if settings.servers else settings.server_count,
            on_up=self._up,
            on_down=self._down,
            on_refused=on_refused,
            on_out=self._out,
        )
        self._stack = AsyncExitStack()
        self._engines: list[RemoteEngine] = []
        self._members: list[Member] = []

    async def __aenter__(self) -> Pool:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._supervisor)
            # Imported here and not above: the servers' processes run by now, and come up while this is imported.
            with importing():
                import aiohttp

                from enlarger.pool.member import Member
                from enlarger.pool.policy import Wear
                from enlarger.pool.pool import Pool
                from enlarger.pool.remote import RemoteEngine

            settings = self._settings
            # Connections and time have no limit here: the pool's seats and deadlines limit them.
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                trust_env=False,
            )
            # The lists are complete before the event loop runs again, which is when a server can report its address.
            self._engines = [
                RemoteEngine(address, session, token=settings.token)
                for address in settings.servers or [""] * settings.server_count
            ]
            self._members = [
                Member(
                    server_name(number),
                    engine,
                    probe=engine.probe,
                    restart=None if settings.servers else partial(self._supervisor.restart, number),
                )
                for number, engine in enumerate(self._engines)
            ]
            await stack.enter_async_context(session)
            wear = Wear(rss_bytes=settings.server_memory_mib << 20, tiles=settings.server_tiles)
            pool = await stack.enter_async_context(Pool(self._members, wear=wear))
            self._stack = stack.pop_all()
        return pool

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _up(self, number: int, address: str) -> None:
        self._engines[number].address = address
        self._members[number].changed.set()

    def _down(self, number: int) -> None:
        self._engines[number].address = ""
        self._members[number].lose()

    def _out(self, number: int) -> None:
        self._engines[
            number
        ].given_up = "its device was lost three times within an hour: see the driver's log, then restart the service"
        self._members[number].changed.set()
