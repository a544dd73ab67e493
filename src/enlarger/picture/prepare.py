"""Decides what the file of a result will hold: depth, alpha, colours, animation and metadata, as its format allows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from enlarger.picture import marking
from enlarger.picture import profile as profile_
from enlarger.picture.formats import LONGEST_MS, MOST_PLAYS, WITH_16_BITS, check_kind
from enlarger.picture.metadata.result import (
    dpi_for_result,
    exif_for_result,
    iptc_for_result,
    texts_for_result,
    xmp_for_result,
)
from enlarger.picture.values import Motion, Note, Picture, Samples, to_8_bits, with_alpha

_JPEG_ICC_BYTES = 255 * (65533 - 14)
"""A profile may take 255 segments of a JPEG."""


def prepare(
    picture: Picture,
    *,
    kind: str,
    metadata: str = "strip",
    background: tuple[int, int, int] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> Picture:
    """Return exactly what the file of a result will hold, with a note on everything that is lost.

    Args:
        picture: the result, of any depth.
        kind: ``png``, ``jpeg``, ``webp``, ``avif`` or ``tiff``.
        metadata: ``keep`` preserves EXIF, XMP, IPTC, texts and resolution, and ``strip`` drops them. The profile is
            preserved in either case.
        background: red, green and blue, 0 to 255, to put under transparent pixels; None leaves these transparent.
        provenance: plain values to write into EXIF, whatever ``metadata`` is.

    Raises:
        InvalidOption: the format cannot hold the picture.
    """
    check_kind(
        kind,
        size_px=(picture.width_px, picture.height_px),
        has_alpha=picture.has_alpha,
        background=background,
        frames=len(picture.frames),
    )
    notes = list(picture.notes)
    frames = picture.frames
    if background is not None and picture.has_alpha:
        notes.append(Note("alpha_flattened", "onto #{:02x}{:02x}{:02x}".format(*background)))
        frames = _flattened(picture, background)
    icc, stated = picture.icc, picture.stated
    if picture.own is not None and kind in WITH_16_BITS:
        frames, icc, stated = marking.as_it_was(frames, picture.own)
    elif picture.own is not None:
        detail = f"{picture.own.name} to the curve of sRGB, since {kind} holds 8 bits"
        notes.append(Note("colorspace_converted", detail))
    if picture.samples.dtype == np.uint16 and kind not in WITH_16_BITS:
        notes.append(Note("depth_reduced", f"16 bits to 8, which is what {kind} holds"))
        frames = tuple(to_8_bits(frame) for frame in frames)
    if kind == "webp" or (kind == "avif" and frames[0].shape[2] == 2):
        frames = tuple(_in_colour(frame) for frame in frames)
    motion = picture.motion and _motion(picture.motion, kind, notes)
    samples = frames[0]
    preserve = metadata == "keep"
    return replace(
        replace(picture, motion=motion).with_frames(frames),
        format=kind,
        icc=_profile(icc, samples, kind, notes),
        stated=stated,
        own=None,
        exif=exif_for_result(picture, kind, notes, preserve=preserve, provenance=provenance),
        xmp=xmp_for_result(picture, notes, preserve=preserve),
        iptc=iptc_for_result(picture, kind, notes, preserve=preserve),
        texts=texts_for_result(picture, kind, notes, preserve=preserve),
        dpi=dpi_for_result(picture, kind) if preserve else None,
        depth_bits=samples.itemsize * 8,
        notes=tuple(notes),
    )


def _motion(motion: Motion, kind: str, notes: list[Note]) -> Motion:
    """Return the times and the loop count that the format can state."""
    plays = motion.plays
    if plays > MOST_PLAYS[kind]:
        notes.append(
            Note("loop_dropped", f"{plays} times are more than {kind} states; it plays for ever")
        )
        plays = 0
    longest_ms = LONGEST_MS[kind]
    if kind == "webp":
        # The encoder counts the time of all frames in 31 bits.
        longest_ms = min(longest_ms, (2**31 - 1) // len(motion.durations_ms))
    durations_ms = [min(duration_ms, longest_ms) for duration_ms in motion.durations_ms]
    if max(motion.durations_ms) > longest_ms:
        limit = f"to {longest_ms / 1000:.0f} s a frame, which is what {kind} holds"
        notes.append(Note("times_shortened", limit))
    if kind == "png":
        durations_ms = [_as_fraction(duration_ms) for duration_ms in durations_ms]
    else:
        # Whole milliseconds, so that each frame begins as close to its time as possible.
        times = [round(time) for time in itertools.accumulate(durations_ms, initial=0)]
        durations_ms = [after - before for before, after in itertools.pairwise(times)]
    return replace(motion, durations_ms=tuple(durations_ms), plays=plays)


def _as_fraction(duration_ms: float) -> float:
    """Return the nearest time whose seconds are a fraction of two numbers of 16 bits."""
    most = 65535 if duration_ms < 1000 else int(65535 * 1000 / duration_ms)
    return float(Fraction(duration_ms / 1000).limit_denominator(most) * 1000)


def _flattened(picture: Picture, background: tuple[int, int, int]) -> tuple[Samples, ...]:
    """Return all frames over a background, blended in code values as browsers do. Gray stays gray over gray only."""
    stays_gray = picture.is_gray and len(set(background)) == 1
    icc = picture.icc
    if icc is not None and picture.is_gray and not stays_gray:
        icc = profile_.rgb_of_gray(icc)
    under = marking.in_colours_of(picture, background, icc)
    # In 16 bits; (value + 128) // 257 is the nearest of 8 bits.
    most = int(np.iinfo(picture.samples.dtype).max)
    under = under.astype(np.uint64) if most == 65535 else (under.astype(np.uint64) + 128) // 257
    return tuple(_over(frame, under[:1] if stays_gray else under) for frame in picture.frames)


def _over(samples: Samples, under: Samples) -> Samples:
    """Return samples over one colour."""
    colour, alpha = samples[:, :, :-1], samples[:, :, -1]
    most = int(np.iinfo(colour.dtype).max)
    cover = alpha[:, :, np.newaxis].astype(np.uint64)
    mixed: Samples = (colour * cover + under * (most - cover) + most // 2) // most
    return mixed.astype(colour.dtype)


def _in_colour(samples: Samples) -> Samples:
    """Return gray as RGB with three equal channels."""
    if samples.shape[2] > 2:
        return samples
    gray = np.repeat(samples[:, :, :1], 3, axis=2)
    return with_alpha(gray, samples[:, :, 1] if samples.shape[2] == 2 else None)


def _profile(icc: bytes | None, samples: Samples, kind: str, notes: list[Note]) -> bytes | None:
    """Return the profile for the samples, if the format can hold it."""
    if icc is None:
        return None
    if profile_.is_for_gray(icc) and samples.shape[2] > 2:
        icc = profile_.rgb_of_gray(icc)
        if icc is None:
            notes.append(Note("icc_dropped", "gray became RGB, and the profile is for gray"))
            return None
    if kind == "jpeg" and len(icc) > _JPEG_ICC_BYTES:
        notes.append(Note("icc_dropped", f"{len(icc)} bytes are more than jpeg holds"))
        return None
    return icc
