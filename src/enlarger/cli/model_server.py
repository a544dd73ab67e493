"""``enlarger model-server``: one model server, which a gateway starts, or somebody else does."""

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
from enlarger.cli.console import console, leave
from enlarger.memory import importing

_BEHIND_THE_GATEWAY = 5
"""Niceness of a model server that shares the gateway's cores: a third of the weight. Whoever waits for an answer needs
little of the cores, and needs it now. Not more: other programs on all cores must not make a tile four times
slower, which is when an attempt counts as lost."""


def model_server(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")
    ] = 5002,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Compute threads. Unset: one per core.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="What this process is called in its log.")
    ] = "model-server",
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
    ready_at_once: Annotated[bool, typer.Option("--ready-at-once", hidden=True)] = False,
) -> None:
    """Start one model server, for a gateway that names it in ENLARGER_SERVERS."""
    from enlarger.asgi import logs

    if exit_with_parent:
        os.nice(_BEHIND_THE_GATEWAY)
        _end_with_parent()
    settings = config.load()
    seen = settings.observability
    logs.configure(name, level=seen.log_level, form=seen.log_format)
    if variable := seen.traces_asked_by:
        tracing.start("enlarger-model-server", variable=variable)
    with importing():
        from enlarger.model_server.serve import serve
        from enlarger.pool.supervisor import PORT_LINE

    asyncio.run(
        serve(
            settings.server,
            host,
            port,
            token=settings.pool.token,
            threads=threads or config.cores(),
            is_loaded_first=not ready_at_once,
            is_supervised=exit_with_parent,
            announce=lambda port: console.print(f"{PORT_LINE}{port}", highlight=False),
        )
    )
    tracing.stop()
    leave(0)


_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) that names the signal for the end of a parent."""


def _end_with_parent() -> None:
    """End when the parent does, however it ends."""
    if sys.platform == "linux":
        # One that is stopped, or stuck in native code, reads nothing: the kernel kills it. It does so when the thread
        # ends that started this process: asyncio starts processes on its loop's thread, the gateway's first one,
        # which ends last. A parent that is dead by now has closed our stdin already.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    """End when the parent does: it holds the other end of stdin open as long as it lives."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)
