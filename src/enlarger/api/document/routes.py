"""``/openapi.json``, ``/docs`` and ``/llms.txt``."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

from quart import Response, abort, request

from enlarger.api.document.page import ASSETS, POLICY, asset, page
from enlarger.api.downloads import download
from enlarger.threads import in_thread

_CACHED = "public, max-age=300"


@dataclass
class DocumentRoutes:
    """The handlers of the documents."""

    executor: Executor
    public_url: str | None
    """Where others see the service."""

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Return the texts by path. They are made for the first request, so that the service starts without them."""
        from enlarger.api.document.llms import llms_text
        from enlarger.api.document.openapi import document

        made = document(public_url=self.public_url)
        return {"/openapi.json": json.dumps(made), "/llms.txt": llms_text(made)}

    async def openapi(self) -> Response:
        """``GET /openapi.json``."""
        return await self._answer("/openapi.json", "application/json")

    async def docs(self) -> Response:
        """``GET /docs``: with a policy that lets in what it loads."""
        headers = {"Cache-Control": _CACHED, "Content-Security-Policy": POLICY}
        html = await in_thread(self.executor, page)
        return Response(html, content_type="text/html; charset=utf-8", headers=headers)

    async def asset(self, name: str) -> Response:
        """``GET /docs/{name}``: what the page loads."""
        if name not in ASSETS:
            abort(404)
        content, etag = await in_thread(self.executor, asset, name)

        async def read(start: int, end: int) -> bytes:
            return content[start:end]

        return await download(
            request.headers,
            request.method,
            etag=etag,
            size_bytes=len(content),
            headers={"Content-Type": ASSETS[name].media_type, "Cache-Control": _CACHED},
            read=read,
        )

    async def llms(self) -> Response:
        """``GET /llms.txt``."""
        return await self._answer("/llms.txt", "text/plain; charset=utf-8")

    async def _answer(self, path: str, content_type: str) -> Response:
        texts = await in_thread(self.executor, lambda: self._texts)
        return Response(texts[path], content_type=content_type, headers={"Cache-Control": _CACHED})
