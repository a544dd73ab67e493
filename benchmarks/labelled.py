"""Labelled pictures in packages: photographs, drawings, screens and pages.

None of them is part of the repository. Those of scikit-image come with the dev group, and pages are drawn by Pillow;
``make pictures`` puts the others into ``build/pictures``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from support import contents

from enlarger.geometry.rect import Pixels

FOLDER = Path("build/pictures")
"""The folder into which ``make pictures`` unpacks packages."""

_PHOTOS = (
    *("usr/share/doc/opencv-doc/examples/**/*.jpg", "usr/share/backgrounds/mate/nature/*.jpg"),
    *("sklearn/datasets/images/*.jpg", "skimage/data/*.jpg"),
)
_NO_PHOTOS = (
    *(
        "LinuxLogo",
        "WindowsLogo",
        "Blender",
        "ellipses",
        "starry_night",
        "blox",
        "pca_test1",
        "text_",
    ),
    *(
        "scenetext",
        "leftMask",
        "rightMask",
        "left",
        "right",
        "aloeGT",
        "hubble",
        "Disparity",
        "0",
        "1",
        "2",
    ),
)
"""Beginnings of names: drawings among them, and many pictures of one chessboard."""

_DRAWINGS = (
    ("usr/share/openclipart/png/**/*.png", 60),
    ("usr/share/games/wesnoth/*/data/core/images/portraits/**/*.*", 40),
)
_SCREENS = ("usr/share/help/C/*/figures/*.png",)
_NO_SCREENS = ("color-", "input-keyboard", "screenshot-tool")
_LEAST_SIDE_PX = 120
_MOST_PX = 4_000_000


def photos(folder: Path = FOLDER) -> Iterator[tuple[str, Pixels]]:
    """Yield photographs with their names."""
    import skimage

    for name in contents.PHOTOS:
        yield name, pixels_of(Path(skimage.__file__).parent / "data" / name)
    for pattern in _PHOTOS:
        for path in sorted(folder.glob(pattern)):
            if not path.name.startswith(_NO_PHOTOS):
                yield path.name, pixels_of(path)


def drawings(folder: Path = FOLDER) -> Iterator[tuple[str, Pixels]]:
    """Yield clip art and portraits of a game, always the same ones, with their names."""
    for pattern, count in _DRAWINGS:
        paths = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
        random.Random(1).shuffle(paths)  # noqa: S311 - a choice of pictures, no secret
        large = (path for path in paths if _least_side_px(path) >= 2 * _LEAST_SIDE_PX)
        for path, _ in zip(large, range(count), strict=False):
            yield path.name, pixels_of(path)


def screens(folder: Path = FOLDER) -> Iterator[tuple[str, Pixels]]:
    """Yield screens of manuals with their names."""
    for pattern in _SCREENS:
        for path in sorted(folder.glob(pattern)):
            is_screen = not path.name.startswith(_NO_SCREENS)
            if is_screen and _least_side_px(path) >= _LEAST_SIDE_PX:
                yield path.name, pixels_of(path)


def pages() -> Iterator[tuple[str, Pixels]]:
    """Yield printed pages in several sizes of letters, every other one with the grain of a scanner, with their names."""
    for seed in range(24):
        page = contents.text(seed, size_px=(900, 1200), font_px=(13, 16, 20, 26)[seed // 2 % 4])
        if seed % 2:
            grain = np.random.default_rng(seed).normal(0, 4, page.shape)
            page = np.clip(0.9 * page + 15 + grain, 0, 255).astype(np.uint8)
        yield f"page {seed}", page


LABELLED: dict[str, Callable[[], Iterator[tuple[str, Pixels]]]] = {
    "photo": photos,
    "drawing": drawings,
    "screen": screens,
    "text": pages,
}
"""What yields the pictures of each content."""


def pixels_of(path: Path) -> Pixels:
    """Return a picture as RGB, on white, with at most 4 megapixels."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if rgb.width * rgb.height > _MOST_PX:
        rgb.thumbnail((2000, 2000))
    return np.asarray(rgb)


def _least_side_px(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)
