"""Pictures of each content: photographs of scikit-image, and drawings, screens and pages that Pillow draws."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from enlarger.geometry.rect import Pixels

PHOTOS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "ihc.png", "moon.png", "motorcycle_left.png", "rocket.jpg"),
)
"""Photographs in the package scikit-image."""

_SENTENCE = (
    "the service receives a picture by network or from a file cuts it into tiles and joins them to a result "
    "each tile has a halo around its core so that no border can be seen when it is put back in its place"
)
_WORDS = _SENTENCE.split()


def drawing(seed: int, *, side_px: int = 480) -> Pixels:
    """A drawing: filled shapes with dark outlines on a plain ground."""
    draw, image, chance = _canvas(seed, (side_px, side_px), (252, 246, 232))
    for _ in range(14):
        x, y, size = (chance.randrange(20, side_px - 60) for _ in range(3))
        size = 30 + size // 4
        fill = tuple(chance.randrange(60, 250) for _ in range(3))
        box = (x, y, x + size, y + size)
        if chance.random() < 0.6:
            draw.ellipse(box, fill=fill, outline=(20, 18, 30), width=4)
        else:
            corners = [(x + size // 2, y), (x + size, y + size), (x, y + 2 * size // 3)]
            draw.polygon(corners, fill=fill, outline=(20, 18, 30), width=4)
    return np.asarray(image)


def screen(seed: int, *, size_px: tuple[int, int] = (960, 600)) -> Pixels:
    """A window: a bar, a side panel, rows of small text, buttons and fields with straight borders."""
    draw, image, chance = _canvas(seed, size_px, (246, 246, 248))
    width, height = size_px
    font = ImageFont.load_default(14)
    accent = tuple(chance.randrange(20, 200) for _ in range(3))
    draw.rectangle((0, 0, width, 36), fill=(54, 58, 66))
    draw.text((12, 9), "Pictures - a window", font=font, fill=(240, 240, 240))
    draw.rectangle((0, 37, 200, height), fill=(228, 230, 234), outline=(150, 150, 156))
    for y in range(56, height - 40, 30):
        draw.rectangle((12, y, 186, y + 22), fill="white", outline=(120, 122, 130))
        draw.text((20, y + 3), " ".join(chance.sample(_WORDS, 2)), font=font, fill=(30, 30, 34))
        left = 230 + chance.randrange(3) * 8
        draw.rectangle((left, y + 3, left + 14, y + 17), fill=accent, outline=(60, 60, 60))
        draw.text(
            (left + 26, y + 2), " ".join(chance.sample(_WORDS, 7)), font=font, fill=(30, 30, 34)
        )
        draw.line((220, y + 26, width - 20, y + 26), fill=(200, 200, 206))
    draw.rectangle(
        (width - 130, height - 44, width - 20, height - 14), fill=accent, outline=(40, 40, 40)
    )
    return np.asarray(image)


def text(seed: int, *, size_px: tuple[int, int] = (700, 900), font_px: int = 20) -> Pixels:
    """A printed page, full of lines of dark text on white."""
    draw, image, chance = _canvas(seed, size_px, (255, 255, 255))
    font = ImageFont.load_default(font_px)
    for y in range(24, size_px[1] - 2 * font_px, round(1.35 * font_px)):
        line = ""
        while draw.textlength(line, font=font) < size_px[0] - 140:
            line += f"{chance.choice(_WORDS)} "
        draw.text((24, y), line, font=font, fill=(10, 10, 10))
    return np.asarray(image)


def as_jpeg(pixels: Pixels, quality: int) -> bytes:
    """A JPEG file of a picture."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _canvas(
    seed: int, size_px: tuple[int, int], ground: tuple[int, int, int]
) -> tuple[ImageDraw.ImageDraw, Image.Image, random.Random]:
    image = Image.new("RGB", size_px, ground)
    return ImageDraw.Draw(image), image, random.Random(seed)  # noqa: S311 - a picture, no secret
