"""What a caller asked for, checked: plain values."""

from __future__ import annotations

from dataclasses import dataclass

SCALES = (2, 4)
"""What the compatible routes offer."""


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A picture to download."""

    url: str


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A picture that came with the request."""

    data: bytes


Source = UrlSource | BytesSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One picture to enlarge."""

    source: Source
    scale: int
    """HR pixels per LR pixel along an edge: 2 or 4."""

    model: str = "auto"
    precision: str = "auto"
    request_id: str = "-"
