"""How commands print, and how the process ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn, TextIO, cast

import typer
from rich.console import Console

from enlarger.config import API_KEY_VARIABLE
from enlarger.errors import EnlargerError
from enlarger.streams import Unfailing

# Rich must not interpret file names: it prints text without markup and emoji names.
console = Console(markup=False, emoji=False)
errors = Console(file=cast(TextIO, Unfailing()), markup=False, emoji=False)

ApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar=API_KEY_VARIABLE, help="API key for the server, if it requires one."),
]

_DEVICE_NAMES = "auto, cpu, vulkan:0 (a number or a part of a name), openvino:GPU or openvino:NPU"
DEVICE_HELP = f"What computes: {_DEVICE_NAMES}. Of several, the first. [env: ENLARGER_DEVICE]"
DEVICES_HELP = f"What computes: {_DEVICE_NAMES}, or several with commas. [env: ENLARGER_DEVICE]"


def say(text: str) -> None:
    """Print a line to stderr."""
    errors.print(text, highlight=False, soft_wrap=True)


def write(text: str) -> None:
    """Print a line of the command's output to stdout."""
    console.print(text, highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error to stderr."""
    errors.print(f"enlarger: {text}", style="red", highlight=False, soft_wrap=True)


def fail(text: str, status: int) -> NoReturn:
    """Print an error and exit with this status."""
    complain(text)
    sys.exit(status)


def quiet_logs() -> None:
    """Turn off logs: a shell command prints its result only."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def leave(status: int) -> NoReturn:
    """Exit at once. A thread that still computes an unwanted result must not delay the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        status = status or EnlargerError.exit_status
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
