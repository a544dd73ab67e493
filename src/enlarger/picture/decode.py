"""From the bytes of a file to a ``Picture``. Runs where it may be killed: see ``workers``."""

from __future__ import annotations

import itertools
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from enlarger.errors import EnlargerError, UnreadableImage, UnsupportedFormat
from enlarger.picture import avif, exif, gif, kinds, pages, patches, tiff
from enlarger.picture.bare import bare
from enlarger.picture.carried import Carried, carried
from enlarger.picture.colour import Colours, Space
from enlarger.picture.frames import Frame, composed, stacked
from enlarger.picture.patches import Patch
from enlarger.picture.stated import Stated, stated, without_odd_chunks
from enlarger.picture.values import (
    FORMATS,
    Header,
    Motion,
    Note,
    Picture,
    Samples,
    to_8_bits,
    with_alpha,
)

_UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    2: lambda samples: samples[:, ::-1],
    3: lambda samples: samples[::-1, ::-1],
    4: lambda samples: samples[::-1],
    5: lambda samples: samples.transpose(1, 0, 2),
    6: lambda samples: np.rot90(samples, -1),
    7: lambda samples: samples[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
"""By EXIF orientation (EXIF 2.32, 4.6.4): what makes the stored rows and columns stand upright."""

_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

_PNG_GRAY_ALPHA = 4
"""Colour type of PNG (ISO/IEC 15948, table 11.1)."""

_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "PA": "RGBA",
    "YCbCr": "RGB",
}
"""Pillow's modes that become ours without loss."""

_SPACES: dict[str, Space] = {"CMYK": "cmyk", "LAB": "lab"}
"""Pillow's modes that a profile leads out of."""

_AVIF_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)
"""The box that states a stream's depth (AV1-ISOBMFF 2.3.3); a flag for 10 bits and more, one for 12."""

_MOST_DECODED_BYTES = 1 << 30
"""Samples of one file, all its frames together, with four channels: a quarter of the address space that decoding has."""

# Pillow warns of pictures, and we refuse them: by what the header says of all frames, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_GIF_SIGNATURE = b"GIF8"

_MOST_NAMED = 8
"""Frames that a note names."""


def probe(data: bytes) -> Header:
    """What the header says; no pixel is decoded.

    Raises:
        UnsupportedFormat: not a picture of a format that we read.
        UnreadableImage: such a picture, but broken.
    """
    with _in_our_words(data):
        if data.startswith(tiff.PREFIXES):
            page = pages.main_page(data)
            facts = tiff.facts(page.file)
            stored_px, format_, mode = (facts.width_px, facts.height_px), "tiff", facts.mode
            orientation, depth_bits, frames = facts.orientation, facts.depth_bits, page.full_pages
            may_be_transparent = facts.alpha is not None
        elif data.startswith(_GIF_SIGNATURE):
            film = _film(data)
            stored_px, format_, mode = (film.width_px, film.height_px), "gif", "P"
            orientation, depth_bits, frames = 1, 8, len(film.frames)
            first = film.frames[0]
            may_be_transparent = first.has_clear_index or not film.is_covered_by(first)
        else:
            with _opened(bare(data).file) as image:
                may_be_transparent = image.has_transparency_data
                stored_px, format_, mode = image.size, _format(image), image.mode
                orientation, _ = _carried(image, data).orientation()
                frames = _frame_count(image)
            depth_bits = _depth_bits(data, format_)
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
    """The picture, upright, as gray or RGB with or without alpha, and notes on what that changed.

    Args:
        data: the file.
        frames: how many of an animation are wanted at most; each comes as it is seen, in 8 bits. With 1 it
            is the picture that programs show which know no animation.
        to_srgb: convert RGB and gray that are something else, as a profile or another statement of the file says,
            to sRGB; the picture then has no profile. CMYK and Lab are converted in any case.
        kind: the format of the result. Colours that it cannot hold are converted here, before the network sees
            them; None keeps them.

    Raises:
        UnsupportedFormat: not a picture of a format that we read.
        UnreadableImage: such a picture, but broken or cut short.
    """
    with _in_our_words(data):
        if data.startswith(tiff.PREFIXES):
            stored = _stored_tiff(data)
        elif data.startswith(_GIF_SIGNATURE):
            stored = _stored_gif(data, frames)
        else:
            stored = _stored(data, frames)
        return _picture(stored, to_srgb=to_srgb, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a decoder made of a file, before colour and orientation are set right."""

    format: str
    colour: Samples
    """(H, W, 1), (H, W, 3), or (H, W, 4) for CMYK. The frames of an animation below one another."""

    alpha: Samples | None
    space: Space
    depth_bits: int
    carried: Carried
    stated: Stated
    """What it says of its colours beside a profile."""

    orientation: int
    oriented_by: str = "EXIF"
    """What states the orientation."""

    frames: int = 1
    """In the file."""

    choice: str | None = None
    """Which page of a TIFF was taken instead of the first, in words."""

    durations_ms: tuple[float, ...] = (0,)
    """One per frame that was decoded."""

    plays: int = 0
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()
    """What was wrong with the file and did not harm its pixels."""


def _picture(stored: _Stored, *, to_srgb: bool, kind: str | None) -> Picture:
    """Frames left out, colour converted, samples turned: each with its note."""
    notes = [*stored.notes, *stored.carried.notes]
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
        exif=stored.carried.exif or None,
        xmp=stored.carried.xmp or None,
        iptc=stored.carried.iptc or None,
        texts=tuple(stored.carried.texts),
        dpi=stored.dpi,
        depth_bits=max(stored.depth_bits, 8),
        is_whole=not is_turned,
        notes=tuple(notes),
    )


def _stored(data: bytes, wanted_frames: int) -> _Stored:
    """Through Pillow, or beside it for a PNG of 16 bits, which it would narrow without a word."""
    seen = bare(data)
    with _opened(seen.file) as image:
        stored_size = image.size
        format_ = _format(image)
        depth_bits = _depth_bits(data, format_)
        frames = _frame_count(image)
        _check_memory(*stored_size, depth_bits=depth_bits, frames=min(frames, wanted_frames))
        found = _carried(image, data)
        said = stated(data, format_, exif_block=found.exif)
        icc = image.info.get("icc_profile")
        orientation, oriented_by = found.orientation()
        notes = list(seen.notes)
        durations_ms: tuple[float, ...] = (0,)
        if min(frames, wanted_frames) > 1:
            shown = (
                composed(patches.of_png(seen.file), stored_size, _drawn)
                if image.format == "PNG"
                else _decoded(image)
            )
            channels, alpha, space, durations_ms = stacked(
                shown, stored_size, min(frames, wanted_frames)
            )
            found_size = (channels.shape[1], len(channels) // len(durations_ms))
        elif format_ == "avif" and depth_bits > 8 and not icc and said.needs_depth:
            channels, alpha = _deep_avif(seen.file, depth_bits)
            space = "gray" if channels.shape[2] == 1 else "rgb"
            found_size = channels.shape[1::-1]
        else:
            unused = _unused_alpha(image, seen.file) if format_ == "bmp" else None
            channels, alpha, space = _still(image, seen.file, depth_bits)
            found_size = channels.shape[1::-1]
            if format_ == "bmp" and alpha is not None and not alpha.any():
                alpha, unused = None, "alpha is 0 everywhere"
            if unused is not None:
                notes.append(Note("alpha_ignored", unused))
        if found_size != stored_size:
            raise UnreadableImage("the pixels do not have the size that the header says")
        if seen.is_cut or any(_differs(image, proof) for proof in seen.proofs):
            raise UnreadableImage("the file is broken or cut short")
        return _Stored(
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
            carried=found,
            dpi=_dpi(image.info.get("dpi") or (_exif_dpi(found) if format_ == "jpeg" else None)),
            notes=tuple(notes),
        )


def _still(
    image: Image.Image, file: bytes, depth_bits: int
) -> tuple[Samples, Samples | None, Space]:
    """The pixels of the picture that was opened."""
    if image.format == "PNG" and depth_bits == 16:
        channels, alpha = _png_of_16_bits(file)
        return channels, alpha, "gray" if channels.shape[2] == 1 else "rgb"
    image.load()
    return _channels(image, file)


def _differs(image: Image.Image, proof: bytes) -> bool:
    """Whether another file shows another picture."""
    with _opened(proof) as other:
        other.load()
        return not np.array_equal(np.asarray(image), np.asarray(other))


def _unused_alpha(image: Image.Image, file: bytes) -> str | None:
    """What is left out of a BMP of 32 bits that states no alpha; None where its fourth bytes are full.

    Windows and browsers show such a picture without them (MS-WMF, 2.2.2.3: the high byte is not used).
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


def _film(data: bytes) -> gif.Film:
    """The frames of a GIF, without one at the end that the file has not all of.

    Raises:
        UnreadableImage: the file has no frame, or they take too much memory.
    """
    film = gif.read(data)
    _check_memory(film.width_px, film.height_px, depth_bits=8)
    *before, last = film.frames
    if last.is_whole or not before:
        return film
    try:
        with _opened(gif.still(film, last)) as image:
            _check_memory(*image.size, depth_bits=8)
            image.load()
    except (UnreadableImage, OSError, EOFError, SyntaxError, ValueError, IndexError):
        lost = f"frame {len(film.frames)}, which is cut short, was left out"
        return replace(film, frames=tuple(before), damage=(*film.damage, lost))
    return film


def _stored_gif(data: bytes, wanted_frames: int) -> _Stored:
    """One frame is put on the screen as all are: what it leaves of that is clear."""
    film = _film(data)
    size, frames = (film.width_px, film.height_px), len(film.frames)
    taken = min(frames, wanted_frames)
    _check_memory(*size, depth_bits=8, frames=taken)
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
    shown = composed(patches.of_gif(film), size, _drawn)
    channels, alpha, space, durations_ms = stacked(shown, size, taken)
    return _Stored(
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
        carried=carried(data, "gif", exif=None, xmp=None),
        notes=tuple(notes),
    )


def _check_memory(
    width_px: int, height_px: int, *, depth_bits: int, channels: int = 4, frames: int = 1
) -> None:
    """Refuse what a header states before it is made.

    Raises:
        UnreadableImage: the samples would take too much memory.
    """
    # A palette of one channel has four when it is looked up.
    bytes_per_px = max(channels, 4) * (2 if depth_bits > 8 else 1)
    if width_px * height_px * frames * bytes_per_px > _MOST_DECODED_BYTES:
        raise UnreadableImage("decoding it takes too much memory")


def _frame_count(image: Image.Image) -> int:
    """Frames of the animation. The picture that a PNG may have besides, for other programs, is none of them."""
    # A JPEG may hold further pictures, such as a preview: they are not for showing.
    if _format(image) == "jpeg":
        return 1
    return int(getattr(image, "n_frames", 1)) - bool(getattr(image, "default_image", False))


def _decoded(image: Image.Image) -> Iterator[Frame]:
    """The frames of a format whose library puts them together."""
    space: Space = "gray" if image.mode in {"1", "L", "LA"} else "rgb"
    for number in itertools.count():
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()
        yield np.asarray(image.convert("RGBA")), space, float(image.info.get("duration", 0))


def _drawn(patch: Patch, width_px: int, height_px: int) -> tuple[Samples, Space]:
    """The part of what a frame draws that is on the canvas, as RGB and alpha, and whether it is gray."""
    with _opened(patch.file) as image:
        if image.size != (patch.width_px, patch.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        depth_bits = _depth_bits(patch.file, _format(image))
        _check_memory(*image.size, depth_bits=depth_bits)
        # What is cut off never has four bytes a pixel.
        is_clipped = image.size != (width_px, height_px)
        seen = image.crop((0, 0, width_px, height_px)) if is_clipped else image
        channels, alpha, space = _still(seen, patch.file, depth_bits)
    pixels = np.full((height_px, width_px, 4), 255, np.uint8)
    pixels[:, :, :3] = to_8_bits(channels)
    if alpha is not None:
        pixels[:, :, 3] = to_8_bits(alpha)
    return pixels, space


def _stored_tiff(data: bytes) -> _Stored:
    """Through tifffile, or through Pillow where the compression is fax or JPEG."""
    page = pages.main_page(data)
    data = page.file
    facts = tiff.facts(data)
    _check_memory(
        facts.width_px, facts.height_px, depth_bits=facts.depth_bits, channels=facts.channels
    )
    if facts.is_unpacked_here:
        channels, alpha = tiff.samples(data, facts)
        space = facts.space
    else:
        try:
            with _opened(tiff.for_pillow(data, facts)) as image:
                image.load()
                channels, alpha, space = _channels(image, data)
        except UnidentifiedImageError as error:
            raise tiff.unsupported_layout(facts) from error
    if channels.shape[1::-1] != (facts.width_px, facts.height_px):
        raise UnreadableImage("the pixels do not have the size that the header says")
    found = carried(data, "tiff", exif=None, xmp=facts.xmp)
    found.notes += [*page.notes, *facts.notes]
    return _Stored(
        format="tiff",
        colour=channels,
        alpha=alpha,
        space=space,
        depth_bits=facts.depth_bits,
        orientation=facts.orientation,
        frames=page.full_pages,
        choice=page.choice,
        icc=facts.icc,
        stated=stated(data, "tiff", exif_block=found.exif),
        carried=found,
        dpi=_dpi(facts.dpi),
    )


def _carried(image: Image.Image, data: bytes) -> Carried:
    """What the file carries besides its pixels."""
    blocks = (image.info.get("exif"), image.info.get("xmp"))
    exif_block, xmp = (block if isinstance(block, bytes) else None for block in blocks)
    return carried(data, _format(image), exif=exif_block, xmp=xmp)


def _channels(image: Image.Image, data: bytes) -> tuple[Samples, Samples | None, Space]:
    """Colour and alpha from Pillow's modes."""
    clear = image.info.get("transparency")
    if image.mode in _SPACES:
        return np.array(image), None, _SPACES[image.mode]
    if image.mode in {"1", "L"}:
        return *_gray(image, data, clear), "gray"
    if image.mode == "P" or clear is not None:
        image = image.convert("RGBA" if clear is not None else "RGB")
    elif image.mode in _MODES:
        image = image.convert(_MODES[image.mode])
    else:
        raise UnsupportedFormat(
            f"a picture of mode {image.mode} is not read here; convert it to RGB or gray"
        )
    pixels: Samples = np.array(image)
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis], None, "gray"
    space: Space = "gray" if pixels.shape[2] == 2 else "rgb"
    if pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1], space
    return pixels, None, space


def _gray(image: Image.Image, data: bytes, clear: object) -> tuple[Samples, Samples | None]:
    """Gray up to 8 bits; ``clear`` is the value that is transparent, in the file's own depth."""
    values: Samples = np.array(image.convert("L"))
    if clear is None:
        return values[:, :, np.newaxis], None
    if image.mode == "L" and isinstance(clear, int):
        clear = clear * 255 // (2 ** _png_bits(data) - 1)  # as Pillow did with the samples
    return values[:, :, np.newaxis], np.where(values == clear, 0, 255).astype(np.uint8)


def _png_of_16_bits(data: bytes) -> tuple[Samples, Samples | None]:
    """Colour and alpha, uint16, with the transparent value of ``tRNS`` as alpha."""
    pixels: Samples = imagecodecs.png_decode(data)
    if pixels.dtype != np.uint16:
        raise UnreadableImage("the pixels do not have the depth that the header says")
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis], None
    if pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1]
    return pixels, None


def _deep_avif(data: bytes, depth_bits: int) -> tuple[Samples, Samples | None]:
    """Colour and alpha with all their bits, as uint16, of which Pillow would keep 8."""
    pixels: Samples = imagecodecs.avif_decode(data, numthreads=1)
    if pixels.dtype != np.uint16:
        raise UnreadableImage("the pixels do not have the depth that the header says")
    most = (1 << depth_bits) - 1
    pixels = ((pixels.astype(np.uint32) * 65535 + most // 2) // most).astype(np.uint16)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1]
    return pixels, None


def _format(image: Image.Image) -> str:
    name = (image.format or "").lower()
    return "jpeg" if name == "mpo" else name


def _depth_bits(data: bytes, format_: str) -> int:
    """Bits per sample, from the file: Pillow opens 16-bit RGB as 8-bit without a word."""
    if format_ == "png":
        return _png_bits(data)
    if format_ == "avif":
        flags = [match[0] for match in _AVIF_CONFIGURATION.findall(data)]
        return max((12 if flag & 0x20 else 10 if flag & 0x40 else 8 for flag in flags), default=8)
    return 8


def _png_bits(data: bytes) -> int:
    """Bits per sample as a PNG states them; 8 for other formats."""
    return data[24] if data[12:16] == b"IHDR" else 8


def _exif_dpi(found: Carried) -> tuple[float, float] | None:
    block = exif.read_or_none(found.exif)
    return block.dpi if block else None


def _dpi(stated: object) -> tuple[float, float] | None:
    """Two positive numbers, or None."""
    if not isinstance(stated, tuple) or len(stated) != 2:
        return None
    across, down = (float(value) for value in stated)
    usable = math.isfinite(across) and math.isfinite(down) and min(across, down) > 0
    return (across, down) if usable else None


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The file as Pillow sees it."""
    if data.startswith(b"\x89PNG"):
        data = without_odd_chunks(data)
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(BytesIO(data), formats=[name.upper() for name in FORMATS]) as image,
    ):
        if 0 in image.size:
            raise UnreadableImage("the picture has no pixels")
        yield image


@contextmanager
def _in_our_words(data: bytes) -> Iterator[None]:
    """What libraries raise on a stranger's file, as our refusals."""
    try:
        yield
    except EnlargerError:
        raise
    except UnidentifiedImageError as error:
        if _starts_like_ours(data):
            raise UnreadableImage("the file is broken or cut short") from error
        raise kinds.unsupported(kinds.kind_of(data)) from error
    except (MemoryError, Image.DecompressionBombError) as error:
        raise UnreadableImage("decoding it takes too much memory") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        OverflowError,
        ArithmeticError,
        AttributeError,
        AssertionError,
        EOFError,
        RuntimeError,
        struct.error,
        zlib.error,
    ) as error:
        # Pillow's plugins, tifffile and imagecodecs let these escape on damaged files.
        raise UnreadableImage("the file is broken or cut short") from error


def _starts_like_ours(data: bytes) -> bool:
    return (
        data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", *tiff.PREFIXES))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or data[4:12] in avif.BRANDS
    )
