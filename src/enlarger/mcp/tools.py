"""The tools that clients call, over any transport and for any place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field, WithJsonSchema

from enlarger import __version__
from enlarger.api.document.option_schemas import option_schemas
from enlarger.errors import EnlargerError, InvalidOption
from enlarger.mcp.facts import EstimateFacts, JobFacts, ModelFacts, ResultFacts
from enlarger.mcp.folders import Folders
from enlarger.mcp.place import Place
from enlarger.mcp.progress import Progress
from enlarger.options import Options, read_options
from enlarger.picture.formats import SUFFIXES
from enlarger.shell.targets import Work
from enlarger.shell.workers import DEFAULT_SCALE

MOST_WAIT_S = 50.0
"""The longest time for which ``job`` waits. Many clients give up a call after a minute."""

_REPORT_EVERY_S = 0.5

_FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))

# The format follows from the name of the result, or is an argument of its own.
_KNOWN = {name: it for name, it in option_schemas(DEFAULT_SCALE).items() if name != "format"}
_OPTIONS = {"type": "object", "additionalProperties": False, "properties": _KNOWN}

Picture = Annotated[
    str,
    Field(description="Path of a picture in a folder that may be used, or an http or https URL."),
]
Result = Annotated[
    str,
    Field(
        description=f"Path of the file to write, in a folder that may be used. Nothing may be there yet. It ends in {', '.join(SUFFIXES)}."
    ),
]
Format = Annotated[
    str, Field(description="Format of the result.", json_schema_extra={"enum": list(_FORMATS)})
]
JobId = Annotated[str, Field(description="Id of a job, as submit_job returned it.")]
WantedOptions = Annotated[dict[str, Any], WithJsonSchema(_OPTIONS)]

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_CANCELS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)


def make_server(place: Place, folders: Folders) -> MCPServer[Any]:
    """Return a server with all tools.

    Args:
        place: where pictures are upscaled.
        folders: what clients may read and write.
    """
    server: MCPServer[Any] = MCPServer(
        "enlarger",
        title="enlarger",
        version=__version__,
        instructions=(
            "Upscales pictures with Real-ESRGAN and similar models. Pictures are read from, and results are written to, "
            f"these folders only: {folders}. Relative paths begin in the first one. No file is ever replaced. "
            "A large picture takes minutes: ask estimate first, and use submit_job and job for what takes longer than "
            f"half a minute. The default scale is {DEFAULT_SCALE}, and 1 for models that keep the size."
        ),
        log_level="ERROR",
    )

    @server.tool(annotations=_READS)
    async def list_models() -> list[ModelFacts]:
        """List the models that can be named in the options, with what each is for."""
        with _told():
            return await place.models()

    @server.tool(annotations=_READS)
    async def estimate(
        picture: Picture,
        format: Format = "png",
        options: WantedOptions = {},  # noqa: B006 - names of the protocol; never changed
    ) -> EstimateFacts:
        """State the size of a result, and the time and memory that it needs, without upscaling."""
        with _told():
            item = Work(folders.picture(picture), None, _format(format))
            found = await place.estimate(item, _options(options))
            return EstimateFacts(
                width_px=found.result_px[0],
                height_px=found.result_px[1],
                format=found.kind,
                frames=found.frames,
                seconds=found.seconds,
                memory_bytes=found.memory_bytes,
                file_bytes=found.file_bytes,
                summary=found.line,
            )

    @server.tool(annotations=_WRITES)
    async def upscale(
        picture: Picture,
        result: Result,
        context: Context,
        options: WantedOptions = {},  # noqa: B006 - never changed
    ) -> ResultFacts:
        """Upscale a picture and write the result to a new file. Returns when it is written, and reports the progress."""
        with _told():
            target, kind = folders.result(result)
            item = Work(folders.picture(picture), target, kind)
            progress = Progress()
            reporting = asyncio.create_task(_report(progress, context))
            try:
                line = await place.upscale(item, _options(options), progress)
            finally:
                reporting.cancel()
                with suppress(asyncio.CancelledError):
                    await reporting
            return ResultFacts(result=str(target), summary=line)

    @server.tool(annotations=_WRITES)
    async def submit_job(
        picture: Picture,
        format: Format = "png",
        options: WantedOptions = {},  # noqa: B006 - as above
    ) -> JobFacts:
        """Begin to upscale a picture, and return at once. Follow the job with job, and write its result with save_job."""
        with _told():
            item = Work(folders.picture(picture), None, _format(format))
            return await place.submit(item, _options(options))

    @server.tool(annotations=_READS)
    async def job(
        id: JobId,
        wait_seconds: Annotated[
            float,
            Field(ge=0, le=MOST_WAIT_S, description="How long to wait for the end of the job."),
        ] = 0,
    ) -> JobFacts:
        """Return the state and the progress of a job."""
        with _told():
            return await place.job(id, wait_s=wait_seconds)

    @server.tool(annotations=_WRITES)
    async def save_job(id: JobId, result: Result) -> ResultFacts:
        """Write the result of a job that succeeded to a new file."""
        with _told():
            target, _ = folders.result(result)
            return ResultFacts(result=str(target), summary=await place.save(id, target))

    @server.tool(annotations=_CANCELS)
    async def cancel_job(id: JobId) -> JobFacts:
        """Cancel a job, or delete the result of a job that is done. Files that were saved stay."""
        with _told():
            return await place.cancel(id)

    return server


@contextmanager
def _told() -> Iterator[None]:
    """Let the client know why something cannot be done. Other exceptions are faults of ours, and stay here."""
    try:
        yield
    except EnlargerError as error:
        raise ToolError(str(error)) from error


async def _report(progress: Progress, context: Context) -> None:
    """Report the progress to the client whenever it changes, at most twice a second."""
    while True:
        await progress.changed()
        await context.report_progress(progress.done, progress.total or None, progress.text)
        await asyncio.sleep(_REPORT_EVERY_S)


def _options(given: dict[str, Any]) -> Options:
    """Return checked options.

    Raises:
        InvalidOption: an option is unknown, or its value cannot be used.
    """
    for name in given:
        if name not in _KNOWN:
            raise InvalidOption(
                f"Invalid {name[:40]}: there is no such option; there are {', '.join(_KNOWN)}"
            )
    return read_options(given, strict=True)


def _format(name: str) -> str:
    """Return the format of a result.

    Raises:
        InvalidOption: there is no such format.
    """
    if name not in _FORMATS:
        raise InvalidOption(f"Invalid format: it must be {', '.join(_FORMATS)}, not {name[:40]!r}")
    return name
