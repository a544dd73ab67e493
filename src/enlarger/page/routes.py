"""``/``, and the files that it loads. They hold no data, so they need no key."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

from quart import Response, abort, request

from enlarger.page.files import PageFile, index, page_files
from enlarger.threads import in_thread

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types enlarger",
    )
)
"""The ``Content-Security-Policy`` of the page. Its one Trusted Types policy makes the addresses of its workers."""

_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATED = "no-cache"


@dataclass(frozen=True)
class PageRoutes:
    """The routes of the page.

    Args:
        executor: reads and compresses the files.
        title: what the page and the browser's tab are called.
        is_on: whether there is a page; if not, ``/`` redirects to ``/docs``.
    """

    executor: Executor
    title: str
    is_on: bool

    async def home(self) -> Response:
        """``GET /``: the page. All addresses in it are relative, so it works below any path of a proxy."""
        if not self.is_on:
            # Not for good: an operator may switch the page on again.
            headers = {"Location": "docs", "Cache-Control": "no-store"}
            return Response(b"", status=307, headers=headers)
        file = await in_thread(self.executor, index, self.title)
        answer = _answer(file, _REVALIDATED)
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    async def file(self, version: str, name: str) -> Response:
        """``GET /page/{version}/{name}``: a file of the page.

        A tab that was opened before an update asks for another version. It gets the file of today, which its browser
        does not keep under that address.
        """
        files = await in_thread(self.executor, page_files)
        file = files.by_name.get(name) if self.is_on else None
        if file is None:
            abort(404)
        answer = _answer(file, _FOREVER if version == files.version else _REVALIDATED)
        # A worker obeys the policy of its own file, not that of the page.
        answer.headers["Content-Security-Policy"] = POLICY
        return answer


def _answer(file: PageFile, caching: str) -> Response:
    """The file, compressed where the browser reads gzip; 304 where the browser has it."""
    # The two forms of a file are equal in meaning, not in bytes, so their tag is weak.
    headers = {"Cache-Control": caching, "Vary": "Accept-Encoding", "ETag": f'W/"{file.hash}"'}
    if request.if_none_match.contains_weak(file.hash):
        return Response(b"", status=304, headers=headers)
    headers["Content-Type"] = file.media_type
    if request.accept_encodings.quality("gzip") > 0:
        return Response(file.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, headers=headers)
