"""``enlarger serve``: the gateway with its model servers, and what it prints when it is ready."""

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
from enlarger.cli.console import console, leave
from enlarger.memory import importing

SAMPLE = Path(__file__).parent.parent / "sample.png"
"""A small photo that comes with the package: the eye of a cat (scikit-image's "chelsea", CC0)."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")
    ] = 8000,
) -> None:
    """Start the gateway and its model servers."""
    from enlarger.web import logs

    settings = config.load()
    seen = settings.observability
    logs.configure("gateway", level=seen.log_level, form=seen.log_format)
    if variable := seen.traces_asked_by:
        tracing.start("enlarger-gateway", variable=variable)
    with importing():
        from enlarger import gateway

    announce = partial(_announce, public_url=settings.server.public_url)
    status = asyncio.run(gateway.serve(settings, host, port, announce=announce))
    tracing.stop()
    leave(status)


def _announce(address: tuple[str, int], public_url: str | None) -> None:
    """Say on stdout that the service is ready, with a line to paste."""
    host, port = address
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://{shown}:{port}"
    for line in (
        f"enlarger is ready on {url}",
        *([f"Links in its answers begin with {public_url.rstrip('/')}"] if public_url else []),
        "Try it with a picture that is here already:",
        "",
        _paste_line(url),
        "",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _paste_line(url: str) -> str:
    """A shell command that enlarges the sample picture; curl where there is one, else the Python that runs this."""
    if shutil.which("curl"):
        return (
            f"""printf '{{"scale": 4, "inline": false, "image_b64": "%s"}}' "$(base64 < {shlex.quote(str(SAMPLE))} | tr -d '\\n')" """
            f"| curl -s {url}/upscale -H 'Content-Type: application/json' -d @-"
        )
    code = (
        "import base64, json, urllib.request as http; "
        f"picture = base64.b64encode(open({str(SAMPLE)!r}, 'rb').read()).decode(); "
        "body = json.dumps({'scale': 4, 'inline': False, 'image_b64': picture}).encode(); "
        f"print(http.urlopen(http.Request('{url}/upscale', body, {{'Content-Type': 'application/json'}})).read().decode())"
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
