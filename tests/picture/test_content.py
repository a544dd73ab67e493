"""What a picture shows is found by a few shares of its pixels; in doubt, it is a photo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support import contents
from support.pictures import encoded, noise, skimage_photo

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.content import Shares, content_of, judged, measured
from enlarger.picture.values import Picture

SEEDS = range(6)

DRAWN: dict[str, Callable[[int], Pixels]] = {
    "drawing": contents.drawing,
    "screen": contents.screen,
    "text": contents.text,
}


@pytest.mark.parametrize("name", contents.PHOTOS)
def test_photographs_are_photos(name: str) -> None:
    """Those of scikit-image, gray ones among them: as they are, and as JPEG files of low quality."""
    photo = skimage_photo(name)
    assert content_of(encoded(photo)) == "photo"
    assert content_of(contents.as_jpeg(photo, 60)) == "photo"


@pytest.mark.parametrize("content", DRAWN)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_drawn_is_told_apart(content: str, seed: int) -> None:
    """Shapes, windows and pages that Pillow draws: as they are, and as JPEG files."""
    drawn = DRAWN[content](seed)
    assert content_of(encoded(drawn)) == content
    assert content_of(contents.as_jpeg(drawn, 80)) == content


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_out_is_judged_as_it_looks_on_white(seed: int) -> None:
    """Transparent pixels may have any colours, which nobody sees."""
    drawn = contents.drawing(seed)
    alpha = np.full(drawn.shape[:2], 255, np.uint8)
    alpha[:, :160] = 0
    hidden = drawn.copy()
    hidden[:, :160] = noise(*drawn.shape[:2], 3)[:, :160]
    seen = drawn.copy()
    seen[:, :160] = 255
    cut_out = Picture(samples=np.dstack([hidden, alpha]))
    assert measured(cut_out) == measured(Picture(samples=seen))


def test_depth_and_gray_do_not_matter() -> None:
    """16 bits, and one channel instead of three equal ones."""
    gray = skimage_photo("camera.png")[:, :, :1]
    expected = measured(Picture(samples=np.repeat(gray, 3, axis=2)))
    assert measured(Picture(samples=gray)) == expected
    assert measured(Picture(samples=gray.astype(np.uint16) * 257)) == expected


def test_large_picture_is_looked_at_in_parts() -> None:
    """At most about a thousand blocks of 16 x 16 px, evenly spread: twice the picture has the same shares."""
    page = contents.text(0, size_px=(1024, 1024))
    once, fourfold = (measured(Picture(samples=np.tile(page, (n, n, 1)))) for n in (1, 2))
    assert fourfold.ground == pytest.approx(once.ground, abs=0.05)
    assert fourfold.inky == pytest.approx(once.inky, abs=0.05)


def test_plain_ground_is_a_photo() -> None:
    """Nothing can go wrong there, and the usual model is the one that nobody is surprised by."""
    assert content_of(encoded(np.full((40, 40, 3), 200, np.uint8))) == "photo"


@given(
    samples=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    )
)
def test_any_picture_has_shares(samples: Pixels) -> None:
    """From 0 to 1 each, also of a single pixel."""
    shares = measured(Picture(samples=samples))
    found = [getattr(shares, name) for name in Shares.__dataclass_fields__]
    assert all(0 <= share <= 1 for share in found)
    assert judged(shares) in ("photo", "drawing", "screen", "text")


def test_file_that_cannot_be_read_is_refused() -> None:
    """As it is when it is decoded."""
    with pytest.raises(UnsupportedFormat):
        content_of(b"no picture")
    with pytest.raises(UnreadableImage):
        content_of(encoded(noise(30, 40, 3))[:200])
