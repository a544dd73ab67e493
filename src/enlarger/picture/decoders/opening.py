"""Opens files with Pillow, and turns the errors of all libraries into ours."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from enlarger.errors import EnlargerError, UnreadableImage
from enlarger.picture import avif, kinds, tiff
from enlarger.picture.stated import without_odd_chunks
from enlarger.picture.values import FORMATS

# Pillow only warns of large pictures. They are refused here by their header, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open a file with Pillow; no pixel is decoded.

    Raises:
        UnreadableImage: the picture has no pixels.
    """
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
def in_our_words(data: bytes) -> Iterator[None]:
    """Turn what libraries raise on a stranger's file into our refusals.

    Raises:
        UnsupportedFormat: the file is not an image of a format that is read here.
        UnreadableImage: the file is broken, cut short or too large.
    """
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
        # Pillow's plugins, tifffile and imagecodecs raise these on damaged files.
        raise UnreadableImage("the file is broken or cut short") from error


def _starts_like_ours(data: bytes) -> bool:
    """Return whether a file begins like one of a format that is read here."""
    return (
        data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", *tiff.PREFIXES))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or data[4:12] in avif.BRANDS
    )
