"""``/docs``: the document in Swagger UI, which comes with the package and loads nothing from anywhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
_VENDORED = _FOLDER / "swagger_ui"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The ``Content-Security-Policy`` of the page. Swagger UI shows pictures that it got as ``blob:``, and has icons as ``data:``."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the page loads."""

    path: Path
    media_type: str


_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
}

ASSETS = {
    path.name: Asset(path, _TYPES[path.suffix])
    for path in (
        _FOLDER / "docs.js",
        _FOLDER / "docs.css",
        _VENDORED / "swagger-ui-bundle.js",
        _VENDORED / "swagger-ui.css",
        _VENDORED / "favicon-32x32.png",
    )
}
"""By name, below ``/docs/``."""


def page() -> str:
    """The HTML. All that it names is relative, so that it is found behind any proxy."""
    return (_FOLDER / "docs.html").read_text()


def asset(name: str) -> tuple[bytes, str]:
    """Content and ``ETag`` of an asset, which is one of ``ASSETS``."""
    content = ASSETS[name].path.read_bytes()
    return content, f'"sha256-{hashlib.sha256(content).hexdigest()}"'
