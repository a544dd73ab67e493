"""Decodes PNG, JPEG, WebP, AVIF and BMP with Pillow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile

from enlarger.errors import UnreadableImage
from enlarger.picture import exif, patches
from enlarger.picture.bare import bare
from enlarger.picture.colour import Space
from enlarger.picture.decoders.opening import opened
from enlarger.picture.decoders.samples import deep_avif, depth_bits_of, drawn, format_of, still
from enlarger.picture.decoders.stored import Stored, check_memory, dpi_or_none
from enlarger.picture.frames import Frame, composed, stacked
from enlarger.picture.metadata import Metadata, read_metadata
from enlarger.picture.stated import stated
from enlarger.picture.values import Note


def from_pillow(data: bytes, wanted_frames: int) -> Stored:
    """Decode a file of a format that Pillow reads.

    Args:
        data: the file.
        wanted_frames: how many frames of an animation to decode at most.

    Raises:
        UnreadableImage: the file is broken or cut short, or takes too much memory.
    """
    seen = bare(data)
    with opened(seen.file) as image:
        stored_size = image.size
        format_ = format_of(image)
        depth_bits = depth_bits_of(data, format_)
        frames = frame_count(image)
        check_memory(*stored_size, depth_bits=depth_bits, frames=min(frames, wanted_frames))
        found = metadata_of(image, data)
        said = stated(data, format_, exif_block=found.exif)
        icc = image.info.get("icc_profile")
        orientation, oriented_by = found.orientation()
        notes = list(seen.notes)
        durations_ms: tuple[float, ...] = (0,)
        if min(frames, wanted_frames) > 1:
            shown = (
                composed(patches.of_png(seen.file), stored_size, drawn)
                if image.format == "PNG"
                else _frames(image)
            )
            channels, alpha, space, durations_ms = stacked(
                shown, stored_size, min(frames, wanted_frames)
            )
            found_size = (channels.shape[1], len(channels) // len(durations_ms))
        elif format_ == "avif" and depth_bits > 8 and not icc and said.needs_depth:
            channels, alpha = deep_avif(seen.file, depth_bits)
            space = "gray" if channels.shape[2] == 1 else "rgb"
            found_size = channels.shape[1::-1]
        else:
            unused = _unused_alpha(image, seen.file) if format_ == "bmp" else None
            channels, alpha, space = still(image, seen.file, depth_bits)
            found_size = channels.shape[1::-1]
            if format_ == "bmp" and alpha is not None and not alpha.any():
                alpha, unused = None, "alpha is 0 everywhere"
            if unused is not None:
                notes.append(Note("alpha_ignored", unused))
        if found_size != stored_size:
            raise UnreadableImage("the pixels do not have the size that the header says")
        if seen.is_cut or any(_differs(image, proof) for proof in seen.proofs):
            raise UnreadableImage("the file is broken or cut short")
        return Stored(
            format=format_,
            colour=channels,
            alpha=alpha,
            space=space,
            depth_bits=depth_bits,
            orientation=orientation,
            oriented_by=oriented_by,
            frames=frames,
            durations_ms=durations_ms,
            plays=int(image.info.get("loop", 0)),
            icc=icc,
            stated=said,
            metadata=found,
            dpi=dpi_or_none(
                image.info.get("dpi") or (_exif_dpi(found) if format_ == "jpeg" else None)
            ),
            notes=tuple(notes),
        )


def _differs(image: Image.Image, proof: bytes) -> bool:
    """Return whether another file shows another picture."""
    with opened(proof) as other:
        other.load()
        return not np.array_equal(np.asarray(image), np.asarray(other))


def _unused_alpha(image: Image.Image, file: bytes) -> str | None:
    """Return why the fourth bytes of a BMP that states no alpha are ignored; None if they are all full.

    Windows and browsers ignore them as well (MS-WMF, 2.2.2.3: the high byte is not used).
    """
    tile = image.tile[0] if isinstance(image, ImageFile.ImageFile) else None
    if tile is None:
        return None
    raw_mode = tile.args[0] if isinstance(tile.args, tuple) else None
    if raw_mode != "BGRX":
        return None
    fourth = np.frombuffer(file, np.uint8, offset=tile.offset)[3::4][: image.width * image.height]
    if not fourth.any():
        return "the fourth byte of each pixel is 0"
    return (
        None if fourth.min() == 255 else "the file does not state that its fourth bytes are alpha"
    )


def frame_count(image: Image.Image) -> int:
    """Return the frames of the animation, without the default picture that a PNG may have besides."""
    # A JPEG may hold further pictures, such as a preview, which are no frames.
    if format_of(image) == "jpeg":
        return 1
    return int(getattr(image, "n_frames", 1)) - bool(getattr(image, "default_image", False))


def _frames(image: Image.Image) -> Iterator[Frame]:
    """Yield the frames of a format whose library composes them."""
    space: Space = "gray" if image.mode in {"1", "L", "LA"} else "rgb"
    for number in itertools.count():
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()
        yield np.asarray(image.convert("RGBA")), space, float(image.info.get("duration", 0))


def metadata_of(image: Image.Image, data: bytes) -> Metadata:
    """Return the metadata of a file that Pillow has opened."""
    blocks = (image.info.get("exif"), image.info.get("xmp"))
    exif_block, xmp = (block if isinstance(block, bytes) else None for block in blocks)
    return read_metadata(data, format_of(image), exif=exif_block, xmp=xmp)


def _exif_dpi(found: Metadata) -> tuple[float, float] | None:
    """Return the resolution that EXIF states."""
    block = exif.read_or_none(found.exif)
    return block.dpi if block else None
