"""What a caller asks for: a picture, where it comes from, and its options."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from enlarger.options import Options


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A picture to download."""

    url: str


@dataclass(frozen=True)
class BytesSource:
    """A picture that came with the request."""

    data: bytes

    known_sha256: str | None = field(default=None, repr=False, compare=False)
    """The digest that ``data`` was stored with, where it was."""

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of ``data``, 64 hexadecimal digits. It is computed once, off the event loop where that matters."""
        return self.known_sha256 or hashlib.sha256(self.data).hexdigest()


Source = UrlSource | BytesSource


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleRequest:
    """One picture to enlarge."""

    source: Source
    options: Options = field(default_factory=Options)
    skip_cache: bool = False
    """Compute it even if an identical request has a result."""

    owner: str = ""
    """Owner of the request: only identical requests of one owner share a result."""

    request_id: str = "-"
