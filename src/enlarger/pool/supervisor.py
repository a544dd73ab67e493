"""Model servers as processes of this machine: started, watched, started again, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

PORT_LINE = "listening on port "
"""What a model server prints on stdout once it listens, followed by the port."""

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 2
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30
"""A server that lived this long starts again without a pause."""

OnUp = Callable[[int, str], None]
"""Server number and ``host:port``: it listens."""

OnDown = Callable[[int], None]
"""Server number: its process is gone, another will be started."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start model servers."""

    base_port: int
    """Port of server 0; 0 lets each take a free one."""

    threads: int
    """Compute threads of each."""

    environment: Mapping[str, str]
    """Settings that differ from this process's own environment."""

    def arguments(self, number: int) -> list[str]:
        """The command line of server ``number``."""
        port = self.base_port + number if self.base_port else 0
        return [
            *(sys.executable, "-m", "enlarger", "model-server"),
            *("--port", str(port), "--threads", str(self.threads), "--exit-with-parent"),
        ]


class Supervisor:
    """Keeps ``count`` model servers running while it is entered."""

    def __init__(self, command: ServerCommand, count: int, *, on_up: OnUp, on_down: OnDown) -> None:
        self._command = command
        self._on_up = on_up
        self._on_down = on_down
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._count = count

    async def __aenter__(self) -> Supervisor:
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the running servers, by number."""
        return {number: process.pid for number, process in self._processes.items()}

    async def _keep(self, number: int) -> None:
        """Start server ``number``, and again whenever it ends."""
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            returncode = await self._live(number)
            lived_s = time.monotonic() - started
            log.warning(
                "server_ended", server=number, returncode=returncode, lived_s=round(lived_s, 1)
            )
            self._on_down(number)
            pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _live(self, number: int) -> int:
        """One life of a server, from start to end."""
        process = await asyncio.create_subprocess_exec(
            *self._command.arguments(number),
            # Held open by this process: when it dies, however it dies, the server reads the end and leaves.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._command.environment},
            start_new_session=True,  # a Ctrl-C in the terminal is ours to handle
        )
        self._processes[number] = process
        try:
            port = await _announced_port(process)
            if port is None:
                process.kill()
            else:
                log.info("server_started", server=number, pid=process.pid, port=port)
                self._on_up(number, f"127.0.0.1:{port}")
            return await process.wait()
        finally:
            self._processes.pop(number, None)
            if process.returncode is None:
                await _end(process)


async def _announced_port(process: asyncio.subprocess.Process) -> int | None:
    """The port that the server says it listens on, or None if it says nothing in time."""
    assert process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT_S):
            line = (await process.stdout.readline()).decode(errors="replace").strip()
            if line.startswith(PORT_LINE):
                return int(line.removeprefix(PORT_LINE))
    return None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to leave, then make it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
