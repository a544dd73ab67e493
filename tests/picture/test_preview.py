"""Previews: their size, and smaller ones made of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from enlarger.picture.preview import fitted, preview, reduced

SIDE = st.integers(1, 70_000)


@given(st.tuples(SIDE, SIDE), st.integers(16, 2048))
def test_size_fits_and_keeps_its_ratio(size_px: tuple[int, int], side_px: int) -> None:
    """The longest side is the one that was asked for, unless the picture is smaller; the other is within half a pixel."""
    width, height = fitted(size_px, side_px)
    if max(size_px) <= side_px:
        assert (width, height) == size_px
    else:
        assert max(width, height) == side_px
        factor = side_px / max(size_px)
        assert abs(width - size_px[0] * factor) <= max(0.5, 1 - size_px[0] * factor)
        assert abs(height - size_px[1] * factor) <= max(0.5, 1 - size_px[1] * factor)


@pytest.mark.parametrize("channels", [1, 3])
def test_smaller_preview_shows_the_same(channels: int) -> None:
    """In gray as in RGB; the same file where nothing is to be reduced."""
    rows = np.linspace(0, 255, 400).astype(np.uint8)[:, None, None]
    file = preview(np.broadcast_to(rows, (400, 600, channels)), (600, 400))
    assert reduced(file, 600) == file
    with Image.open(BytesIO(reduced(file, 90))) as image:
        assert image.size == (90, 60)
        found = np.asarray(image).reshape(60, 90, channels).astype(int)
    assert np.abs(found.mean(axis=(1, 2)) - np.linspace(2, 253, 60)).max() < 3
