"""Photographs in packages, most of them full of texture, for measurements of tiles.

None of them is part of the repository. Those of scikit-image come with the dev group; ``make photographs`` puts the
others into ``build/photographs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Pixels

FOLDER = Path("build/photographs")
"""The folder into which ``make photographs`` unpacks packages."""

_OPENCV = "usr/share/doc/opencv-doc/examples"
_MATE = "usr/share/backgrounds/mate/nature"


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file of a package, and the part of it that is measured."""

    name: str
    package: str
    path: str
    """Path relative to the folder that the package is installed or unpacked in."""

    corner: tuple[int, int] | None = None
    """Left and top of the part; None for a part in the middle."""

    rows: int = 96
    """Height of the part that ``halos.py`` measures, in pixels."""

    def part(self, folder: Path, width_px: int, height_px: int) -> Pixels | None:
        """Return the part to measure, RGB of 16 bits, of this size or that of the photograph if it is smaller.

        Args:
            folder: the folder with the unpacked packages; installed modules are searched as well.
            width_px: width of the part.
            height_px: height of the part.

        Returns:
            The pixels; None, with a line of text on the terminal, if the package is neither installed nor unpacked.
        """
        import skimage

        places = [folder, Path(skimage.__file__).parent.parent]
        found = [place / self.path for place in places if (place / self.path).exists()]
        if not found:
            print(f"{self.name}: {self.package} is neither installed nor in {folder}")
            return None
        with Image.open(found[0]) as image:
            pixels = np.asarray(image.convert("RGB"))
        left, top = self.corner or (
            max(0, (pixels.shape[1] - width_px) // 2),
            max(0, (pixels.shape[0] - height_px) // 2),
        )
        return pixels[top : top + height_px, left : left + width_px].astype(np.uint16) * 257


PHOTOGRAPHS = (
    Photograph("china", "scikit-learn", "sklearn/datasets/images/china.jpg", (20, 130), rows=128),
    Photograph("baboon", "opencv-doc", f"{_OPENCV}/data/baboon.jpg", rows=128),
    Photograph("grass", "scikit-image", "skimage/data/grass.png", rows=128),
    Photograph("gravel", "scikit-image", "skimage/data/gravel.png", rows=128),
    Photograph("leuven", "opencv-doc", f"{_OPENCV}/data/leuvenA.jpg", rows=128),
    Photograph("building", "opencv-doc", f"{_OPENCV}/data/building.jpg"),
    Photograph("board", "opencv-doc", f"{_OPENCV}/data/board.jpg"),
    Photograph("brick", "scikit-image", "skimage/data/brick.png"),
    Photograph("motorcycle", "scikit-image", "skimage/data/motorcycle_left.png"),
    Photograph("aloe", "opencv-doc", f"{_OPENCV}/data/aloeL.jpg"),
    Photograph("meadow", "mate-backgrounds", f"{_MATE}/GreenMeadow.jpg"),
    Photograph("tissue", "scikit-image", "skimage/data/ihc.png"),
    Photograph("plant", "opencv-doc", f"{_OPENCV}/alphamat/input_images/plant.jpg"),
    Photograph("graffiti", "opencv-doc", f"{_OPENCV}/data/graf1.png"),
    Photograph("toys", "opencv-doc", f"{_OPENCV}/data/rubberwhale1.png"),
    Photograph("wood", "mate-backgrounds", f"{_MATE}/Wood.jpg"),
    Photograph("astronaut", "scikit-image", "skimage/data/astronaut.png"),
    Photograph("flower", "scikit-learn", "sklearn/datasets/images/flower.jpg"),
    Photograph("retina", "scikit-image", "skimage/data/retina.jpg"),
    Photograph("coffee", "scikit-image", "skimage/data/coffee.png"),
    Photograph("butterfly", "opencv-doc", f"{_OPENCV}/data/butterfly.jpg"),
    Photograph("dune", "mate-backgrounds", f"{_MATE}/Dune.jpg"),
)
"""Sixteen full of texture (stone, grass, fur, roofs, bricks, parts, cloth), and a few smooth ones for comparison."""
