"""Writing a result so that its file has no more bytes than asked for: lower quality first, then a smaller size."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from enlarger.errors import InvalidOption
from enlarger.geometry.axis import whole
from enlarger.options import Options
from enlarger.picture.encode import QUALITY, encode, prepare
from enlarger.picture.resample import reduce
from enlarger.picture.values import Note, Picture
from enlarger.pipeline.outcome import Enlarged

LEAST_QUALITY = 50
"""Below it a smaller picture looks better than a worse one."""

_STEP = 0.97
"""A file shrinks a little less than its pixels do."""


def write(
    enlarged: Enlarged, options: Options, path: Path, *, kind: str, least_px: tuple[int, int]
) -> Picture:
    """Write the file of a result; gives what it holds, with a note on each thing that was lowered.

    Args:
        enlarged: the picture.
        options: how to write it; ``max_bytes`` is met if it is given.
        path: is replaced if it exists.
        kind: the format.
        least_px: width and height below which the result is not made smaller.

    Raises:
        InvalidOption: the format cannot hold the picture, or not in so few bytes.
        OSError: the file cannot be written.
    """
    picture = finished(enlarged, options, kind=kind)
    most = options.max_bytes
    quality = options.quality or QUALITY.get(kind)
    size = _encoded(picture, path, kind, quality)
    if most is None or size <= most:
        return picture
    fit = f"to fit {most} bytes"
    notes = []
    if quality is not None and quality > LEAST_QUALITY:
        lowered, size = _best_quality(picture, path, kind, below=quality, most=most)
        notes.append(Note("quality_lowered", f"{quality} to {lowered}, {fit}"))
        quality = lowered
    full_px = (picture.width_px, picture.height_px)
    while size > most and (picture.width_px, picture.height_px) != least_px:
        share = _STEP * math.sqrt(most / size)
        sides = zip((picture.width_px, picture.height_px), least_px, strict=True)
        width_px, height_px = (max(least, int(side * share)) for side, least in sides)
        shrunk = replace(enlarged, picture=_reduced(enlarged.picture, width_px, height_px))
        picture = finished(shrunk, options, kind=kind)
        size = _encoded(picture, path, kind, quality)
    if size > most:
        at = "" if quality is None else f" at quality {quality}"
        raise InvalidOption(
            f"Invalid max_bytes: {kind} needs {size} bytes{at} even at {picture.width_px}x{picture.height_px}, "
            f"the size of the picture itself, and {most} are allowed"
        )
    if (picture.width_px, picture.height_px) != full_px:
        sizes = f"{full_px[0]}x{full_px[1]} to {picture.width_px}x{picture.height_px}"
        notes.append(Note("size_lowered", f"{sizes}, {fit}"))
    return replace(picture, notes=(*picture.notes, *notes))


def _best_quality(
    picture: Picture, path: Path, kind: str, *, below: int, most: int
) -> tuple[int, int]:
    """The highest quality that fits, or the least one; and the size of the file, which is left written."""
    low, high = LEAST_QUALITY, below
    while high - low > 1:
        middle = (low + high) // 2
        fits = _encoded(picture, path, kind, middle) <= most
        low, high = (middle, high) if fits else (low, middle)
    return low, _encoded(picture, path, kind, low)


def _encoded(picture: Picture, path: Path, kind: str, quality: int | None) -> int:
    encode(picture, path, kind=kind, quality=quality)
    return path.stat().st_size


def _reduced(picture: Picture, width_px: int, height_px: int) -> Picture:
    rows, columns = whole(picture.height_px, height_px), whole(picture.width_px, width_px)
    reduced = picture.with_frames(
        [reduce(frame, rows=rows, columns=columns) for frame in picture.frames]
    )
    across, down = picture.magnification
    magnification = (across * width_px / picture.width_px, down * height_px / picture.height_px)
    return replace(reduced, magnification=magnification)


def finished(enlarged: Enlarged, options: Options, *, kind: str) -> Picture:
    """The picture as it is written: metadata kept or dropped, depth and alpha as the format has them.

    Raises:
        InvalidOption: the format cannot hold it.
    """
    return prepare(
        enlarged.picture,
        kind=kind,
        metadata=options.metadata,
        background=options.background_rgb,
        provenance=_provenance(enlarged, options) if options.provenance else None,
    )


def _provenance(enlarged: Enlarged, options: Options) -> dict[str, object]:
    ran = enlarged.ran
    return {
        "model": ran.model,
        "model_sha256": ran.model_sha256,
        "engine": ran.engine,
        "precision": ran.precision,
        "color_lock": options.color_lock,
        "width": enlarged.picture.width_px,
        "height": enlarged.picture.height_px,
    }


def kept(picture: Picture, written: Picture) -> tuple[str, ...]:
    """Names of what the input had and the file has."""
    facts = {
        "alpha": picture.has_alpha and written.has_alpha,
        "gray": picture.is_gray and written.is_gray,
        "depth_16": picture.samples.itemsize == 2 and written.samples.itemsize == 2,
        # Not one that was made here of another statement.
        "icc": bool(picture.icc and written.icc and picture.stated is None),
        "exif": bool(picture.exif and written.exif),
        "xmp": bool(picture.xmp and written.xmp),
        "iptc": bool(picture.iptc and written.iptc),
        "text": bool(picture.texts and written.texts),
        "dpi": bool(picture.dpi and written.dpi),
        "animation": bool(picture.motion and written.motion),
    }
    return tuple(name for name, holds in facts.items() if holds)
