"""``enlarger man``: the manual page, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer

from enlarger import __version__
from enlarger.cli.console import write

_SEE_ALSO = "The folder docs of the source: reference/shell.md for the rules of `enlarger upscale`, reference/settings.md for all variables."

_EXIT_STATUS = (
    ("0", "Everything that was requested was done."),
    ("1", "Something failed, such as one of several pictures."),
    ("2", "An argument, an option or a setting cannot be used. Nothing was done."),
    ("130", "The command was interrupted by Ctrl-C."),
)


def man(context: typer.Context) -> None:
    """Print the manual page: `enlarger man > enlarger.1`, then `man ./enlarger.1`."""
    # By its own name, also where it was started as `python -m enlarger`.
    root = typer.Context(context.find_root().command, info_name="enlarger")
    write("\n".join(_lines(root)))


def _lines(root: typer.Context) -> Iterator[str]:
    """Return the page in the language of man(7)."""
    yield f'.TH ENLARGER 1 "" "enlarger {__version__}" "User Commands"'
    yield ".SH NAME"
    yield f"enlarger \\- {_escaped(str(root.command.help))}"
    yield ".SH SYNOPSIS"
    yield ".B enlarger"
    yield _escaped(" ".join(root.command.collect_usage_pieces(root)))
    yield ".SH OPTIONS"
    yield from _parameters(root)
    yield ".SH COMMANDS"
    yield from _commands(root)
    yield ".SH EXIT STATUS"
    for status, meaning in _EXIT_STATUS:
        yield from (".TP", f".B {status}", _escaped(meaning))
    yield ".SH SEE ALSO"
    yield _escaped(_SEE_ALSO)


def _commands(context: typer.Context) -> Iterator[str]:
    """Return a section for each command of a group; a group's own commands follow it."""
    for name, command in getattr(context.command, "commands", {}).items():
        if command.hidden:
            continue
        inner = typer.Context(command, parent=context, info_name=name)
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        yield f'.SS "{_escaped(usage)}"'
        yield _escaped(re.sub(r"\s+", " ", command.help or ""))
        yield from _parameters(inner)
        yield from _commands(inner)


def _parameters(context: typer.Context) -> Iterator[str]:
    """Return the arguments and options of a command. Each command has --help, which is not repeated."""
    for parameter in context.command.params:
        record = parameter.get_help_record(context)  # None for one that is hidden
        if record is not None and parameter.name != "help":
            names, text = re.sub(r" <list\[.*\]>$", "", record[0]), record[1]
            yield from (".TP", f'.B "{_escaped(names)}"', _escaped(re.sub(r"\s+", " ", text)))


def _escaped(text: str) -> str:
    """Return a text that man(7) shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text
