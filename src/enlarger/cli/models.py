"""``enlarger models``: the models that are installed here."""

from __future__ import annotations

import typer

from enlarger import config
from enlarger.cli.console import complain, console, say
from enlarger.errors import ConfigError


def models() -> None:
    """List the models installed here, and the problems of those in MODEL_DIR that cannot be used."""
    from rich.table import Table
    from rich.text import Text

    from enlarger.models import Catalogue

    settings = config.load().server
    catalogue, faults = Catalogue.examined(settings.model_dir)
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "scale", "for", "licence", "SHA-256"):
        table.add_column(heading, no_wrap=heading != "for")
    for model in catalogue:
        row = (model.id, f"{model.scale}x", model.title, model.licence, model.sha256[:12])
        table.add_row(*map(Text, row))
    console.print(table)
    if note := settings.missing_model_dir:
        say(note)
    for fault in faults:
        complain(f"{fault} (in MODEL_DIR, '{settings.model_dir}')")
    if faults:
        raise typer.Exit(ConfigError.exit_status)
