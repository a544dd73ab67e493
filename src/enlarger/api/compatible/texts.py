"""Sentences of the original service, whose clients may look for them.

``/v1`` has the same sentences as ``detail`` and ``error`` of its problems.
"""

from __future__ import annotations

from enlarger import errors
from enlarger.errors import EnlargerError

_SENTENCES: dict[type[EnlargerError], str] = {
    errors.FileTooLarge: "Image too large: {actual} bytes (max: {limit})",
    errors.DownloadTooLarge: "Image too large: {actual} bytes (max: {limit})",
    errors.ImageTooLarge: "Image dimensions too large: {width_px}x{height_px} (max: {limit})",
    errors.OutputTooLarge: "Upscaled image would be too large: ~{rgb_bytes} bytes{hint}",
    errors.SourceTimeout: "Timeout downloading image",
    errors.SourceRefused: "HTTP {source_status}: Failed to download image{reason}",
    errors.SourceFailed: "HTTP {source_status}: Failed to download image{reason}",
}
"""By class, with the facts of the error in braces."""


def sentence(error: EnlargerError) -> str:
    """What an error says to a caller. An error that lacks a fact of its sentence says its own text."""
    facts = {"limit": error.limit, "actual": error.actual, **error.facts}
    known = {name: value for name, value in facts.items() if value is not None}
    try:
        return _SENTENCES[type(error)].format(**known)
    except KeyError:
        return str(error)
