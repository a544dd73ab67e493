"""Encodes a prepared ``Picture`` into a file."""

from __future__ import annotations

from pathlib import Path

from enlarger.picture.encoders.pillow import write_with_pillow
from enlarger.picture.encoders.png import png_file
from enlarger.picture.encoders.tiff import tiff_file
from enlarger.picture.values import Picture


def encode(picture: Picture, path: Path, *, kind: str, quality: int | None = None) -> None:
    """Write everything that a prepared picture holds. Equal pictures become equal files.

    Args:
        picture: as ``prepare`` returned it for this format.
        path: the file, which is replaced if it exists.
        kind: ``png``, ``jpeg``, ``webp``, ``avif`` or ``tiff``.
        quality: 1 to 100, for JPEG, WebP and AVIF; None is 92, 90 and 80.

    Raises:
        OSError: the file cannot be written.
    """
    if kind == "tiff":
        path.write_bytes(tiff_file(picture))
    elif kind == "png" and picture.motion is None:
        with path.open("wb") as file:
            file.writelines(png_file(picture))
    else:
        write_with_pillow(picture, path, kind, quality)
