"""``enlarger doctor``: says what is wrong with an installation, or with a running service."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from enlarger import __version__, config
from enlarger.cli.console import ApiKeyOption, console, quiet_logs, write
from enlarger.errors import ConfigError, EnlargerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from enlarger.doctor.examination import Checked

_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    server: Annotated[
        str | None,
        typer.Option(help="Ask a running service at this address, and examine nothing here."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object in place of lines.")
    ] = False,
    speed_s: Annotated[
        float,
        typer.Option("--speed", min=0, max=600, help="Seconds of the speed test; 0 leaves it out."),
    ] = 5,
    host: Annotated[str, typer.Option(help="Address that the service listens on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that the service listens on.")
    ] = 8000,
    api_key: ApiKeyOption = None,
) -> None:
    """Say what is wrong with this installation, or with a running service, and what to do about it."""
    quiet_logs()
    from enlarger.doctor.examination import examine, examine_server

    if server is not None:
        groups = examine_server(server, api_key)
    else:
        groups = examine(_settings(), host=host, port=port, speed_s=speed_s)
    has_errors = asyncio.run(_print(groups, as_json=as_json))
    if has_errors:
        raise typer.Exit(EnlargerError.exit_status)


def _settings() -> config.Settings | ConfigError:
    """Return the settings, or what is wrong with them."""
    try:
        return config.load()
    except ConfigError as error:
        return error


async def _print(groups: AsyncIterator[Checked], *, as_json: bool) -> bool:
    """Print each group when it is done, or all of them as JSON; returns whether there are errors."""
    counts = {"ok": 0, "warning": 0, "error": 0}
    rows = []
    async for group in groups:
        if not as_json:
            console.print(Text(group.name, style="bold"))
        for finding in group.findings:
            counts[finding.level] += 1
            if as_json:
                row = {"level": finding.level, "title": finding.title}
                row |= {"detail": finding.detail, "hint": finding.hint}
                rows.append({"check": group.name, **row})
                continue
            detail = f": {finding.detail}" if finding.detail else ""
            line = Text(f"  {finding.level:<8}", style=_STYLES[finding.level])
            console.print(line.append(f"{finding.title}{detail}", style="default"), soft_wrap=True)
            if finding.hint:
                console.print(Text(f"          -> {finding.hint}"), soft_wrap=True)
    if as_json:
        write(json.dumps({"version": __version__, "counts": counts, "findings": rows}, indent=2))
    else:
        write(f"errors: {counts['error']}, warnings: {counts['warning']}")
    return counts["error"] > 0
