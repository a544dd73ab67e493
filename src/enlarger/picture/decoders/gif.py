"""Decodes GIF: frame by frame, as its own structure says."""

from __future__ import annotations

from dataclasses import replace

from enlarger.errors import UnreadableImage
from enlarger.picture import gif, patches
from enlarger.picture.decoders.opening import opened
from enlarger.picture.decoders.samples import drawn
from enlarger.picture.decoders.stored import Stored, check_memory
from enlarger.picture.frames import composed, stacked
from enlarger.picture.metadata import read_metadata
from enlarger.picture.stated import stated
from enlarger.picture.values import Note

SIGNATURE = b"GIF8"

_MOST_NAMED = 8
"""A note names at most this many frames."""


def from_gif(data: bytes, wanted_frames: int) -> Stored:
    """Decode a GIF. A frame that does not cover the canvas leaves the rest of it transparent.

    Args:
        data: the file.
        wanted_frames: how many frames to decode at most.

    Raises:
        UnreadableImage: the file is broken, or takes too much memory.
    """
    film = read_film(data)
    size, frames = (film.width_px, film.height_px), len(film.frames)
    taken = min(frames, wanted_frames)
    check_memory(*size, depth_bits=8, frames=taken)
    notes = [Note("damage_ignored", said) for said in film.damage]
    clipped = [
        str(number)
        for number, frame in enumerate(film.frames[:taken], start=1)
        if film.is_clipped(frame)
    ]
    if clipped:
        more = f" and {len(clipped) - _MOST_NAMED} more" if len(clipped) > _MOST_NAMED else ""
        which = f"frame{'s' if len(clipped) > 1 else ''} {', '.join(clipped[:_MOST_NAMED])}{more}"
        notes.append(Note("frames_clipped", f"{which}, to {size[0]}x{size[1]} px"))
    shown = composed(patches.of_gif(film), size, drawn)
    channels, alpha, space, durations_ms = stacked(shown, size, taken)
    return Stored(
        format="gif",
        colour=channels,
        alpha=alpha,
        space=space,
        depth_bits=8,
        orientation=1,
        frames=frames,
        durations_ms=durations_ms,
        plays=film.plays,
        stated=stated(data, "gif", exif_block=None),
        metadata=read_metadata(data, "gif", exif=None, xmp=None),
        notes=tuple(notes),
    )


def read_film(data: bytes) -> gif.Film:
    """Return the frames of a GIF, without a last one that is cut short.

    Raises:
        UnreadableImage: the file has no frame, or the frames take too much memory.
    """
    film = gif.read(data)
    check_memory(film.width_px, film.height_px, depth_bits=8)
    *before, last = film.frames
    if last.is_whole or not before:
        return film
    try:
        with opened(gif.still(film, last)) as image:
            check_memory(*image.size, depth_bits=8)
            image.load()
    except (UnreadableImage, OSError, EOFError, SyntaxError, ValueError, IndexError):
        lost = f"frame {len(film.frames)}, which is cut short, was left out"
        return replace(film, frames=tuple(before), damage=(*film.damage, lost))
    return film
