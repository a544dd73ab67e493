"""Making a picture while its caller waits, by the rules that the routes of all contracts share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from quart import Response, g, request

from enlarger.api.callers import caller_of
from enlarger.api.facts import Link, link, server_timing
from enlarger.api.streaming import FileText, json_answer
from enlarger.engine.shelf import Shelf
from enlarger.models import Catalogue
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener
from enlarger.request import UpscaleRequest
from enlarger.storage import ResultStore, StoredResult

_NOBODY = Listener()


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """The parts of the service that make a picture, and what has to be done for each."""

    pipeline: Pipeline
    store: ResultStore
    shelf: Shelf
    executor: Executor
    """Threads for all that would hold up the event loop."""

    public_url: str | None
    """Where others see the service."""

    charge: Callable[[str, int], Awaitable[None]]
    """Takes output pixels from what a caller may ask for."""

    done: Callable[[Outcome], None]
    """Called with each finished picture."""

    @property
    def catalogue(self) -> Catalogue:
        """The models that are offered now."""
        return self.shelf.catalogue

    async def make(self, job: UpscaleRequest, listener: Listener = _NOBODY) -> Outcome:
        """Make a picture for the caller of the current request.

        Args:
            job: what the request asks for; owner, id and use of the cache are taken from the request.
            listener: is told of the progress.

        Raises:
            EnlargerError: there is no picture.
        """
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

    async def text_of(self, stored: StoredResult, prefix: str = "") -> FileText:
        """Open a result, and return it as a value of a JSON response: its base64 after a prefix.

        Raises:
            ResultLost: It was deleted.
        """
        return FileText(await self.store.open(stored), stored.size_bytes, prefix)

    def answer(self, body: Mapping[str, Any], *outcomes: Outcome) -> Response:
        """A 200 with a JSON body, whose files are streamed; with the times of the picture where there is one."""
        times = {"Server-Timing": server_timing(outcomes[0])} if len(outcomes) == 1 else {}
        return json_answer(body, self.executor, times)

    def link_to(self, stored: StoredResult) -> Link:
        """The URL of a result, and when it expires."""
        expires_at = time.time() + self.store.left_s(stored)
        return link(stored.url_path, expires_at=expires_at, public_url=self.public_url)
