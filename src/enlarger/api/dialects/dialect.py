"""What all dialects share: reading fields into a request, and answering with files in the midst of JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from quart import Response, request
from werkzeug.datastructures import MultiDict

from enlarger.api.facts import server_timing
from enlarger.api.sources import source_of
from enlarger.api.streaming import json_answer
from enlarger.api.upscaling import Upscaler
from enlarger.api.v1.requests import Form, read_form
from enlarger.errors import (
    EnlargerError,
    Fault,
    InvalidOption,
    InvalidUrl,
    MissingInput,
    Reason,
)
from enlarger.options import Options, read_options
from enlarger.pipeline.outcome import Outcome
from enlarger.request import Source
from enlarger.threads import in_thread

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DialectContext:
    """The parts of the service that the routes of a dialect use."""

    upscaler: Upscaler
    failed: Callable[[EnlargerError], None]
    """Called with the error of a request that failed and is answered with 200."""

    reason: Callable[[], str | None]
    """Why no picture can be made now, or None."""

    async def read(self, reader: Callable[[Form], T], *, json: bool = False) -> T:
        """Read the fields of the current request on a thread: a picture may be ten megabytes of text.

        Args:
            reader: is called with the fields.
            json: the body is read as JSON, whatever its type says.
        """
        body = await request.get_data(cache=False, as_text=False)
        kind = "application/json" if json else request.headers.get("Content-Type")
        query: MultiDict[str, str] = MultiDict() if json else request.args
        executor = self.upscaler.executor
        form = await in_thread(executor, read_form, kind, query, body)
        return await in_thread(executor, reader, form)

    def answer(self, body: dict[str, Any], *outcomes: Outcome) -> Response:
        """A 200 whose files are streamed, never held as a whole."""
        headers = {"Server-Timing": server_timing(outcomes[0])} if len(outcomes) == 1 else {}
        return json_answer(body, self.upscaler.executor, headers)


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
    try:
        return read_options(values, strict=strict)
    except InvalidOption as error:
        theirs = names or {}
        faults = [
            replace(fault, option=theirs.get(fault.option, fault.option)) for fault in error.faults
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
