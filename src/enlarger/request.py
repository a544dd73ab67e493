"""What a caller asks for: a picture, where it comes from, and its options."""

from __future__ import annotations

from dataclasses import dataclass, field

from enlarger.options import Options


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
class UpscaleRequest:
    """One picture to enlarge."""

    source: Source
    options: Options = field(default_factory=Options)
    skip_cache: bool = False
    """Compute it even if an identical request has a result."""

    owner: str = ""
    """Whose it is: identical requests share what was made among those of one owner alone."""

    request_id: str = "-"
