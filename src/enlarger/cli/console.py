"""What commands print, and how a process ends."""

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

# Text is printed as it is: no markup, and no names of emoji, in the names of files.
console = Console(markup=False, emoji=False)
errors = Console(file=cast(TextIO, Unfailing()), markup=False, emoji=False)

ApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar=API_KEY_VARIABLE, help="Of the server, where it asks for one."),
]


def say(text: str) -> None:
    """Print a line to stderr."""
    errors.print(text, highlight=False, soft_wrap=True)


def write(text: str) -> None:
    """Print a line to stdout: what was asked for."""
    console.print(text, highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print an error to stderr."""
    errors.print(f"enlarger: {text}", style="red", highlight=False, soft_wrap=True)


def fail(text: str, status: int) -> NoReturn:
    """Print an error and end with this exit status."""
    complain(text)
    sys.exit(status)


def quiet_logs() -> None:
    """A shell command prints its result, not its log."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def leave(status: int) -> NoReturn:
    """End now: a thread that still computes what nobody waits for must not hold the process."""
    try:
        sys.stdout.flush()
    except OSError:
        status = status or EnlargerError.exit_status
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
