"""What all dialects do alike: read fields into a job, have it made, answer with files in the midst of JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from quart import Response, g, request
from werkzeug.datastructures import MultiDict

from enlarger.api.callers import caller_of
from enlarger.api.facts import server_timing
from enlarger.api.sources import source_of
from enlarger.api.streaming import FileText, with_files
from enlarger.api.v1.requests import Form, read_form
from enlarger.errors import EnlargerError, Fault, InvalidOption, InvalidUrl, MissingInput
from enlarger.models import Catalogue
from enlarger.options import Options, read_options
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener
from enlarger.request import Source, UpscaleRequest
from enlarger.storage import ResultStore
from enlarger.threads import in_thread

_NOBODY = Listener()

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DialectContext:
    """The parts of the service that a dialect's routes use."""

    pipeline: Pipeline
    store: ResultStore
    catalogue: Catalogue
    executor: Executor
    public_url: str | None
    charge: Callable[[str, int], None]
    """Takes output pixels from what a caller may ask for."""

    done: Callable[[Outcome], None]
    """Told of each finished request."""

    failed: Callable[[EnlargerError], None]
    """Told of a request that failed and is answered with 200."""

    reason: Callable[[], str | None]
    """Why no picture can be made now, or None."""

    async def read(self, reader: Callable[[Form], T], *, json: bool = False) -> T:
        """The request's fields, read on a thread: a picture may be ten megabytes of text.

        Args:
            reader: gets the fields.
            json: the body is taken for JSON, whatever its type says.
        """
        body = await request.get_data(cache=False, as_text=False)
        kind = "application/json" if json else request.headers.get("Content-Type")
        query: MultiDict[str, str] = MultiDict() if json else request.args
        form = await in_thread(self.executor, read_form, kind, query, body)
        return await in_thread(self.executor, reader, form)

    async def make(self, job: UpscaleRequest, listener: Listener = _NOBODY) -> Outcome:
        """Have it made for the caller of this request, by the rules of all routes."""
        caller = caller_of(request.scope)
        job = replace(
            job,
            skip_cache=bool(request.cache_control.no_cache),
            owner=caller.owner,
            request_id=g.request_id,
        )
        charge = partial(self.charge, caller.id)
        outcome = await self.pipeline.run(job, listener=listener, charge=charge)
        self.done(outcome)
        return outcome

    def text_of(self, outcome: Outcome, prefix: str = "") -> FileText:
        """The result as a value of an answer."""
        return FileText(self.store.stream(outcome.stored), outcome.stored.size_bytes, prefix)

    def answer(self, body: Mapping[str, Any], *outcomes: Outcome) -> Response:
        """A 200 with files in it, which are never held as a whole."""
        length, chunks = with_files(body, self.executor)
        headers = {"Content-Type": "application/json", "Content-Length": str(length)}
        if len(outcomes) == 1:
            headers["Server-Timing"] = server_timing(outcomes[0])
        return Response(chunks, headers=headers)


def source_named(value: object, name: str) -> Source:
    """The picture in a field that takes a URL, a data URL or base64.

    Raises:
        MissingInput, InvalidOption, InvalidUrl, UnreadableImage: it is none; the text has the field's name.
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
    """Options from values that a request calls otherwise.

    Args:
        values: by our names.
        names: those of the request, by ours; the same where there is none.
        strict: see ``read_options``.

    Raises:
        InvalidOption: values that cannot be used, by the request's names.
    """
    try:
        return read_options(values, strict=strict)
    except InvalidOption as error:
        theirs = names or {}
        faults = [
            replace(fault, option=theirs.get(fault.option, fault.option)) for fault in error.faults
        ]
        first = faults[0]
        raise InvalidOption(f"Invalid {first.option}: {first.detail}", faults=faults) from error


def refuse_unknown(fields: Mapping[str, Any], known: Collection[str]) -> None:
    """A field that nobody reads might have been meant to change the picture.

    Raises:
        InvalidOption: there are such fields.
    """
    faults = [
        Fault(name[:40], "unknown", f"there is no such field; there are {', '.join(known)}")
        for name in fields
        if name not in known
    ]
    if faults:
        raise InvalidOption(f"Invalid {faults[0].option}: {faults[0].detail}", faults=faults)


def fault_of(name: str, reason: Any, detail: str) -> InvalidOption:
    """One field that cannot be used."""
    return InvalidOption(f"Invalid {name}: {detail}", faults=[Fault(name, reason, detail)])


def unsupported(name: str, detail: str) -> InvalidOption:
    """A wish that changes the result, and that nobody here can meet."""
    return fault_of(name, "unsupported", detail)
