"""The files of the page, as they are sent: read once, compressed once, named by their content."""

from __future__ import annotations

import gzip
import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types by suffix. ``index.html`` is a template and not sent as it is."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page."""

    content: bytes
    compressed: bytes
    """The content in gzip."""

    media_type: str
    hash: str
    """SHA-256 of the content, in hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class PageFiles:
    """All files of the page."""

    version: str
    """A hash of all of them, which stands in their addresses: a browser may keep each file forever."""

    by_name: Mapping[str, PageFile]
    """Files by their path below the folder, such as ``texts/en.js``."""


def page_file(content: bytes, media_type: str) -> PageFile:
    """Compress and name a file."""
    return PageFile(
        content=content,
        compressed=gzip.compress(content, 9, mtime=0),
        media_type=media_type,
        hash=hashlib.sha256(content).hexdigest(),
    )


@cache
def page_files() -> PageFiles:
    """Read all files of the page."""
    by_name: dict[str, PageFile] = {}
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            name, content = path.relative_to(FOLDER).as_posix(), path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            by_name[name] = page_file(content, _TYPES[path.suffix])
    return PageFiles(digest.hexdigest()[:16], by_name)


@cache
def index(title: str) -> PageFile:
    """Fill in the HTML of ``/``.

    It names all modules, so that a browser loads them at once, not one level of imports after another. Those of
    workers and languages lie in folders of their own, and are loaded when they are needed.

    Args:
        title: plain text, which is escaped here.
    """
    files = page_files()
    modules = [name for name in files.by_name if name.endswith(".js") and "/" not in name]
    links = [f'<link rel="modulepreload" href="page/{files.version}/{name}">' for name in modules]
    text = (FOLDER / "index.html").read_text()
    text = text.replace("{{modules}}", "\n    ".join(links))
    text = text.replace("{{version}}", files.version)
    text = text.replace("{{title}}", html.escape(title))
    return page_file(text.encode(), "text/html; charset=utf-8")
