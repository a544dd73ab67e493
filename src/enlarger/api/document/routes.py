"""``/openapi.json``, ``/docs`` and ``/llms.txt``."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

from quart import Blueprint, Quart, Response

from enlarger.api.document.llms import llms_text
from enlarger.api.document.openapi import document
from enlarger.api.document.page import POLICY, page
from enlarger.threads import in_thread


@dataclass
class DocumentRoutes:
    """The routes, which describe the application that they are in."""

    app: Quart
    executor: Executor
    public_url: str | None
    """Where others see the service."""

    @cached_property
    def _texts(self) -> dict[str, str]:
        """By path. Half a second of work, done when one is asked for first: a start need not wait for it."""
        made = document(self.app, public_url=self.public_url)
        return {
            "/openapi.json": json.dumps(made),
            "/docs": page(made),
            "/llms.txt": llms_text(made),
        }

    def register(self) -> None:
        """Add the routes to the application."""
        routes = Blueprint("document", __name__)
        routes.add_url_rule("/openapi.json", view_func=self.openapi)
        routes.add_url_rule("/docs", view_func=self.docs)
        routes.add_url_rule("/llms.txt", view_func=self.llms)
        self.app.register_blueprint(routes)

    async def openapi(self) -> Response:
        """``GET /openapi.json``."""
        return await self._answer("/openapi.json", "application/json")

    async def docs(self) -> Response:
        """``GET /docs``: with a policy that lets its own style in."""
        answer = await self._answer("/docs", "text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    async def llms(self) -> Response:
        """``GET /llms.txt``."""
        return await self._answer("/llms.txt", "text/plain; charset=utf-8")

    async def _answer(self, path: str, content_type: str) -> Response:
        texts = await in_thread(self.executor, lambda: self._texts)
        headers = {"Cache-Control": "public, max-age=300"}
        return Response(texts[path], content_type=content_type, headers=headers)
