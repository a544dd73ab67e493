"""Reading what the current request asks for, on a thread: a picture may be ten megabytes of text."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from quart import g, request

from enlarger.api.callers import caller_of
from enlarger.api.v1.answers import Kind, negotiate
from enlarger.api.v1.requests import (
    Form,
    Request,
    fingerprint,
    idempotency_key,
    json_object,
    read_form,
    read_request,
)
from enlarger.engine.shelf import Shelf
from enlarger.jobs import Asked
from enlarger.models import Catalogue
from enlarger.threads import in_thread

T = TypeVar("T")


def owner_of_request() -> str:
    """Return the owner whose jobs a request may see: its key, or nobody in particular if there are no keys."""
    return caller_of(request.scope).owner


@dataclass(frozen=True, kw_only=True)
class RequestReader:
    """Reads the requests of ``/v1`` that bring or name a picture."""

    shelf: Shelf
    executor: Executor
    has_webhooks: bool
    """Whether this server sends any."""

    @property
    def catalogue(self) -> Catalogue:
        """The models that are offered now."""
        return self.shelf.catalogue

    async def form(self) -> Form:
        """The fields of the request.

        Raises:
            RequestError: the body is not what its type says.
        """
        body = await request.get_data(cache=False, as_text=False)
        content_type = request.headers.get("Content-Type")
        return await in_thread(self.executor, read_form, content_type, request.args, body)

    async def json_form(self) -> Form:
        """The fields of the JSON object in the body, whatever its type says. The query has none.

        Raises:
            RequestError: the body is not a JSON object.
        """
        body = await request.get_data(cache=False, as_text=False)
        fields = await in_thread(self.executor, json_object, body)
        return Form(fields, None, strict=True)

    async def read(self, read: Callable[[Form, Catalogue], T], form: Form) -> T:
        """What a dialect reads from a form."""
        return await in_thread(self.executor, read, form, self.catalogue)

    async def checked(self, form: Form) -> Request:
        """The request that a form makes.

        Raises:
            RequestError: an option or the picture cannot be used.
        """
        read = partial(
            read_request,
            form,
            catalogue=self.catalogue,
            request_id=g.request_id,
            owner=owner_of_request(),
            has_webhooks=self.has_webhooks,
        )
        wanted = await in_thread(self.executor, read)
        job = replace(wanted.job, skip_cache=bool(request.cache_control.no_cache))
        return replace(wanted, job=job)

    async def fingerprint(self, wanted: Request) -> str:
        """Equal for requests to this path that ask for the same."""
        return await in_thread(self.executor, fingerprint, request.path, wanted)

    async def asked(self, wanted: Request) -> Asked:
        """Return the caller of a request for a job, and its idempotency key.

        Raises:
            InvalidOption: the key cannot be used.
        """
        asked = Asked(caller=caller_of(request.scope).id, webhook=wanted.webhook)
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        if key is None:
            return asked
        return replace(asked, idempotency_key=key, fingerprint=await self.fingerprint(wanted))


def negotiated(wanted: Request) -> tuple[Request, Kind]:
    """A request with the format that its caller accepts, and what carries the picture.

    Raises:
        NotAcceptable: nothing that the caller accepts can be made.
    """
    kind, format_ = negotiate(request.headers.get("Accept"), wanted.job.options.format)
    options = wanted.job.options.model_copy(update={"format": format_})
    return replace(wanted, job=replace(wanted.job, options=options)), kind
