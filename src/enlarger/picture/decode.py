"""From the bytes of a file to a ``Picture``. Runs where it may be killed: see ``workers``."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from enlarger.errors import EnlargerError, UnreadableImage, UnsupportedFormat
from enlarger.picture.values import FORMATS, Header, Note, Picture, Samples

_ORIENTATION = 0x0112
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
}
"""Pillow's modes that become ours without loss."""

# The header is held against our own limits before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


def probe(data: bytes) -> Header:
    """What the header says; no pixel is decoded.

    Raises:
        UnsupportedFormat: not a picture of a format that we read.
        UnreadableImage: such a picture, but broken.
    """
    with _opened(data) as image:
        width_px, height_px = image.size
        if _orientation(image) in _TURNED:
            width_px, height_px = height_px, width_px
        return Header(
            format=_format(image),
            width_px=width_px,
            height_px=height_px,
            mode=image.mode,
            depth_bits=_depth_bits(image, data),
            frames=getattr(image, "n_frames", 1),
        )


def decode(data: bytes) -> Picture:
    """The picture, upright, as 8-bit gray or RGB with or without alpha, and notes on what that changed.

    Raises:
        UnsupportedFormat: not a picture of a format that we read.
        UnreadableImage: such a picture, but broken or cut short.
    """
    with _opened(data) as image:
        stored_size = image.size
        orientation = _orientation(image)
        image.load()
        if image.size != stored_size:
            raise UnreadableImage("the pixels do not have the size that the header says")
        notes: list[Note] = []
        icc = image.info.get("icc_profile")
        exif = image.info.get("exif")
        depth_bits = _depth_bits(image, data)
        if getattr(image, "n_frames", 1) > 1 and _format(image) != "jpeg":
            notes.append(Note("first_frame_only", f"{image.n_frames} frames"))  # type: ignore[attr-defined]
        samples = _samples(image, data, notes)
        if orientation in _UPRIGHT:
            notes.append(Note("orientation_applied", f"EXIF orientation {orientation}"))
            samples = np.ascontiguousarray(_UPRIGHT[orientation](samples))
        if exif:
            notes.append(Note("exif_dropped", f"{len(exif)} bytes"))
        if depth_bits > 8:
            notes.append(Note("depth_reduced", f"{depth_bits} bits to 8"))
        if icc and not _profile_fits(icc, gray=samples.shape[2] <= 2):
            notes.append(Note("icc_dropped", "the profile is for another kind of colour"))
            icc = None
        return Picture(
            samples=samples, icc=icc or None, exif=exif, depth_bits=depth_bits, notes=tuple(notes)
        )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, of what stands before the pixels: Pillow's own look at a PNG decodes it first."""
    try:
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error):
        return 1  # a damaged block turns nothing


def _samples(image: Image.Image, data: bytes, notes: list[Note]) -> Samples:
    """Our four layouts from Pillow's modes."""
    clear = image.info.get("transparency")
    if image.mode in {"1", "L", "I", "F"} or image.mode.startswith("I;"):
        return _gray(image, data, clear)
    if image.mode == "P" or clear is not None:
        image = image.convert("RGBA" if clear is not None else "RGB")
    elif image.mode in _MODES:
        image = image.convert(_MODES[image.mode])
    else:
        notes.append(Note("colorspace_converted", f"{image.mode} to RGB"))
        image = image.convert("RGB")
    pixels: Samples = np.array(image)
    if _png_colour_type(data) == _PNG_GRAY_ALPHA and pixels.shape[-1] == 4:
        return pixels[:, :, [0, 3]]  # Pillow opens 16-bit gray with alpha as RGBA
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def _gray(image: Image.Image, data: bytes, clear: object) -> Samples:
    """Gray of any depth; ``clear`` is the value that is transparent, in the file's own depth."""
    if image.mode in {"1", "L"}:
        stored = values = np.array(image.convert("L"))
        if image.mode == "L" and isinstance(clear, int):
            clear = clear * 255 // (2 ** _stored_bits(data) - 1)  # as Pillow did with the samples
    else:
        stored = np.asarray(image)
        # 257 = 65535 / 255, so white stays white and black stays black.
        values = np.clip(np.rint(stored / 257), 0, 255).astype(np.uint8)
    if clear is None:
        return values[:, :, np.newaxis]
    return np.dstack([values, np.where(stored == clear, 0, 255).astype(np.uint8)])


def _profile_fits(icc: bytes, *, gray: bool) -> bool:
    """Whether a profile's colour space (bytes 16 to 19, ICC.1:2022 table 17) is that of the samples."""
    return icc[16:20] == (b"GRAY" if gray else b"RGB ")


def _format(image: Image.Image) -> str:
    name = (image.format or "").lower()
    return "jpeg" if name == "mpo" else name


def _depth_bits(image: Image.Image, data: bytes) -> int:
    """Bits per sample, 8 or 16, from the file: Pillow opens 16-bit RGB as 8-bit without a word."""
    return 16 if image.format == "PNG" and _stored_bits(data) == 16 else 8


def _stored_bits(data: bytes) -> int:
    """Bits per sample as a PNG states them; 8 for other formats."""
    return data[24] if data[12:16] == b"IHDR" else 8


def _png_colour_type(data: bytes) -> int | None:
    return data[25] if data[12:16] == b"IHDR" else None


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The file as Pillow sees it, with its failures in our words."""
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(BytesIO(data), formats=[name.upper() for name in FORMATS]) as image,
        ):
            if 0 in image.size:
                raise UnreadableImage("the picture has no pixels")
            yield image
    except EnlargerError:
        raise
    except UnidentifiedImageError as error:
        if _starts_like_ours(data):
            raise UnreadableImage("the file is broken or cut short") from error
        raise UnsupportedFormat(
            f"not a picture of a format read here ({', '.join(FORMATS)})"
        ) from error
    except MemoryError as error:
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
        EOFError,
        struct.error,
    ) as error:
        # Pillow's plugins let these escape on damaged files.
        raise UnreadableImage("the file is broken or cut short") from error


def _starts_like_ours(data: bytes) -> bool:
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM")) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    )
