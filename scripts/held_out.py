"""The pictures that int8 is judged by, and that nothing may be learned from: where they come from, and what they are.

They lie in packages, and are not ours to ship: ``pip install --no-deps scikit-image scikit-learn imgaug gradio`` (their files
alone are looked at, nothing of them is run), and on Debian ``apt-get install opencv-doc``.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

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
"""By the name that results have: package, file in it, and how the file's SHA-256 begins."""

_TWINS = (
    *("motorcycle_right.png", "cheetah1.jpg", "cheetah1-copy.jpg", "cheetah2.jpg"),
    *("butterfly.png", "home.png", "messi.jpg"),
)
"""The same things seen again, in the same packages."""

NAMES = {Path(file).name for _, file, _ in PICTURES.values()} | set(_TWINS)
"""Of files that must not be learned from, wherever they lie."""


def found() -> tuple[dict[str, Path], dict[str, str]]:
    """The pictures that are here, by name; and of the others, what is to be done."""
    here, missing = {}, {}
    for name, (package, file, digest) in PICTURES.items():
        path = _folder(package) / file
        if not path.is_file():
            missing[name] = f"{file} of {package} is not installed"
        elif not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
            missing[name] = f"{path} is another picture than the one that was measured"
        else:
            here[name] = path
    return here, missing


def _folder(package: str) -> Path:
    if package == "opencv-doc":
        return OPENCV_DOC
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path(package)
