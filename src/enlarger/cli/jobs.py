"""``enlarger jobs``: work that continues on a server without this shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from enlarger.cli.console import ApiKeyOption, console, fail, say
from enlarger.config import SERVER_URL_VARIABLE
from enlarger.errors import ConfigError

if TYPE_CHECKING:
    from enlarger.client import JobStatus

ServerOption = Annotated[
    str, typer.Option(envvar=SERVER_URL_VARIABLE, help="Address of the enlarger server.")
]
JobArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job, such as job_...")]

DEFAULT_SERVER = "http://127.0.0.1:8000"

jobs = typer.Typer(
    help="Manage jobs on a server, which continue without this shell.", no_args_is_help=True
)


@jobs.command("submit")
def jobs_submit(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A picture file, a URL, or - for standard input.")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="An option such as scale=4 or format=webp. May be repeated."
        ),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
) -> None:
    """Submit a picture to a server as a job, and print the job's id."""
    from enlarger.client import Client, UpscaleOptions
    from enlarger.options import read_options

    pairs = [pair.partition("=") for pair in option or []]
    if any(not equals for _, equals, _ in pairs):
        fail("an option is given as NAME=VALUE, such as -o scale=4", ConfigError.exit_status)
    given = {name: value for name, _, value in pairs}
    options = read_options(given, strict=False).model_dump(exclude_unset=True)
    # Options that are unknown here are sent to the server, which may know them, or rejects them.
    fields = cast(UpscaleOptions, {**given, **options})
    with Client(server, api_key=api_key) as client:
        picture = sys.stdin.buffer if source == "-" else source
        console.print(client.submit(picture, **fields).id, highlight=False)


@jobs.command("list")
def jobs_list(
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", help="Show only jobs in this state, such as running. May be repeated."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Number of jobs to show at most.")
    ] = 20,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
) -> None:
    """List the jobs of your API key, the newest first."""
    from itertools import islice

    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        for job in islice(client.jobs.list(*(state or ())), limit):
            console.print(_job_line(job), highlight=False)


@jobs.command("show")
def jobs_show(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Show the state of a job."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        console.print(_job_line(client.jobs.get(job_id).status()), highlight=False)


@jobs.command("watch")
def jobs_watch(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Show the progress of a job, line by line, until it ends. The exit status tells whether the job succeeded."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        shown = ""
        for job in client.jobs.get(job_id).events():
            line = _job_line(job)
            if line != shown:
                console.print(line, highlight=False, soft_wrap=True)
            shown = line
            if job.is_finished:
                job.check()


@jobs.command("save")
def jobs_save(
    job_id: JobArgument,
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="File for the result, or - for standard output.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it already exists.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
) -> None:
    """Wait for a job and write its result into a file."""
    from enlarger.client import Client
    from enlarger.shell import names
    from enlarger.shell.remote import line_of
    from enlarger.shell.targets import check_file
    from enlarger.shell.writing import written_aside

    file = None if str(target) == "-" else target
    if file is not None:
        check_file(file, overwrite=overwrite)
    with Client(server, api_key=api_key) as client:
        picture = client.jobs.get(job_id).result()
    if file is not None:
        picture.check_name(file)
    with written_aside(file, overwrite=overwrite) as aside:
        aside.write_bytes(picture.data)
    say(line_of(picture, "standard output" if file is None else names.shown(file)))


@jobs.command("cancel")
def jobs_cancel(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Cancel a job, or delete the result of a job that is done."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        console.print(_job_line(client.jobs.get(job_id).cancel()), highlight=False)


def _job_line(job: JobStatus) -> str:
    """Return the state of a job as one line."""
    parts = [f"{job.id}: {job.state}"]
    if job.queue_position is not None:
        parts.append(f"number {job.queue_position} in the queue")
    if job.tiles_total:
        parts.append(f"{job.tiles_done} of {job.tiles_total} tiles")
    if job.eta_s is not None and not job.is_finished:
        parts.append(f"about {job.eta_s:.0f} s left")
    if job.error is not None:
        parts.append(f"{job.error.code}: {job.error}")
    return ", ".join(parts)
