"""``enlarger serve``: runs the gateway with its model servers, and prints a line to paste when they are ready."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from enlarger import config, tracing
from enlarger.cli.console import DEVICES_HELP, console, leave
from enlarger.memory import importing

SAMPLE = Path(__file__).parent.parent / "sample.png"
"""A small photo that comes with the package: the eye of a cat (scikit-image's "chelsea", CC0)."""


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on, or 0.0.0.0 for all addresses.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on, or 0 for any free port.")
    ] = 8000,
    engine: Annotated[
        str | None,
        typer.Option(
            help="What computes: servers on this machine or elsewhere, or ray. Default: ENLARGER_ENGINE."
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Head of a Ray cluster, host:port. Without it, the gateway starts a cluster here."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help=DEVICES_HELP, show_default=False, metavar="DEVICES")
    ] = None,
) -> None:
    """Start the gateway and its model servers."""
    from enlarger.asgi import logs

    settings = config.load(devices=device, engine=engine, ray_address=ray_address)
    seen = settings.observability
    logs.configure("gateway", level=seen.log_level, form=seen.log_format)
    if variable := seen.traces_asked_by:
        tracing.start("enlarger-gateway", variable=variable)
    with importing():
        from enlarger import gateway

    announce = partial(
        _announce,
        public_url=settings.server.public_url,
        needs_key=bool(settings.access.api_keys),
    )
    status = asyncio.run(gateway.serve(settings, host, port, announce=announce))
    tracing.stop()
    leave(status)


def _announce(address: tuple[str, int], *, public_url: str | None, needs_key: bool) -> None:
    """Print to stdout that the service is ready, with a command to paste."""
    host, port = address
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://{shown}:{port}"
    for line in (
        f"enlarger is ready on {url}",
        *([f"Links in its answers begin with {public_url.rstrip('/')}"] if public_url else []),
        "Try it with a picture that is here already"
        + (", and with one of your keys in ENLARGER_API_KEY:" if needs_key else ":"),
        "",
        paste_line(url, needs_key=needs_key),
        "",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def paste_line(url: str, *, needs_key: bool) -> str:
    """Return a shell command that writes the upscaled sample picture into the current folder.

    The command is curl if that is installed, else this program as a client. Only the hashes of keys are known here,
    so
    the command takes the caller's key from the variable that clients read.
    """
    sample = shlex.quote(str(SAMPLE))
    if shutil.which("curl"):
        key = '-H "X-API-Key: $ENLARGER_API_KEY" ' if needs_key else ""
        return f'curl {key}-o {_PASTED} --data-binary @{sample} "{url}/v1/upscale?scale=4"'
    program = f"{shlex.quote(sys.executable)} -m enlarger upscale"
    return f"{program} --server {url} --scale 4 --overwrite {sample} {_PASTED}"


_PASTED = "cat-4x.png"
"""The file that this command writes."""
