"""``enlarger models``: the models that are installed here, and those of your own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enlarger import config
from enlarger.cli.completion import installed_models, own_models
from enlarger.cli.console import complain, console, quiet_logs, say, write
from enlarger.cli.serve import SAMPLE
from enlarger.cli.signals import until_told
from enlarger.errors import ConfigError, UnknownModel

if TYPE_CHECKING:
    from enlarger.models import Model

models = typer.Typer(
    help="List the models installed here, and add, examine or remove your own in MODEL_DIR.",
    invoke_without_command=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Id = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of the model.", autocompletion=installed_models),
]
OwnId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of the model.", autocompletion=own_models),
]

_EXIT_CHECK = 1


@models.callback()
def _list_by_default(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_models(as_json)


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models installed here, and the problems of those in MODEL_DIR that cannot be used."""
    from rich.table import Table
    from rich.text import Text

    from enlarger.models import Catalogue

    settings = config.load().server
    catalogue, faults = Catalogue.examined(settings.model_dir)
    if as_json:
        _print({"models": [_facts(model) for model in catalogue], "left_out": faults})
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("id", "scale", "denoise", "for"):
            table.add_column(heading, no_wrap=heading != "for")
        for model in catalogue:
            levels = ",".join(map(str, model.denoise))
            licence = (
                f"{model.licence} (non-commercial)" if model.is_non_commercial else model.licence
            )
            row = (model.id, f"{model.scale}x", levels, f"{model.title} [{licence}]")
            table.add_row(*map(Text, row))
        console.print(table)
        if note := settings.missing_model_dir:
            say(note)
        _complain(faults, settings.model_dir)
    if faults:
        raise typer.Exit(ConfigError.exit_status)


@models.command()
def show(model_id: Id, as_json: AsJson = False) -> None:
    """Show everything that is known of a model."""
    facts = _facts(_found(model_id))
    if as_json:
        _print(facts)
    else:
        _print_lines(facts)


@models.command()
def add(
    param: Annotated[Path, typer.Argument(metavar="PARAM", help="The .param file of ncnn.")],
    binary: Annotated[
        Path | None,
        typer.Option("--bin", help="The .bin file. Default: that of the same name."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Id of the model. Default: the name of the file.")
    ] = None,
    title: Annotated[str, typer.Option(help="What the model is for, in one line.")] = "your own",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    source: Annotated[str, typer.Option(help="Where the weights come from.")] = "unknown",
    black: Annotated[
        float, typer.Option(min=0, max=1, help="What the network takes, and makes, for black.")
    ] = 0.0,
    white: Annotated[
        float, typer.Option(min=0, max=1, help="The same for white; 0.85 for Real-CUGAN pro.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Add a model to MODEL_DIR: examine its files, run a test picture, measure it, and store it under its hash."""
    from enlarger.models.adding import id_of
    from enlarger.shell.workers import add_model_here

    quiet_logs()
    added, tried = asyncio.run(
        until_told(
            add_model_here(
                config.load(),
                param=param,
                binary=binary or param.parent / f"{param.stem}.bin",
                photograph=SAMPLE,
                id=id_of(param) if name is None else name,
                title=title,
                licence=licence,
                source=source,
                **({} if (black, white) == (0.0, 1.0) else {"black": black, "white": white}),
            )
        )
    )
    facts = _facts(_found(added)) | {
        "golden_max_diff": tried.golden_max_diff,
        "likeness_db": round(tried.likeness_db, 1),
        "lr_px_per_s": {one: round(speed) for one, speed in tried.lr_px_per_s.items()},
    }
    if as_json:
        _print(facts)
        return
    if tried.golden_max_diff is None:
        say("the package ncnn is not installed, so there is no golden picture to compare with")
    if not tried.looks_alike:
        say(
            f"what it makes of the test picture does not look like it ({tried.likeness_db:.1f} dB): "
            "look at a result before you use it"
        )
    _print_lines(facts)


@models.command()
def remove(model_id: OwnId, as_json: AsJson = False) -> None:
    """Remove a model of MODEL_DIR: its row, which may be damaged, and the files that `enlarger models add` stored for it."""
    from enlarger.models.adding import remove as removed_of

    settings = config.load().server
    removed = removed_of(settings.model_dir, model_id)
    if as_json:
        _print({"id": model_id, "removed": removed})
    else:
        for file_name in removed:
            write(f"removed {file_name}")


@models.command()
def check(as_json: AsJson = False) -> None:
    """Check the files of all models without computing anything. Exit with status 1 if a row cannot be used."""
    from enlarger.errors import WeightsError
    from enlarger.models import Catalogue

    settings = config.load().server
    catalogue, faults = Catalogue.examined(settings.model_dir)
    right = []
    for model in catalogue:
        try:
            model.verify()
            right.append(model.id)
        except WeightsError as error:
            faults.append(f"{model.id}: {error}")
    if as_json:
        _print({"usable": right, "faults": faults})
    else:
        for model_id in right:
            write(f"{model_id}: can be used")
        _complain(faults, settings.model_dir)
    if faults:
        raise typer.Exit(_EXIT_CHECK)


def _found(model_id: str) -> Model:
    """Return a model of the catalogue.

    Raises:
        UnknownModel: there is no such model, or its row cannot be used.
    """
    from enlarger.models import Catalogue, not_installed_text

    settings = config.load().server
    catalogue, faults = Catalogue.examined(settings.model_dir)
    for model in catalogue:
        if model.id == model_id:
            return model
    raise UnknownModel(
        not_installed_text(model_id, sorted(one.id for one in catalogue))
        + (f"; {len(faults)} cannot be used: see `enlarger models check`" if faults else "")
    )


def _facts(model: Model) -> dict[str, Any]:
    seams, (black, white) = model.seams, model.black_and_white
    return {
        "id": model.id,
        "title": model.title,
        "scale": model.scale,
        "denoise": list(model.denoise),
        "architecture": model.architecture,
        "is_residual": model.is_residual,
        "black": black,
        "white": white,
        "licence": model.licence,
        "is_non_commercial": model.is_non_commercial,
        "source": model.source,
        "sha256": model.sha256,
        "bytes": model.size_bytes,
        "mflop_per_px": round(model.mflop_per_px, 3),
        "halo_px": model.halo_px,
        "reach_px": model.reach_px,
        "tiles": "equal to the whole" if model.halo_is_exact else "blended",
        "max_tile_px": model.max_tile_px,
        "seam_worst_db": None if seams is None else seams.worst_db,
        "seam_max_diff": None if seams is None else seams.max_difference,
        "has_golden": model.golden is not None,
        "has_int8": model.ranges is not None,
        "files": [str(path) for path in model.files.paths],
    }


def _print(value: dict[str, Any]) -> None:
    write(json.dumps(value, indent=2, ensure_ascii=False))


def _print_lines(facts: dict[str, Any]) -> None:
    """Print each fact on a line of its own."""
    for name, value in facts.items():
        write(f"{name + ':':<16} {_in_words(value)}")


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _complain(faults: list[str], model_dir: Path) -> None:
    for fault in faults:
        complain(f"{fault} (in MODEL_DIR, '{model_dir}')")
