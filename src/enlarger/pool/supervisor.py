"""Model servers as processes of this machine: started, watched, restarted, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from enlarger.config import inherited
from enlarger.errors import ConfigError, DeviceLost
from enlarger.reasons import reason_of

log = structlog.get_logger()

PORT_LINE = "listening on port "
"""What a model server prints on stdout once it listens, followed by the port."""

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 2
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_MOST_LOSSES, _LOSSES_S = 3, 3600
"""A server whose device was lost so often within so many seconds stays out."""

_STEADY_S = 10
"""A server that lived this long is restarted with the shortest pause."""

OnUp = Callable[[int, str], None]
"""Called with the server's number and ``host:port`` when the server listens."""

OnDown = Callable[[int], None]
"""Called with the server's number when its process has ended; another will be started."""

OnOut = Callable[[int], None]
"""Called with the server's number when its device was lost so often that no other process is started for it."""

OnRefused = Callable[[], None]
"""Called when a server cannot use a setting, as it says on stderr. Restarting it would not help."""


def server_name(number: int) -> str:
    """Return the name of a model server in logs, ``/status`` and metrics."""
    return f"server-{number}"


class Startable(Protocol):
    """How a supervisor starts a server."""

    @property
    def environment(self) -> Mapping[str, str]: ...  # noqa: D102
    def arguments(self, number: int, *, again: bool) -> list[str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start model servers."""

    base_port: int
    """Port of server 0; 0 lets each take a free one."""

    threads: int
    """Compute threads of each."""

    environment: Mapping[str, str]
    """Variables that differ from this process's environment."""

    devices: Sequence[str] = ()
    """Device of each server, as ``ENLARGER_DEVICE`` names it; the CPU where there are fewer."""

    def arguments(self, number: int, *, again: bool) -> list[str]:
        """Return the command line of server ``number``; ``again`` if a server of this number has listened before."""
        port = self.base_port + number if self.base_port else 0
        return [
            *(sys.executable, "-m", "enlarger", "model-server"),
            *("--port", str(port), "--threads", str(self.threads), "--exit-with-parent"),
            *("--name", server_name(number)),
            *("--device", self.devices[number] if number < len(self.devices) else "cpu"),
            # The first tile loads the network, checked as always. So a server that is killed over and over still
            # works, and does not spend its life on loading a model that nobody may ask for.
            *(["--ready-at-once"] if again else []),
        ]


class Supervisor:
    """Keeps ``count`` model servers running while it is entered."""

    def __init__(
        self,
        command: Startable,
        count: int,
        *,
        on_up: OnUp,
        on_down: OnDown,
        on_refused: OnRefused,
        on_out: OnOut = lambda _: None,
    ) -> None:
        self._command = command
        self._on_out = on_out
        self._losses: defaultdict[int, list[float]] = defaultdict(list)
        self._on_up = on_up
        self._on_down = on_down
        self._on_refused = on_refused
        self._listened: set[int] = set()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._count = count

    async def __aenter__(self) -> Supervisor:
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        # The processes are started before this returns, and come up even while the event loop is blocked.
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the running servers by number."""
        return {number: process.pid for number, process in self._processes.items()}

    def restart(self, number: int) -> None:
        """Kill the process of server ``number``, however busy or stuck it is; another follows."""
        process = self._processes.get(number)
        if process is not None and process.returncode is None:
            process.kill()

    async def _keep(self, number: int) -> None:
        """Start server ``number``, and restart it whenever it ends."""
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            returncode: int | None = None
            try:
                returncode = await self._live(number)
            except OSError as error:
                log.warning(
                    "server_not_started", server=server_name(number), reason=reason_of(error)
                )
            except Exception:  # nobody waits for this task: without this, no server of that number would ever start again
                log.exception("server_not_kept", server=server_name(number))
            lived_s = time.monotonic() - started
            if returncode == ConfigError.exit_status and number not in self._listened:
                self._on_refused()
                return
            log.warning(
                "server_ended",
                server=server_name(number),
                returncode=returncode,
                lived_s=round(lived_s, 1),
            )
            is_out = returncode == DeviceLost.exit_status and self._is_out(number)
            try:
                self._on_down(number)
                if is_out:
                    self._on_out(number)
            except Exception:  # as above
                log.exception("server_not_kept", server=server_name(number))
            if is_out:
                log.error(
                    "device_given_up",
                    server=server_name(number),
                    losses=_MOST_LOSSES,
                    within_s=_LOSSES_S,
                )
                return
            pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    def _is_out(self, number: int) -> bool:
        """Count a lost device; return whether that is too often."""
        now = time.monotonic()
        recent = [at for at in self._losses[number] if now - at < _LOSSES_S]
        self._losses[number] = [*recent, now]
        return len(recent) + 1 >= _MOST_LOSSES

    async def _live(self, number: int) -> int:
        """Run a server from its start to its end; return its exit status."""
        process = await asyncio.create_subprocess_exec(
            *self._command.arguments(number, again=number in self._listened),
            # This process holds it open. When this process dies, however it dies, the server reads the end and leaves.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=inherited(self._command.environment),
            # A group of its own, so that Ctrl-C in the terminal reaches this process alone. Not a session of its own:
            # Linux gives each session an equal share of the cores, so the gateway would get as little as one server.
            process_group=0,
        )
        self._processes[number] = process
        try:
            port = await _announced_port(process)
            if port is None:
                await _end_of_silent(process)
            else:
                log.info("server_started", server=server_name(number), pid=process.pid, port=port)
                self._listened.add(number)
                self._on_up(number, f"127.0.0.1:{port}")
            return await process.wait()
        finally:
            self._processes.pop(number, None)
            if process.returncode is None:
                await _end(process)


async def _announced_port(process: asyncio.subprocess.Process) -> int | None:
    """Return the port that the server says it listens on, or None if it says nothing in time."""
    assert process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT_S):
            line = (await process.stdout.readline()).decode(errors="replace").strip()
            port = line.removeprefix(PORT_LINE)
            if line.startswith(PORT_LINE) and port.isdecimal():
                return int(port)
    return None


async def _end_of_silent(process: asyncio.subprocess.Process) -> None:
    """Kill a process that did not say its port, unless it is about to end by itself."""
    assert process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
    # At the end of its stdout the process has ended or is about to, and its status says why. A signal now would take
    # that status from asyncio: Popen polls before it signals.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT_S if process.stdout.at_eof() else 0):
            await process.wait()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Terminate a process, and kill it if it does not end in time."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
