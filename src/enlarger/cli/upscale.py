"""``enlarger upscale``: pictures, here or by a server."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enlarger import config
from enlarger.cli.completion import models, words_of
from enlarger.cli.console import ApiKeyOption, errors, fail, quiet_logs, write
from enlarger.errors import ConfigError
from enlarger.precision import Precision

if TYPE_CHECKING:
    from collections.abc import Coroutine

PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="f32, bf16, int8, or auto: bf16 where the processor has it, and f32 for pictures of more than 8 bits. [env: ENLARGER_PRECISION]"
    ),
]


def upscale(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... [OUT]",
            help="Pictures, folders of them, URLs, or - for standard input; and where the results go: a file, a folder "
            "for several, or - for standard output.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where the results go; then all other arguments are inputs.",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Put before the ending of each result: cat.jpg becomes cat-4x.jpg with --suffix=-4x. Without OUT, "
            "results lie beside their pictures.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale", "-s", help="Pixels of the result per pixel: 1 to 8. 4 if no size is given."
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width of the result in pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Height of the result in pixels.")] = None,
    long_side: Annotated[int | None, typer.Option(help="Longer side of the result.")] = None,
    short_side: Annotated[int | None, typer.Option(help="Shorter side of the result.")] = None,
    fit: Annotated[
        str,
        typer.Option(
            help="How --width and --height together are met: inside, fill, outside or cover.",
            autocompletion=words_of("fit"),
        ),
    ] = "inside",
    region: Annotated[
        str | None, typer.Option(help="Only this part: x,y,width,height in pixels of the picture.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model id of `enlarger models`.", autocompletion=models)
    ] = "auto",
    precision: PrecisionOption = None,
    color_lock: Annotated[
        bool, typer.Option(help="Set the colours of large areas back to those of the picture.")
    ] = True,
    alpha_edge: Annotated[
        str,
        typer.Option(
            help="Keep the edges of a cut-out, or clean them of the ground that it was cut from.",
            autocompletion=words_of("alpha_edge"),
        ),
    ] = "keep",
    color: Annotated[
        str,
        typer.Option(
            help="Keep the colour profile, or convert to srgb.", autocompletion=words_of("color")
        ),
    ] = "keep",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="png, jpeg or jpg, webp, avif, tiff, or auto: the picture's own. The name of an OUT file decides by itself. "
            "Default: png, with --suffix auto.",
            autocompletion=words_of("format"),
        ),
    ] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, for jpg, webp and avif.")] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(help="Largest size of the file: quality, then size is lowered until it fits."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="How much of an animation: all, first, or a number. All if the format of the result holds them.",
            autocompletion=words_of("frames"),
        ),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="Colour to put under transparency, such as '#ffffff'.")
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            help="keep or strip EXIF, XMP and resolution.", autocompletion=words_of("metadata")
        ),
    ] = "keep",
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Write model, hash and options into the file.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            "--resume",
            help="Keep results that exist and compute the missing ones: this resumes an interrupted run.",
        ),
    ] = False,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive/--no-recursive", help="Search the folders below a folder as well."
        ),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only print what each picture would become, and its time, memory and bytes.",
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            help="Address of an enlarger server that does the work, such as http://host:8000."
        ),
    ] = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Enlarge one picture, or many, in this process, or by a server."""
    quiet_logs()
    # Imported here, as in the other commands, so that `enlarger --help` answers at once.
    from enlarger.options import read_options
    from enlarger.shell.arguments import StandardOutput, asked_of
    from enlarger.shell.workers import enlarge_at_server, enlarge_here

    sized = any((scale, width, height, long_side, short_side))
    given = {
        "scale": scale if sized else 4.0,
        "width": width,
        "height": height,
        "long_side": long_side,
        "short_side": short_side,
        "fit": fit,
        "region": region,
        "model": model,
        "color_lock": color_lock,
        "alpha_edge": alpha_edge,
        "color": color,
        "format": _format(format_),
        "quality": quality,
        "max_bytes": max_bytes,
        "frames": frames,
        "background": background,
        "metadata": metadata,
        "provenance": provenance,
        # Without a server it is the engine's, and a setting.
        "precision": precision if server and precision else "auto",
    }
    options = read_options(given, strict=False)
    asked = asked_of(
        arguments,
        output,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
        dry_run=dry_run,
        quiet=quiet,
        recursive=recursive,
    )
    if isinstance(asked.out, StandardOutput) and sys.stdout.isatty() and not dry_run:
        fail(
            "standard output is a terminal; send it to a file or a program", ConfigError.exit_status
        )
    if server is not None:
        working = enlarge_at_server(
            asked, options, url=server, api_key=api_key, errors=errors, output=write
        )
    else:
        settings = config.load(precision=precision)
        working = enlarge_here(asked, options, settings=settings, errors=errors, output=write)
    status = asyncio.run(_until_told(working))
    if status:
        raise typer.Exit(status)


async def _until_told(working: Coroutine[Any, Any, int]) -> int:
    """The exit status of some work. SIGTERM and SIGHUP end it as Ctrl-C does: nothing half-written is left."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(working)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]  # as shells count it


def _format(name: str | None) -> str | None:
    from enlarger.options import FORMAT_ALIASES

    return None if name is None else FORMAT_ALIASES.get(name.lower(), name.lower())
