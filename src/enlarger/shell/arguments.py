"""Reads the arguments of ``enlarger upscale``: which of them are pictures, and where results go."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from enlarger.errors import InvalidOption
from enlarger.shell import names
from enlarger.shell.sources import STANDARD_INPUT, Found, Source, find, matches

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class File:
    """The only result goes into this file."""

    path: Path


@dataclass(frozen=True, slots=True)
class Folder:
    """Results go into this folder, which is created if it does not exist."""

    path: Path


@dataclass(frozen=True, slots=True)
class Beside:
    """Each result goes into the folder of its picture."""


@dataclass(frozen=True, slots=True)
class StandardOutput:
    """The only result is written to standard output."""


Out = File | Folder | Beside | StandardOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user typed, except the options for upscaling."""

    found: Found
    out: Out
    suffix: str | None = None
    overwrite: bool = False
    skip_existing: bool = False
    dry_run: bool = False
    quiet: bool = False


def asked_of(
    arguments: Sequence[str],
    output: str | None,
    *,
    suffix: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
    recursive: bool = True,
) -> Asked:
    """Return the pictures that the user means, and where their results go.

    The options are those of ``enlarger upscale``. ``resume`` is another name of ``skip_existing``.

    Raises:
        InvalidOption: the arguments do not fit together; the message says what to type.
    """
    if overwrite and (skip_existing or resume):
        typed = "--skip-existing" if skip_existing else "--resume"
        raise InvalidOption(f"--overwrite and {typed} contradict each other; give one of them")
    inputs, out = read_arguments(arguments, output, suffix=suffix)
    leave_out = out.path if isinstance(out, Folder) else None
    found = find(inputs, leave_out=leave_out, recursive=recursive)
    check_inputs(found.sources, out)
    return Asked(
        found=found,
        out=out,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing or resume,
        dry_run=dry_run,
        quiet=quiet,
    )


def read_arguments(
    arguments: Sequence[str], output: str | None, *, suffix: str | None
) -> tuple[list[str], Out]:
    """Return the inputs of ``enlarger upscale``, and where results go.

    Args:
        arguments: the arguments without the options.
        output: the value of ``-o``; None means that the last argument is OUT.
        suffix: text to add to the name of each result; with it, OUT may be left out.

    Raises:
        InvalidOption: the arguments do not fit together; the message says what to type.
    """
    if suffix is not None and (not suffix or any(sign in suffix for sign in "/\\\0")):
        raise InvalidOption(
            "--suffix: it must be a part of a file's name, such as -4x, without '/'"
        )
    *inputs, last = arguments or [""]
    if output is not None:
        inputs, last = list(arguments), output
    elif suffix is not None and _is_input(last, inputs):
        return [*inputs, last], Beside()
    if not inputs:
        raise InvalidOption(
            "an input and an output are needed: enlarger upscale IN... OUT, or --suffix=-4x to put results "
            "beside their pictures"
        )
    out = _out(last, inputs)
    if suffix is not None and isinstance(out, (File, StandardOutput)):
        raise InvalidOption(
            f"with --suffix results are named after their pictures, and '{names.shown(last)}' is not a folder: leave "
            "OUT out, or end it with '/' for a folder"
        )
    return inputs, out


def _is_input(last: str, others: Sequence[str]) -> bool:
    """Whether the last argument means pictures rather than OUT, where OUT may be left out."""
    if names.is_folder(last):
        if not others:
            return True
        if any(names.is_folder(other) for other in others):
            raise InvalidOption(
                f"'{names.shown(last)}' may be a folder of pictures or the one for results: write -o "
                f"'{names.shown(last)}' for results there, or upscale one folder after the other for results beside "
                "their pictures"
            )
        return False
    if last.endswith(_SEPARATORS):
        return False
    return not others or os.path.lexists(last) or names.is_url(last) or glob.has_magic(last)


_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def _out(text: str, inputs: Sequence[str]) -> Out:
    several = _are_several(inputs)
    if text == STANDARD_OUTPUT:
        if several:
            raise InvalidOption(
                "standard output takes one result; give a folder for several pictures"
            )
        return StandardOutput()
    if names.is_url(text):
        raise InvalidOption(f"'{names.shown(text)}' is a URL; results go into a file or a folder")
    if not text:
        raise InvalidOption("OUT is empty; give a file or a folder")
    path = Path(text)
    if names.is_folder(text):
        return Folder(path)
    if several and os.path.lexists(text):
        raise InvalidOption(
            f"'{names.shown(text)}' is a file, and several pictures need a folder for their results; nothing was done. "
            "Give a folder as OUT, or --suffix TEXT to put results beside their pictures; --overwrite and "
            "--skip-existing are for results that are there already"
        )
    if text.endswith(_SEPARATORS):
        return Folder(path)
    if several and names.is_picture_name(text):
        raise InvalidOption(
            f"'{names.shown(text)}' is the name of a picture, and there may be several; for a folder of that "
            "name, end it with '/'"
        )
    return Folder(path) if several else File(path)


def _are_several(inputs: Sequence[str]) -> bool:
    if len(inputs) > 1 or names.is_folder(inputs[0]):
        return True
    return len(matches(inputs[0])) > 1


def check_inputs(sources: Iterable[Source], out: Out) -> None:
    """Check that ``out`` provides a place for the result of each picture.

    Raises:
        InvalidOption: a picture has no folder of its own, such as a URL.
    """
    if isinstance(out, Beside):
        for source in sources:
            if source.path is None:
                what = (
                    "standard input" if source.name == STANDARD_INPUT else names.shown(source.name)
                )
                raise InvalidOption(
                    f"'{what}' lies in no folder here: say with -o where its result goes"
                )
