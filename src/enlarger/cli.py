"""The command line, and the composition root: the only place where parts are wired together."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from enlarger import __version__, config
from enlarger.config import Precision
from enlarger.errors import ConfigError, EnlargerError
from enlarger.models import Catalogue, Model

if TYPE_CHECKING:
    from enlarger.picture import Picture
    from enlarger.pipeline import Enlarged
    from enlarger.pipeline.enlarging import OnTile

app = typer.Typer(
    help="Self-hosted image upscaling: Real-ESRGAN in the shell and behind an HTTP API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console()
_errors = Console(stderr=True)

EXIT_FAILED = 1
"""The work was tried and failed, or the input cannot be read."""

EXIT_USAGE = 2
"""An option or a setting cannot be used."""

EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells count it."""

PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="f32, bf16, or auto: bf16 where the processor has it. [env: ENLARGER_PRECISION]"
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        _console.print(__version__)
        raise typer.Exit


@app.command()
def upscale(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="The picture: PNG, JPEG, WebP or BMP.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Where the result goes: .png, .jpg or .webp.")
    ],
    scale: Annotated[
        Literal["2", "4"], typer.Option(help="HR pixels per LR pixel along an edge.")
    ] = "4",
    model: Annotated[str, typer.Option(help="A model id of `enlarger models`.")] = "auto",
    precision: PrecisionOption = None,
) -> None:
    """Enlarge one picture in this process, without a server."""
    settings = config.load(precision=precision)
    _quiet_logs()
    # Imported here, as in the other commands, so that `enlarger --help` answers at once.
    from enlarger.picture.decode import decode
    from enlarger.picture.encode import encode, format_for

    started = time.monotonic()
    try:
        data = source.read_bytes()
    except OSError as error:
        _fail(f"cannot read '{source}': {error.strerror}", EXIT_FAILED)
    if not target.absolute().parent.is_dir():
        _fail(f"cannot write '{target}': its folder does not exist", EXIT_FAILED)
    catalogue = Catalogue.installed(settings.model_dir)
    row = catalogue.choose(model, scale=int(scale))
    picture = decode(data)
    kind = format_for(target, has_alpha=picture.has_alpha)
    with _tile_bar(source.name) as on_tile:
        enlarged = asyncio.run(
            _enlarge(picture, row, catalogue, scale=int(scale), settings=settings, on_tile=on_tile)
        )
    result = enlarged.picture
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        encode(result, aside, kind=kind)
        aside.replace(target)
    except OSError as error:
        _fail(f"cannot write '{target}': {error.strerror}", EXIT_FAILED)
    finally:
        aside.unlink(missing_ok=True)
    _say(
        f"{target}: {picture.width_px}x{picture.height_px} to {result.width_px}x{result.height_px}, "
        f"{enlarged.model} {enlarged.precision}, {enlarged.tiles} tiles, {time.monotonic() - started:.1f} s"
    )
    for note in result.notes:
        _say(f"  {note.code}: {note.detail}")


async def _enlarge(
    picture: Picture,
    model: Model,
    catalogue: Catalogue,
    *,
    scale: int,
    settings: config.Settings,
    on_tile: OnTile,
) -> Enlarged:
    """One picture through an engine in this process."""
    from enlarger.engine.openvino import OpenVINOEngine
    from enlarger.pipeline import enlarge

    with ThreadPoolExecutor(config.cores()) as executor:
        async with OpenVINOEngine(
            catalogue,
            threads=config.cores(),
            precision=settings.precision,
            cache_folder=settings.cache_folder,
        ) as engine:
            return await enlarge(
                picture,
                model=await engine.ready_for(model.id, model.sha256),
                scale=scale,
                precision=engine.precisions[0],
                engine=engine,
                executor=executor,
                deadline=asyncio.get_running_loop().time() + _NO_DEADLINE_S,
                on_tile=on_tile,
            )


@contextmanager
def _tile_bar(name: str) -> Iterator[OnTile]:
    """A progress bar on stderr that counts tiles."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        TextColumn("{task.description}", markup=False), *columns, console=_errors, transient=True
    ) as progress:
        bar = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


_NO_DEADLINE_S = 10 * 365 * 86_400
"""A shell user waits, or presses Ctrl-C."""


@app.command()
def models() -> None:
    """List the models installed here."""
    settings = config.load()
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "scale", "for", "licence", "SHA-256"):
        table.add_column(heading, no_wrap=heading != "for")
    for model in Catalogue.installed(settings.model_dir):
        table.add_row(model.id, f"{model.scale}x", model.title, model.licence, model.sha256[:12])
    _console.print(table)


def main() -> NoReturn:
    """Run the command line; every error becomes a line and an exit status."""
    try:
        app(standalone_mode=True)
    except ConfigError as error:
        _fail(str(error), EXIT_USAGE)
    except EnlargerError as error:
        _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _say(text: str) -> None:
    _errors.print(text, highlight=False, markup=False, soft_wrap=True)


def _fail(text: str, status: int) -> NoReturn:
    _errors.print(f"enlarger: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(status)


def _quiet_logs() -> None:
    """A shell command prints its result, not its log."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
