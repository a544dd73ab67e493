"""The routes of batches: B.6."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from quart import Response, g, request

from enlarger.api.archives import Member, zip_chunks
from enlarger.api.callers import caller_of
from enlarger.api.facts import absolute
from enlarger.api.v1.answers import batch_object, item_object
from enlarger.api.v1.events import PING, RETRY, event, event_stream, nothing_more
from enlarger.api.v1.reader import RequestReader, owner_of_request
from enlarger.api.v1.requests import (
    SOURCES,
    Form,
    fingerprint,
    idempotency_key,
    json_object,
    options_of,
    read_request,
    read_webhook,
)
from enlarger.errors import (
    EnlargerError,
    Fault,
    InvalidOption,
    JobNotFinished,
    RequestError,
    ResultExpired,
)
from enlarger.jobs import Asked, Batch, Batches, Item, Job, Jobs, OpenPart
from enlarger.models import Catalogue
from enlarger.threads import in_thread

BATCHES = "/v1/batches"

MOST_ITEMS = 100

_MOST_ID_SIGNS = 100
_FIELDS = ("items", "options", "webhook")
_SIZES = ("scale", "width", "height", "long_side", "short_side", "fit")
"""An item with one of these has its own size, and none of the shared ones."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LAST = "end"
"""Id of the last event. A client that has seen it has seen all."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A checked request for a batch."""

    items: tuple[Item, ...]
    webhook: str | None
    fingerprint: str
    """Equal for batches of the same items, options and webhook."""


def read_batch(
    body: bytes, *, catalogue: Catalogue, request_id: str, owner: str, has_webhooks: bool
) -> Asking:
    """Read the body of a batch. A fault of one item becomes the problem of that item.

    Raises:
        MalformedJson, MissingBody: the body is not a JSON object.
        InvalidOption, UnknownModel: a field that holds for all items cannot be used.
    """
    fields = json_object(body)
    for name in fields:
        if name not in _FIELDS:
            raise InvalidOption.of(Fault(name[:40], "unknown", f"a batch has {', '.join(_FIELDS)}"))
    webhook = read_webhook(fields.get("webhook"), enabled=has_webhooks)
    shared = fields.get("options")
    shared = {} if shared is None else shared
    if not isinstance(shared, dict):
        raise InvalidOption.of(Fault("options", "type", "it must be an object"))
    _check_names(shared, ())
    options_of(Form(shared, None, strict=True), catalogue=catalogue)
    items = fields.get("items")
    if not isinstance(items, list):
        raise InvalidOption.of(Fault("items", "type", "it must be a list of objects"))
    if not 1 <= len(items) <= MOST_ITEMS:
        raise InvalidOption.of(Fault("items", "range", f"there must be 1 to {MOST_ITEMS}"))
    named = [item["id"] for item in items if isinstance(item, dict) and _is_id(item.get("id"))]
    if len(set(named)) < len(named):
        raise InvalidOption.of(Fault("items", "conflict", "no two may have the same id"))
    fingerprint_ = hashlib.sha256(f"{BATCHES}\n{webhook}".encode())
    read = []
    for item in items:
        found, own_print = _read_item(item, shared, catalogue, request_id, owner)
        read.append(found)
        fingerprint_.update(f"\n{found.id!r} {own_print}".encode())
    return Asking(tuple(read), webhook, fingerprint_.hexdigest())


def _read_item(
    given: object, shared: Mapping[str, Any], catalogue: Catalogue, request_id: str, owner: str
) -> tuple[Item, str]:
    """An item, and its fingerprint."""
    id_ = None
    try:
        if not isinstance(given, dict):
            raise InvalidOption.of(Fault("items", "type", "each must be an object"))
        own = dict(given)
        if (id_ := own.pop("id", None)) is not None and not _is_id(id_):
            id_ = None
            detail = f"it must be a text of 1 to {_MOST_ID_SIGNS} characters"
            raise InvalidOption.of(Fault("id", "type", detail))
        _check_names(own, SOURCES)
        has_size = any(own.get(name) is not None for name in _SIZES)
        rest = {name: value for name, value in shared.items() if not (has_size and name in _SIZES)}
        wanted = read_request(
            Form({**rest, **own}, None, strict=True),
            catalogue=catalogue,
            request_id=request_id,
            owner=owner,
        )
    except RequestError as error:
        return Item(id_, error), f"{error.code} {error}"
    return Item(id_, wanted.job), fingerprint(BATCHES, wanted)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _MOST_ID_SIGNS and value.isprintable()


def _check_names(fields: Mapping[str, Any], others: tuple[str, ...]) -> None:
    """Refuse fields that are neither options of a picture nor among ``others``."""
    for name in ("inline", "webhook"):
        if name in fields:
            raise InvalidOption.of(
                Fault(name, "unsupported", "it cannot be had of a picture in a batch")
            )
    for name in SOURCES:
        if name in fields and name not in others:
            raise InvalidOption.of(Fault(name, "unsupported", "each item has a picture of its own"))


def member_name(job: Job) -> str:
    """The name of an item's file in the archive, which is safe on every file system."""
    suffix = (job.file_name or "").rpartition(".")[2]
    name = _UNSAFE.sub("_", job.item_id or job.id).strip("._") or job.id
    return f"{job.batch_index:03}-{name}.{suffix}"


@dataclass(frozen=True, kw_only=True)
class BatchRoutes:
    """The handlers of batches."""

    batches: Batches
    jobs: Jobs
    reader: RequestReader
    public_url: str | None

    async def queue(self) -> Response:
        """``POST /v1/batches``: submit a batch."""
        body = await request.get_data(cache=False, as_text=False)
        owner = owner_of_request()
        read = partial(
            read_batch,
            catalogue=self.reader.catalogue,
            request_id=g.request_id,
            owner=owner,
            has_webhooks=self.reader.has_webhooks,
        )
        asking = await in_thread(self.reader.executor, read, body)
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        asked = Asked(
            caller=caller_of(request.scope).id,
            idempotency_key=key,
            fingerprint=asking.fingerprint if key is not None else None,
            webhook=asking.webhook,
        )
        batch, replayed = await self.batches.submit(
            asking.items, asked, owner=owner, request_id=g.request_id
        )
        headers = {"Location": absolute(f"{BATCHES}/{batch.record.id}", self.public_url)}
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return self._answer(batch, status=202, headers=headers)

    async def show(self, batch_id: str) -> Response:
        """``GET /v1/batches/{id}``: the state of a batch."""
        return self._answer(await self._batch(batch_id))

    async def cancel(self, batch_id: str) -> Response:
        """``DELETE /v1/batches/{id}``: cancel the jobs that have not ended."""
        return self._answer(await self.batches.cancel(await self._batch(batch_id)))

    async def events(self, batch_id: str) -> Response:
        """``GET /v1/batches/{id}/events``: server-sent events."""
        batch = await self._batch(batch_id)
        if request.headers.get("Last-Event-ID", "").strip() == _LAST:
            return nothing_more()
        return event_stream(self._stream(batch))

    async def results(self, batch_id: str) -> Response:
        """``GET /v1/batches/{id}/results.zip``: all results that exist now."""
        batch = await self._batch(batch_id)
        if not any(job.is_ended for job in batch.jobs):
            raise JobNotFinished("nothing of the batch has ended yet", retry_after_s=1)
        here = await self._here(batch)
        is_over = batch.state != "running" and not here
        if is_over and any(job.state in ("succeeded", "expired") for job in batch.jobs):
            raise ResultExpired("the results were kept for their time and are deleted")
        body = b"" if request.method == "HEAD" else zip_chunks(self._members(batch, here))
        answer = Response(
            body,
            headers={
                "Content-Type": "application/zip",
                "Content-Disposition": f'attachment; filename="{batch.record.id}.zip"',
                "Cache-Control": "no-store",
            },
        )
        answer.timeout = None  # as long as its reader needs
        return answer

    async def _members(
        self, batch: Batch, here: list[tuple[Job, OpenPart]]
    ) -> AsyncIterator[Member]:
        """Yield the files of the archive and their manifest. A result that is deleted before its turn is left out."""
        items = {
            job.id: {**item_object(job, public_url=self.public_url), "file": None}
            for job in batch.jobs
        }
        for job, opens in here:
            try:
                size_bytes = self.jobs.results.of(job).size_bytes
                chunks = await opens(0, size_bytes)
                first = await anext(chunks)
            except EnlargerError:
                continue
            items[job.id]["file"] = member_name(job)
            yield Member(member_name(job), size_bytes, _joined(first, chunks))
        about = {
            "id": batch.record.id,
            "state": batch.state,
            "counts": batch.counts,
            "items": list(items.values()),
        }
        manifest = json.dumps(about, indent=1).encode()
        yield Member("manifest.json", len(manifest), _joined(manifest))

    async def _here(self, batch: Batch) -> list[tuple[Job, OpenPart]]:
        """Find the results that exist now, each with the function that opens it."""

        async def found(job: Job) -> tuple[Job, OpenPart] | None:
            try:
                return job, await self.jobs.results.find(job)
            except RequestError:  # it has no result, or none any more
                return None

        every = await asyncio.gather(*map(found, batch.jobs))
        return [one for one in every if one is not None]

    async def _stream(self, batch: Batch) -> AsyncIterator[bytes]:
        yield RETRY
        url = self.public_url
        last: Batch | None = None
        async for now in self.batches.watch(batch):
            if now is None:
                yield PING
                continue
            if last is not None:
                for job in now.changed_since(last):
                    yield event("item", item_object(job, public_url=url))
            if last is None or now.state != "running":
                id_ = _LAST if now.state != "running" else None
                yield event("state", batch_object(now, public_url=url), id_)
            last = now

    def _answer(
        self, batch: Batch, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        body = batch_object(batch, public_url=self.public_url)
        shared = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if batch.state == "running":
            shared["Retry-After"] = "1"
        return Response(json.dumps(body), status=status, headers=shared | (headers or {}))

    async def _batch(self, batch_id: str) -> Batch:
        is_link = caller_of(request.scope).is_link
        return await self.batches.get(batch_id, None if is_link else owner_of_request())


async def _joined(first: bytes, rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    yield first
    if rest is not None:
        async for chunk in rest:
            yield chunk
