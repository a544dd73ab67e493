"""Starting and stopping an HTTP server: bind, serve, drain, end.

SIGTERM drains: what runs is finished within the drain time. Ctrl-C, or a second signal, ends at once.
Hypercorn leaves both to us: on Python 3.12.1 and later it waits without limit for open connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
from hypercorn.asyncio import serve as hypercorn_serve

from enlarger import open_files
from enlarger.asgi import connections, heads
from enlarger.asgi.messages import AsgiApp, Receive, Scope, Send
from enlarger.errors import ConfigError
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_END_S = 4.0
"""Seconds in which all parts must close, once nothing is served any more."""

_CLOSE_S = 1.0
"""Seconds in which open connections must close, once the work is done or dropped."""

IDLE_S = 75
"""Seconds that a connection may be idle, and that the headers of a request may take. Proxies keep theirs for a minute."""


_OWN_ADDRESS = "name an address of this machine, or 0.0.0.0 for all"


def bind(
    host: str, port: int, *, variable: str, way_out: str = "name another port, or 0 for a free one"
) -> socket.socket:
    """A socket that listens on ``host:port``; port 0 takes any free one.

    Args:
        host: an address of this machine.
        port: up to 65535.
        variable: the setting or the option that the port comes from.
        way_out: what to do about a port that cannot be used.

    Raises:
        ConfigError: nothing can listen there. The text begins with ``variable``, or with ``--host`` if that is wrong.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1024)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError, TypeError) as error:
        reason = getattr(error, "strerror", None)
        if isinstance(error, OverflowError):
            reason = "ports are numbers up to 65535"
        elif not isinstance(error, OSError) or isinstance(error, socket.gaierror):
            variable, reason, way_out = "--host", "there is no such address", _OWN_ADDRESS
        elif error.errno == errno.EADDRNOTAVAIL:
            variable, way_out = "--host", _OWN_ADDRESS
        raise ConfigError(
            f"{variable}: cannot listen on {host}:{port}: {reason}; {way_out}"
        ) from error
    return listener


@dataclass
class Lifecycle:
    """Whether a server runs, drains or is stopped."""

    drain_s: float
    """Seconds in which running work must end after SIGTERM."""

    draining: bool = False
    """Whether new work is refused."""

    status: int = 0
    """The exit status of the process."""

    _drains: asyncio.Event = field(default_factory=asyncio.Event)
    _active: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def drain(self) -> None:
        """Finish what runs, take nothing new, then stop. A second call stops now."""
        if self.draining:
            self.stop()
            return
        self.draining = True
        self._drains.set()
        log.info("draining", requests=self._active, drain_s=self.drain_s)
        task = asyncio.get_running_loop().create_task(self._stop_when_idle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def refuse(self) -> None:
        """Stop with the exit status of a wrong setting."""
        self.status = ConfigError.exit_status
        self.stop()

    def end(self, status: int) -> None:
        """Finish what runs and take nothing new, then stop with an exit status."""
        self.status = status
        if not self.draining:
            self.drain()

    def stop(self) -> None:
        """Drop what runs and stop."""
        self.draining = True
        self._drains.set()
        self._stop.set()

    async def drains(self) -> None:
        """Wait until new work is refused."""
        await self._drains.wait()

    @property
    def is_stopped(self) -> bool:
        """Whether running work is dropped."""
        return self._stop.is_set()

    async def stopped(self) -> None:
        """Wait until the server should close."""
        await self._stop.wait()

    async def _stop_when_idle(self) -> None:
        if self._active:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.drain_s):
                    await self._idle.wait()
        self.stop()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Count work that a drain waits for, as long as this lasts."""
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    def counting(self, app: AsgiApp) -> AsgiApp:
        """``app`` with its requests counted, so that a drain knows when the last one has ended."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            with self.holding():
                await app(scope, receive, send)

        return counted


def end_surely(status: int, *, within_s: float = _END_S) -> None:
    """End this process soon, even if something hangs on the way out: a database, or a long write."""

    def end() -> None:
        time.sleep(within_s)
        log.warning("ended_by_force", after_s=within_s)
        os._exit(status)

    threading.Thread(target=end, name="end", daemon=True).start()


class _LoopErrors:
    """Logs errors that no coroutine receives.

    Without files for new connections, asyncio reports one for each of its hundred attempts, each second.
    """

    def __init__(self) -> None:
        self._repeated = Repeated()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or not open_files.are_exhausted(error):
            loop.default_exception_handler(context)
        elif (left_out := self._repeated.occurred()) is not None:
            log.warning("connections_not_accepted", reason=reason_of(error), left_out=left_out)


async def serve(
    app: AsgiApp,
    *,
    listener: socket.socket,
    service: Lifecycle,
    idle_s: float = IDLE_S,
    refuse_head: heads.HeadRefusal = heads.plain_refusal,
) -> None:
    """Serve ``app`` until the service is stopped, by a signal or by its own means.

    Args:
        app: the application.
        listener: a socket of ``bind``. It is closed in the end.
        service: the lifecycle that signals drain or stop.
        idle_s: seconds until a connection is closed that has no request, or none whose headers are complete.
        refuse_head: makes the answer to a request whose head is too long or cannot be read.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, service.drain)
    loop.add_signal_handler(signal.SIGINT, service.stop)
    loop.set_exception_handler(_LoopErrors())
    open_files.raise_limit()
    heads.install()
    connections.install()
    config = heads.HeadConfig()
    config.refuse_head = refuse_head
    # Hypercorn closes what it is given; detached, so that the number is not closed a second time.
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = _CLOSE_S
    config.keep_alive_timeout = idle_s
    server = asyncio.create_task(
        hypercorn_serve(service.counting(app), config, shutdown_trigger=service.stopped)
    )
    stopped = asyncio.create_task(service.stopped())
    try:
        await asyncio.wait({server, stopped}, return_when=asyncio.FIRST_COMPLETED)
        # Connections are cancelled now. Python 3.11 logs each as an error in a callback of its streams.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        await asyncio.wait({server}, timeout=2 * _CLOSE_S)
    finally:
        stopped.cancel()
        if not server.done():
            server.cancel()
            await asyncio.wait({server}, timeout=_CLOSE_S)
    if server.done() and not server.cancelled() and (error := server.exception()) is not None:
        raise error
