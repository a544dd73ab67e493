"""Encodes JPEG, WebP, AVIF and animated PNG with Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from enlarger.picture import exif, marking
from enlarger.picture.encoders.avif import without_time_of_day
from enlarger.picture.encoders.jpeg import segments
from enlarger.picture.encoders.png import PNG_LEVEL, text_chunks
from enlarger.picture.formats import QUALITY, WITH_DPI
from enlarger.picture.values import Picture, flat

_AVIF_SPEED = 8
"""Four times as fast as Pillow's default of 6, for files of the same size (benchmarks/encoders.py)."""

_FULL_CHROMA_QUALITY = 90
"""From this quality on, the colours of a JPEG have the resolution of its brightness."""


def write_with_pillow(picture: Picture, path: Path, kind: str, quality: int | None) -> None:
    """Write a file, which is replaced if it exists."""
    image, *later = (Image.fromarray(flat(frame)) for frame in picture.frames)
    options = _options(picture, kind, quality)
    if picture.motion is not None:
        options |= {
            "duration": list(picture.motion.durations_ms),
            "loop": picture.motion.plays,
            "save_all": True,
            "append_images": later,
        }
    # Into a real file: then Pillow compresses without holding the interpreter's lock.
    with path.open("wb") as file:
        image.save(file, format=kind, **options)
    _finish(picture, path, kind)


def _finish(picture: Picture, path: Path, kind: str) -> None:
    """Add what Pillow cannot write, and remove what it should not have written."""
    stated = picture.stated
    if kind == "avif" and (picture.motion is not None or (stated and stated.code_points)):
        data = path.read_bytes()
        if picture.motion is not None:
            data = without_time_of_day(data)
        path.write_bytes(marking.marked_avif(data, stated))
    elif kind == "png" and (chunks := marking.png_chunks_of(stated)):
        path.write_bytes(marking.with_png_chunks(path.read_bytes(), chunks))


def _options(picture: Picture, kind: str, quality: int | None) -> dict[str, Any]:
    """Return the options of Pillow's encoder of a format."""
    options: dict[str, Any] = {"icc_profile": picture.icc}
    if kind == "png":
        options["compress_level"] = PNG_LEVEL
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for chunk in text_chunks(picture):
            options["pnginfo"].add(*chunk)
    else:
        options["quality"] = QUALITY[kind] if quality is None else quality
    if kind == "jpeg":
        options["extra"] = segments(picture)
    elif kind != "png" and picture.xmp is not None:
        options["xmp"] = picture.xmp
    if kind == "avif":
        options["speed"] = _AVIF_SPEED
        if told := marking.avif_options(picture.stated):
            options["advanced"] = told
    if kind == "jpeg" and options["quality"] >= _FULL_CHROMA_QUALITY:
        options["subsampling"] = "4:4:4"
    if picture.exif is not None:
        prefix = exif.EXIF_PREFIX if kind == "jpeg" else b""
        options["exif"] = prefix + picture.exif.removeprefix(exif.EXIF_PREFIX)
    if picture.dpi is not None and kind in WITH_DPI:
        options["dpi"] = picture.dpi
    return options
