"""``enlarger upscale``: upscales pictures in this process or on a server."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from enlarger import config
from enlarger.cli.completion import models, words_of
from enlarger.cli.console import DEVICE_HELP, ApiKeyOption, errors, fail, quiet_logs, write
from enlarger.cli.signals import until_told
from enlarger.errors import ConfigError
from enlarger.precision import Precision

PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="f32, f16, bf16, int8, or auto. auto selects bf16 if the CPU supports it, f16 on a GPU, and f32 for pictures with more than 8 bits per sample. [env: ENLARGER_PRECISION]"
    ),
]


def upscale(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... [OUT]",
            help="IN: picture files, folders, URLs, or - for standard input. OUT: a file for one result, a folder for "
            "several, or - for standard output.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File or folder for the results. All other arguments are then inputs.",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Text to add to the name of each result: with --suffix=-4x, cat.jpg becomes cat-4x.jpg. Without OUT, "
            "results are written beside their pictures.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            "-s",
            help="Scale factor, from 1 to 8. If no size is given, the default is 4, and 1 for models that keep the size.",
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width of the result in pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Height of the result in pixels.")] = None,
    long_side: Annotated[
        int | None, typer.Option(help="Longer side of the result in pixels.")
    ] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Shorter side of the result in pixels.")
    ] = None,
    fit: Annotated[
        str,
        typer.Option(
            help="How the result fits into --width and --height: inside, fill, outside or cover.",
            autocompletion=words_of("fit"),
        ),
    ] = "inside",
    region: Annotated[
        str | None,
        typer.Option(help="Part of the picture to upscale: x,y,width,height in its pixels."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Id of a model that `enlarger models` lists; auto for the usual one; detect for one that suits what the picture shows.",
            autocompletion=models,
        ),
    ] = "auto",
    denoise: Annotated[
        int | None,
        typer.Option(
            help="How much noise the model removes, from 0 to 3, for models that `enlarger models` lists with noise levels."
        ),
    ] = None,
    precision: PrecisionOption = None,
    device: Annotated[
        str | None, typer.Option(help=DEVICE_HELP, show_default=False, metavar="DEVICE")
    ] = None,
    color_lock: Annotated[
        bool, typer.Option(help="Restore the original colours of large areas after upscaling.")
    ] = True,
    alpha_edge: Annotated[
        str,
        typer.Option(
            help="Edges of a cut-out: keep them, or clean them of the colour of its former background.",
            autocompletion=words_of("alpha_edge"),
        ),
    ] = "keep",
    color: Annotated[
        str,
        typer.Option(
            help="Colours of the result: keep the colour profile, or convert to srgb.",
            autocompletion=words_of("color"),
        ),
    ] = "keep",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format of the result: png, jpeg or jpg, webp, avif, tiff, or auto for the format of the picture. The name "
            "of an OUT file takes precedence. The default is png, or auto with --suffix.",
            autocompletion=words_of("format"),
        ),
    ] = None,
    quality: Annotated[
        int | None, typer.Option(help="Quality of jpg, webp and avif, from 1 to 100.")
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            help="Maximum size of the file. Quality is reduced first, then width and height, until the file fits."
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames of an animation to upscale: all, first, or a number. The default is all, if the format of the result can hold them.",
            autocompletion=words_of("frames"),
        ),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="Colour to put behind transparent areas, such as '#ffffff'.")
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            help="EXIF, XMP and resolution: keep or strip them.",
            autocompletion=words_of("metadata"),
        ),
    ] = "keep",
    provenance: Annotated[
        bool,
        typer.Option(
            "--provenance", help="Write the model, its hash and the options into the file."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that already exist.")
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Keep results that exist and compute the missing ones: this resumes an interrupted run.",
        ),
    ] = False,
    # It is an option of its own, so that an error names what was typed.
    resume: Annotated[
        bool, typer.Option("--resume", help="Another name of --skip-existing.")
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
            help="Print the size of each result, and the expected time, memory and bytes, without upscaling.",
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
    """Upscale one or more pictures, in this process or on a server."""
    quiet_logs()
    # This is imported here, as in the other commands, so that `enlarger --help` answers at once.
    from enlarger.options import read_options
    from enlarger.shell.arguments import StandardOutput, asked_of
    from enlarger.shell.workers import enlarge_at_server, enlarge_here

    given = {
        "scale": scale,
        "width": width,
        "height": height,
        "long_side": long_side,
        "short_side": short_side,
        "fit": fit,
        "region": region,
        "model": model,
        "denoise": denoise,
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
        # Without a server, the precision is a setting of the engine.
        "precision": precision if server and precision else "auto",
        "device": device if server else None,
    }
    options = read_options(given, strict=False)
    asked = asked_of(
        arguments,
        output,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
        resume=resume,
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
        settings = config.load(precision=precision, devices=device)
        working = enlarge_here(
            asked,
            options,
            settings=settings,
            device=settings.pool.devices[0],
            errors=errors,
            output=write,
        )
    status = asyncio.run(until_told(working))
    if status:
        raise typer.Exit(status)


def _format(name: str | None) -> str | None:
    from enlarger.options import FORMAT_ALIASES

    return None if name is None else FORMAT_ALIASES.get(name.lower(), name.lower())
