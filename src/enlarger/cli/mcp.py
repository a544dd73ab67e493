"""``enlarger mcp``: upscaling for assistants that speak the Model Context Protocol."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from enlarger import config
from enlarger.cli.console import DEVICE_HELP, ApiKeyOption, quiet_logs, say
from enlarger.cli.signals import until_told
from enlarger.cli.upscale import PrecisionOption


def mcp(
    allow: Annotated[
        list[Path],
        typer.Option(
            "--allow",
            metavar="FOLDER",
            help="Folder in which pictures may be read and results written. May be repeated; relative paths begin in the first one.",
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(
            help="Address of an enlarger server that does the work, such as http://host:8000. Without it, this process does."
        ),
    ] = None,
    http: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Serve over HTTP on this port of 127.0.0.1, or on any free port with 0, in place of stdin and stdout.",
        ),
    ] = None,
    precision: PrecisionOption = None,
    device: Annotated[
        str | None, typer.Option(help=DEVICE_HELP, show_default=False, metavar="DEVICE")
    ] = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Serve tools to upscale pictures by the Model Context Protocol, for assistants, within named folders."""
    quiet_logs()
    from enlarger.mcp.serve import at_server, here, serve

    if server is not None:
        place = partial(at_server, server, api_key)
    else:
        settings = config.load(precision=precision, devices=device)
        place = partial(here, settings, device=settings.pool.devices[0])
    status = asyncio.run(until_told(serve(allow, place, http_port=http, announce=_announce)))
    if status:
        raise typer.Exit(status)


def _announce(url: str) -> None:
    say(f"enlarger serves the Model Context Protocol on {url}")
