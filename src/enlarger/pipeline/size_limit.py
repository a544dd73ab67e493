"""Writes a result so that its file has no more bytes than allowed: first by a lower quality, then by a smaller size."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from enlarger.errors import InvalidOption
from enlarger.geometry.axis import whole
from enlarger.options import Options
from enlarger.picture.encode import encode
from enlarger.picture.formats import QUALITY
from enlarger.picture.prepare import prepare
from enlarger.picture.resample import reduce
from enlarger.picture.values import Note, Picture
from enlarger.pipeline.outcome import Enlarged

LEAST_QUALITY = 50
"""Below this quality, a smaller picture looks better than one of lower quality."""

_STEP = 0.97
"""Factor on the side of each smaller picture: a file shrinks a little less than its number of pixels."""


def write(
    enlarged: Enlarged, options: Options, path: Path, *, kind: str, least_px: tuple[int, int]
) -> Picture:
    """Write the file of a result.

    Args:
        enlarged: the picture.
        options: how to write the picture. If ``max_bytes`` is set, the file has no more bytes.
        path: the file, which is replaced if it exists.
        kind: the format.
        least_px: width and height below which the result is not made smaller.

    Returns:
        The picture that the file holds, with a note on everything that was lowered.

    Raises:
        InvalidOption: the format cannot hold the picture, or not in so few bytes.
        OSError: the file cannot be written.
    """
    picture = _prepared(enlarged, options, kind=kind)
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
        picture = _prepared(shrunk, options, kind=kind)
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
    """Write the file in the highest quality that fits, or else in the lowest; return that quality and the file's size."""
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


def _prepared(enlarged: Enlarged, options: Options, *, kind: str) -> Picture:
    """Return the picture that the file will hold: with the depth and the alpha of its format.

    Raises:
        InvalidOption: the format cannot hold the picture.
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
    detected = {} if enlarged.content is None else {"content": enlarged.content}
    # A CPU is not named: files have the same bytes as before there were other devices.
    device = (
        {}
        if ran.device.is_cpu
        else {"device": ran.device.id, "device_class": ran.device.tile_class}
    )
    return {
        **detected,
        "model": ran.model,
        **({} if ran.denoise is None else {"denoise": ran.denoise}),
        "model_sha256": ran.model_sha256,
        "engine": ran.engine,
        "precision": ran.precision,
        **device,
        "color_lock": options.color_lock,
        "width": enlarged.picture.width_px,
        "height": enlarged.picture.height_px,
    }
