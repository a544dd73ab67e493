"""Samples of one picture: Pillow's modes without loss, and PNG and AVIF of more than 8 bits beside Pillow."""

from __future__ import annotations

import re

import imagecodecs
import numpy as np
from PIL import Image

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.colour import Space
from enlarger.picture.decoders.opening import opened
from enlarger.picture.decoders.stored import check_memory
from enlarger.picture.patches import Patch
from enlarger.picture.values import Samples, to_8_bits

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
"""Modes of Pillow, by the mode that they are converted to without loss."""

_SPACES: dict[str, Space] = {"CMYK": "cmyk", "LAB": "lab"}
"""Modes of Pillow that a profile converts."""

_AVIF_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)
"""The box that states a stream's depth (AV1-ISOBMFF 2.3.3): one flag for 10 bits and more, and one for 12."""


def still(
    image: Image.Image, file: bytes, depth_bits: int
) -> tuple[Samples, Samples | None, Space]:
    """Return colour and alpha of a picture that was opened, and its colour space."""
    if image.format == "PNG" and depth_bits == 16:
        channels, alpha = _png_of_16_bits(file)
        return channels, alpha, "gray" if channels.shape[2] == 1 else "rgb"
    image.load()
    return channels_of(image, file)


def drawn(patch: Patch, width_px: int, height_px: int) -> tuple[Samples, Space]:
    """Return the part of a frame's patch that is on the canvas, as RGB and alpha, and its colour space."""
    with opened(patch.file) as image:
        if image.size != (patch.width_px, patch.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        depth_bits = depth_bits_of(patch.file, format_of(image))
        check_memory(*image.size, depth_bits=depth_bits)
        # The part outside of the canvas is cut off before it takes four bytes a pixel.
        is_clipped = image.size != (width_px, height_px)
        seen = image.crop((0, 0, width_px, height_px)) if is_clipped else image
        channels, alpha, space = still(seen, patch.file, depth_bits)
    pixels = np.full((height_px, width_px, 4), 255, np.uint8)
    pixels[:, :, :3] = to_8_bits(channels)
    if alpha is not None:
        pixels[:, :, 3] = to_8_bits(alpha)
    return pixels, space


def channels_of(image: Image.Image, data: bytes) -> tuple[Samples, Samples | None, Space]:
    """Return colour and alpha of a picture that Pillow has decoded, and its colour space.

    Raises:
        UnsupportedFormat: the picture has a mode that is not read here.
    """
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


def deep_avif(data: bytes, depth_bits: int) -> tuple[Samples, Samples | None]:
    """Return colour and alpha with all bits, as uint16. Pillow would return 8 bits."""
    pixels: Samples = imagecodecs.avif_decode(data, numthreads=1)
    if pixels.dtype != np.uint16:
        raise UnreadableImage("the pixels do not have the depth that the header says")
    most = (1 << depth_bits) - 1
    pixels = ((pixels.astype(np.uint32) * 65535 + most // 2) // most).astype(np.uint16)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1]
    return pixels, None


def format_of(image: Image.Image) -> str:
    """Return the format of a picture, as in ``Header``."""
    name = (image.format or "").lower()
    return "jpeg" if name == "mpo" else name


def depth_bits_of(data: bytes, format_: str) -> int:
    """Return the bits per sample, read from the file: Pillow opens 16-bit RGB as 8-bit."""
    if format_ == "png":
        return png_bits(data)
    if format_ == "avif":
        flags = [match[0] for match in _AVIF_CONFIGURATION.findall(data)]
        return max((12 if flag & 0x20 else 10 if flag & 0x40 else 8 for flag in flags), default=8)
    return 8


def _gray(image: Image.Image, data: bytes, clear: object) -> tuple[Samples, Samples | None]:
    """Return gray of up to 8 bits, and alpha. ``clear`` is the transparent value, in the file's own depth."""
    values: Samples = np.array(image.convert("L"))
    if clear is None:
        return values[:, :, np.newaxis], None
    if image.mode == "L" and isinstance(clear, int):
        clear = clear * 255 // (2 ** png_bits(data) - 1)  # as Pillow does with the samples
    return values[:, :, np.newaxis], np.where(values == clear, 0, 255).astype(np.uint8)


def _png_of_16_bits(data: bytes) -> tuple[Samples, Samples | None]:
    """Return colour and alpha as uint16, with the transparent value of ``tRNS`` as alpha."""
    pixels: Samples = imagecodecs.png_decode(data)
    if pixels.dtype != np.uint16:
        raise UnreadableImage("the pixels do not have the depth that the header says")
    if pixels.ndim == 2:
        return pixels[:, :, np.newaxis], None
    if pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1]
    return pixels, None


def png_bits(data: bytes) -> int:
    """Return the bits per sample that a PNG states; 8 for other formats."""
    return data[24] if data[12:16] == b"IHDR" else 8
