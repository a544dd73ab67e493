"""Decodes a file into a ``Picture``: upright, as gray or RGB. It runs in a process that may be killed: see ``sandbox``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from enlarger.errors import UnreadableImage
from enlarger.picture import pages, tiff
from enlarger.picture.bare import bare
from enlarger.picture.colour import Colours
from enlarger.picture.decoders.gif import SIGNATURE, from_gif, read_film
from enlarger.picture.decoders.opening import in_our_words, opened
from enlarger.picture.decoders.pillow import frame_count, from_pillow, metadata_of
from enlarger.picture.decoders.samples import depth_bits_of, format_of
from enlarger.picture.decoders.stored import Stored
from enlarger.picture.decoders.tiff import from_tiff
from enlarger.picture.values import Header, Motion, Note, Picture, Samples, with_alpha

_UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    2: lambda samples: samples[:, ::-1],
    3: lambda samples: samples[::-1, ::-1],
    4: lambda samples: samples[::-1],
    5: lambda samples: samples.transpose(1, 0, 2),
    6: lambda samples: np.rot90(samples, -1),
    7: lambda samples: samples[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
"""What turns stored rows and columns upright, by EXIF orientation (EXIF 2.32, 4.6.4)."""

_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def probe(data: bytes) -> Header:
    """Return the header of a file; no pixel is decoded.

    Raises:
        UnsupportedFormat: the file is not an image of a format that is read here.
        UnreadableImage: the file is an image, but broken.
    """
    with in_our_words(data):
        if data.startswith(tiff.PREFIXES):
            page = pages.main_page(data)
            header = tiff.header(page.file)
            stored_px, format_, mode = (header.width_px, header.height_px), "tiff", header.mode
            orientation, depth_bits, frames = header.orientation, header.depth_bits, page.full_pages
            may_be_transparent = header.alpha is not None
        elif data.startswith(SIGNATURE):
            film = read_film(data)
            stored_px, format_, mode = (film.width_px, film.height_px), "gif", "P"
            orientation, depth_bits, frames = 1, 8, len(film.frames)
            first = film.frames[0]
            may_be_transparent = first.has_clear_index or not film.is_covered_by(first)
        else:
            with opened(bare(data).file) as image:
                may_be_transparent = image.has_transparency_data
                stored_px, format_, mode = image.size, format_of(image), image.mode
                orientation, _ = metadata_of(image, data).orientation()
                frames = frame_count(image)
            depth_bits = depth_bits_of(data, format_)
        if 0 in stored_px:
            raise UnreadableImage("the picture has no pixels")
        width_px, height_px = stored_px[::-1] if orientation in _TURNED else stored_px
        return Header(
            format=format_,
            width_px=width_px,
            height_px=height_px,
            mode=mode,
            depth_bits=max(depth_bits, 8),
            frames=frames,
            may_be_transparent=may_be_transparent,
        )


def decode(
    data: bytes, *, to_srgb: bool = False, frames: int = 1, kind: str | None = None
) -> Picture:
    """Return the picture, upright, as gray or RGB with or without alpha, and with notes on what was changed.

    Args:
        data: the file.
        to_srgb: convert colours that are not sRGB, by a profile or another statement of the file, to sRGB; the picture
            then has no profile. CMYK and Lab are converted in any case.
        frames: how many frames of an animation to decode at most, each as it is shown, in 8 bits. With 1, the result
            is the picture that programs without animation show.
        kind: the format of the result. Colours that it cannot hold are converted here, before the network; None
            converts none.

    Raises:
        UnsupportedFormat: the file is not an image of a format that is read here.
        UnreadableImage: the file is an image, but broken or cut short.
    """
    with in_our_words(data):
        if data.startswith(tiff.PREFIXES):
            stored = from_tiff(data)
        elif data.startswith(SIGNATURE):
            stored = from_gif(data, frames)
        else:
            stored = from_pillow(data, frames)
        return _picture(stored, to_srgb=to_srgb, kind=kind)


def _picture(stored: Stored, *, to_srgb: bool, kind: str | None) -> Picture:
    """Return the picture of stored samples: colours converted, frames upright, and a note on each change."""
    notes = [*stored.notes, *stored.metadata.notes]
    taken = len(stored.durations_ms)
    if stored.choice:
        notes.append(Note("largest_page_taken", stored.choice))
    elif stored.frames > taken == 1:
        notes.append(Note("first_frame_only", f"{stored.frames} frames"))
    elif stored.frames > taken > 1:
        notes.append(Note("frames_left_out", f"the first {taken} of {stored.frames} were taken"))
    colours = Colours(
        samples=stored.colour,
        alpha=stored.alpha,
        space=stored.space,
        icc=stored.icc or stored.stated.icc,
        stated=stored.stated,
    ).for_result(kind, wants_srgb=to_srgb)
    notes += colours.notes
    samples = with_alpha(colours.samples, stored.alpha)
    frames = np.split(samples, taken)
    is_turned = stored.orientation in _UPRIGHT
    if is_turned:
        source = f"{stored.oriented_by} orientation {stored.orientation}"
        notes.append(Note("orientation_applied", source))
        frames = [_UPRIGHT[stored.orientation](frame) for frame in frames]
    if stored.depth_bits > 8 and samples.dtype == np.uint8:
        notes.append(Note("depth_reduced", f"{stored.depth_bits} bits to 8"))
    first, *later = (np.ascontiguousarray(frame) for frame in frames)
    return Picture(
        samples=first,
        motion=Motion(later=tuple(later), durations_ms=stored.durations_ms, plays=stored.plays)
        if later
        else None,
        format=stored.format,
        icc=colours.icc,
        stated=colours.statement,
        own=colours.own,
        exif=stored.metadata.exif or None,
        xmp=stored.metadata.xmp or None,
        iptc=stored.metadata.iptc or None,
        texts=tuple(stored.metadata.texts),
        dpi=stored.dpi,
        depth_bits=max(stored.depth_bits, 8),
        is_whole=not is_turned,
        notes=tuple(notes),
    )
