"""The formats that are written: their names, what they can hold, and which one a result gets."""

from __future__ import annotations

from pathlib import Path

from enlarger.errors import InvalidOption

SUFFIXES = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".avif": "avif",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""Formats by the suffix of a file's name."""

MEDIA_TYPES = {suffix: f"image/{kind}" for suffix, kind in SUFFIXES.items()}
"""Media types by suffix, for the response with the file."""

QUALITY = {"jpeg": 92, "webp": 90, "avif": 80}
"""Default quality. The other formats are lossless."""

_LONGEST_SIDE_PX = {"jpeg": 65500, "webp": 16383, "avif": 32768}
"""The longest side that the format's library writes, or for AVIF, that libavif opens by default."""

WITH_16_BITS = ("png", "tiff")
"""Formats with 16 bits per sample."""

MOST_PLAYS = {"png": 2**32 - 1, "webp": 65535, "avif": 0}
"""How often an animation can play at most; 0: it always plays for ever."""

LONGEST_MS = {"png": 65_535_000, "webp": 2**24 - 1, "avif": 2**31 - 1}
"""The longest time of a frame."""

_ANIMATED = ("png", "webp", "avif")
"""Formats of animations."""

WITH_DPI = ("png", "jpeg", "tiff")
"""Formats with a resolution."""


def format_for(path: Path, *, has_alpha: bool = False) -> str:
    """Return the format that a file's name asks for.

    Raises:
        InvalidOption: there is no such format, or it cannot hold alpha.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InvalidOption(
            f"cannot write '{path.name}': the name must end in {', '.join(SUFFIXES)}"
        )
    if kind == "jpeg" and has_alpha:
        raise InvalidOption(
            f"cannot write '{path.name}': the picture has transparency, which JPEG cannot hold; use .png or .webp"
        )
    return kind


def kind_for(wish: str | None, picture_format: str) -> str:
    """Return the format of a result without a file name. ``auto`` is the input's format, if it is written here."""
    if wish == "auto":
        return picture_format if picture_format in SUFFIXES.values() else "png"
    return wish or "png"


def suffix_of(kind: str) -> str:
    """Return the first suffix of a format."""
    return next(suffix for suffix, name in SUFFIXES.items() if name == kind)


def holds_frames(kind: str) -> bool:
    """Return whether a format can hold an animation."""
    return kind in _ANIMATED


def check_kind(
    kind: str,
    *,
    size_px: tuple[int, int],
    has_alpha: bool,
    background: tuple[int, int, int] | None,
    frames: int = 1,
) -> None:
    """Check that a format can hold a picture, before the picture is made.

    Raises:
        InvalidOption: the format cannot hold the picture; the text names the option and values that would work.
    """
    longest_px = _LONGEST_SIDE_PX.get(kind)
    if longest_px is not None and max(size_px) > longest_px:
        raise InvalidOption(
            f"Invalid format: {kind} holds up to {longest_px} px a side, and the result has "
            f"{size_px[0]}x{size_px[1]}; png and tiff hold it"
        )
    if frames > 1 and not holds_frames(kind):
        raise InvalidOption(
            f"Invalid format: {kind} holds one picture, and this is an animation of {frames} frames; "
            f"use {', '.join(_ANIMATED)}, or frames=first",
            reason="conflict",
        )
    if kind == "jpeg" and has_alpha and background is None:
        raise InvalidOption(
            "Invalid background: the picture has transparency, which jpeg cannot hold; "
            "give a colour to put under it, such as #ffffff, or use png, webp, avif or tiff",
            reason="conflict",
        )
