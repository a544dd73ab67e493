"""What all dialects share: pictures and options in fields of other names, and faults by these names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from enlarger.api.sources import source_of
from enlarger.errors import Fault, InvalidOption, InvalidUrl, MissingInput, Reason
from enlarger.options import Options, read_options
from enlarger.request import Source


def source_named(value: object, name: str) -> Source:
    """The picture that a field holds as a URL, a data URL or base64.

    Raises:
        MissingInput, InvalidOption, InvalidUrl, UnreadableImage: the field holds no picture. The text names the field.
    """
    if value in (None, ""):
        raise MissingInput(f"{name} is required")
    if not isinstance(value, str):
        raise fault_of(name, "type", "it must be a URL, a data URL or base64")
    try:
        # As base64 a data URL may state any type: clients that do not know it say application/octet-stream.
        return source_of(value, None) if "://" in value[:16] else source_of(None, value)
    except InvalidUrl as error:
        raise InvalidUrl(f"Invalid {name} format") from error


def options_of(
    values: Mapping[str, Any], *, names: Mapping[str, str] | None = None, strict: bool = True
) -> Options:
    """Options from the fields of a request whose names differ from ours.

    Args:
        values: by our names.
        names: from our names to those of the request, where they differ.
        strict: see ``read_options``.

    Raises:
        InvalidOption: a value cannot be used. The error has the names of the request.
    """
    with renamed(names or {}):
        return read_options(values, strict=strict)


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Give the errors of a block the names that the request has for options.

    Args:
        names: from our names to those of the request, where they differ.

    Raises:
        InvalidOption: the block raised it.
    """
    try:
        yield
    except InvalidOption as error:
        if not error.faults:
            raise
        faults = [
            replace(fault, option=names.get(fault.option, fault.option)) for fault in error.faults
        ]
        raise InvalidOption.of(*faults) from error


def refuse_unknown(fields: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse fields that nothing reads: they may be meant to change the picture.

    Raises:
        InvalidOption: there is such a field.
    """
    faults = [
        Fault(name[:40], "unknown", f"there is no such field; there are {', '.join(known)}")
        for name in fields
        if name not in known
    ]
    if faults:
        raise InvalidOption.of(*faults)


def fault_of(name: str, reason: Reason, detail: str) -> InvalidOption:
    """The error for one field that cannot be used."""
    return InvalidOption.of(Fault(name, reason, detail))


def unsupported(name: str, detail: str) -> InvalidOption:
    """The error for a field that would change the result in a way that is not supported here."""
    return fault_of(name, "unsupported", detail)
