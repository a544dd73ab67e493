"""``enlarger model-server``: one model server, started by a gateway or by hand."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from typing import Annotated

import typer

from enlarger import config, tracing
from enlarger.cli.console import DEVICE_HELP, console, leave
from enlarger.memory import importing

_BEHIND_THE_GATEWAY = 5
"""Niceness of a model server that shares the gateway's cores, which gives it a third of the gateway's weight.

Handling a request needs little CPU time, but needs it at once. A higher value would be too much: other programs on
all
cores must not slow a tile down to a quarter of its speed, since an attempt then counts as lost.
"""


def model_server(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on, or 0 for any free port.")
    ] = 5002,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of compute threads. One per core by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help=DEVICE_HELP, show_default=False, metavar="DEVICE")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this process in its log.")] = "model-server",
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
    ready_at_once: Annotated[bool, typer.Option("--ready-at-once", hidden=True)] = False,
) -> None:
    """Start one model server, for a gateway that lists it in ENLARGER_SERVERS."""
    from enlarger.asgi import logs

    if exit_with_parent:
        os.nice(_BEHIND_THE_GATEWAY)
        _end_with_parent()
    settings = config.load(devices=device)
    seen = settings.observability
    logs.configure(name, level=seen.log_level, form=seen.log_format)
    if variable := seen.traces_asked_by:
        tracing.start("enlarger-model-server", variable=variable)
    with importing():
        from enlarger.model_server.serve import serve
        from enlarger.pool.supervisor import PORT_LINE

    status = asyncio.run(
        serve(
            settings.server,
            host,
            port,
            token=settings.pool.token,
            threads=threads or config.cores(),
            device=settings.pool.devices[0],
            is_loaded_first=not ready_at_once,
            is_supervised=exit_with_parent,
            announce=lambda port: console.print(f"{PORT_LINE}{port}", highlight=False),
        )
    )
    tracing.stop()
    leave(status)


_PR_SET_PDEATHSIG = 1
"""The prctl(2) option that sets the signal for the death of the parent process."""


def _end_with_parent() -> None:
    """Exit when the parent process ends, for whatever reason."""
    if sys.platform == "linux":
        # A process that is stopped, or stuck in native code, reads nothing, so the kernel kills it. The kernel does
        # this when
        # the thread ends that started this process. asyncio starts processes on the thread of its event loop, which
        # is the
        # gateway's main thread and ends last. If the parent is already dead, stdin is closed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    """Exit when the parent process ends: it holds the other end of stdin open as long as it lives."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)
