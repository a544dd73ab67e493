"""The pictures that bf16 and int8 are evaluated on, and that nothing may be calibrated on, with their sources.

They are in packages, and may not be redistributed here: ``pip install --no-deps scikit-image scikit-learn imgaug
gradio matplotlib ultralytics`` (only their files are read, and no code of theirs runs), and on Debian ``apt-get
install opencv-doc``.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Pixels

OPENCV_DOC = Path("/usr/share/doc/opencv-doc/examples/data")

PICTURES = {
    "astronaut": ("skimage", "data/astronaut.png", "88431cd9653ccd53"),
    "baboon": ("opencv-doc", "baboon.jpg", "1a1dd18d78eec444"),
    "butterfly": ("opencv-doc", "butterfly.jpg", "34a99716b78ded10"),
    "cards": ("opencv-doc", "cards.png", "3721e83d1d54b1c2"),
    "cheetah": ("gradio", "media_assets/images/cheetah.jpg", "29b0090f5ec471da"),
    "chelsea": ("skimage", "data/chelsea.png", "596aa1e7cb875eb7"),
    "china": ("sklearn", "datasets/images/china.jpg", "8378025ad2519d64"),
    "coffee": ("skimage", "data/coffee.png", "cc02f8ca188b167c"),
    "fruits": ("opencv-doc", "fruits.jpg", "9c031d80a1c52da5"),
    "home": ("opencv-doc", "home.jpg", "23b8cf46a1965d0e"),
    "ihc": ("skimage", "data/ihc.png", "f8dd1aa387ddd1f4"),
    "messi": ("opencv-doc", "messi5.jpg", "1d570e49654e84c7"),
    "motorcycle": ("skimage", "data/motorcycle_left.png", "db18e9c415761740"),
    "quokka": ("imgaug", "quokka.jpg", "bf1059d0f925e7d0"),
    "rocket": ("skimage", "data/rocket.jpg", "c2dd0de7c538df8d"),
    "smarties": ("opencv-doc", "smarties.png", "ad3f751c053fdcf4"),
}
"""Pictures by the name of their results: package, file in it, and the beginning of the file's SHA-256."""

_SOURCES = {
    "bus": ("ultralytics", "assets/bus.jpg", "c02019c4979c191e"),
    "grace-hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "a8ca6d734765703b"),
    "zidane": ("ultralytics", "assets/zidane.jpg", "16d73869e3267a7d"),
}
"""More pictures, which are used only to make the hard ones."""


@dataclass(frozen=True, slots=True)
class Wear:
    """The damage that a photo typically has before it is upscaled, in this order."""

    contrast: float = 1.0
    """The share of its contrast that is left, as in a faded print."""

    noise: float = 0.0
    """The standard deviation of normal noise in each channel, in steps of 8 bits, as at high sensitivity."""

    quality: int | None = None
    """JPEG quality of an earlier save, by Pillow with halved colours; None if there was none."""

    def on(self, pixels: Pixels) -> Pixels:
        """Return a photo, (H, W, 3) uint8, with this wear. It is the same on each call."""
        samples = 128 + self.contrast * (pixels.astype(float) - 128)
        samples += self.noise * np.random.default_rng(0).normal(size=pixels.shape)
        worn: Pixels = np.clip(np.rint(samples), 0, 255).astype(np.uint8)
        if self.quality is not None:
            file = BytesIO()
            Image.fromarray(worn).save(file, "jpeg", quality=self.quality)
            worn = np.asarray(Image.open(file))
        return worn


HARD = {
    "baboon": ("baboon", Wear()),
    "bus": ("bus", Wear()),
    "butterfly": ("butterfly", Wear()),
    "chelsea": ("chelsea", Wear()),
    "china": ("china", Wear()),
    "grace-hopper": ("grace-hopper", Wear()),
    "quokka": ("quokka", Wear()),
    "zidane": ("zidane", Wear()),
    "astronaut-noisy": ("astronaut", Wear(noise=16)),
    "coffee-compressed": ("coffee", Wear(quality=20)),
    "messi-faded": ("messi", Wear(contrast=0.5, noise=6)),
    "quokka-worn": ("quokka", Wear(noise=10, quality=40)),
}
"""Photos of the kind that users upscale: full of texture, old, noisy or compressed. By name, the picture and its wear."""

_TWINS = (
    *("motorcycle_right.png", "cheetah1.jpg", "cheetah1-copy.jpg", "cheetah2.jpg"),
    *("butterfly.png", "home.png", "messi.jpg"),
)
"""Other pictures of the same objects, in the same packages."""

_ALL = PICTURES | _SOURCES

NAMES = {Path(file).name for _, file, _ in _ALL.values()} | set(_TWINS)
"""Names of files that must not be used for calibration, wherever they lie."""


def found(*, hard: bool = False) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the installed pictures by name, and the reason why each of the others is missing.

    Args:
        hard: the pictures that ``HARD`` is made of, rather than ``PICTURES``.
    """
    here, missing = {}, {}
    names = {name for name, _ in HARD.values()} if hard else PICTURES.keys()
    for name in sorted(names):
        package, file, digest = _ALL[name]
        path = _folder(package) / file
        if not path.is_file():
            missing[name] = f"{file} of {package} is not installed"
        elif not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
            missing[name] = f"{path} is another picture than the one that was measured"
        else:
            here[name] = path
    return here, missing


def hard(
    side_px: int, cut: Callable[[Path, int], Pixels], names: Iterable[str] = HARD
) -> dict[str, Pixels]:
    """Return some of ``HARD``, by name. Ends the program with a line for each that is unknown or not installed.

    Args:
        side_px: side of each square.
        cut: returns the square of a file, before it is worn.
        names: the pictures to return.
    """
    unknown = [name for name in names if name not in HARD]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: there is {', '.join(HARD)}")
    here, missing = found(hard=True)
    wanted = {name: HARD[name] for name in names}
    lacking = {source: missing[source] for source, _ in wanted.values() if source in missing}
    if lacking:
        raise SystemExit("\n".join(f"{source}: {what}" for source, what in lacking.items()))
    return {name: wear.on(cut(here[source], side_px)) for name, (source, wear) in wanted.items()}


def _folder(package: str) -> Path:
    if package == "opencv-doc":
        return OPENCV_DOC
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path(package)
