"""The command line: a file for each group of commands. Commands do not build the service: composition roots do."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from enlarger import __version__
from enlarger.cli import (
    devices,
    doctor,
    jobs,
    keys,
    man,
    mcp,
    model_server,
    models,
    ray,
    serve,
    upscale,
)
from enlarger.cli.console import complain, console, leave
from enlarger.cli.serve import SAMPLE
from enlarger.errors import EnlargerError
from enlarger.reasons import reason_of

__all__ = ["SAMPLE", "app", "main"]

EXIT_INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells count it."""

app = typer.Typer(
    help="Self-hosted image upscaling: Real-ESRGAN in the shell and behind an HTTP API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(upscale.upscale)
app.command()(serve.serve)
app.command()(model_server.model_server)
app.command()(keys.key)
app.command()(keys.sign)
app.command()(devices.devices)
app.command()(doctor.doctor)
app.command()(man.man)
app.command()(mcp.mcp)
app.add_typer(models.models, name="models")
app.add_typer(jobs.jobs, name="jobs")
app.add_typer(ray.ray, name="ray")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line. Every error becomes one line and an exit status."""
    status = 0
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EnlargerError.exit_status
    except EnlargerError as error:
        status = error.exit_status
        complain(str(error))
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except OSError as error:  # all other errors are caught where they occur
        status = EnlargerError.exit_status
        complain(f"cannot write to standard output: {reason_of(error)}")
    leave(status)
