"""What tests of packaging share. They need root and programs of Debian, and are run by ``make packaging``."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from support.images import Builder, Image
from support.pictures import encoded, skimage_photo

# ``make test`` collects this folder as well, and does not install what only ``make packaging`` needs.
collect_ignore = [] if find_spec("kubernetes_validate") else ["test_kubernetes.py"]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image for CPUs, built from this checkout."""
    builder = Builder(tmp_path_factory.mktemp("image"))
    builder.make_base()
    return builder.build("cpu", VERSION="1.2.3")


@pytest.fixture(scope="session")
def cat() -> bytes:
    """A photo of a cat that is quick to upscale: 96 x 84, JPEG."""
    return encoded(skimage_photo("chelsea.png")[80:164, 130:226], "JPEG")
